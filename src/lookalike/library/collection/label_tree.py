"""The tree of labels in the store: shown, described, and changed as a whole, in one operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select

from lookalike import labels as label_tree
from lookalike.catalog.idempotency import Previewed, idempotent
from lookalike.catalog.label_names import family_of, naming_of, owner_of
from lookalike.catalog.reader import FieldRow, fields_of, ids_of, pks_of
from lookalike.catalog.resources import CollectionRow, collection_row, dig
from lookalike.catalog.vocabulary import check_not_outside
from lookalike.decisions.operations import Operations, Running
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.labels import (
    LabelCounts,
    LabelTree,
    Naming,
    Rename,
    check_description,
    check_label,
    is_within,
    label_in,
    path_of,
    renamed,
)
from lookalike.library.collection.base import CollectionBase
from lookalike.library.metadata import Sync
from lookalike.library.verb import verb
from lookalike.model import LABEL_SEPARATOR, Changed, EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of

_VOTES = {Origin.HUMAN: "human", Origin.IMPORT: "imported", Origin.PROMOTED: "promoted"}


@dataclass(frozen=True, slots=True)
class FieldLabels:
    """The labels of a field as they are: whose they are, in which fields, and what is known."""

    owner: int
    family: tuple[int, ...]
    naming: Naming
    known: set[str]

    def named(self, label: str, separator: str) -> str:
        """Return a label as it is called today."""
        return self.naming.resolve_one(path_of(check_label(label), separator))


def labels_of(snapshot: Snapshot, field: FieldRow) -> FieldLabels:
    """Return the labels of a field."""
    table, owner = schema.standing, owner_of(snapshot, field.pk)
    family, naming = family_of(snapshot, owner), naming_of(snapshot, owner)
    found: set[str | None] = set(naming.notes)
    for column in (table.c.label, table.c.suggestion):
        query = select(column.label("label")).where(table.c.field_pk.in_(family)).distinct()
        found |= {row.label for row in snapshot.rows(query)}
    known = label_tree.with_ancestors(label for label in found if label is not None)
    return FieldLabels(owner, tuple(family), naming, known)


def tree(snapshot: Snapshot, collection: CollectionRow, field: FieldRow) -> LabelTree:
    """Return the labels of a field as a tree: the owner's references, the field's decisions."""
    labels = labels_of(snapshot, field)
    home, owner = _home(snapshot, labels.owner)
    counts = _counts(snapshot, field.pk, votes_here=field.pk == labels.owner)
    if field.pk != labels.owner:
        for label, own in _counts(snapshot, labels.owner, votes_here=True).items():
            own = replace(own, automatic=0)
            counts[label] = counts.get(label, LabelCounts()).plus(own)
    examples = ids_of(
        snapshot, {pk for note in labels.naming.notes.values() for pk in note.examples}
    )
    nodes = label_tree.label_nodes(counts, labels.naming, examples)
    closed = field.taxonomy.closed_set
    return LabelTree(collection.name, field.name, home.name, owner.name, nodes, closed)


def describe(
    operations: Operations,
    running: Running,
    field: FieldRow,
    label: str,
    *,
    description: str | None,
    examples: Iterable[str] | None,
    aliases: Iterable[str] | None,
) -> None:
    """Say what belongs to a label, which documents show it, and what else it is called.

    One that is not there yet is there from now on, unless the set of labels is closed.
    """
    labels, separator = labels_of(running.txn, field), field.taxonomy.separator
    label = labels.named(label, separator)
    check_not_outside(running.txn, field.pk, [label])
    label_tree.check_free(label, labels.naming)
    detail: dict[str, Any] = {"label": label}
    if description is not None:
        detail["description"] = check_description(description)
    if examples is not None:
        home, _ = _home(running.txn, labels.owner)
        detail["examples"] = list(pks_of(running.txn, home, list(examples)).values())
    if aliases is not None:
        names = sorted({path_of(check_label(name), separator) for name in aliases})
        label_tree.check_aliases(label, names, labels.known | {label}, labels.naming)
        detail["aliases"] = names
    operations.edit_labels(running, {labels.owner: detail}, EventKind.DESCRIBED)


def rename(operations: Operations, running: Running, field: FieldRow, label: str, to: str) -> None:
    """Give a label, with all below it, another name, or another place in the tree."""
    labels, separator = labels_of(running.txn, field), field.taxonomy.separator
    label, to = labels.named(label, separator), path_of(check_label(to), separator)
    label_tree.check_rename(label, to, labels.known, labels.naming)
    _rename(operations, running, labels, {"sources": [label], "to": to})


def merge(
    operations: Operations, running: Running, field: FieldRow, names: Iterable[str], into: str
) -> None:
    """Let labels, each with all below it, be another one, which need not be there yet."""
    labels, separator = labels_of(running.txn, field), field.taxonomy.separator
    sources = sorted({labels.named(one, separator) for one in names})
    into = labels.named(into, separator)
    label_tree.check_merge(sources, into, labels.known, labels.naming)
    detail = {"sources": sources, "to": into, "merged": True}
    _rename(operations, running, labels, detail)


def split(
    operations: Operations,
    running: Running,
    field: FieldRow,
    label: str,
    parts: Mapping[str, Iterable[str]],
) -> None:
    """Let each document to which someone gave a label have a part of it, by the ids of each part.

    What is below the label stays where it is; what the machine had labelled is decided again.
    """
    txn, separator = running.txn, field.taxonomy.separator
    labels = labels_of(txn, field)
    label = labels.named(label, separator)
    ids = {labels.named(name, separator): list(some) for name, some in parts.items()}
    label_tree.check_split(label, ids, labels.known, labels.naming)
    there = _given(txn, labels.family, label)
    by_id: dict[str, list[int]] = {}
    for pk, id in there.items():
        by_id.setdefault(id, []).append(pk)
    for id in (id for some in ids.values() for id in some):
        if id not in by_id:
            raise NotFound(
                f"nobody gave {id!r} the label {label!r}: name documents that someone labelled so; "
                "what the machine labelled is decided again"
            )
    named = {id for some in ids.values() for id in some}
    label_tree.check_left_over(label, sorted(set(by_id) - named))
    chosen = {name: [pk for id in some for pk in by_id[id]] for name, some in ids.items()}
    others = {one for one in labels.known if one != label} | set(ids)
    gone = label not in label_tree.with_ancestors(others)
    detail = {"sources": [label], "parts": chosen, "gone": gone}
    _rename(operations, running, labels, detail)


def retire(operations: Operations, running: Running, field: FieldRow, label: str) -> None:
    """Put a label, with all below it, out of use: nothing is given it, and nobody votes for it."""
    labels = labels_of(running.txn, field)
    label = labels.named(label, field.taxonomy.separator)
    label_tree.check_known(label, labels.known)
    if labels.naming.retired_by(label) is not None:
        raise Conflict(f"{label!r} is retired already")
    said = {pk: {"label": label} for pk in labels.family}
    operations.edit_labels(running, said, EventKind.RETIRED)


def _rename(
    operations: Operations, running: Running, labels: FieldLabels, detail: Mapping[str, Any]
) -> None:
    parts = {name: frozenset(pks) for name, pks in detail.get("parts", {}).items()}
    rename = Rename(running.pk, tuple(detail["sources"]), detail.get("to"), parts)
    documents = operations.edit_labels(
        running, dict.fromkeys(labels.family, detail), EventKind.RENAMED
    )
    if rename.to is not None:
        sources = rename.sources
        below = {one for one in labels.known if any(is_within(one, name) for name in sources)}
        running.renamed |= {one: renamed(one, rename.sources, rename.to) for one in sorted(below)}
    changes: dict[int, dict[str, Any]] = {}
    for field_pk, pks in documents.items():
        _objects_follow(running.txn, field_pk, pks, rename, changes)
    Sync(operations, running).reword(changes)


def _objects_follow(
    snapshot: Snapshot,
    field_pk: int,
    documents: Sequence[int],
    rename: Rename,
    changes: dict[int, dict[str, Any]],
) -> None:
    """Note what the metadata of objects are to say instead, where they name a renamed label."""
    home, field = _home(snapshot, field_pk)
    source, separator = home.source_of(field.name), field.taxonomy.separator
    document, object_ = schema.document, schema.object_
    query = (
        select(document.c.pk, document.c.object_pk, object_.c.metadata)
        .join(object_, object_.c.pk == document.c.object_pk)
        .where(one_of(document.c.pk, documents))
    )
    for row in snapshot.rows(query):
        value = dig(row.metadata, source)
        said = _said_in(value, separator)
        now = None if said is None else rename.apply(said, row.pk)
        if now != said and now is not None:
            top, *rest = [source] if source in row.metadata else source.split(".")
            said_again = _written(now, value, separator)
            whole = _replaced(row.metadata[top], rest, said_again) if rest else said_again
            changes.setdefault(row.object_pk, {})[top] = whole


def _said_in(value: Any, separator: str) -> str | None:
    try:
        label = label_in(value)
    except BadInput:
        return None
    return None if label is None else path_of(label, separator)


def _written(label: str, like: Any, separator: str) -> Any:
    """Return a label in the form in which another one was written."""
    parts = label.split(LABEL_SEPARATOR)
    if isinstance(like, list):
        return parts
    return label if separator == LABEL_SEPARATOR.strip() else separator.join(parts)


def _replaced(value: Any, path: Sequence[str], said: Any) -> Any:
    first, *rest = path
    return {**value, first: _replaced(value[first], rest, said) if rest else said}


def _home(snapshot: Snapshot, field_pk: int) -> tuple[CollectionRow, FieldRow]:
    table = schema.field
    (row,) = snapshot.rows(select(table.c.collection_pk).where(table.c.pk == field_pk))
    fields = fields_of(snapshot, row.collection_pk)
    field = next(one for one in fields if one.pk == field_pk)
    return collection_row(snapshot, row.collection_pk), field


def _counts(snapshot: Snapshot, field_pk: int, *, votes_here: bool) -> dict[str, LabelCounts]:
    """Return how many documents have each label of a field."""
    table = schema.standing
    query = (
        select(table.c.label, table.c.origin, table.c.votes, func.count().label("n"))
        .where(table.c.field_pk == field_pk, table.c.label.is_not(None))
        .group_by(table.c.label, table.c.origin, table.c.votes)
    )
    counts: dict[str, LabelCounts] = {}
    for row in snapshot.rows(query):
        name = "automatic" if row.origin == Origin.AUTO else "recorded"
        if row.votes and votes_here:
            name = _VOTES[Origin(row.origin)]
        own = counts.get(row.label, LabelCounts())
        counts[row.label] = own.plus(LabelCounts(**{name: row.n}))
    return counts


def _given(snapshot: Snapshot, family: Sequence[int], label: str) -> dict[int, str]:
    """Return the documents (pk → id) to which someone gave a label, in any of the fields."""
    table, document = schema.standing, schema.document
    query = (
        select(document.c.pk, document.c.id)
        .join(table, table.c.document_pk == document.c.pk)
        .where(table.c.field_pk.in_(family), table.c.label == label)
        .where(table.c.origin != Origin.AUTO)
    )
    return {row.pk: row.id for row in snapshot.rows(query)}


# --- the verbs -----------------------------------------------------------------------------------


class Shaping(CollectionBase):
    """What a person does with labels themselves; the labels are those of whose labels vote."""

    @verb("read")
    def label_tree(self, *, field: str | None = None) -> LabelTree:
        """Return the labels of a field as a tree, with their style guide and counts."""
        with self._runtime.store.read() as snapshot:
            return tree(snapshot, self._row, self._field(snapshot, field))

    @verb("admin")
    def describe_label(
        self,
        label: str,
        *,
        description: str | None = None,
        examples: Iterable[str] | None = None,
        aliases: Iterable[str] | None = None,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Say what belongs to a label, which documents show it, and its other names.

        What is not said stays; a label that is not there yet is there from now on. `examples` are
        ids of documents in the collection whose labels vote; a label that is given by one of its
        `aliases` is the label. Raises Conflict for a name that means another label, NotFound,
        BadInput.
        """
        named = None if examples is None else list(examples)
        others = None if aliases is None else list(aliases)

        def act(running: Running, chosen: FieldRow) -> None:
            describe(
                self._runtime.operations,
                running,
                chosen,
                label,
                description=description,
                examples=named,
                aliases=others,
            )

        asked = (label, description, named, others)
        return self._shape("describe_label", field, actor, op_id, asked, act)

    @verb("admin")
    def rename_label(
        self,
        label: str,
        to: str,
        *,
        preview: bool = False,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Give a label, with all below it, another name, or another place in the tree: a path.

        It reads so wherever it was said, and nothing else changes; the old name means the new one
        from now on. With `preview` nothing is written. Raises Conflict for a name that is taken,
        NotFound, BadInput for a place below itself.
        """

        def act(running: Running, chosen: FieldRow) -> None:
            rename(self._runtime.operations, running, chosen, label, to)

        return self._shape("rename_label", field, actor, op_id, (label, to), act, preview)

    @verb("admin")
    def merge_labels(
        self,
        labels: Iterable[str],
        into: str,
        *,
        preview: bool = False,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Let labels, each with all below it, be another one, there or new; then decide again.

        Their names mean that one from now on. With `preview` nothing is written. Raises NotFound,
        BadInput for a label that is merged into itself or into what is below it.
        """
        names = list(labels)

        def act(running: Running, chosen: FieldRow) -> None:
            merge(self._runtime.operations, running, chosen, names, into)

        return self._shape("merge_labels", field, actor, op_id, (names, into), act, preview)

    @verb("admin")
    def split_label(
        self,
        label: str,
        parts: Mapping[str, Iterable[str]],
        *,
        preview: bool = False,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Split a label: new label → ids of the documents that have it, each in one part.

        Named are all to which someone gave the label; what the machine labelled is decided again.
        What is below the label stays. With `preview` nothing is written. Raises BadInput for
        documents that are left over, NotFound for those that nobody labelled so.
        """
        ids = {name: list(some) for name, some in parts.items()}

        def act(running: Running, chosen: FieldRow) -> None:
            split(self._runtime.operations, running, chosen, label, ids)

        return self._shape("split_label", field, actor, op_id, (label, ids), act, preview)

    @verb("admin")
    def retire_label(
        self,
        label: str,
        *,
        preview: bool = False,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Put a label, with all below it, out of use: no reference votes for it any more.

        What people said stays as it is; to use the label again, undo the operation. With `preview`
        nothing is written. Raises Conflict for one that is retired already, NotFound.
        """

        def act(running: Running, chosen: FieldRow) -> None:
            retire(self._runtime.operations, running, chosen, label)

        return self._shape("retire_label", field, actor, op_id, (label,), act, preview)

    @idempotent
    def _shape(
        self,
        verb: str,
        field: str | None,
        actor: str,
        op_id: str,
        asked: tuple[object, ...],
        act: Callable[[Running, FieldRow], None],
        preview: bool = False,
    ) -> Changed:
        with self._operate(verb, actor, "" if preview else op_id, field, *asked) as running:
            act(running, self._field(running.txn, field))
            if preview:
                raise Previewed(running.changed())
        return running.changed()
