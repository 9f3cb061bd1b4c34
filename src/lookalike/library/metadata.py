"""Keeping objects and their documents the same: what is said of one reaches the other at once.

A label in an object's metadata is an event on each of its documents. What was said of one part of
an item, a face of many, stays with that part.
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
class Amended:
    """What stands for an object now: `values` by key, and who said them; `gone` keys have none."""

    values: dict[str, Any] = field(default_factory=dict)
    actors: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


def record_amendments(
    txn: Txn,
    operation_pk: int,
    before: Mapping[int, Mapping[str, Any]],
    changes: Mapping[int, Mapping[str, Any]],
) -> None:
    """Record what an operation says of objects by pk, whose metadata were `before`."""
    rows = [
        {
            "operation_pk": operation_pk,
            "object_pk": pk,
            "before": {name: before[pk][name] for name in said if name in before[pk]},
            "after": dict(said),
        }
        for pk, said in changes.items()
        if pk in before
    ]
    txn.insert(schema.amendment, rows)


def standing_after(snapshot: Snapshot, operations: Sequence[int]) -> dict[int, Amended]:
    """Return what stands for the objects that operations amended, now that some are undone.

    A key has what the last operation in force said of it; where none is, what it had before all.
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
    said: dict[int, list[Any]] = {}
    for row in snapshot.rows(history.where(one_of(amendment.c.object_pk, keys))):
        said.setdefault(row.object_pk, []).append(row)
    return {pk: _standing(names, said[pk]) for pk, names in keys.items()}


def _standing(names: Iterable[str], history: Sequence[Any]) -> Amended:
    standing = Amended()
    for name in names:
        rows = [row for row in history if name in row.after]
        in_force = [row for row in rows if row.undone_by is None]
        if in_force:
            standing.values[name] = in_force[-1].after[name]
            standing.actors[name] = in_force[-1].actor
        elif name in rows[0].before:
            standing.values[name] = rows[0].before[name]
        else:
            standing.gone.add(name)
    return standing


# -------------------------------------------------------------------------------------------------

_GIVEN = (Origin.HUMAN, Origin.IMPORT)
_WORDS = (
    EventKind.LABELLED,
    EventKind.PROMOTED,
    EventKind.RETRACTED,
    EventKind.NEW_KIND,
    EventKind.CANNOT_TELL,
)


