"""Once: what a client asks for again, because no answer came, is done once and answered again."""

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
    """What a client calls an operation before it is done, and a digest of all that it asks for."""

    id: str
    digest: str

    @classmethod
    def of(cls, id: str, *asked: Any) -> Request | None:
        """Return the request that a client named `id`; None where it gave no name."""
        if not id:
            return None
        if not _ID.fullmatch(id):
            raise BadInput(
                f"{id[:200]!r} cannot name an operation: use up to 100 letters, digits and _.:-"
            )
        text = json.dumps(asked, sort_keys=True, default=str)
        return cls(id, hashlib.sha256(text.encode()).hexdigest())


class Replayed(Exception):
    """The operation was done before; `changed` is what it changed then, `erased` what it erased."""

    def __init__(self, changed: Changed, erased: Mapping[str, int]) -> None:
        super().__init__(f"operation {changed.operation} was done before")
        self.changed = changed
        self.erased = erased


class Previewed(Exception):
    """Raised inside an operation, nothing of it is kept: `changed` is what it would change."""

    def __init__(self, changed: Changed) -> None:
        super().__init__("only a preview")
        self.changed = replace(changed, operation="", revision=0)


def once(verb: Callable[_Arguments, Changed]) -> Callable[_Arguments, Changed]:
    """Let a verb answer as it did the first time, when it is asked for again.

    What is only a preview is answered as well.
    """

    @wraps(verb)
    def answered(*args: _Arguments.args, **values: _Arguments.kwargs) -> Changed:
        try:
            return verb(*args, **values)
        except (Replayed, Previewed) as done:
            return done.changed

    return answered


def refuse_repetition(snapshot: Snapshot, request: Request | None) -> None:
    """Raise AlreadyDone for a request that was done; Conflict when it asked for something else."""
    if request is None:
        return
    table = schema.operation
    for row in snapshot.rows(select(table).where(table.c.id == request.id)):
        if row.summary.get("request") != request.digest:
            raise Conflict(
                f"the operation {request.id!r} was another one; give each a name of its own"
            )
        raise Replayed(changed_of(row), row.summary.get("erased") or {})


def changed_of(operation: Any) -> Changed:
    """Return what a row of `operation` says that it changed."""
    summary: Mapping[str, Any] = operation.summary
    names = [field.name for field in fields(Changed)]
    return Changed(**{name: value for name, value in summary.items() if name in names})
