"""Declare labels before anyone gives them, and close label sets so that no others are allowed.

A declared label is in the label tree, like a described one. The declarations and the flag that
closes a set are events of one operation, which is undone as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from lookalike.catalog.fields import taxonomy_to
from lookalike.catalog.label_names import naming_of, owner_of, why_not
from lookalike.catalog.reader import FieldRow
from lookalike.catalog.vocabulary import (
    LabelSet,
    Vocabulary,
    label_counts,
    labels_in_use,
    new_category_count,
)
from lookalike.classifier.graph.neighbours import FindLists
from lookalike.decisions.operations import Operations, Running
from lookalike.errors import BadInput
from lookalike.labels import Naming, Note, ancestors, path_of, with_ancestors
from lookalike.model import EventKind, Taxonomy
from lookalike.stores.base import Snapshot

_SHOWN = 10


def new_declarations(
    snapshot: Snapshot, field: FieldRow, label_set: LabelSet, *, closing: bool
) -> dict[str, str | None]:
    """Return the labels to declare, with their descriptions: new labels or new descriptions.

    With `closing` (an open set is to be closed) also all labels in use.

    Raises BadInput for a retired label, and for a set that cannot be closed: it has no label, or
    documents have other labels or are marked as a new category.
    """
    naming = naming_of(snapshot, owner_of(snapshot, field.pk))
    given = _by_name(snapshot, naming, label_set.labels or {}, field.taxonomy.separator)
    if closing:
        known = labels_in_use(snapshot, field.pk, naming)
        _check_closable(snapshot, field, known, None if label_set.labels is None else given)
        given = dict.fromkeys(known) | given
    return {
        label: text for label, text in sorted(given.items()) if _is_new(naming.notes, label, text)
    }


def differs(snapshot: Snapshot, field: FieldRow, label_set: LabelSet) -> bool:
    """Return whether a label set would change the labels of a field, or close or open the set."""
    closes = label_set.closed not in (None, field.taxonomy.closed_set)
    return closes or bool(new_declarations(snapshot, field, label_set, closing=False))


def declared_in(snapshot: Snapshot, field: FieldRow) -> LabelSet:
    """Return the labels of a field with their descriptions, and whether the set is closed."""
    naming = naming_of(snapshot, owner_of(snapshot, field.pk))
    labels = {
        label: note.description if (note := naming.notes.get(label)) else None
        for label in sorted(labels_in_use(snapshot, field.pk, naming))
    }
    return LabelSet(labels, field.taxonomy.closed_set)


def described_in(snapshot: Snapshot, field: FieldRow) -> dict[str, str | None]:
    """Return the declared or described labels without children, with their descriptions."""
    naming = naming_of(snapshot, owner_of(snapshot, field.pk))
    notes = {
        label: note for label, note in naming.notes.items() if naming.retired_by(label) is None
    }
    parents = {parent for label in notes for parent in ancestors(label)}
    return {label: notes[label].description or None for label in sorted(notes.keys() - parents)}


def add_new(
    operations: Operations, running: Running, field: FieldRow, labels: Iterable[str | None]
) -> None:
    """Add labels to the closed set of a field if they are not in it; ignore an open set."""
    vocabulary = Vocabulary(running.txn, field.pk)
    outside = [one for one in labels if one is not None and vocabulary.why_outside(one) is not None]
    separator = field.taxonomy.separator
    added = _by_name(running.txn, vocabulary.naming, dict.fromkeys(outside), separator)
    _record(operations, running, field, added)


def apply_taxonomy(
    operations: Operations,
    running: Running,
    field: FieldRow,
    after: Taxonomy,
    label_set: LabelSet,
    find: FindLists | None = None,
) -> None:
    """Declare labels, give a field a taxonomy, the same or another, and decide all documents.

    Raises BadInput as `new_declarations`.
    """
    before = field.taxonomy
    closing = after.closed_set and not before.closed_set
    if after.closed_set != before.closed_set:
        running.details["closed_set"] = after.closed_set
    labels = new_declarations(running.txn, field, label_set, closing=closing)
    _record(operations, running, field, labels)
    if after == before:
        operations.decide_all(running, field.pk, find)
    else:
        changed = (taxonomy_to(before), taxonomy_to(after))
        operations.configure(running, field.pk, *changed, find)


def declare_first(
    operations: Operations, running: Running, field: FieldRow, label_set: LabelSet
) -> None:
    """Declare the labels of a new field, and close its set if requested."""
    if label_set.is_given:
        after = field.taxonomy
        if label_set.closed:
            after = replace(after, closed_set=True, version=after.version + 1)
        apply_taxonomy(operations, running, field, after, label_set)


def _record(
    operations: Operations, running: Running, field: FieldRow, labels: Mapping[str, str | None]
) -> None:
    if labels:
        owner = owner_of(running.txn, field.pk)
        operations.edit_labels(running, {owner: {"labels": dict(labels)}}, EventKind.DECLARED)


def _by_name(
    snapshot: Snapshot, naming: Naming, labels: Mapping[str, str | None], separator: str
) -> dict[str, str | None]:
    """Return labels under their current names. Raises BadInput for a retired one."""
    named: dict[str, str | None] = {}
    for label, text in labels.items():
        path = path_of(label, separator)
        if (reason := why_not(snapshot, naming, path)) is not None:
            raise BadInput(reason)
        named[naming.resolve_one(path)] = text
    return named


def _is_new(notes: Mapping[str, Note], label: str, text: str | None) -> bool:
    return label not in notes or text not in (None, notes[label].description)


def _check_closable(
    snapshot: Snapshot, field: FieldRow, known: set[str], given: Mapping[str, str | None] | None
) -> None:
    """Raise BadInput if a set of labels, the `given` or else all `known`, cannot be closed."""
    if not known and not given:
        raise BadInput(
            f"{field.name!r} has no labels yet, so there is no set to close: give them with "
            "`labels`, or label documents first"
        )
    if count := new_category_count(snapshot, field.pk):
        raise BadInput(
            f"people marked {_documents(count)} as a new category, so the set is incomplete: give "
            "each a label, or remove the answer, before you close the set"
        )
    others = sorted(known - with_ancestors(given)) if given is not None else []
    if others:
        counts = label_counts(snapshot, field.pk)
        listed = ", ".join(f"{one!r} ({_documents(counts.get(one, 0))})" for one in others[:_SHOWN])
        more = " …" if len(others) > _SHOWN else ""
        raise BadInput(
            f"these labels exist and are not in the given set: {listed}{more}; give them too, or "
            "rename, merge or retire them first"
        )


def _documents(count: int) -> str:
    return f"{count} document" + ("" if count == 1 else "s")
