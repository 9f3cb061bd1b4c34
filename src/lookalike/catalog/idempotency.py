"""Idempotency: a repeated request returns the first result."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import wraps
from typing import Any, ParamSpec

from sqlalchemy import select

from lookalike.errors import BadInput, Conflict
from lookalike.model import Changed
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_Arguments = ParamSpec("_Arguments")


@dataclass(frozen=True, slots=True)
class Request:
    """The id that a client gave to an operation, and a digest of its arguments."""

    id: str
    digest: str

    @classmethod
    def of(cls, id: str, *asked: Any) -> Request | None:
        """Return the request with the client's `id`; None if the client gave no id."""
        if not id:
            return None
        if not _ID.fullmatch(id):
            raise BadInput(
                f"{id[:200]!r} cannot name an operation: use up to 100 letters, digits and _.:-"
            )
        text = json.dumps(asked, sort_keys=True, default=str)
        return cls(id, hashlib.sha256(text.encode()).hexdigest())


class Replayed(Exception):
    """The operation was done before: `changed` and `erased` are its first result."""

    def __init__(self, changed: Changed, erased: Mapping[str, int]) -> None:
        super().__init__(f"operation {changed.operation} was done before")
        self.changed = changed
        self.erased = erased


class Previewed(Exception):
    """Raised inside an operation to roll it back: `changed` is what it would change."""

    def __init__(self, changed: Changed) -> None:
        super().__init__("only a preview")
        self.changed = replace(changed, operation="", revision=0)


def idempotent(verb: Callable[_Arguments, Changed]) -> Callable[_Arguments, Changed]:
    """Make a verb return the first result if its request is repeated.

    A preview returns its result, too.
    """

    @wraps(verb)
    def answered(*args: _Arguments.args, **values: _Arguments.kwargs) -> Changed:
        try:
            return verb(*args, **values)
        except (Replayed, Previewed) as done:
            return done.changed

    return answered


def refuse_repetition(snapshot: Snapshot, request: Request | None) -> None:
    """Raise Replayed for a repeated request; Conflict if its arguments differ from the first."""
    if request is None:
        return
    table = schema.operation
    for row in snapshot.rows(select(table).where(table.c.id == request.id)):
        if row.summary.get("request") != request.digest:
            raise Conflict(
                f"the operation {request.id!r} had other arguments; give each request its own op_id"
            )
        raise Replayed(changed_of(row), row.summary.get("erased") or {})


def changed_of(operation: Any) -> Changed:
    """Return the changes that a row of `operation` recorded."""
    summary: Mapping[str, Any] = operation.summary
    names = [field.name for field in fields(Changed)]
    return Changed(**{name: value for name, value in summary.items() if name in names})
