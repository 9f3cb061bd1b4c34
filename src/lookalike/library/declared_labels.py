"""Labels that are declared before anyone gives them, and closed sets: these are all there are.

A declared label is in the label tree from then on, like one that is described. What is declared and
the flag that closes a set are events of one operation, which is undone as a whole.
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


def news(
    snapshot: Snapshot, field: FieldRow, said: LabelSet, *, closing: bool
) -> dict[str, str | None]:
    """Return the labels that have to be declared, with their descriptions.

    `closing` says that the set is open and shall be closed: then they are all that it has.

    Raises BadInput for a label that is out of use, and for a set that cannot be closed: there are
    other labels or new kinds, or there is no label.
    """
    naming = naming_of(snapshot, owner_of(snapshot, field.pk))
    given = _by_name(snapshot, naming, said.labels or {}, field.taxonomy.separator)
    if closing:
        known = labels_in_use(snapshot, field.pk, naming)
        _check_closable(snapshot, field, known, None if said.labels is None else given)
        given = dict.fromkeys(known) | given
    return {
        label: text for label, text in sorted(given.items()) if _is_news(naming.notes, label, text)
    }


def differs(snapshot: Snapshot, field: FieldRow, said: LabelSet) -> bool:
    """Return whether a label set says anything of a field that is not so already."""
    closes = said.closed not in (None, field.taxonomy.closed_set)
    return closes or bool(news(snapshot, field, said, closing=False))


def declared_in(snapshot: Snapshot, field: FieldRow) -> LabelSet:
    """Return the labels of a field with their descriptions, and whether they are all."""
    naming = naming_of(snapshot, owner_of(snapshot, field.pk))
    labels = {
        one: note.description if (note := naming.notes.get(one)) else None
        for one in sorted(labels_in_use(snapshot, field.pk, naming))
    }
    return LabelSet(labels, field.taxonomy.closed_set)


def described_in(snapshot: Snapshot, field: FieldRow) -> dict[str, str | None]:
    """Return the leaves among the labels that were declared or described, with descriptions."""
    naming = naming_of(snapshot, owner_of(snapshot, field.pk))
    notes = {one: note for one, note in naming.notes.items() if naming.retired_by(one) is None}
    parents = {parent for label in notes for parent in ancestors(label)}
    return {one: notes[one].description or None for one in sorted(notes.keys() - parents)}


def declare(
    operations: Operations, running: Running, field: FieldRow, said: LabelSet, *, closing: bool
) -> None:
    """Declare labels of a field; with `closing` all that there are. Raises BadInput as `news`."""
    _record(operations, running, field, news(running.txn, field, said, closing=closing))


def add_new(
    operations: Operations, running: Running, field: FieldRow, labels: Iterable[str | None]
) -> None:
    """Add labels to the closed set of a field where they are not in it; an open one has no end."""
    vocabulary = Vocabulary(running.txn, field.pk)
    named = [one for one in labels if one is not None and vocabulary.why_outside(one) is not None]
    added = _by_name(running.txn, vocabulary.naming, dict.fromkeys(named), field.taxonomy.separator)
    _record(operations, running, field, added)


def follow(
    operations: Operations,
    running: Running,
    field: FieldRow,
    after: Taxonomy,
    said: LabelSet,
    find: FindLists | None = None,
) -> None:
    """Let a field follow a taxonomy, the same one or another, with labels declared; decide all."""
    before = field.taxonomy
    closing = after.closed_set and not before.closed_set
    if after.closed_set != before.closed_set:
        running.details["closed_set"] = after.closed_set
    declare(operations, running, field, said, closing=closing)
    if after == before:
        operations.decide_all(running, field.pk, find)
    else:
        changed = (taxonomy_to(before), taxonomy_to(after))
        operations.configure(running, field.pk, *changed, find)


def begin(operations: Operations, running: Running, field: FieldRow, said: LabelSet) -> None:
    """Let a field that was just made have its labels, and be closed if that is said."""
    if said.is_given:
        after = field.taxonomy
        if said.closed:
            after = replace(after, closed_set=True, version=after.version + 1)
        follow(operations, running, field, after, said)


def _record(
    operations: Operations, running: Running, field: FieldRow, labels: Mapping[str, str | None]
) -> None:
    if labels:
        owner = owner_of(running.txn, field.pk)
        operations.edit_labels(running, {owner: {"labels": dict(labels)}}, EventKind.DECLARED)


def _by_name(
    snapshot: Snapshot, naming: Naming, labels: Mapping[str, str | None], separator: str
) -> dict[str, str | None]:
    """Return labels under the names that they have today. Raises BadInput for one out of use."""
    named: dict[str, str | None] = {}
    for label, text in labels.items():
        path = path_of(label, separator)
        if (reason := why_not(snapshot, naming, path)) is not None:
            raise BadInput(reason)
        named[naming.resolve_one(path)] = text
    return named


def _is_news(notes: Mapping[str, Note], label: str, text: str | None) -> bool:
    return label not in notes or text not in (None, notes[label].description)


def _check_closable(
    snapshot: Snapshot, field: FieldRow, known: set[str], given: Mapping[str, str | None] | None
) -> None:
    """Raise BadInput where labels, `given` ones or all that are `known`, cannot be all."""
    if not known and not given:
        raise BadInput(
            f"{field.name!r} has no labels yet, so there is no set to close: name them with "
            "`labels`, or label something first"
        )
    if count := new_category_count(snapshot, field.pk):
        raise BadInput(
            f"people called {_documents(count)} a new kind, so these are not all the labels: give "
            "each a label, or take that back, before the set is closed"
        )
    others = sorted(known - with_ancestors(given)) if given is not None else []
    if others:
        counts = label_counts(snapshot, field.pk)
        some = ", ".join(f"{one!r} ({_documents(counts.get(one, 0))})" for one in others[:_SHOWN])
        more = " …" if len(others) > _SHOWN else ""
        raise BadInput(
            f"these labels are there and not among those given: {some}{more}; name them too, or "
            "rename, merge or retire them first"
        )


def _documents(count: int) -> str:
    return f"{count} document" + ("" if count == 1 else "s")
