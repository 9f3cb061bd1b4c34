"""Edit the metadata and regions of objects, and keep objects and their documents consistent.

A label in an object's metadata is an event on each of its documents. A label of one part of an
item, such as one face of several, stays with that part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from lookalike.catalog.label_names import current_name
from lookalike.catalog.objects import REGIONS, input_of, mark_pending, reads_regions
from lookalike.catalog.reader import fields_of, label_states
from lookalike.catalog.resources import CollectionRow, collection_row, collections_over
from lookalike.catalog.vocabulary import check_in_use
from lookalike.content.boxes import read_box
from lookalike.decisions.ledger.statements import touch
from lookalike.decisions.operations import LabelStatement, Operations, Running
from lookalike.errors import BadContent, BadInput, NotFound
from lookalike.ingest.documents import Home
from lookalike.labels import label_in
from lookalike.model import LABEL_SEPARATOR, Blob, EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn, one_of

# --- the log of metadata edits -------------------------------------------------------------------


@dataclass(slots=True)
class ObjectEdits:
    """The current edits of an object: `values` by key with their `actors`, and removed keys."""

    values: dict[str, Any] = field(default_factory=dict)
    actors: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


def record_amendments(
    txn: Txn,
    operation_pk: int,
    before: Mapping[int, Mapping[str, Any]],
    changes: Mapping[int, Mapping[str, Any]],
) -> None:
    """Record an operation's changes of objects by pk, whose metadata were `before`."""
    rows = [
        {
            "operation_pk": operation_pk,
            "object_pk": pk,
            "before": {name: before[pk][name] for name in change if name in before[pk]},
            "after": dict(change),
        }
        for pk, change in changes.items()
        if pk in before
    ]
    txn.insert(schema.amendment, rows)


def edits_after(snapshot: Snapshot, operations: Sequence[int]) -> dict[int, ObjectEdits]:
    """Return the current edits of the objects that `operations` edited, some of them now undone.

    A key has the value of the last operation that is not undone, or else its value before them all.
    """
    amendment, operation = schema.amendment, schema.operation
    touched = select(amendment.c.object_pk, amendment.c.after)
    keys: dict[int, set[str]] = {}
    for row in snapshot.rows(touched.where(one_of(amendment.c.operation_pk, operations))):
        keys.setdefault(row.object_pk, set()).update(row.after)
    history = (
        select(amendment, operation.c.actor, operation.c.undone_by)
        .join(operation, operation.c.pk == amendment.c.operation_pk)
        .order_by(amendment.c.pk)
    )
    rows_of: dict[int, list[Any]] = {}
    for row in snapshot.rows(history.where(one_of(amendment.c.object_pk, keys))):
        rows_of.setdefault(row.object_pk, []).append(row)
    return {pk: _edits(names, rows_of[pk]) for pk, names in keys.items()}


def _edits(names: Iterable[str], history: Sequence[Any]) -> ObjectEdits:
    edits = ObjectEdits()
    for name in names:
        rows = [row for row in history if name in row.after]
        effective = [row for row in rows if row.undone_by is None]
        if effective:
            edits.values[name] = effective[-1].after[name]
            edits.actors[name] = effective[-1].actor
        elif name in rows[0].before:
            edits.values[name] = rows[0].before[name]
        else:
            edits.gone.add(name)
    return edits


# -------------------------------------------------------------------------------------------------

_GIVEN = (Origin.HUMAN, Origin.IMPORT)
_ANSWERS = (
    EventKind.LABELLED,
    EventKind.PROMOTED,
    EventKind.RETRACTED,
    EventKind.NEW_KIND,
    EventKind.CANNOT_TELL,
)


