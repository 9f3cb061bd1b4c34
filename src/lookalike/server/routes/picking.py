"""Documents and objects in part: only the fields that are asked for, and groups by one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, Field

from lookalike.catalog.aggregation import distribution
from lookalike.catalog.conditions import Condition, Filter, Operator, every, kind_of
from lookalike.catalog.filters import check_field
from lookalike.catalog.selecting import Selecting
from lookalike.errors import BadInput
from lookalike.server.shapes import MAX_PAGE, Body, ListBody, Reply

MAX_FIELDS = 100


class PickingBody(ListBody):
    """What a list is asked for: of each row only the fields of `select`, if that is given."""

    select: list[str] | None = Field(default=None, max_length=MAX_FIELDS)


class GroupedBy(Body):
    """The field that documents are grouped by."""

    field: str


class DocumentListBody(PickingBody):
    """What a list of documents is asked for; with `group_by` they come in groups."""

    group_by: str | GroupedBy | None = None

    @property
    def grouped_by(self) -> str | None:
        """Return the field that documents are grouped by."""
        return self.group_by.field if isinstance(self.group_by, GroupedBy) else self.group_by


class PickedDocument(Reply):
    """A document in part: the fields that were asked for."""

    model_config = ConfigDict(extra="allow")
    document_id: str
    collection_id: str


class PickedObject(Reply):
    """An object in part: the fields that were asked for."""

    model_config = ConfigDict(extra="allow")
    object_id: str
    bucket_id: str


def picked(replies: Sequence[Reply], fields: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield what replies say in some fields, by dotted paths; unknown ones are left out.

    What is no field of the reply itself is one of its metadata.
    """
    paths = [check_field(name).split(".") for name in fields]
    for reply in replies:
        said = reply.model_dump(mode="json")
        part: dict[str, Any] = {}
        for path in paths:
            _copy(said, part, path if path[0] in said else ["metadata", *path])
        yield part


def tells_matches(fields: Sequence[str]) -> bool:
    """Return whether one of the fields of a document holds the nearest references."""
    places = [name.split(".") for name in fields]
    return any(
        place[0] == "taxonomy_match"
        or (place[0] == "labels" and (len(place) < 3 or place[2] == "match"))
        for place in places
    )


def groups_of(selecting: Selecting, field: str, tree: Filter) -> list[tuple[Any, Filter, int]]:
    """Return the values of a field, what chooses the rows of each, and how many those are.

    The largest group comes first. Raises BadInput for a field with lists or objects as values.
    """
    groups = []
    for value, count in distribution(selecting, check_field(field), tree):
        if value is not None and kind_of(value) is None:
            raise BadInput(f"{field!r} has lists or objects as values, which make no groups")
        groups.append((value, every([tree, Condition(field, Operator.EQ, value)]), count))
    return groups


def shown_of_each(groups: int) -> int:
    """Return how many rows of each group a page of some groups shows, so that it ends somewhere."""
    return max(1, MAX_PAGE // max(1, groups))


def _copy(source: Mapping[str, Any], part: dict[str, Any], parts: Sequence[str]) -> None:
    first, rest = parts[0], parts[1:]
    if first not in source:
        return
    if not rest:
        part[first] = source[first]
    elif isinstance(source[first], Mapping):
        inner = part.setdefault(first, {})
        _copy(source[first], inner, rest)
