"""The decisions of one label field: what a change touches is decided again, in its transaction.

One decider at a time writes the decisions of a field: everything here runs inside a transaction of
the store, on a state that has caught up with it. Read, decide, act.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import update

from lookalike.calibration import Calibration, calibrate, calibration_to
from lookalike.columns import Rows
from lookalike.field_state import FieldState, StoredField
from lookalike.matches import NO_LABEL, Matches
from lookalike.model import EventKind, Origin, Reason
from lookalike.policy import (
    DECISION_COLUMNS,
    REASONS,
    Decisions,
    Policy,
    precision,
    suggest_only,
    threshold,
)
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn
from lookalike.stores.search import NOBODY, Ids, nearest

_CALIBRATE_WITH = 2000
_BLOCK_ROWS = 20_000
_REJECTED = REASONS.index(Reason.REJECTED)


@dataclass(slots=True)
class Effects:
    """What the machine changed, by label: the new one, or for `unlabelled` the one that went."""

    labelled: Counter[str] = field(default_factory=Counter)
    relabelled: Counter[str] = field(default_factory=Counter)
    unlabelled: Counter[str] = field(default_factory=Counter)

    def add(self, other: Effects) -> None:
        """Count the effects on another field too."""
        self.labelled += other.labelled
        self.relabelled += other.relabelled
        self.unlabelled += other.unlabelled


class Decider:
    """Decides the documents of one field; see the module's first lines."""

    def __init__(self, stored: StoredField) -> None:
        self.field = stored
        self.state = FieldState(stored)

    def refresh(self, snapshot: Snapshot) -> None:
        """Catch up with everything that was committed since the last call."""
        self.state.refresh(snapshot)

    def statements_changed(
        self, txn: Txn, operation: int, documents: Iterable[int], references: Iterable[int]
    ) -> Effects:
        """Decide again after the statements of some documents changed.

        `documents` are this field's own (their labels, rejections); `references` are those of the
        field it refers to, the same ones in unified mode. Their rows are written already.
        """
        own = self.state.read_documents(txn, _ids(documents))
        changed = _ids(references)
        came, went = self.state.read_references(txn, changed)
        listing = self.state.neighbourhood.listing
        touched = [own, listing(changed), self.state.rows_with_rejections()]
        moved = [own]
        if len(went):
            moved.append(self._search(txn, listing(went)))
        if len(came):
            moved.append(self._place(txn, came))
        return self._decide(txn, operation, _union(*touched, *moved), _union(*moved))

    def documents_arrived(self, txn: Txn, operation: int, documents: Iterable[int]) -> Effects:
        """Search and decide documents whose rows and vectors were just written."""
        rows = self.state.read_documents(txn, _ids(documents))
        self._search(txn, rows)
        return self._decide(txn, operation, rows, rows)

    def decide_all(self, txn: Txn, operation: int) -> Effects:
        """Search and decide everything from scratch."""
        self.state.reload(txn)
        rows = np.arange(len(self.state.columns))
        blocks = (rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS))
        moved = _union(rows[:0], *(self._search(txn, block) for block in blocks))
        self.state.calibration = None
        return self._decide(txn, operation, rows, moved)

    def policy(self) -> Policy:
        """Return the policy in force."""
        limit = self.field.taxonomy.confidence_threshold
        if limit is not None:
            return threshold(limit)
        if self.state.calibration is None:
            return suggest_only
        return precision(self.state.calibration)

    def limit(self) -> float | None:
        """Return the limit in force, or None while there is too little to calibrate with."""
        limit = self.field.taxonomy.confidence_threshold
        if limit is None and self.state.calibration is not None:
            return self.state.calibration.limit
        return limit

    def suggest(self, snapshot: Snapshot, rows: Rows) -> Decisions:
        """Return what the policy in force says of rows; nothing is written."""
        policy, columns = self.policy(), self.state.columns
        near, similarities = columns["near"][rows], columns["similarities"][rows]
        decisions = policy(self.state.matches(near, similarities))
        refused = np.flatnonzero(np.isin(rows, self.state.rows_with_rejections()))
        vectors = self._vectors(snapshot, rows[refused])
        for place, vector in zip(refused.tolist(), vectors, strict=True):
            pk = int(self.state.columns.pks[rows[place]])
            other = policy(self._matches_among(pk, vector))
            if decisions.codes[place] != NO_LABEL and other.codes[0] == NO_LABEL:
                other.reasons[0] = _REJECTED
            decisions.overwrite(place, other)
        return decisions

    def label_without(self, snapshot: Snapshot, document: int, reference: int) -> str | None:
        """Return the label that a document would have if a reference did not vote."""
        row = self.state.columns.rows_of(_ids([document]))
        vector = self._vectors(snapshot, row)[0]
        decisions = self.policy()(self._matches_among(document, vector, without=reference))
        return self.state.name(int(decisions.codes[0]))

    # --- search ---------------------------------------------------------------------------------

    def _vectors(self, snapshot: Snapshot, rows: Rows) -> NDArray[np.float16]:
        return snapshot.vectors(self.field.space, self.state.columns.pks[rows])

    def _search(self, snapshot: Snapshot, rows: Rows) -> Rows:
        state = self.state
        return state.neighbourhood.requery(
            rows, self._vectors(snapshot, rows), state.reference_pks, state.reference_vectors
        )

    def _place(self, snapshot: Snapshot, references: Ids) -> Rows:
        state = self.state
        vectors = state.reference_vectors[np.searchsorted(state.reference_pks, references)]
        return state.neighbourhood.add(
            references,
            vectors,
            lambda vector, floors: snapshot.above_floors(self.field.space, vector, floors),
            lambda rows: self._vectors(snapshot, rows),
        )

    def _matches_among(
        self, pk: int, vector: NDArray[np.float16], without: int = NOBODY
    ) -> Matches:
        """Return the nearest references whose label the document has not been refused."""
        state = self.state
        banned = [state.code(name) for name in state.rejected.get(pk, ())]
        allowed = ~np.isin(state.reference_codes, banned)
        allowed &= (state.reference_pks != pk) & (state.reference_pks != without)
        return state.matches(
            *nearest(
                vector[None, :],
                state.reference_vectors[allowed],
                state.reference_pks[allowed],
                self.field.taxonomy.top_k,
            )
        )

    # --- decide and act -------------------------------------------------------------------------

    def _decide(self, txn: Txn, operation: int, touched: Rows, moved: Rows) -> Effects:
        columns = self.state.columns
        rows = np.arange(len(columns)) if self._recalibrate(txn) else touched
        stands = columns["stands"][rows]
        rows, standing = rows[~stands], rows[stands]
        decisions = self.suggest(txn, rows)
        changed = self._differs(rows, decisions)
        effects, events = self._count(operation, rows, decisions)
        self._take(rows, decisions)
        self._take(standing, _nothing(len(standing)), keep_label=True)
        for block in _blocks(_union(rows[changed], moved)):
            self._write(txn, operation, block)
        for start in range(0, len(events), _BLOCK_ROWS):
            txn.insert(schema.event, events[start : start + _BLOCK_ROWS])
        self.state.committed(operation)
        return effects

    def _recalibrate(self, txn: Txn) -> bool:
        """Learn from the references again; return whether that changed the policy."""
        if self.field.taxonomy.confidence_threshold is not None:
            return False
        calibration = self._learn()
        if calibration == self.state.calibration:
            return False
        self.state.calibration = calibration
        chosen = update(schema.field).where(schema.field.c.pk == self.field.pk)
        txn.execute(chosen.values(calibration=calibration_to(calibration)))
        return True

    def _learn(self) -> Calibration | None:
        state, columns = self.state, self.state.columns
        sample = np.arange(len(state.reference_pks))
        if len(sample) > _CALIBRATE_WITH:
            sample = sample[:: -(-len(sample) // _CALIBRATE_WITH)]
        pks, codes = state.reference_pks[sample], state.reference_codes[sample]
        vectors = state.reference_vectors[sample]
        everyone = (state.reference_vectors, state.reference_pks, self.field.taxonomy.top_k)
        own = nearest(vectors, *everyone, query_ids=pks)
        waiting = np.flatnonzero(~columns["stands"])
        pool = state.matches(columns["near"][waiting], columns["similarities"][waiting])
        return calibrate(
            codes,
            state.matches(*own),
            self._leave_class_out(vectors, codes),
            pool,
            self.field.taxonomy.target_precision,
        )

    def _leave_class_out(self, vectors: NDArray[np.float16], codes: NDArray[np.int32]) -> Matches:
        state, k = self.state, self.field.taxonomy.top_k
        near = np.full((len(codes), k), NOBODY, np.int64)
        similarities = np.full((len(codes), k), -2, np.float32)
        for code in np.unique(codes):
            rows, others = codes == code, state.reference_codes != code
            near[rows], similarities[rows] = nearest(
                vectors[rows], state.reference_vectors[others], state.reference_pks[others], k
            )
        return state.matches(near, similarities)

    def _differs(self, rows: Rows, decisions: Decisions) -> NDArray[np.bool_]:
        columns = self.state.columns
        differs = np.zeros(len(rows), bool)
        for name in DECISION_COLUMNS:
            old, new = columns[name][rows], getattr(decisions, name)
            same = old == new
            if old.dtype.kind == "f":
                same |= np.isnan(old) & np.isnan(new)
            differs |= ~same
        return differs

    def _count(
        self, operation: int, rows: Rows, decisions: Decisions
    ) -> tuple[Effects, list[dict[str, object]]]:
        state, effects, events = self.state, Effects(), []
        old = state.columns["codes"][rows]
        for place in np.flatnonzero(old != decisions.codes).tolist():
            was, now = state.name(int(old[place])), state.name(int(decisions.codes[place]))
            if now is None:
                effects.unlabelled[str(was)] += 1
            else:
                (effects.labelled if was is None else effects.relabelled)[now] += 1
            events.append(
                {
                    "operation_pk": operation,
                    "kind": EventKind.DECIDED,
                    "field_pk": self.field.pk,
                    "document_pk": int(state.columns.pks[rows[place]]),
                    "label": now,
                    "origin": Origin.AUTO,
                }
            )
        return effects, events

    def _take(self, rows: Rows, decisions: Decisions, *, keep_label: bool = False) -> None:
        for name in DECISION_COLUMNS:
            if not (keep_label and name == "codes"):
                self.state.columns[name][rows] = getattr(decisions, name)

    def _write(self, txn: Txn, operation: int, rows: Rows) -> None:
        """Write lists and decisions; a label that stands is not the machine's to write."""
        stands = self.state.columns["stands"][rows]
        txn.update(schema.standing, self._stored_rows(operation, rows[stands]))
        decided = self._stored_rows(operation, rows[~stands])
        codes = self.state.columns["codes"][rows[~stands]].tolist()
        for row, code in zip(decided, codes, strict=True):
            row["label"] = self.state.name(code)
            row["origin"] = None if code == NO_LABEL else Origin.AUTO
        txn.update(schema.standing, decided)

    def _stored_rows(self, operation: int, rows: Rows) -> list[dict[str, object]]:
        state = self.state
        columns = {name: state.columns[name][rows].tolist() for name in DECISION_COLUMNS}
        near, similarities = state.columns["near"][rows], state.columns["similarities"][rows]
        stored: list[dict[str, object]] = []
        for place, pk in enumerate(state.columns.pks[rows].tolist()):
            reason, source = columns["reasons"][place], columns["sources"][place]
            stored.append(
                {
                    "field_pk": self.field.pk,
                    "document_pk": pk,
                    "confidence": _stored_number(columns["confidence"][place]),
                    "margin": _stored_number(columns["margin"][place]),
                    "runner_up": state.name(columns["runner_up"][place]),
                    "reason": None if reason < 0 else REASONS[reason],
                    "source_pk": None if source == NOBODY else source,
                    "near_pks": near[place].tobytes(),
                    "near_similarities": similarities[place].tobytes(),
                    "revision": operation,
                }
            )
        return stored


def _stored_number(value: float) -> float | None:
    return None if value != value else value


def _nothing(count: int) -> Decisions:
    """Return the decisions of documents whose label stands without one."""
    numbers = np.full(count, np.nan, np.float32)
    none = np.full(count, NO_LABEL, np.int32)
    return Decisions(
        codes=none,
        confidence=numbers,
        margin=numbers,
        runner_up=none,
        reasons=np.full(count, -1, np.int8),
        sources=np.full(count, NOBODY, np.int64),
    )


def _ids(pks: Iterable[int]) -> Ids:
    return np.array(sorted(set(pks)), np.int64)


def _union(*rows: Rows) -> Rows:
    return np.unique(np.concatenate(rows))


def _blocks(rows: Rows) -> Iterator[Rows]:
    for start in range(0, len(rows), _BLOCK_ROWS):
        yield rows[start : start + _BLOCK_ROWS]
