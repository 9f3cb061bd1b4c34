"""The verbs that go back, of a collection on a server: versions, and what was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from lookalike.library.remote.connection import Connection, place
from lookalike.library.remote.remote_opened import RemoteOpened
from lookalike.library.remote.remote_shown import RemoteShown
from lookalike.model import Changed

if TYPE_CHECKING:
    from lookalike.decisions.as_of import At
    from lookalike.library.collection.history import Redecided
    from lookalike.library.versions import Comparison, Version

_T = TypeVar("_T")


class RemotePast(RemoteShown):
    """A collection on a server as it was just after an operation, as `Past` shows it."""

    def __init__(self, connection: Connection, name: str, operation: str) -> None:
        super().__init__(connection, name)
        self._operation = operation

    @property
    def operation(self) -> str:
        """Return the operation that this is the state after."""
        return self._operation

    def __repr__(self) -> str:
        return f"<RemotePast of {self.name!r} as of {self.operation}>"

    def decide(self, *, field: str | None = None) -> Redecided:
        """Return what the references and the policy of then say of the documents of now."""
        from lookalike.library.collection.history import Redecided

        return self._ask("decide", Redecided, field=field)

    def _ask(self, verb: str, reply: type[_T], **said: Any) -> _T:
        path = place("collections", self.name, "verbs", f"{verb}_as_of")
        query = urlencode({"as_of": self.operation})
        return self._connection.ask(f"{path}?{query}", reply, said)


class RemoteTravelling(RemoteOpened):
    """What a person asks of a collection's past."""

    def as_of(self, at: At) -> RemotePast:
        """Return the collection as it was at a version, operation, event or time, to be read."""
        if isinstance(at, datetime):
            at = (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()
        return RemotePast(self._connection, self.name, self._ask("as_of", str, at=at))

    def keep_version(
        self,
        name: str,
        *,
        note: str = "",
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Version:
        """Name the point where a label field is now; it can be asked for as of then, for ever."""
        from lookalike.library.versions import Version

        given = {"name": name, "note": note, "field": field}
        return self._ask("keep_version", Version, **given, actor=actor, op_id=op_id)

    def versions(self, *, field: str | None = None, retired: bool = False) -> list[Version]:
        """Return the versions, the newest first, of all label fields or of one."""
        from lookalike.library.versions import Version

        return self._ask("versions", list[Version], field=field, retired=retired)

    def compare_versions(
        self, before: str, after: str | None = None, *, field: str | None = None
    ) -> Comparison:
        """Return how a label field differs between two points; without `after`, from now."""
        from lookalike.library.versions import Comparison

        given = {"before": before, "after": after, "field": field}
        return self._ask("compare_versions", Comparison, **given)

    def retire_version(self, name: str, *, actor: str = "", op_id: str = "") -> Changed:
        """Offer a version no more. Who asks for it still gets what it gave, to the digit."""
        return self._ask("retire_version", Changed, name=name, actor=actor, op_id=op_id)
