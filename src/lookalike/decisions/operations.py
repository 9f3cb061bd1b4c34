"""The only write path for labels: an operation appends events, folds them and decides.

```
begin ─▶ events ─▶ fold (ledger) ─▶ rows of `standing` ─▶ deciders of every field that refers here
```
All of it is one transaction. No other code writes a label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from ulid import ULID

from lookalike.catalog.fields import dependents, has_space
from lookalike.catalog.idempotency import Request, refuse_repetition
from lookalike.catalog.label_names import naming_of, owner_of
from lookalike.catalog.resources import check_there
from lookalike.catalog.vocabulary import reopening
from lookalike.classifier.graph.neighbours import FindLists
from lookalike.decisions.check_sheets import draw_sheet
from lookalike.decisions.decider import Decider, Effects
from lookalike.decisions.deciders import Deciders, LentDeciders
from lookalike.decisions.label_edits import apply_label_edits, stored_rule
from lookalike.decisions.ledger.samples import SAMPLED_AHEAD, contexts, draw, unanswered_samples
from lookalike.decisions.ledger.statements import touch, touched_since, write_statements
from lookalike.decisions.ledger.undo import (
    NO_FIELD,
    namings_before,
    settle_undone,
    standards_before,
    taxonomies,
    undoable,
)
from lookalike.labels import LABEL_EVENTS, Naming, path_of
from lookalike.model import LABEL_SEPARATOR, Changed, EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import Store, Txn

NO_COLLECTION = 0
"""The collection of an operation that changes source files which are in no collection."""


@dataclass(frozen=True, slots=True)
class LabelStatement:
    """A statement of a person or program about a document's label, before it becomes an event."""

    document_pk: int
    kind: EventKind
    label: str | None
    origin: Origin
    asked: bool = False
    of_object: bool = False
    """Whether it was given for the whole item that the document is a part of."""


@dataclass(slots=True)
class Running:
    """An operation while its transaction is open."""

    pk: int
    id: str
    collection_pk: int
    actor: str
    at: float
    txn: Txn
    lent: LentDeciders
    by_person: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    erased: dict[str, int] = field(default_factory=dict)
    promoted: dict[str, int] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    given: Counter[str] = field(default_factory=Counter)
    reopened: set[int] = field(default_factory=set)
    """The fields (pks) whose closed label set was opened again."""
    details: dict[str, Any] = field(default_factory=dict)
    """Further values that the history shows for this operation."""
    effects: Effects = field(default_factory=Effects)

    def decider(self, field_pk: int) -> Decider:
        """Return the decider of a field, up to date; the operation holds it until it ends."""
        return self.lent.decider(self.txn, field_pk)

    def changed(self) -> Changed:
        """Return the changes so far."""
        return Changed(
            operation=self.id,
            by_person=self.by_person,
            labelled=dict(sorted(self.effects.labelled.items())),
            relabelled=dict(sorted(self.effects.relabelled.items())),
            unlabelled=dict(sorted(self.effects.unlabelled.items())),
            refused=dict(self.refused),
            revision=self.pk,
            promoted=dict(self.promoted),
            renamed=dict(self.renamed),
            given=dict(sorted(self.given.items())),
            reopened=bool(self.reopened),
        )


