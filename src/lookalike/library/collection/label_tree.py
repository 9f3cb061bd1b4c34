"""The label tree of a field: read it, describe labels, and rename, merge, split or retire them.

Each change of a label is one undoable operation.
"""

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

_COUNT_NAMES = {Origin.HUMAN: "human", Origin.IMPORT: "imported", Origin.PROMOTED: "promoted"}


@dataclass(frozen=True, slots=True)
class FieldLabels:
    """The labels of a field: the `owner` field, all fields that share them, and `known` paths."""

    owner: int
    family: tuple[int, ...]
    naming: Naming
    known: set[str]

    def named(self, label: str, separator: str) -> str:
        """Return the current name of a label."""
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
    """Return the labels of a field as a tree; it counts the field's decisions and references."""
    labels = labels_of(snapshot, field)
    home, owner = _home(snapshot, labels.owner)
    counts = _counts(snapshot, field.pk, has_references=field.pk == labels.owner)
    if field.pk != labels.owner:
        for label, own in _counts(snapshot, labels.owner, has_references=True).items():
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
    """Set a label's description, examples and aliases; None keeps the value.

    It declares a label that does not exist yet, unless the label set is closed.
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
    """Rename a label with its children, or move it to another place in the tree."""
    labels, separator = labels_of(running.txn, field), field.taxonomy.separator
    label, to = labels.named(label, separator), path_of(check_label(to), separator)
    label_tree.check_rename(label, to, labels.known, labels.naming)
    _rename(operations, running, labels, {"sources": [label], "to": to})


def merge(
    operations: Operations, running: Running, field: FieldRow, names: Iterable[str], into: str
) -> None:
    """Merge labels with their children into one label, which need not exist yet."""
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
    """Split a label into `parts` (new label → ids); each document of the label goes to one part.

    The documents are those with the label from a person, an import or a promotion. The label's
    children stay, and automatic labels are decided again.
    """
    txn, separator = running.txn, field.taxonomy.separator
    labels = labels_of(txn, field)
    label = labels.named(label, separator)
    ids_of_part = {labels.named(name, separator): list(ids) for name, ids in parts.items()}
    label_tree.check_split(label, ids_of_part, labels.known, labels.naming)
    pks_of_id: dict[str, list[int]] = {}
    for pk, id in _given(txn, labels.family, label).items():
        pks_of_id.setdefault(id, []).append(pk)
    named = [id for ids in ids_of_part.values() for id in ids]
    for id in named:
        if id not in pks_of_id:
            raise NotFound(
                f"nobody gave {id!r} the label {label!r}: give ids of documents with this label "
                "from a person or an import; automatic labels are decided again"
            )
    label_tree.check_left_over(label, sorted(pks_of_id.keys() - named))
    pks_of_part = {
        name: [pk for id in ids for pk in pks_of_id[id]] for name, ids in ids_of_part.items()
    }
    others = {one for one in labels.known if one != label} | set(ids_of_part)
    gone = label not in label_tree.with_ancestors(others)
    detail = {"sources": [label], "parts": pks_of_part, "gone": gone}
    _rename(operations, running, labels, detail)


def retire(operations: Operations, running: Running, field: FieldRow, label: str) -> None:
    """Retire a label with its children: it cannot be given, and its references have no effect."""
    labels = labels_of(running.txn, field)
    label = labels.named(label, field.taxonomy.separator)
    label_tree.check_known(label, labels.known)
    if labels.naming.retired_by(label) is not None:
        raise Conflict(f"{label!r} is already retired")
    details = {pk: {"label": label} for pk in labels.family}
    operations.edit_labels(running, details, EventKind.RETIRED)


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
        _rename_in_objects(running.txn, field_pk, pks, rename, changes)
    Sync(operations, running).rename(changes)


def _rename_in_objects(
    snapshot: Snapshot,
    field_pk: int,
    documents: Sequence[int],
    rename: Rename,
    changes: dict[int, dict[str, Any]],
) -> None:
    """Add to `changes` (by object pk) the metadata of objects that name a renamed label."""
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
        before = _label_in(value, separator)
        after = None if before is None else rename.apply(before, row.pk)
        if after != before and after is not None:
            top, *rest = [source] if source in row.metadata else source.split(".")
            renamed = _formatted(after, value, separator)
            whole = _replaced(row.metadata[top], rest, renamed) if rest else renamed
            changes.setdefault(row.object_pk, {})[top] = whole


def _label_in(value: Any, separator: str) -> str | None:
    try:
        label = label_in(value)
    except BadInput:
        return None
    return None if label is None else path_of(label, separator)


def _formatted(label: str, like: Any, separator: str) -> Any:
    """Return a label in the format of the value `like`: a list of parts, or a text."""
    parts = label.split(LABEL_SEPARATOR)
    if isinstance(like, list):
        return parts
    return label if separator == LABEL_SEPARATOR.strip() else separator.join(parts)


def _replaced(value: Any, path: Sequence[str], new: Any) -> Any:
    first, *rest = path
    return {**value, first: _replaced(value[first], rest, new) if rest else new}


def _home(snapshot: Snapshot, field_pk: int) -> tuple[CollectionRow, FieldRow]:
    table = schema.field
    (row,) = snapshot.rows(select(table.c.collection_pk).where(table.c.pk == field_pk))
    fields = fields_of(snapshot, row.collection_pk)
    field = next(one for one in fields if one.pk == field_pk)
    return collection_row(snapshot, row.collection_pk), field


def _counts(snapshot: Snapshot, field_pk: int, *, has_references: bool) -> dict[str, LabelCounts]:
    """Return the number of documents with each label of a field."""
    table = schema.standing
    query = (
        select(table.c.label, table.c.origin, table.c.votes, func.count().label("n"))
        .where(table.c.field_pk == field_pk, table.c.label.is_not(None))
        .group_by(table.c.label, table.c.origin, table.c.votes)
    )
    counts: dict[str, LabelCounts] = {}
    for row in snapshot.rows(query):
        name = "automatic" if row.origin == Origin.AUTO else "recorded"
        if row.votes and has_references:
            name = _COUNT_NAMES[Origin(row.origin)]
        own = counts.get(row.label, LabelCounts())
        counts[row.label] = own.plus(LabelCounts(**{name: row.n}))
    return counts


def _given(snapshot: Snapshot, family: Sequence[int], label: str) -> dict[int, str]:
    """Return the documents (pk → id) with a label that is not automatic, in any of the fields."""
    table, document = schema.standing, schema.document
    query = (
        select(document.c.pk, document.c.id)
        .join(table, table.c.document_pk == document.c.pk)
        .where(table.c.field_pk.in_(family), table.c.label == label)
        .where(table.c.origin != Origin.AUTO)
    )
    return {row.pk: row.id for row in snapshot.rows(query)}


# --- the verbs -----------------------------------------------------------------------------------


class LabelTreeVerbs(CollectionBase):
    """Read and edit the label tree; it belongs to the field that has the references."""

    @verb("read")
    def label_tree(self, *, field: str | None = None) -> LabelTree:
        """Return the labels of a field as a tree, with descriptions, examples and counts."""
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
        """Set a label's description, example documents and aliases; None keeps the value.

        It declares a label that does not exist yet. `examples` are ids of documents in the
        collection that has the references; where a label is given, an alias means the label. Raises
        Conflict for a name that means another label, NotFound, BadInput.
        """
        example_ids = None if examples is None else list(examples)
        names = None if aliases is None else list(aliases)

        def act(running: Running, chosen: FieldRow) -> None:
            describe(
                self._runtime.operations,
                running,
                chosen,
                label,
                description=description,
                examples=example_ids,
                aliases=names,
            )

        arguments = (label, description, example_ids, names)
        return self._edit("describe_label", field, actor, op_id, arguments, act)

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
        """Rename a label with its children, or move it to another path in the tree.

        The new name replaces the old one everywhere, and no decision changes; the old name becomes
        an alias. With `preview` nothing is written. Raises Conflict for a name in use, NotFound,
        BadInput for a place below itself.
        """

        def act(running: Running, chosen: FieldRow) -> None:
            rename(self._runtime.operations, running, chosen, label, to)

        return self._edit("rename_label", field, actor, op_id, (label, to), act, preview)

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
        """Merge labels with their children into one label, existing or new; then decide again.

        Their names become aliases of it. With `preview` nothing is written. Raises NotFound,
        BadInput for a label merged into itself or into its own child.
        """
        names = list(labels)

        def act(running: Running, chosen: FieldRow) -> None:
            merge(self._runtime.operations, running, chosen, names, into)

        return self._edit("merge_labels", field, actor, op_id, (names, into), act, preview)

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
        """Split a label into `parts`: new label → ids of its documents, each in one part.

        Give all documents with the label from a person, import or promotion; automatic labels are
        decided again. The label's children stay. With `preview` nothing is written. Raises BadInput
        for documents in no part, NotFound for documents without the label.
        """
        ids_of_part = {name: list(ids) for name, ids in parts.items()}

        def act(running: Running, chosen: FieldRow) -> None:
            split(self._runtime.operations, running, chosen, label, ids_of_part)

        return self._edit("split_label", field, actor, op_id, (label, ids_of_part), act, preview)

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
        """Retire a label with its children: its documents are references no more.

        People's labels stay stored; undo the operation to use the label again. With `preview`
        nothing is written. Raises Conflict for a label that is already retired, NotFound.
        """

        def act(running: Running, chosen: FieldRow) -> None:
            retire(self._runtime.operations, running, chosen, label)

        return self._edit("retire_label", field, actor, op_id, (label,), act, preview)

    @idempotent
    def _edit(
        self,
        verb: str,
        field: str | None,
        actor: str,
        op_id: str,
        arguments: tuple[object, ...],
        act: Callable[[Running, FieldRow], None],
        preview: bool = False,
    ) -> Changed:
        with self._operate(verb, actor, "" if preview else op_id, field, *arguments) as running:
            act(running, self._field(running.txn, field))
            if preview:
                raise Previewed(running.changed())
        return running.changed()
