"""The labels that can be given in a field: any label, or only those of a closed set.

A flag of the field's taxonomy closes the set. Its labels are those of the label tree: declared,
described, or given to documents. So they follow every rename, merge, split and undo of a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from sqlalchemy import func, select

from lookalike.catalog.label_names import naming_of, owner_of, why_not
from lookalike.errors import BadInput
from lookalike.labels import Naming, check_description, check_label, path_of, with_ancestors
from lookalike.model import Answer
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, conditions

_SHOWN = 20


Labels = Sequence[str] | Mapping[str, str | None]
"""Labels as input: names, or names with descriptions (None: no description)."""


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The label set that a user gave for a field; None means not given.

    `labels` are declared, each with its description or None; `closed` is whether they are all.
    """

    labels: Mapping[str, str | None] | None = None
    closed: bool | None = None

    @classmethod
    def of(cls, labels: Labels | None, closed_set: bool | None) -> LabelSet:
        """Return the set from `labels=` and `closed_set=`. Raises BadInput for invalid labels."""
        if isinstance(labels, str):
            raise BadInput(f"labels is the text {labels!r}; give a list of labels: [{labels!r}]")
        if labels is None:
            return cls(None, closed_set)
        pairs = labels.items() if isinstance(labels, Mapping) else ((one, None) for one in labels)
        named = {
            check_label(label): None if text is None else check_description(text)
            for label, text in pairs
        }
        return cls(named, closed_set)

    @property
    def is_given(self) -> bool:
        """Return whether anything was given."""
        return self.labels is not None or self.closed is not None

    def run_values(self) -> dict[str, Any]:
        """Return the arguments for `Collection.run`, as JSON values."""
        closed = {} if self.closed is None else {"closed_set": self.closed}
        return closed if self.labels is None else closed | {"labels": dict(self.labels)}


NOT_GIVEN = LabelSet()
"""No labels were given."""


class Vocabulary:
    """The labels that can be given in a field: any, or in a closed set its members."""

    def __init__(self, snapshot: Snapshot, field_pk: int) -> None:
        taxonomy = _taxonomy(snapshot, field_pk)
        self.naming = naming_of(snapshot, owner_of(snapshot, field_pk))
        self.is_closed = bool(taxonomy.get("closed_set"))
        self._separator = str(taxonomy["separator"])
        self._snapshot = snapshot
        self._field_pk = field_pk

    def why_not(self, label: str) -> str | None:
        """Return the reason why a label, as given, is not allowed; None if it is."""
        path = path_of(label, self._separator)
        retired = why_not(self._snapshot, self.naming, path)
        return retired if retired is not None else self.why_outside(label)

    def why_outside(self, label: str) -> str | None:
        """Return the reason why a label, as given, is not in a closed set; None if it is."""
        named = self.resolve(label)
        if not self.is_closed or named in self._declared or named in self._members:
            return None
        known = sorted(self._members)
        if near := _nearest(named, known):
            hint = f"did you mean {' or '.join(map(repr, near))}?"
        else:
            hint = f"known: {', '.join(known[:_SHOWN])}" + (" …" if len(known) > _SHOWN else "")
        return (
            f"{named!r} is not in the closed set of labels ({hint}); to add it, label with "
            "`new_labels`, or run with `labels`"
        )

    def resolve(self, label: str) -> str:
        """Return the current name of a label, as given."""
        return self.naming.resolve_one(path_of(label, self._separator))

    @cached_property
    def _declared(self) -> set[str]:
        return with_ancestors(self.naming.notes)

    @cached_property
    def _members(self) -> set[str]:
        return with_ancestors(labels_in_use(self._snapshot, self._field_pk, self.naming))


def labels_in_use(snapshot: Snapshot, field_pk: int, naming: Naming) -> set[str]:
    """Return the labels of a field: declared, described, or given to documents, and not retired.

    A field that refers to another one has the labels of that one, too.
    """
    labels = {*naming.notes, *label_counts(snapshot, field_pk)}
    return {label for label in labels if naming.retired_by(label) is None}


def shown_labels(snapshot: Snapshot, field_pk: int) -> list[str]:
    """Return the labels of a closed set, sorted; of an open one those declared or described."""
    vocabulary = Vocabulary(snapshot, field_pk)
    naming = vocabulary.naming
    if vocabulary.is_closed:
        return sorted(labels_in_use(snapshot, field_pk, naming))
    return sorted(label for label in naming.notes if naming.retired_by(label) is None)


def label_counts(snapshot: Snapshot, field_pk: int) -> Mapping[str, int]:
    """Return the number of documents with each label of a field or of the field that owns it."""
    table, fields = schema.standing, {field_pk, owner_of(snapshot, field_pk)}
    query = (
        select(table.c.label, func.count().label("n"))
        .where(table.c.field_pk.in_(sorted(fields)), table.c.label.is_not(None))
        .group_by(table.c.label)
    )
    return {row.label: row.n for row in snapshot.rows(query)}


def check_in_use(snapshot: Snapshot, field_pk: int, labels: Iterable[str | None]) -> None:
    """Raise BadInput with the reason for a label that cannot be given in a field."""
    given = {label for label in labels if label is not None}
    vocabulary = Vocabulary(snapshot, field_pk)
    for label in sorted(given):
        if (reason := vocabulary.why_not(label)) is not None:
            raise BadInput(reason)


def check_not_outside(snapshot: Snapshot, field_pk: int, labels: Iterable[str | None]) -> None:
    """Raise BadInput for a label that is not in a closed set."""
    vocabulary = Vocabulary(snapshot, field_pk)
    for label in labels:
        if label is not None and (reason := vocabulary.why_outside(label)) is not None:
            raise BadInput(reason)


def new_category_count(
    snapshot: Snapshot, field_pk: int, documents: Sequence[int] | None = None
) -> int:
    """Return the number of documents, of some or of all, marked as a new category."""
    table = schema.standing
    query = select(func.count().label("n")).where(
        table.c.field_pk == field_pk, table.c.label.is_(None), table.c.answer == Answer.NEW_KIND
    )
    if documents is None:
        return int(snapshot.rows(query)[0].n)
    chosen = conditions(table.c.document_pk, documents)
    return sum(int(snapshot.rows(query.where(one))[0].n) for one in chosen)


def reopening(
    snapshot: Snapshot, field_pk: int, documents: Sequence[int] | None = None
) -> dict[str, Any] | None:
    """Return the taxonomy of a closed set `before` and `after` a new category reopens it.

    None if the set is not closed, or if no document, of some or of all, is marked as a new
    category.
    """
    taxonomy = _taxonomy(snapshot, field_pk)
    if not taxonomy.get("closed_set") or not new_category_count(snapshot, field_pk, documents):
        return None
    after = taxonomy | {"closed_set": False, "version": taxonomy["version"] + 1}
    return {"before": taxonomy, "after": after}


def _nearest(label: str, known: Sequence[str]) -> list[str]:
    """Return the labels that were probably meant, most similar first."""
    folded = {one.casefold(): one for one in reversed(known)}
    return [folded[one] for one in get_close_matches(label.casefold(), list(folded), n=3)]


def _taxonomy(snapshot: Snapshot, field_pk: int) -> dict[str, Any]:
    table = schema.field
    (row,) = snapshot.rows(select(table.c.taxonomy).where(table.c.pk == field_pk))
    return dict(row.taxonomy)
