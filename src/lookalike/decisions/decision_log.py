"""The log of automatic decisions by operation, complete enough to restore them exactly.

A line holds the decisions that an operation changed in a field, as packed columns, and the decision
rule if it changed. Lines are only added; only names of erased labels are removed. If a store is
older than its log, the first line holds the state at that time.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Text, cast, select, update

from lookalike.classifier.calibration.decision_rule import DecisionRule, decision_rule_to
from lookalike.classifier.policies import DECISION_COLUMNS, REASONS
from lookalike.decisions.field.columns import BLANKS, Columns, Rows
from lookalike.decisions.field.state import FieldState
from lookalike.labels import NO_LABEL, Codes
from lookalike.model import Reason
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn

_PKS = "pks"
_BLANKS = {name: BLANKS[name] for name in DECISION_COLUMNS}
_KINDS = {_PKS: np.dtype("<i8")} | {n: b.dtype.newbyteorder("<") for n, b in _BLANKS.items()}
_ROW_BYTES = sum(kind.itemsize for kind in _KINDS.values())
_CODED = ("codes", "runner_up")
_QUICK = 1


class DecisionLog:
    """The log of one field, for its decider. Drop this object after a rollback."""

    def __init__(self, field_pk: int) -> None:
        self._field_pk = field_pk
        self._has_begun = False

    def begin(self, txn: Txn, operation: int, state: FieldState, rule: DecisionRule | None) -> None:
        """Before the first decision, log the stored decisions, unless the log has begun."""
        if self._has_begun:
            return
        table, stored = schema.decided, np.flatnonzero(state.columns["stored"])
        query = select(table.c.pk).where(table.c.field_pk == self._field_pk).limit(1)
        self._has_begun = bool(txn.rows(query))
        if not self._has_begun and len(stored):
            self._has_begun = True
            columns, codes = state.columns, state.codes
            log(txn, self._field_pk, operation, columns, stored, codes, [rule])

    def add(
        self, txn: Txn, operation: int, state: FieldState, rows: Rows, before: DecisionRule | None
    ) -> None:
        """Log the decisions of rows, and the decision rule if it differs from `before`."""
        after = state.rule
        rules = [after] if _is_another(before, after) else []
        log(txn, self._field_pk, operation, state.columns, rows, state.codes, rules)


def log(
    txn: Txn,
    field_pk: int,
    operation: int,
    columns: Columns,
    rows: Rows,
    codes: Codes,
    rules: Sequence[DecisionRule | None] = (),
) -> None:
    """Add a line: the decisions in `rows` of `columns`, and the new decision rule if there is one.

    A label that a person or an import gave is not an automatic decision and is not logged.
    """
    if len(rows) == 0 and not rules:
        return
    taken = {name: columns[name][rows] for name in DECISION_COLUMNS}
    taken["codes"] = np.where(columns["settled"][rows], NO_LABEL, taken["codes"])
    used = np.unique(np.concatenate([taken[name] for name in _CODED]))
    used = used[used != NO_LABEL]
    for name in _CODED:
        own = np.searchsorted(used, taken[name]).astype(np.int32)
        taken[name] = np.where(taken[name] == NO_LABEL, NO_LABEL, own)
    written = [None if one is None else decision_rule_to(one) for one in rules]
    txn.insert_one(
        schema.decided,
        field_pk=field_pk,
        operation_pk=operation,
        standard=written or None,
        labels=[codes.name(code) for code in used.tolist()],
        rows=_packed({_PKS: columns.pks[rows], **taken}),
    )


def log_unplaced(
    txn: Txn, field_pk: int, operation: int, standing: Sequence[int], failed: Sequence[int]
) -> None:
    """Add a line for documents without a vector: no decision, the `failed` ones with a reason."""
    columns = Columns(BLANKS)
    at = columns.place(np.array([*standing, *failed], np.int64))
    columns["reasons"][at[len(standing) :]] = REASONS.index(Reason.EXTRACTION_FAILED)
    log(txn, field_pk, operation, columns, np.arange(len(columns)), Codes())


def _is_another(before: DecisionRule | None, after: DecisionRule | None) -> bool:
    """Return whether decisions by one rule may differ from those by the other."""
    if before is None or after is None:
        return before is not after
    return replace(before, moved=0) != replace(after, moved=0)


@dataclass(frozen=True, slots=True)
class LoggedDecisions:
    """The decisions of a field at some time, by rising document, and the decision rule.

    The columns are those of `Decisions` and `pks`; `operations` int64 (n,) is the operation of each
    decision. `rule` is the decision rule as stored; `is_complete` is False if the log began later.
    """

    columns: Columns
    codes: Codes
    rule: Mapping[str, Any] | None
    is_complete: bool


def decisions_at(snapshot: Snapshot, field_pk: int, position: int) -> LoggedDecisions:
    """Return the decisions of a field after an operation."""
    columns = Columns({**_BLANKS, "operations": np.array(0, np.int64)})
    codes, rule, is_complete = Codes(), None, False
    for line in _lines(snapshot, field_pk, position):
        is_complete = True
        rule = line.standard[0] if line.standard else rule
        if isinstance(line.labels, Mapping):
            _rename(columns, codes, line.labels, line.operation_pk)
            continue
        taken = _unpacked(line.rows)
        at = columns.place(taken[_PKS])
        own = np.array([codes.code(name) for name in line.labels] + [NO_LABEL], np.int32)
        for name in DECISION_COLUMNS:
            columns[name][at] = own[taken[name]] if name in _CODED else taken[name]
        columns["operations"][at] = line.operation_pk
    return LoggedDecisions(columns, codes, rule, is_complete)


def log_names(txn: Txn, field_pk: int, operation: int, names: Mapping[str, str], rule: Any) -> None:
    """Add a line: labels have new `names` from then on; `rule` is the decision rule as stored."""
    line = {"standard": [rule], "labels": dict(names), "rows": b""}
    txn.insert_one(schema.decided, field_pk=field_pk, operation_pk=operation, **line)


def erase_from_log(txn: Txn, field_pk: int, label: str, before: int | None) -> None:
    """Erase the name of a label; documents that had it then show no label.

    With `before`, an operation, erase only lines up to that operation.
    """
    table = schema.decided
    named = json.dumps(label)[1:-1]
    for column in (table.c.labels, table.c.standard):
        found = cast(column, Text).contains(named, autoescape=True)
        query = select(table.c.pk, column.label("value")).where(table.c.field_pk == field_pk, found)
        if before is not None:
            query = query.where(table.c.operation_pk <= before)
        for row in txn.rows(query):
            value = _without(label, row.value) if column is table.c.labels else [None]
            changed = update(table).where(table.c.pk == row.pk)
            txn.execute(changed.values({column.name: value}))


def _without(label: str, labels: Any) -> Any:
    if isinstance(labels, Mapping):
        return {old: new for old, new in labels.items() if label not in (old, new)}
    return [None if one == label else one for one in labels]


def _rename(columns: Columns, codes: Codes, names: Mapping[str, str], operation: int) -> None:
    """Apply new label names to decisions; `operation` is recorded for those that changed."""
    known = codes.names
    own = np.array([*(codes.code(names.get(name, name)) for name in known), NO_LABEL], np.int32)
    moved = np.flatnonzero(own[:-1] != np.arange(len(own) - 1))
    touched = np.zeros(len(columns), bool)
    for name in _CODED:
        touched |= np.isin(columns[name], moved)
        columns[name][:] = own[columns[name]]
    columns["operations"][touched] = operation


def _lines(snapshot: Snapshot, field_pk: int, position: int) -> Iterator[Any]:
    table = schema.decided
    here = (table.c.field_pk == field_pk) & (table.c.operation_pk <= position)
    pks = [row.pk for row in snapshot.rows(select(table.c.pk).where(here).order_by(table.c.pk))]
    for pk in pks:  # one line at a time, because all together may be large
        yield snapshot.rows(select(table).where(table.c.pk == pk))[0]


def _packed(columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Return columns as bytes, grouped by byte position, which compresses best."""
    parts = []
    for name, kind in _KINDS.items():
        values = columns[name].astype(kind)
        values = np.diff(values, prepend=values.dtype.type(0)) if name == _PKS else values
        parts.append(values.view(np.uint8).reshape(len(values), kind.itemsize).T.tobytes())
    return zlib.compress(b"".join(parts), _QUICK)


def _unpacked(packed: bytes) -> dict[str, NDArray[Any]]:
    data = zlib.decompress(packed)
    count, start, columns = len(data) // _ROW_BYTES, 0, {}
    for name, kind in _KINDS.items():
        size = count * kind.itemsize
        block = np.frombuffer(data, np.uint8, size, start).reshape(kind.itemsize, count)
        columns[name] = np.ascontiguousarray(block.T).view(kind).reshape(count)
        start += size
    columns[_PKS] = np.cumsum(columns[_PKS])
    return columns
