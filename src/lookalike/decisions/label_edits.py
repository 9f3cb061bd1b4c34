"""Apply label edits (rename, merge, split, retire) to statements, decisions and decision rules.

If every label only has a new name, nothing is decided again: rows are rewritten, and the fitted
rule is kept under the new names. Otherwise the fields are decided again as after other changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, or_, select, update

from lookalike.catalog.fields import has_space
from lookalike.catalog.label_names import naming_of
from lookalike.classifier.calibration.decision_rule import renamed
from lookalike.decisions.decider import Decider, LabelChange
from lookalike.decisions.decision_log import log_names
from lookalike.decisions.ledger.statements import read_now, write_statements
from lookalike.labels import Naming, ancestors, with_ancestors
from lookalike.model import EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn, conditions

_BLOCK_ROWS = 20_000


@dataclass(slots=True)
class LabelEditEffects:
    """The effects of label edits, by field.

    `documents` have a changed statement, `settled` are those of them that are not decided
    automatically, and `changes` are the automatic changes. `given` counts, by current label, the
    given labels that have a new name or that start or stop being references.
    """

    documents: dict[int, list[int]] = field(default_factory=dict)
    settled: dict[int, list[int]] = field(default_factory=dict)
    changes: dict[int, dict[int, LabelChange]] = field(default_factory=dict)
    given: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _FieldLabels:
    """The labels of a field before or after an edit.

    `given`: the label of some documents, and whether it is a reference. `references`: the number of
    references by label. `excluded`: the (document, label) pairs that are excluded.
    """

    given: Mapping[int, tuple[str, bool]]
    references: Mapping[str, int]
    excluded: frozenset[tuple[int, str]]

    @property
    def reference_labels(self) -> dict[int, str]:
        return {pk: label for pk, (label, is_reference) in self.given.items() if is_reference}


def apply_label_edits(
    txn: Txn,
    operation: int,
    decider_of: Callable[[int], Decider],
    before: Mapping[int, Naming],
    rules: Mapping[int, Mapping[str, Any] | None],
) -> LabelEditEffects:
    """Update the tables of fields to match their label events.

    `before` is the naming of each field as its tables are now. `rules` are the rules that were
    used when the tables were last in the target state; a field with such a rule is decided by it.
    """
    deciders = {pk: decider_of(pk) for pk in before if has_space(txn, pk)}
    done, was, now = LabelEditEffects(), dict[int, _FieldLabels](), dict[int, _FieldLabels]()
    for pk, naming in before.items():
        documents = done.documents[pk] = _touched(txn, pk, naming, naming_of(txn, pk))
        was[pk] = _field_labels(txn, pk, documents)
        done.settled[pk] = write_statements(txn, operation, pk, documents)
        now[pk] = _field_labels(txn, pk, documents)
        changed = [one for one, label in now[pk].given.items() if was[pk].given.get(one) != label]
        done.given.update(now[pk].given[one][0] for one in changed)
    for pk, decider in deciders.items():
        source = decider.field.reference_field_pk
        names = _names(was[source], now[source])
        if names is not None and _by_tree(decider):
            names = _tree_names(was[source].references, names)
        if names is not None and _same_exclusions(
            was[pk], now[pk], was[source], now[source], names
        ):
            done.changes[pk] = _rename_rows(txn, operation, pk, names)
            decider_of(pk)  # reloads the rewritten rows
        elif pk in rules:
            _set_rule(txn, operation, pk, rules[pk], {})
            done.changes[pk] = decider_of(pk).decide_all(txn, operation, rebuild=False)
        elif decider.field.taxonomy.targets:
            done.changes[pk] = decider_of(pk).decide_all(txn, operation)
        else:
            own, references = done.documents[pk], done.documents[source]
            done.changes[pk] = decider.statements_changed(txn, operation, own, references)
    return done


def stored_rule(snapshot: Snapshot, field_pk: int) -> Any:
    """Return the decision rule of a field as stored (JSON values)."""
    table = schema.field
    return snapshot.rows(select(table.c.standard).where(table.c.pk == field_pk))[0].standard


def _touched(snapshot: Snapshot, field_pk: int, before: Naming, after: Naming) -> list[int]:
    """Return the documents with a statement that has a new name, or a label retired or restored."""
    event = schema.event
    query = (
        select(event.c.document_pk, event.c.operation_pk, event.c.kind, event.c.label)
        .where(event.c.field_pk == field_pk, event.c.document_pk.is_not(None))
        .where(event.c.label.is_not(None), event.c.kind != EventKind.DECIDED)
    )

    def reads(naming: Naming, row: Any) -> list[Any]:
        return [(one, naming.retired_by(one) is None) for one in read_now(naming, row)]

    return sorted(
        {row.document_pk for row in snapshot.rows(query) if reads(before, row) != reads(after, row)}
    )


def _field_labels(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> _FieldLabels:
    table, rejection = schema.standing, schema.rejection
    query = select(table.c.document_pk, table.c.label, table.c.votes)
    query = query.where(table.c.field_pk == field_pk, table.c.label.is_not(None))
    given = {
        row.document_pk: (row.label, bool(row.votes))
        for chosen in conditions(table.c.document_pk, documents)
        for row in snapshot.rows(query.where(table.c.origin != Origin.AUTO, chosen))
    }
    counts = select(table.c.label, func.count().label("n")).group_by(table.c.label)
    references = snapshot.rows(counts.where(table.c.field_pk == field_pk, table.c.votes))
    rejections = select(rejection.c.document_pk, rejection.c.label)
    excluded = snapshot.rows(rejections.where(rejection.c.field_pk == field_pk))
    return _FieldLabels(
        given,
        {row.label: row.n for row in references},
        frozenset((row.document_pk, row.label) for row in excluded),
    )


def _names(was: _FieldLabels, now: _FieldLabels) -> dict[str, str] | None:
    """Return the new name of each label if the edit only renames labels, else None.

    It only renames if the same documents are references, grouped in the same way: no label was
    merged, split or retired.
    """
    before, after = was.reference_labels, now.reference_labels
    if before.keys() != after.keys():
        return None
    pairs = {(before[pk], after[pk]) for pk in before}
    names = {label: label for label in was.references} | dict(pairs)
    whole = {names[label]: count for label, count in was.references.items()}
    if len(whole) < len(names) or len(pairs) > len(dict(pairs)) or whole != now.references:
        return None
    return {old: new for old, new in names.items() if old != new}


def _by_tree(decider: Decider) -> bool:
    """Return whether a field also gives parent labels of those that have references."""
    taxonomy = decider.field.taxonomy
    return taxonomy.hierarchical and taxonomy.confidence_threshold is None


def _tree_names(labels: Iterable[str], names: Mapping[str, str]) -> dict[str, str] | None:
    """Return `names` extended by all parents of `labels`; None if the tree has another shape."""
    tree: dict[str, str] = {}
    for label in labels:
        old, new = ([*ancestors(one), one] for one in (label, names.get(label, label)))
        pairs = list(zip(sorted(old), sorted(new), strict=False))
        if len(old) != len(new) or any(tree.setdefault(*pair) != pair[1] for pair in pairs):
            return None
    if len(set(tree.values())) < len(tree):
        return None
    return {old: new for old, new in tree.items() if old != new}


def _same_exclusions(
    own_was: _FieldLabels,
    own_now: _FieldLabels,
    was: _FieldLabels,
    now: _FieldLabels,
    names: Mapping[str, str],
) -> bool:
    """Return whether the excluded labels of all documents are the same, apart from the names."""
    labels_before, labels_now = with_ancestors(was.references), with_ancestors(now.references)
    before = {
        (pk, names.get(label, label)) for pk, label in own_was.excluded if label in labels_before
    }
    return before == {(pk, label) for pk, label in own_now.excluded if label in labels_now}


def _rename_rows(
    txn: Txn, operation: int, field_pk: int, names: Mapping[str, str]
) -> dict[int, LabelChange]:
    """Rewrite automatic decisions under the new names; return the labels before and after."""
    table = schema.standing
    automatic = (table.c.origin == Origin.AUTO) & table.c.label.in_(sorted(names))
    query = select(table.c.document_pk, table.c.label, table.c.origin, table.c.runner_up)
    chosen = or_(automatic, table.c.runner_up.in_(sorted(names)))
    rows = txn.rows(query.where(table.c.field_pk == field_pk, chosen))
    changes: dict[int, LabelChange] = {}
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS]
        renames = {
            row.document_pk: (row.label, names[row.label])
            for row in block
            if row.origin == Origin.AUTO and row.label in names
        }
        txn.update(
            table,
            [
                {
                    "field_pk": field_pk,
                    "document_pk": row.document_pk,
                    "label": renames.get(row.document_pk, (None, row.label))[1],
                    "runner_up": names.get(row.runner_up, row.runner_up),
                    "revision": operation,
                }
                for row in block
            ],
        )
        decided = {"operation_pk": operation, "kind": EventKind.DECIDED, "field_pk": field_pk}
        events = [
            {**decided, "document_pk": pk, "label": now, "origin": Origin.AUTO}
            for pk, (_, now) in renames.items()
        ]
        txn.insert(schema.event, events)
        changes |= renames
    _set_rule(txn, operation, field_pk, renamed(stored_rule(txn, field_pk), names), names)
    return changes


def _set_rule(
    txn: Txn,
    operation: int,
    field_pk: int,
    rule: Mapping[str, Any] | None,
    names: Mapping[str, str],
) -> None:
    """Write the decision rule of a field, and log it with the new names of labels."""
    table = schema.field
    txn.execute(update(table).where(table.c.pk == field_pk).values(standard=rule))
    log_names(txn, field_pk, operation, names, rule)
