"""A collection on a server: its name, its fields, and how its verbs ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from lookalike.library.remote.connection import Connection, place

if TYPE_CHECKING:
    from lookalike.catalog.vocabulary import Labels

_T = TypeVar("_T")


def label_values(closed_set: bool | None, labels: Labels | None) -> dict[str, Any]:
    """Return what is said of the labels of a field as JSON values; without what is not said."""
    said: dict[str, Any] = {} if closed_set is None else {"closed_set": closed_set}
    if labels is None:
        return said
    plain = labels if isinstance(labels, str | Mapping) else list(labels)
    return said | {"labels": plain}


class RemoteOpened:
    """What each group of verbs stands on."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    @property
    def name(self) -> str:
        """Return the collection's name."""
        return self._name

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of the label fields, the first one first."""
        return self._ask("fields", tuple[str, ...])

    @property
    def extractor(self) -> str:
        """Return the full name of what makes its documents."""
        return self._ask("extractor", str)

    def __repr__(self) -> str:
        return f"<RemoteCollection {self.name!r} at {self._connection.url}>"

    def __len__(self) -> int:
        return self._ask("size", int)

    def _ask(self, verb: str, reply: type[_T], **said: Any) -> _T:
        path = place("collections", self.name, "verbs", verb)
        return self._connection.ask(path, reply, said)