@dataclass(slots=True)
class Sync:
    """Changes to metadata, gathered, then said all at once. Use it inside one operation."""

    operations: Operations
    running: Running
    _said: dict[int, dict[int, str | None]] = field(default_factory=dict)
    _of_object: set[int] = field(default_factory=set)
    _homes: dict[int, Home] = field(default_factory=dict)

    def objects(self, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Change metadata of objects, by pk: of their documents as well.

        Raises BadInput for a value that is no label in a label field.
        """
        documents = _documents_of(self.running.txn, changes)
        named = {pk: dict(said) for pk, said in changes.items()}
        for pk, said in named.items():
            for one in documents.get(pk, []):
                self._label(one, said)
                said |= self._named(one, said)
        self._check_in_use()
        self._rewrite_objects(named, self.running.actor)

    def reword(self, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Change metadata of objects, by pk, that say the same in other words, by whom they did."""
        self._rewrite_objects(changes, None)

    def restore(self, operations: Sequence[int]) -> None:
        """Give objects the metadata that stand now that some of these operations are undone.

        What they had said of documents, the fold of the ledger knows. What a document took over
        from its object later, when it was made, is said again.
        """
        txn, table = self.running.txn, schema.object_
        standing = standing_after(txn, operations)
        documents, said = _documents_of(txn, standing), _said_in(txn, operations)
        written = []
        for row in txn.rows(select(table).where(one_of(table.c.pk, standing))):
            amended = standing[row.pk]
            kept = {key: value for key, value in row.metadata.items() if key not in amended.gone}
            after = kept | amended.values
            touched = amended.values.keys() | amended.gone
            said_by = {key: who for key, who in (row.said_by or {}).items() if key not in touched}
            written.append({"pk": row.pk, "metadata": after, "said_by": said_by | amended.actors})
            for one in documents.get(row.pk, []):
                self._take_over(one, row.metadata, {key: after.get(key) for key in touched}, said)
                self._follow(one, row.metadata, after)
            self._wait_again(row, after)
        txn.update(table, written)

    def documents(self, row: CollectionRow, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Change metadata of documents of a collection, by pk.

        A label stays with the document. What else is said of a whole item is said of its object.
        """
        txn, table, home = self.running.txn, schema.document, self._home(row.pk)
        query = select(table).where(one_of(table.c.pk, changes))
        of_objects: dict[int, dict[str, Any]] = {}
        for one in txn.rows(query):
            rest = {}
            for name, value in changes[one.pk].items():
                if name in home.fields:
                    self._say(home.fields[name], one.pk, label_in(value))
                else:
                    rest[name] = value
            if rest and one.part == "":
                renamed = {row.source_of(name): value for name, value in rest.items()}
                of_objects[one.object_pk] = renamed
            elif rest:
                self._rewrite(home, one, {**one.metadata, **rest})
        self._check_in_use()
        if of_objects:
            self.objects(of_objects)

    def say(self) -> None:
        """Append what was said of labels and decide all that follows."""
        for field_pk, labels in sorted(self._said.items()):
            lines = _lines(self.running.txn, field_pk, labels, self._of_object)
            self.running.by_person += len({line.document_pk for line in lines})
            self.operations.append(self.running, field_pk, lines)

    def _rewrite_objects(self, changes: Mapping[int, Mapping[str, Any]], actor: str | None) -> None:
        """Change metadata of objects that the `actor` says from now on, or whoever said them."""
        txn, table = self.running.txn, schema.object_
        rows = txn.rows(select(table).where(one_of(table.c.pk, changes)))
        documents = _documents_of(txn, changes)
        written = []
        for row in rows:
            after = {**row.metadata, **changes[row.pk]}
            said = {} if actor is None else dict.fromkeys(changes[row.pk], actor)
            said_by = dict(row.said_by or {}) | said
            written.append({"pk": row.pk, "metadata": after, "said_by": said_by})
            for one in documents.get(row.pk, []):
                self._follow(one, row.metadata, after)
            self._wait_again(row, after)
        txn.update(table, written)
        before = {row.pk: row.metadata for row in rows}
        record_amendments(txn, self.running.pk, before, changes)

    def _label(self, document: Any, changes: Mapping[str, Any]) -> None:
        """Say the labels of a document that changes of its object are."""
        home = self._home(document.collection_pk)
        for name, field_pk in home.fields.items():
            source = home.row.source_of(name)
            if source in changes:
                self._say(field_pk, document.pk, label_in(changes[source]))
                if document.part != "":
                    self._of_object.add(document.pk)

    def _named(self, document: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the changes that give a label of a document by another name, by its own.

        So the object says what the document does.
        """
        home, txn = self._home(document.collection_pk), self.running.txn
        named: dict[str, Any] = {}
        for name, field_pk in home.fields.items():
            value = changes.get(source := home.row.source_of(name))
            label = label_in(value)
            today = None if label is None else current_name(txn, field_pk, label)
            if today is not None and today != label:
                named[source] = today.split(LABEL_SEPARATOR) if isinstance(value, list) else today
        return named

    def _take_over(
        self,
        document: Any,
        before: Mapping[str, Any],
        changes: Mapping[str, Any],
        said: Collection[tuple[int, int]],
    ) -> None:
        """Say the labels of a document that it has, or lacks, because of what its object had."""
        home = self._home(document.collection_pk)
        for name, field_pk in home.fields.items():
            source = home.row.source_of(name)
            if source not in changes or (field_pk, document.pk) in said:
                continue
            stance = label_states(self.running.txn, field_pk, [document.pk])[document.pk]
            given = stance.label if stance.origin in _GIVEN else None
            had, has = label_in(before.get(source)), label_in(changes[source])
            if given == had != has:
                self._label(document, {source: has})

    def _follow(self, document: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Let a document keep of its object's metadata what it is to keep."""
        home = self._home(document.collection_pk)
        had, has = home.kept(before), home.kept(after)
        moved = {name for name in had.keys() | has if had.get(name) != has.get(name)}
        if moved:
            rest = {name: value for name, value in document.metadata.items() if name not in moved}
            changed = {name: has[name] for name in moved if name in has}
            self._rewrite(home, document, rest | changed)

    def _rewrite(self, home: Home, document: Any, metadata: Mapping[str, Any]) -> None:
        txn = self.running.txn
        txn.update(schema.document, [{"pk": document.pk, "metadata": dict(metadata)}])
        for field_pk in home.fields.values():
            touch(txn, field_pk, [document.pk], self.running.pk)

    def _wait_again(self, row: Any, after: Mapping[str, Any]) -> None:
        """Let an object wait where a text or regions among its metadata are what is extracted."""
        blobs = [Blob(**blob) for blob in row.blobs]
        redrawn = row.metadata.get(REGIONS) != after.get(REGIONS)
        for collection in collections_over(self.running.txn, row.bucket_pk, derived=True):
            now = input_of(collection, blobs, after)
            moved = now != input_of(collection, blobs, row.metadata)
            if now is not None and (moved or (redrawn and reads_regions(collection.extractor))):
                mark_pending(self.running.txn, collection.pk, {row.pk: None})

    def _check_in_use(self) -> None:
        for field_pk, labels in self._said.items():
            check_in_use(self.running.txn, field_pk, labels.values())

    def _say(self, field_pk: int, document_pk: int, label: str | None) -> None:
        self._said.setdefault(field_pk, {})[document_pk] = label

    def _home(self, collection_pk: int) -> Home:
        if collection_pk not in self._homes:
            self._homes[collection_pk] = _home(self.running.txn, collection_pk)
        return self._homes[collection_pk]


def _said_in(snapshot: Snapshot, operations: Sequence[int]) -> set[tuple[int, int]]:
    """Return of which documents operations said something, each with the field."""
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


def _lines(
    snapshot: Snapshot, field_pk: int, labels: Mapping[int, str | None], of_object: set[int]
) -> list[LabelStatement]:
    """Return what has to be said so that documents (pk) have these labels; None is "no label"."""
    now = label_states(snapshot, field_pk, labels)
    voices, own = _voices(snapshot, field_pk, labels)
    lines: list[LabelStatement] = []
    for pk, label in labels.items():
        if pk in of_object and pk in own:
            continue
        stance, whole = now[pk], pk in of_object
        if label is not None:
            if stance[:2] != (label, Origin.HUMAN):
                line = LabelStatement(pk, EventKind.LABELLED, label, Origin.HUMAN, of_object=whole)
                lines.append(line)
        elif stance.origin == Origin.AUTO:
            refused = LabelStatement(
                pk, EventKind.REJECTED, stance.label, Origin.HUMAN, of_object=whole
            )
            lines.append(refused)
        else:
            lines += [
                LabelStatement(pk, EventKind.RETRACTED, None, origin, of_object=whole)
                for origin in sorted(voices.get(pk, ()))
            ]
    return lines


def _voices(
    snapshot: Snapshot, field_pk: int, pks: Iterable[int]
) -> tuple[dict[int, set[Origin]], set[int]]:
    """Return who ever said something of documents, and of which a person did, of them alone."""
    event, operation = schema.event, schema.operation
    query = (
        select(event.c.document_pk, event.c.kind, event.c.origin, event.c.detail)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(event.c.field_pk == field_pk, one_of(event.c.document_pk, pks))
        .where(operation.c.undone_by.is_(None), event.c.kind.in_(_WORDS))
        .order_by(event.c.seq)
    )
    voices: dict[int, set[Origin]] = {}
    own: set[int] = set()
    for row in snapshot.rows(query):
        voices.setdefault(row.document_pk, set()).add(Origin(row.origin))
        if row.origin == Origin.HUMAN:
            alone = row.kind != EventKind.RETRACTED and not (row.detail or {}).get("of_object")
            (own.add if alone else own.discard)(row.document_pk)
    return voices, own


# --- regions of objects --------------------------------------------------------------------------

_IN_LIST = 5000
_KEPT = ("box", "detected", "score")


@dataclass(slots=True)
class _Drawn:
    """The regions of one object, by id, while they change."""

    regions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def change(self, id: str, box: Sequence[float] | None) -> None:
        """Draw or move a region, or take it away. Raises BadInput."""
        if box is None:
            if id not in self.regions:
                known = ", ".join(map(repr, self.regions)) or "none"
                raise NotFound(f"there is no region {id!r} to take away (known: {known})")
            del self.regions[id]
            return
        if not id or len(id) > 200 or "/" in id:
            raise BadInput(f"{id[:200]!r} is no id of a region; use 1 to 200 letters without /")
        try:
            drawn = list(read_box(box))
        except BadContent as error:
            raise BadInput(f"region {id!r}: {error}") from error
        self.regions[id] = {"id": id, "box": drawn}


def redrawn(
    snapshot: Snapshot,
    row: CollectionRow,
    changes: Mapping[str, Mapping[str, Sequence[float] | None]],
) -> dict[int, dict[str, Any]]:
    """Return what the metadata of objects (pk) become when their regions change.

    `changes` give by the object's id, and the region's, its box or None. An object that was given
    none until now keeps those that the detector had proposed. Raises BadInput, or NotFound.
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
        drawn = _as_they_are(snapshot, row, objects[id])
        for region, box in boxes.items():
            drawn.change(region, box)
        result[objects[id].pk] = {REGIONS: list(drawn.regions.values())}
    return result


def check_reads_regions(name: str, extractor: str) -> None:
    """Raise BadInput for a collection whose documents are no regions."""
    if not reads_regions(extractor):
        raise BadInput(
            f"the collection {name!r} has the extractor {extractor}, whose documents are no "
            "regions; make one with `lookalike create NAME --extractor region`"
        )


def _as_they_are(snapshot: Snapshot, row: CollectionRow, one: Any) -> _Drawn:
    given = one.metadata.get(REGIONS)
    if isinstance(given, list):
        listed = (each for each in enumerate(given) if isinstance(each[1], Mapping))
        return _Drawn(
            {_id(number, each): {**each, "id": _id(number, each)} for number, each in listed}
        )
    document = schema.document
    query = select(document.c.part, document.c.attributes).order_by(document.c.pk)
    here = (document.c.collection_pk == row.pk) & (document.c.object_pk == one.pk)
    found = snapshot.rows(query.where(here))
    if any("time_ms" in each.attributes for each in found):
        raise BadInput(
            f"{one.id!r} is a video, whose frames have regions of their own: draw on pictures only"
        )
    return _Drawn({each.part: {"id": each.part} | _said(each.attributes) for each in found})


def _id(number: int, region: Mapping[str, Any]) -> str:
    return str(region.get("id") or f"region-{number}")


def _said(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: attributes[name] for name in _KEPT if name in attributes}
