"""The in-memory state of one label field: arrays read from its rows, kept up to date.

The store holds statements and decisions; the lists of nearest references are derived from vectors
and labels and are kept only here. All of it may be dropped at any time: it is computed again,
faster with the cache file that `save_cache` writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, Select, select

from lookalike.catalog.fields import StoredField
from lookalike.catalog.image_groups import HypotheticalItem, ImageGroups, low_quality_among
from lookalike.catalog.references import (
    epoch_of,
    newest_revision,
    operation_id,
    read_references,
    voting_documents,
    written_since,
)
from lookalike.classifier.calibration.decision_rule import DecisionRule, current_decision_rule
from lookalike.classifier.graph.arrays import union, without
from lookalike.classifier.graph.search import Floats, Ids, Matches, ReferenceArrays
from lookalike.classifier.policies import least_similarity
from lookalike.content.files import read_cache, write_cache
from lookalike.decisions.field.columns import BLANKS, Columns, Rows, keep_rows, stored_rows
from lookalike.decisions.field.neighbour_lists import NeighbourLists
from lookalike.decisions.field.rejections import Rejections
from lookalike.labels import NO_LABEL, Codes
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, StoredSpace, conditions

_LOAD_ROWS = 20_000
_SEARCH_ROWS = 20_000
_RESTRICTED_ROWS = 1000
_NO_IDS: Ids = np.empty(0, np.int64)
_FORMAT = 6
_ROWS_LIKE_A_SCAN = 16
"""Reading all rows again costs as much as this number of scans for one reference."""


class FieldState:
    """Documents, lists, decisions, rejections and references of one field, in memory.

    `columns` holds those of `NeighbourLists` and of the stored rows. `changes` counts the answers
    that the last `reload` changed; `confirmed` (pks, rising) are the references whose label a
    person gave again. `cache_file` stores the columns for the next process.
    """

    def __init__(self, stored: StoredField, cache_file: Path) -> None:
        self.field = stored
        self.codes = Codes()
        self.columns = Columns(NeighbourLists.blanks(stored.taxonomy.top_k) | BLANKS)
        least = least_similarity(stored.taxonomy.confidence_threshold)
        self.neighbour_lists = NeighbourLists(self.columns, least)
        self.rejected = Rejections(stored.pk)
        self.image_groups = ImageGroups()
        self.references = ReferenceArrays.none(stored.reference_space.dimension)
        self.rule: DecisionRule | None = None
        self.seen = -1
        self.changes = 0
        self.confirmed = _NO_IDS
        self._epoch = -1
        self._cache_file = cache_file
        self._unsaved_cost = 0.0

    def refresh(self, snapshot: Snapshot) -> bool:
        """Take over everything that was committed since the last call.

        Return whether anything changed: another process has written.
        """
        if self._epoch < 0:
            self._load_cache(snapshot)
        field, epoch = self.field, epoch_of(snapshot, self.field.pk)
        erased = self._epoch not in (-1, epoch)
        if erased:
            self._forget_erased(snapshot)
        if self.seen < 0 or erased:
            now = voting_documents(snapshot, field.reference_field_pk)
            references = np.union1d(self.references.pks, now)
        else:
            references = written_since(snapshot, field.reference_field_pk, self.seen)
        documents = written_since(snapshot, field.pk, self.seen)
        newest = max(newest_revision(snapshot, pk) for pk in (field.pk, field.reference_field_pk))
        is_behind = bool(len(documents) or len(references) or self.seen < 0)
        if is_behind:
            self.reload(snapshot, documents, references)
        self.changes = 0
        self._epoch, self.seen = epoch, max(self.seen, newest)
        query = select(schema.field.c.standard).where(schema.field.c.pk == field.pk)
        self.rule = current_decision_rule(snapshot.rows(query)[0].standard)
        return is_behind

    def reload(self, snapshot: Snapshot, documents: Ids, references: Ids) -> Rows:
        """Read the rows of documents and of references again.

        Return the rows to decide again: their statement, their list or a label in it has changed.
        """
        restricted, new = self.rejected.pks, self._new_categories(documents)
        fresh = self._read_documents(snapshot, documents)
        update = read_references(
            snapshot,
            self.field.reference_field_pk,
            self.field.reference_space,
            self.codes,
            self.references,
            references,
        )
        had_references = len(self.references) > 0
        confirmed, self.confirmed = self.confirmed, _confirmed(snapshot, self.field)
        self.changes = len(np.setxor1d(new, self._new_categories(documents)))
        if not np.array_equal(confirmed, self.confirmed):
            self.changes += len(self.references)  # suspect references count now: refit
        self.changes += update.changed_from(self.references)
        # If the references are in another field, answers here are only used for calibration.
        self.changes += 0 if self.field.unified else len(documents)
        self.references = update.references
        listing = self.neighbour_lists.listing
        left, relabelled = listing(update.removed), listing(update.kept)
        again = self.columns.rows_of(np.union1d(restricted, self.rejected.pks))
        placed = fresh[:0]
        if len(fresh) < len(self.columns):
            placed = self._place(snapshot, update.added)
        moved = self.search(snapshot, union(fresh, again, left))
        touched = len(update.added) + len(update.removed)
        self._count_unsaved(touched, union(placed, moved, self.columns.rows_of(documents)))
        if had_references != (len(self.references) > 0):
            return np.arange(len(self.columns))
        return union(self.columns.rows_of(documents), relabelled, left, again, placed, moved)

    def add_documents(self, snapshot: Snapshot, documents: Ids) -> Rows:
        """Add rows for documents whose vectors were just written; return the rows of all.

        Their rows in the store may be missing, or may exist from when they had no vector.
        """
        self._read_documents(snapshot, np.setdiff1d(documents, self.columns.pks))
        table = schema.embedding
        query = select(table.c.slot).where(table.c.space_pk == self.field.space.pk)
        query = query.order_by(table.c.document_pk)
        chosen = conditions(table.c.document_pk, documents)
        slots = [snapshot.numbers(query.where(condition))[:, 0] for condition in chosen]
        rows = self.add_rows(snapshot, documents, np.concatenate([_NO_IDS, *slots]))
        self._count_unsaved(0, rows)
        return rows

    def add_rows(self, snapshot: Snapshot, documents: Ids, slots: Ids) -> Rows:
        """Add rows for documents whose vectors are in `slots`; return them."""
        rows = self.columns.place(documents)
        self.neighbour_lists.place(rows, slots)
        self._read_quality(snapshot, documents)
        self._exclude_taken_labels(documents)
        self.search(snapshot, rows)
        return rows

    def search(self, snapshot: Snapshot, rows: Rows) -> Rows:
        """Search the nearest references of rows from scratch; return rows whose list changed."""
        restricted = self.rows_with_rejections()
        restricted = restricted[np.isin(restricted, rows)]
        references, search, moved = self.references, self.neighbour_lists.requery, [rows[:0]]
        for block in _blocks(without(rows, restricted), _SEARCH_ROWS):
            unseen = np.empty((len(block), 0), np.float16)  # not read without references
            vectors = self.vectors(snapshot, block) if len(references) else unseen
            moved.append(search(block, vectors, references.pks, references.vectors))
        for block in _blocks(restricted, _RESTRICTED_ROWS):
            vectors = self.vectors(snapshot, block)
            excluded = np.stack([~self.allowed(pk) for pk in self.columns.pks[block].tolist()])
            moved.append(search(block, vectors, references.pks, references.vectors, excluded))
        return union(*moved)

    def vectors(self, snapshot: Snapshot, rows: Rows) -> NDArray[np.float16]:
        """Return the vectors of rows, float16 (n, d)."""
        return snapshot.vectors(self.field.space, self.columns.pks[rows])

    def committed(self, operation: int, rows: Rows) -> None:
        """Record that the state includes `operation`, which changed `rows`."""
        self.seen = max(self.seen, operation)
        self._count_unsaved(0, rows)

    def settled_among(self, pks: Ids) -> Ids:
        """Return those of `pks` that are not decided automatically."""
        rows = self.columns.rows_of(pks)
        return np.asarray(self.columns.pks[rows[self.columns["settled"][rows]]])

    def forget_documents(self, pks: Ids) -> None:
        """Remove documents before they are erased."""
        self.neighbour_lists.release(self.columns.rows_of(pks))
        self.columns.remove(pks)
        self.rejected.forget(pks)
        self.image_groups.forget(pks.tolist())

    def with_same_image(self, rows: Rows) -> Rows:
        """Return rows and, in an exclusive field, those of the other items of their images."""
        if not self.field.taxonomy.exclusive:
            return rows
        return self.columns.rows_of(self.image_groups.of(self.columns.pks[rows]))

    @property
    def undecided(self) -> NDArray[np.bool_]:
        """Return which rows are decided automatically (n,)."""
        return np.asarray(~self.columns["settled"] & ~self.columns["low_quality"])

    def suspects(self) -> Ids:
        """Return the references (pks, rising) that look wrong and that nobody confirmed."""
        suspects = () if self.rule is None else self.rule.suspects
        still = [pk for pk, label in suspects if self._is_still(pk, label)]
        return np.array(sorted(still), np.int64)

    def trusted_references(self) -> ReferenceArrays:
        """Return the references without the suspect ones."""
        return self.references.without(self.suspects())

    def _is_still(self, pk: int, label: str) -> bool:
        """Return whether a reference still has a label and was not confirmed."""
        place = int(np.searchsorted(self.references.pks, pk))
        if place == len(self.references) or self.references.pks[place] != pk:
            return False
        same = self.codes.name(int(self.references.codes[place])) == label
        return same and pk not in self.confirmed

    def matches(self, rows: Rows) -> Matches:
        """Return the lists of rows as matches with label codes."""
        lists = self.neighbour_lists
        return self.references.matches(lists.near[rows], lists.similarities[rows])

    def _new_categories(self, documents: Ids) -> Ids:
        """Return those of the documents that a person marked as a new category."""
        rows = self.columns.rows_of(documents)
        new = self.columns["settled"][rows] & (self.columns["codes"][rows] == NO_LABEL)
        return np.asarray(self.columns.pks[rows[new]])

    def allowed(self, pk: int) -> NDArray[np.bool_]:
        """Return which references have a label that is not excluded for the document."""
        return self.rejected.allowed(pk, self.references, self.codes)

    def may_match(self, rows: Rows) -> NDArray[np.bool_]:
        """Return for each of rows whether any reference, near or far, may be used."""
        pks, references = self.columns.pks[rows], self.references.pks
        found = np.full(len(rows), len(references)) > np.isin(pks, references)
        for place in np.flatnonzero(np.isin(rows, self.rows_with_rejections())).tolist():
            others = references != pks[place]
            found[place] = bool((self.allowed(int(pks[place])) & others).any())
        return found

    def rows_with_rejections(self) -> Rows:
        """Return the rows of documents that cannot have some label."""
        return self.columns.rows_of(self.rejected.pks)

    # --- rows of the store ----------------------------------------------------------------------

    def _read_documents(self, snapshot: Snapshot, pks: Ids) -> Rows:
        """Read the rows of documents; return those that are new or have another vector."""
        stored = stored_rows(self.field)
        fresh = [
            self._keep(snapshot.tuples(stored.where(chosen)))
            for block in _blocks(pks, _LOAD_ROWS)
            for chosen in conditions(schema.standing.c.document_pk, block)
        ]
        self.rejected.read(snapshot, pks)
        # Adding documents moves rows, so the new ones are collected by pk.
        new = np.concatenate([_NO_IDS, *fresh])
        self._read_quality(snapshot, new)
        self._exclude_taken_labels(pks)
        return self.columns.rows_of(new)

    def _read_quality(self, snapshot: Snapshot, pks: Ids) -> None:
        """Read the quality of new documents, and which are parts of the same image."""
        taxonomy, home = self.field.taxonomy, self.field.collection_pk
        if not taxonomy.low_quality:
            rows = self.columns.rows_of(pks)
            low = low_quality_among(snapshot, home, pks)
            self.columns["low_quality"][rows] = np.isin(self.columns.pks[rows], low)
        if taxonomy.exclusive:
            self.image_groups.read(snapshot, home, pks)

    def _exclude_taken_labels(self, pks: Ids) -> None:
        """Exclude for each document the labels given to other items of its image."""
        if not self.field.taxonomy.exclusive:
            return
        same_image = self.image_groups.of(pks)
        for pk in same_image.tolist():
            self.rejected.set_taken(pk, set())
        for group in self.image_groups.together(same_image):
            rows = self.columns.rows_of(np.array(group, np.int64))
            given = self.columns["settled"][rows] & (self.columns["codes"][rows] != NO_LABEL)
            names = {
                pk: str(self.codes.name(code))
                for pk, code in zip(
                    self.columns.pks[rows[given]].tolist(),
                    self.columns["codes"][rows[given]].tolist(),
                    strict=True,
                )
            }
            for pk in group:
                self.rejected.set_taken(pk, {name for other, name in names.items() if other != pk})

    def _keep(self, rows: Sequence[Any]) -> Ids:
        """Copy rows into columns; return the documents that are new or have another slot."""
        documents, slots = keep_rows(self.columns, self.codes, rows)
        at = self.columns.rows_of(documents)
        fresh = documents[self.columns["slots"][at] != slots]
        self.neighbour_lists.place(at, slots)
        return np.asarray(fresh)

    def _place(self, snapshot: Snapshot, references: Ids) -> Rows:
        return self.neighbour_lists.add(
            references,
            self.references.vectors_of(references),
            lambda vector, floors: snapshot.above_floors(self.field.space, vector, floors),
            lambda rows: self.vectors(snapshot, rows),
        )

    def _forget_erased(self, snapshot: Snapshot) -> None:
        table = schema.standing
        query = select(table.c.document_pk).where(table.c.field_pk == self.field.pk)
        self.forget_documents(np.setdiff1d(self.columns.pks, snapshot.numbers(query)[:, 0]))

    # --- memory ---------------------------------------------------------------------------------

    def unsaved_exceeds(self, beyond: float) -> bool:
        """Return whether the work missing in the cache file costs more than `beyond`.

        The unit is one scan of the space for one reference.
        """
        return self._unsaved_cost > beyond and len(self.references) > 0

    def save_cache(self, snapshot: Snapshot) -> None:
        """Write the cache file. Everything here must be committed."""
        arrays = {
            **self.columns.arrays(),
            "reference_pks": self.references.pks,
            "reference_codes": self.references.codes,
            "rejected": self.rejected.as_pairs(self.codes),
        }
        in_use = [self.columns["codes"], self.columns["runner_up"], self.references.codes]
        used = set(np.unique(np.concatenate([*in_use, arrays["rejected"][:, 1]])).tolist())
        names = enumerate(self.codes.names)
        mark = {
            "labels": [name if code in used else "" for code, name in names],
            "seen": self.seen,
            "operation": operation_id(snapshot, self.seen),
            "epoch": self._epoch,
        }
        write_cache(self._cache_file, self._identity() | mark, arrays)
        self._unsaved_cost = 0.0

    def delete_cache(self) -> None:
        """Delete the cache file."""
        self._cache_file.unlink(missing_ok=True)
        self._unsaved_cost = np.inf

    def _count_unsaved(self, references: int, rows: Rows) -> None:
        share = len(rows) / max(len(self.columns), 1)
        self._unsaved_cost += references + _ROWS_LIKE_A_SCAN * share

    def _identity(self) -> dict[str, Any]:
        """Return the JSON values that a cache file must match to be used."""
        field = self.field
        identity = {
            "format": _FORMAT,
            "field": field.pk,
            "reference_field": field.reference_field_pk,
            "top_k": field.taxonomy.top_k,
            "confidence_threshold": field.taxonomy.confidence_threshold,
            "space": asdict(field.space),
            "reference_space": asdict(field.reference_space),
            "since": field.since,
        }
        read_back: dict[str, Any] = json.loads(json.dumps(identity))
        return read_back

    def _load_cache(self, snapshot: Snapshot) -> None:
        """Load the cache file if it belongs to this store and to its past."""
        kept = read_cache(self._cache_file)
        if kept is None:
            return
        mark, arrays = kept
        expected = self._identity() | {
            "epoch": epoch_of(snapshot, self.field.pk),
            "operation": operation_id(snapshot, mark.get("seen", -1)),
        }
        if any(mark.get(name) != value for name, value in expected.items()):
            return
        self._epoch, self.seen = mark["epoch"], mark["seen"]
        self.codes = Codes(mark["labels"])
        self.columns.restore(arrays)
        self.neighbour_lists.restore()
        self.rejected.from_pairs(arrays["rejected"], self.codes)
        if self.field.taxonomy.exclusive:
            self.image_groups.read(snapshot, self.field.collection_pk, self.columns.pks)
            self._exclude_taken_labels(self.columns.pks)
        self.references = self._cached_references(
            snapshot, arrays["reference_pks"], arrays["reference_codes"]
        )

    def _cached_references(
        self, snapshot: Snapshot, pks: Ids, codes: NDArray[np.int32]
    ) -> ReferenceArrays:
        """Return the references of the cache file; those written since get a zero vector.

        The vector of such a reference may have changed, so it counts as removed and added again.
        """
        space = self.field.reference_space
        since = written_since(snapshot, self.field.reference_field_pk, self.seen)
        same = ~np.isin(pks, since)
        vectors = np.zeros((len(pks), space.dimension), np.float16)
        vectors[same] = snapshot.vectors(space, pks[same])
        return ReferenceArrays(pks, codes, vectors)


def _confirmed(snapshot: Snapshot, field: StoredField) -> Ids:
    """Return the documents (pks, rising) whose label a person gave again."""
    table = schema.standing
    query = select(table.c.document_pk).where(table.c.field_pk == field.reference_field_pk)
    query = query.where(table.c.confirmed.is_(True)).order_by(table.c.document_pk)
    return snapshot.numbers(query)[:, 0]


def _blocks(rows: Rows, size: int) -> Iterator[Rows]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


# --- what-if: state with documents that are not there --------------------------------------------


@dataclass(frozen=True, slots=True)
class WithMore:
    """A snapshot that also has the vectors of documents that are not in the store.

    `more` float16 (n, d) are the vectors of the documents `pks` (n,), which are rising and above
    all that `space` has. Rows and searches are those of the snapshot alone.
    """

    snapshot: Snapshot
    space: StoredSpace
    pks: Ids
    more: NDArray[np.float16]

    def rows(self, select: Select[Any]) -> Sequence[Row[Any]]:
        """Return all rows of a statement."""
        return self.snapshot.rows(select)

    def tuples(self, select: Select[Any]) -> list[tuple[Any, ...]]:
        """Return all rows of a statement over text and numbers, as the driver gives them."""
        return self.snapshot.tuples(select)

    def numbers(self, select: Select[Any]) -> Ids:
        """Return all rows of a statement over whole numbers, int64 (n, columns)."""
        return self.snapshot.numbers(select)

    def vectors(self, space: StoredSpace, document_pks: Ids) -> NDArray[np.float16]:
        """Return the vectors of documents, float16 (n, dimension), in the order asked."""
        if space != self.space:
            return self.snapshot.vectors(space, document_pks)
        ours = np.isin(document_pks, self.pks)
        vectors = np.empty((len(document_pks), space.dimension), np.float16)
        vectors[~ours] = self.snapshot.vectors(space, document_pks[~ours])
        vectors[ours] = self.more[np.searchsorted(self.pks, document_pks[ours])]
        return vectors

    def nearest(
        self, space: StoredSpace, queries: NDArray[np.floating], k: int, among: Ids
    ) -> tuple[Ids, Floats]:
        """Return the k nearest of `among`: pks and similarities (n, k)."""
        return self.snapshot.nearest(space, queries, k, among)

    def above(
        self, space: StoredSpace, vector: NDArray[np.float16], floor: float
    ) -> tuple[Ids, Floats]:
        """Return every document of the space with similarity ≥ `floor`."""
        return self.snapshot.above(space, vector, floor)

    def slots(self, space: StoredSpace) -> tuple[Ids, Ids]:
        """Return the slots in use and their documents' pks."""
        return self.snapshot.slots(space)

    def above_floors(
        self, space: StoredSpace, vector: NDArray[np.float16], floors: Floats
    ) -> tuple[Ids, Floats]:
        """Return the slots whose similarity is ≥ the floor of that slot."""
        return self.snapshot.above_floors(space, vector, floors)

    def time_s(self) -> float | None:
        """Return the time of the database's own clock."""
        return self.snapshot.time_s()


def hypothetical_state(
    state: FieldState, snapshot: Snapshot, documents: Ids, unseen: Mapping[int, HypotheticalItem]
) -> tuple[FieldState, Rows]:
    """Return a copy of the state with documents added, and their rows.

    The documents are above all other pks. `snapshot` has their vectors; `unseen` describes those in
    it. The result shares arrays with `state`: drop it before `state` changes.
    """
    other = copy(state)
    other.columns = state.columns.extended()
    other.neighbour_lists = state.neighbour_lists.extended(other.columns)
    first = state.neighbour_lists.next_slot
    taxonomy = state.field.taxonomy
    if taxonomy.exclusive:
        other.image_groups = state.image_groups.with_items(unseen)
    rows = other.add_rows(snapshot, documents, np.arange(first, first + len(documents)))
    if not taxonomy.low_quality:
        low = np.array([pk for pk, one in unseen.items() if one.low_quality], np.int64)
        other.columns["low_quality"][other.columns.rows_of(low)] = True
    return other, rows