class Operations:
    """Runs operations on a store; derived files go to `cache`. `clock` gives UTC seconds."""

    def __init__(self, store: Store, cache: Path, clock: Callable[[], float]) -> None:
        self.deciders = Deciders(store, cache)
        self._store = store
        self._clock = clock

    @contextmanager
    def operate(
        self, collection_pk: int, kind: str, actor: str, request: Request | None = None
    ) -> Iterator[Running]:
        """Run one operation: everything inside is committed at the end, or nothing.

        Raises Replayed if the `request` was already done.
        """
        with self.deciders.lent(collection_pk) as lent, self._store.write() as txn:
            refuse_repetition(txn, request)
            running = self._begin(txn, lent, collection_pk, kind, actor, request)
            yield running
            summary = asdict(running.changed()) | running.details
            if request is not None:
                summary["request"] = request.digest
            if running.erased:
                summary["erased"] = running.erased
            chosen = update(schema.operation).where(schema.operation.c.pk == running.pk)
            txn.execute(chosen.values(summary=summary))

    def append(self, running: Running, field_pk: int, statements: Sequence[LabelStatement]) -> None:
        """Append statements about one field, and decide everything that depends on them."""
        if not statements:
            return
        documents = sorted({line.document_pk for line in statements})
        with self.changing(running, field_pk, documents):
            self._insert_events(running, field_pk, _as_named(running, field_pk, statements))
            self._fold(running, field_pk, documents)
            self._draw(running, field_pk)
        self._draw_sheet(running, field_pk)

    def fold_again(self, running: Running, field_pk: int, documents: Sequence[int]) -> None:
        """Fold documents again that start or stop being references; decide what depends on them."""
        if documents:
            with self.changing(running, field_pk, documents):
                self._fold(running, field_pk, documents)

    @contextmanager
    def changing(self, running: Running, field_pk: int, documents: Sequence[int]) -> Iterator[None]:
        """Change statements of documents inside; then decide all fields that refer to them."""
        affected = {pk: running.decider(pk) for pk in dependents(running.txn, field_pk)}
        if field_pk not in affected:
            affected[field_pk] = running.decider(field_pk)
        yield
        for pk, decider in affected.items():
            if pk in running.reopened:
                self.decide_all(running, pk)
                continue
            own = documents if pk == field_pk else []
            references = documents if decider.field.reference_field_pk == field_pk else []
            changes = decider.statements_changed(running.txn, running.pk, own, references)
            running.effects.add(pk, changes)

    def add_documents(
        self,
        running: Running,
        field_pk: int,
        documents: Sequence[int],
        known: Sequence[int] = (),
    ) -> None:
        """Write the rows of new documents in a field and decide them.

        The documents in `known` existed before and have a new vector and perhaps another quality.
        If one of them is a reference, all fields that refer to this one are decided from scratch.
        """
        txn = running.txn
        touch(txn, field_pk, documents, running.pk)
        if known:
            write_statements(txn, running.pk, field_pk, known)
        decider = running.decider(field_pk)
        changes = decider.documents_arrived(txn, running.pk, documents)
        running.effects.add(field_pk, changes)
        for pk in dependents(txn, field_pk) if decider.any_settled(documents) else []:
            self.decide_all(running, pk)
        self._draw(running, field_pk)
        self._draw_sheet(running, field_pk)

    def decide_all(self, running: Running, field_pk: int, find: FindLists | None = None) -> None:
        """Search and decide all documents of a field from scratch, without anything in memory.

        `find` searches their neighbours if these are not cached.
        """
        if not has_space(running.txn, field_pk):
            return
        decider = running.lent.rebuilt(running.txn, field_pk, find)
        running.effects.add(field_pk, decider.decide_all(running.txn, running.pk))
        self._draw_sheet(running, field_pk)

    def configure(
        self,
        running: Running,
        field_pk: int,
        before: Any,
        after: Any,
        find: FindLists | None = None,
    ) -> None:
        """Write another taxonomy for a field as an undoable event, and decide all documents."""
        self._set_taxonomy(running, field_pk, before, after)
        detail = {"before": before, "after": after}
        self._record(running, field_pk, EventKind.CONFIGURED, detail)
        self.decide_all(running, field_pk, find)

    def edit_labels(
        self, running: Running, details: Mapping[int, Mapping[str, Any]], kind: EventKind
    ) -> Mapping[int, Sequence[int]]:
        """Append events about labels themselves, by field, and apply their effects.

        Return, by field, the documents whose statements changed.
        """
        before = {pk: naming_of(running.txn, pk) for pk in details}
        for pk, detail in details.items():
            rule = stored_rule(running.txn, pk)
            self._record(running, pk, kind, {**detail, "standard": rule})
        return self._apply_label_edits(running, before, {})

    def undo(self, running: Running, operation_id: str) -> list[int]:
        """Undo an operation, with all automatic labels that depend on it.

        Return the operations that are now undone or restored.

        Undoing an undo restores the operation. Raises NotFound, or Conflict if it is already undone
        or is of a kind that cannot be undone.
        """
        target = undoable(running.txn, running.collection_pk, operation_id)
        self._record(running, NO_FIELD, EventKind.UNDONE, {"operation": target.pk})
        moved = settle_undone(running.txn)
        self._apply_undone(running, moved)
        return moved

    def _begin(
        self,
        txn: Txn,
        lent: LentDeciders,
        collection_pk: int,
        kind: str,
        actor: str,
        request: Request | None,
    ) -> Running:
        if collection_pk != NO_COLLECTION:
            check_there(txn, collection_pk)
        id, now = f"op_{ULID()}" if request is None else request.id, self._clock()
        pk = txn.insert_one(
            schema.operation,
            id=id,
            collection_pk=collection_pk,
            kind=kind,
            actor=actor,
            at=now,
            summary={},
        )
        return Running(pk, id, collection_pk, actor, now, txn, lent)

    def _draw(self, running: Running, field_pk: int) -> None:
        """Sample documents at random for the queue, so that some always wait for an answer.

        A fixed threshold is not fitted, so it needs no random sample.
        """
        decider = running.lent.held[field_pk]
        if decider.field.taxonomy.confidence_threshold is not None:
            return
        state = decider.state
        documents = state.columns.pks[~state.columns["low_quality"]]
        while len(waiting := unanswered_samples(running.txn, field_pk)) < SAMPLED_AHEAD:
            count = SAMPLED_AHEAD - len(waiting)
            if not len(draw(running.txn, field_pk, running.pk, documents, count)):
                break

    def _draw_sheet(self, running: Running, field_pk: int) -> None:
        """Sample the next check sheet of a field after its decisions are made."""
        decider = running.lent.held[field_pk]
        if decider.field.taxonomy.confidence_threshold is None:
            draw_sheet(running.txn, running.pk, decider.state)

    def _fold(self, running: Running, field_pk: int, documents: Sequence[int]) -> None:
        settled = write_statements(running.txn, running.pk, field_pk, documents)
        running.effects.drop(field_pk, settled)
        self._reopen(running, field_pk, documents)

    def _reopen(
        self, running: Running, field_pk: int, documents: Sequence[int] | None = None
    ) -> None:
        """Reopen a closed label set if some, or all, documents are now marked as a new category."""
        if (detail := reopening(running.txn, field_pk, documents)) is not None:
            running.reopened.add(field_pk)
            self._set_taxonomy(running, field_pk, **detail)
            self._record(running, field_pk, EventKind.CONFIGURED, detail)

    def _insert_events(
        self, running: Running, field_pk: int, statements: Sequence[LabelStatement]
    ) -> None:
        context = contexts(running.txn, field_pk, {line.document_pk for line in statements})
        rows = [
            {
                "operation_pk": running.pk,
                "kind": line.kind,
                "field_pk": field_pk,
                "document_pk": line.document_pk,
                "label": line.label,
                "origin": line.origin,
                "detail": _detail(line, context[line.document_pk]),
            }
            for line in statements
        ]
        running.txn.insert(schema.event, rows)

    def _record(
        self, running: Running, field_pk: int, kind: EventKind, detail: Mapping[str, Any]
    ) -> None:
        running.txn.insert_one(
            schema.event, operation_pk=running.pk, kind=kind, field_pk=field_pk, detail=detail
        )

    def _apply_undone(self, running: Running, operations: Sequence[int]) -> None:
        """Apply the effects of operations that are now undone or restored."""
        table = schema.event
        no_statement = [EventKind.DECIDED, EventKind.FORGOTTEN, EventKind.UNDONE]
        query = select(table).where(table.c.operation_pk.in_(operations))
        changed: dict[int, set[int]] = {}
        named: list[Any] = []
        configured: set[int] = set()
        for row in running.txn.rows(query.where(table.c.kind.not_in(no_statement))):
            if row.kind == EventKind.CONFIGURED:
                configured.add(row.field_pk)
                before, after = taxonomies(running.txn, row)
                self._set_taxonomy(running, row.field_pk, before, after)
                self.decide_all(running, row.field_pk)
            elif row.kind in LABEL_EVENTS:
                named.append(row)
            else:
                changed.setdefault(row.field_pk, set()).add(row.document_pk)
        for field_pk, documents in sorted(changed.items()):
            running.by_person += len(documents)
            with self.changing(running, field_pk, sorted(documents)):
                self._fold(running, field_pk, sorted(documents))
        if named:
            before = namings_before(running.txn, named, operations)
            self._apply_label_edits(running, before, standards_before(running.txn, named))
        for field_pk in configured - running.reopened:
            self._reopen(running, field_pk)
            if field_pk in running.reopened:
                self.decide_all(running, field_pk)

    def _apply_label_edits(
        self, running: Running, before: Mapping[int, Naming], rules: Mapping[int, Any]
    ) -> Mapping[int, Sequence[int]]:
        done = apply_label_edits(running.txn, running.pk, running.decider, before, rules)
        running.by_person += done.given.total()
        running.given.update(done.given)
        for field_pk, settled in done.settled.items():
            running.effects.drop(field_pk, settled)
        for field_pk, changes in done.changes.items():
            running.effects.add(field_pk, changes)
        return done.documents

    def _set_taxonomy(self, running: Running, field_pk: int, before: Any, after: Any) -> None:
        """Write a taxonomy, and fold again the documents for which its reference bound changed.

        A different taxonomy with the same version removes the fitted rule.
        """
        chosen = update(schema.field).where(schema.field.c.pk == field_pk)
        is_fit_outdated = before != after and before["version"] == after["version"]
        values = {"taxonomy": after} | ({"standard": None} if is_fit_outdated else {})
        running.txn.execute(chosen.values(values))
        bounds = {one["references"] for one in (before, after) if one.get("references")}
        if before.get("references") != after.get("references"):
            late = [touched_since(running.txn, field_pk, bound) for bound in bounds]
            self._fold(running, field_pk, sorted(set().union(*late)))


def _as_named(
    running: Running, field_pk: int, statements: Sequence[LabelStatement]
) -> Sequence[LabelStatement]:
    """Return statements with labels as full paths, under their current names."""
    separator = running.lent.held[field_pk].field.taxonomy.separator
    naming = naming_of(running.txn, owner_of(running.txn, field_pk))
    if separator == LABEL_SEPARATOR.strip() and not naming.aliases:
        return statements
    named = []
    for line in statements:
        path = None if line.label is None else path_of(line.label, separator)
        label = None if path is None else naming.resolve_one(path)
        if path is not None and label is not None and label != path:
            running.renamed[path] = label
        named.append(replace(line, label=label))
    return named


def _detail(line: LabelStatement, context: dict[str, Any]) -> dict[str, Any] | None:
    """Return the context of a person's statement; None for other origins."""
    asked = {"asked": True} if line.asked else {}
    whole = {"of_object": True} if line.of_object else {}
    return (asked | whole | context) or None if line.origin is Origin.HUMAN else None