@dataclass(slots=True)
class Sync:
    """Writes changes of metadata to objects and documents inside one operation.

    It collects the labels among the changes; `append` writes and decides them all at once.
    """

    operations: Operations
    running: Running
    _labels: dict[int, dict[int, str | None]] = field(default_factory=dict)
    """The collected labels, by field pk and document pk."""
    _of_object: set[int] = field(default_factory=set)
    """The documents (pks) that are a part of an item, and get their label from its object."""
    _homes: dict[int, Home] = field(default_factory=dict)

    def objects(self, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Change metadata of objects, by pk, and of their documents.

        Raises BadInput for an invalid label in a label field.
        """
        documents = _documents_of(self.running.txn, changes)
        renamed = {pk: dict(change) for pk, change in changes.items()}
        for pk, change in renamed.items():
            for document in documents.get(pk, []):
                self._collect_labels(document, change)
                change |= self._current_names(document, change)
        self._check_in_use()
        self._rewrite_objects(renamed, self.running.actor)

    def rename(self, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Write the new names of labels into objects, by pk; the values keep their actors."""
        self._rewrite_objects(changes, None)

    def restore(self, operations: Sequence[int]) -> None:
        """Restore the metadata of objects after these operations were undone or restored.

        The fold of the event log restores labels that the operations gave to documents. Labels that
        a document took over from its object later, when it was made, are collected here.
        """
        txn, table = self.running.txn, schema.object_
        edits = edits_after(txn, operations)
        documents, labelled = _documents_of(txn, edits), _labelled_in(txn, operations)
        written = []
        for row in txn.rows(select(table).where(one_of(table.c.pk, edits))):
            own = edits[row.pk]
            kept = {key: value for key, value in row.metadata.items() if key not in own.gone}
            after = kept | own.values
            touched = own.values.keys() | own.gone
            said_by = {key: who for key, who in (row.said_by or {}).items() if key not in touched}
            written.append({"pk": row.pk, "metadata": after, "said_by": said_by | own.actors})
            restored = {key: after.get(key) for key in touched}
            for document in documents.get(row.pk, []):
                self._take_over(document, row.metadata, restored, labelled)
                self._update_document(document, row.metadata, after)
            self._extract_again(row, after)
        txn.update(table, written)

    def documents(self, row: CollectionRow, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Change metadata of documents of a collection, by pk.

        A label is stored with the document; other metadata of a whole item with its object.
        """
        txn, table, home = self.running.txn, schema.document, self._home(row.pk)
        query = select(table).where(one_of(table.c.pk, changes))
        of_objects: dict[int, dict[str, Any]] = {}
        for document in txn.rows(query):
            rest = {}
            for name, value in changes[document.pk].items():
                if name in home.fields:
                    self._collect(home.fields[name], document.pk, label_in(value))
                else:
                    rest[name] = value
            if rest and document.part == "":
                by_source = {row.source_of(name): value for name, value in rest.items()}
                of_objects[document.object_pk] = by_source
            elif rest:
                self._rewrite(home, document, {**document.metadata, **rest})
        self._check_in_use()
        if of_objects:
            self.objects(of_objects)

    def append(self) -> None:
        """Append the collected labels to the event log, and decide everything they affect."""
        for field_pk, labels in sorted(self._labels.items()):
            statements = _statements(self.running.txn, field_pk, labels, self._of_object)
            self.running.by_person += len({line.document_pk for line in statements})
            self.operations.append(self.running, field_pk, statements)

    def _rewrite_objects(self, changes: Mapping[int, Mapping[str, Any]], actor: str | None) -> None:
        """Change metadata of objects; with an `actor` record the actor for each changed key."""
        txn, table = self.running.txn, schema.object_
        rows = txn.rows(select(table).where(one_of(table.c.pk, changes)))
        documents = _documents_of(txn, changes)
        written = []
        for row in rows:
            after = {**row.metadata, **changes[row.pk]}
            actors = {} if actor is None else dict.fromkeys(changes[row.pk], actor)
            said_by = dict(row.said_by or {}) | actors
            written.append({"pk": row.pk, "metadata": after, "said_by": said_by})
            for document in documents.get(row.pk, []):
                self._update_document(document, row.metadata, after)
            self._extract_again(row, after)
        txn.update(table, written)
        before = {row.pk: row.metadata for row in rows}
        record_amendments(txn, self.running.pk, before, changes)

    def _collect_labels(self, document: Any, changes: Mapping[str, Any]) -> None:
        """Collect the labels that changes of an object give to a document of it."""
        home = self._home(document.collection_pk)
        for name, field_pk in home.fields.items():
            source = home.row.source_of(name)
            if source in changes:
                self._collect(field_pk, document.pk, label_in(changes[source]))
                if document.part != "":
                    self._of_object.add(document.pk)

    def _current_names(self, document: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the changes whose label is an old name or alias, with the label's current name.

        So an object and its document have the same text.
        """
        home, txn = self._home(document.collection_pk), self.running.txn
        renamed: dict[str, Any] = {}
        for name, field_pk in home.fields.items():
            value = changes.get(source := home.row.source_of(name))
            label = label_in(value)
            current = None if label is None else current_name(txn, field_pk, label)
            if current is not None and current != label:
                parts = current.split(LABEL_SEPARATOR)
                renamed[source] = parts if isinstance(value, list) else current
        return renamed

    def _take_over(
        self,
        document: Any,
        before: Mapping[str, Any],
        changes: Mapping[str, Any],
        labelled: Collection[tuple[int, int]],
    ) -> None:
        """Collect the labels that a document took over from the earlier metadata of its object.

        `labelled` are the pairs (field pk, document pk) that the event log restores.
        """
        home = self._home(document.collection_pk)
        for name, field_pk in home.fields.items():
            source = home.row.source_of(name)
            if source not in changes or (field_pk, document.pk) in labelled:
                continue
            state = label_states(self.running.txn, field_pk, [document.pk])[document.pk]
            given = state.label if state.origin in _GIVEN else None
            old, new = label_in(before.get(source)), label_in(changes[source])
            if given == old != new:
                self._collect_labels(document, {source: new})

    def _update_document(
        self, document: Any, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> None:
        """Update the metadata that a document copies from its object."""
        home = self._home(document.collection_pk)
        old, new = home.kept(before), home.kept(after)
        changed = {name for name in old.keys() | new if old.get(name) != new.get(name)}
        if changed:
            rest = {name: value for name, value in document.metadata.items() if name not in changed}
            own = {name: new[name] for name in changed if name in new}
            self._rewrite(home, document, rest | own)

    def _rewrite(self, home: Home, document: Any, metadata: Mapping[str, Any]) -> None:
        txn = self.running.txn
        txn.update(schema.document, [{"pk": document.pk, "metadata": dict(metadata)}])
        for field_pk in home.fields.values():
            touch(txn, field_pk, [document.pk], self.running.pk)

    def _extract_again(self, row: Any, after: Mapping[str, Any]) -> None:
        """Queue an object for extraction if an extracted text or region in its metadata changed."""
        blobs = [Blob(**blob) for blob in row.blobs]
        regions_changed = row.metadata.get(REGIONS) != after.get(REGIONS)
        for collection in collections_over(self.running.txn, row.bucket_pk, derived=True):
            new = input_of(collection, blobs, after)
            changed = new != input_of(collection, blobs, row.metadata)
            changed = changed or (regions_changed and reads_regions(collection.extractor))
            if new is not None and changed:
                mark_pending(self.running.txn, collection.pk, {row.pk: None})

    def _check_in_use(self) -> None:
        for field_pk, labels in self._labels.items():
            check_in_use(self.running.txn, field_pk, labels.values())

    def _collect(self, field_pk: int, document_pk: int, label: str | None) -> None:
        self._labels.setdefault(field_pk, {})[document_pk] = label

    def _home(self, collection_pk: int) -> Home:
        if collection_pk not in self._homes:
            self._homes[collection_pk] = _home(self.running.txn, collection_pk)
        return self._homes[collection_pk]


def _labelled_in(snapshot: Snapshot, operations: Sequence[int]) -> set[tuple[int, int]]:
    """Return the pairs (field pk, document pk) for which operations have an event."""
    table = schema.event
    query = select(table.c.field_pk, table.c.document_pk).distinct()
    rows = snapshot.rows(query.where(one_of(table.c.operation_pk, operations)))
    return {(row.field_pk, row.document_pk) for row in rows}


def _home(snapshot: Snapshot, collection_pk: int) -> Home:
    row = collection_row(snapshot, collection_pk)
    return Home(row, {one.name: one.pk for one in fields_of(snapshot, collection_pk)})


def _documents_of(snapshot: Snapshot, objects: Iterable[int]) -> dict[int, list[Any]]:
    table = schema.document
    query = select(table).where(one_of(table.c.object_pk, objects)).order_by(table.c.pk)
    found: dict[int, list[Any]] = {}
    for row in snapshot.rows(query):
        found.setdefault(row.object_pk, []).append(row)
    return found


def _statements(
    snapshot: Snapshot, field_pk: int, labels: Mapping[int, str | None], of_object: set[int]
) -> list[LabelStatement]:
    """Return the statements that give documents (pks) these labels; None removes the label."""
    states = label_states(snapshot, field_pk, labels)
    origins, answered_alone = _answers(snapshot, field_pk, labels)
    statements: list[LabelStatement] = []
    for pk, label in labels.items():
        if pk in of_object and pk in answered_alone:
            continue
        state, human = states[pk], [Origin.HUMAN]
        if label is not None:
            kind, by = EventKind.LABELLED, [] if state[:2] == (label, Origin.HUMAN) else human
        elif state.origin == Origin.AUTO:
            kind, label, by = EventKind.REJECTED, state.label, human
        else:
            kind, by = EventKind.RETRACTED, sorted(origins.get(pk, ()))
        whole = pk in of_object
        statements += [LabelStatement(pk, kind, label, one, of_object=whole) for one in by]
    return statements


def _answers(
    snapshot: Snapshot, field_pk: int, pks: Iterable[int]
) -> tuple[dict[int, set[Origin]], set[int]]:
    """Return the origins of the answers for documents, and the documents answered alone.

    A document is answered alone if a person's last answer was for it, not for its whole object.
    """
    event, operation = schema.event, schema.operation
    query = (
        select(event.c.document_pk, event.c.kind, event.c.origin, event.c.detail)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(event.c.field_pk == field_pk, one_of(event.c.document_pk, pks))
        .where(operation.c.undone_by.is_(None), event.c.kind.in_(_ANSWERS))
        .order_by(event.c.seq)
    )
    origins: dict[int, set[Origin]] = {}
    answered_alone: set[int] = set()
    for row in snapshot.rows(query):
        origins.setdefault(row.document_pk, set()).add(Origin(row.origin))
        if row.origin == Origin.HUMAN:
            alone = row.kind != EventKind.RETRACTED and not (row.detail or {}).get("of_object")
            (answered_alone.add if alone else answered_alone.discard)(row.document_pk)
    return origins, answered_alone


# --- regions of objects --------------------------------------------------------------------------

_IN_LIST = 5000
_REGION_VALUES = ("box", "detected", "score")


@dataclass(slots=True)
class _Regions:
    """The regions of one object, by id, while they change."""

    by_id: dict[str, dict[str, Any]] = field(default_factory=dict)

    def change(self, id: str, box: Sequence[float] | None) -> None:
        """Draw, move or remove a region. Raises BadInput, or NotFound."""
        if box is None:
            if id not in self.by_id:
                known = ", ".join(map(repr, self.by_id)) or "none"
                raise NotFound(f"there is no region {id!r} to remove (known: {known})")
            del self.by_id[id]
            return
        if not id or len(id) > 200 or "/" in id:
            raise BadInput(
                f"{id[:200]!r} is not a valid region id; use 1 to 200 characters without /"
            )
        try:
            checked = list(read_box(box))
        except BadContent as error:
            raise BadInput(f"region {id!r}: {error}") from error
        self.by_id[id] = {"id": id, "box": checked}


def changed_regions(
    snapshot: Snapshot,
    row: CollectionRow,
    changes: Mapping[str, Mapping[str, Sequence[float] | None]],
) -> dict[int, dict[str, Any]]:
    """Return the changes of metadata of objects (pks) that change their regions.

    `changes` has the box of each region, or None, by the object's id and the region's. An object
    without regions from a person keeps those that the detector proposed. Raises BadInput, or
    NotFound.
    """
    check_reads_regions(row.name, row.extractor)
    table = schema.object_
    query = select(table.c.pk, table.c.id, table.c.metadata)
    here = table.c.bucket_pk.in_(row.bucket_pks)
    objects: dict[str, Any] = {}
    for start in range(0, len(changes), _IN_LIST):
        named = table.c.id.in_(list(changes)[start : start + _IN_LIST])
        objects |= {one.id: one for one in snapshot.rows(query.where(here, named))}
    unknown = [id for id in changes if id not in objects]
    if unknown:
        raise NotFound(f"there is no object {unknown[0]!r} here; see a document's object_id")
    result = {}
    for id, boxes in changes.items():
        regions = _current_regions(snapshot, row, objects[id])
        for region, box in boxes.items():
            regions.change(region, box)
        result[objects[id].pk] = {REGIONS: list(regions.by_id.values())}
    return result


def check_reads_regions(name: str, extractor: str) -> None:
    """Raise BadInput for a collection whose documents are not regions."""
    if not reads_regions(extractor):
        raise BadInput(
            f"the collection {name!r} has the extractor {extractor}, whose documents are not "
            "regions; make one with `lookalike create NAME --extractor region`"
        )


def _current_regions(snapshot: Snapshot, row: CollectionRow, object_row: Any) -> _Regions:
    given = object_row.metadata.get(REGIONS)
    if isinstance(given, list):
        listed = (pair for pair in enumerate(given) if isinstance(pair[1], Mapping))
        return _Regions(
            {
                _id(number, region): {**region, "id": _id(number, region)}
                for number, region in listed
            }
        )
    document = schema.document
    query = select(document.c.part, document.c.attributes).order_by(document.c.pk)
    here = (document.c.collection_pk == row.pk) & (document.c.object_pk == object_row.pk)
    parts = snapshot.rows(query.where(here))
    if any("time_ms" in part.attributes for part in parts):
        raise BadInput(
            f"{object_row.id!r} is a video, whose frames have regions of their own: draw on "
            "pictures only"
        )
    return _Regions({part.part: {"id": part.part} | _values(part.attributes) for part in parts})


def _id(number: int, region: Mapping[str, Any]) -> str:
    return str(region.get("id") or f"region-{number}")


def _values(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: attributes[name] for name in _REGION_VALUES if name in attributes}
