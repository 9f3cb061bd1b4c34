"""Which labels can be given in a field: those in use and, in a closed set, its own alone.

A set is closed by a flag of the field's taxonomy. Its labels are those of the label tree: declared,
described, or given to documents. So they follow every rename, merge, split and undo of a label, and
are written once.
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
from lookalike.labels import Naming, check_description, check_label, path_of, with_above
from lookalike.model import Answer
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, conditions

_SHOWN = 20


Labels = Sequence[str] | Mapping[str, str | None]
"""Labels as they are said: names, or each with what belongs to it (None says nothing)."""


@dataclass(frozen=True, slots=True)
class LabelSet:
    """What is said of the labels of a field; None is not said.

    `labels` are declared, each with its description or None; `closed` says whether these are all.
    """

    labels: Mapping[str, str | None] | None = None
    closed: bool | None = None

    @classmethod
    def of(cls, labels: Labels | None, closed_set: bool | None) -> LabelSet:
        """Return what `labels=` and `closed_set=` say. Raises BadInput for what is no label."""
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
    def is_said(self) -> bool:
        """Return whether anything is said."""
        return self.labels is not None or self.closed is not None

    def run_values(self) -> dict[str, Any]:
        """Return what `Collection.run` is told, as JSON values."""
        said = {} if self.closed is None else {"closed_set": self.closed}
        return said if self.labels is None else said | {"labels": dict(self.labels)}


UNSAID = LabelSet()
"""Nothing is said of labels."""


class Vocabulary:
    """Which labels can be given in a field: all that are in use; in a closed set, its members."""

    def __init__(self, snapshot: Snapshot, field_pk: int) -> None:
        taxonomy = _taxonomy(snapshot, field_pk)
        self.naming = naming_of(snapshot, owner_of(snapshot, field_pk))
        self.is_closed = bool(taxonomy.get("closed_set"))
        self._separator = str(taxonomy["separator"])
        self._snapshot = snapshot
        self._field_pk = field_pk

    def why_not(self, label: str) -> str | None:
        """Return why a label, as it was said, cannot be given; None where it can."""
        path = path_of(label, self._separator)
        retired = why_not(self._snapshot, self.naming, path)
        return retired if retired is not None else self.why_outside(label)

    def why_outside(self, label: str) -> str | None:
        """Return why a label, as it was said, is none of a closed set; None where it is one."""
        named = self.meant(label)
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

    def meant(self, label: str) -> str:
        """Return a label, as it was said, by the name that it has today."""
        return self.naming.one_meant(path_of(label, self._separator))

    @cached_property
    def _declared(self) -> set[str]:
        return with_above(self.naming.notes)

    @cached_property
    def _members(self) -> set[str]:
        return with_above(labels_in_use(self._snapshot, self._field_pk, self.naming))


def labels_in_use(snapshot: Snapshot, field_pk: int, naming: Naming) -> set[str]:
    """Return the labels of a field: declared, described, or given to documents, and not retired.

    Of a field that refers to another one these are the labels of that one, too.
    """
    labels = {*naming.notes, *label_counts(snapshot, field_pk)}
    return {label for label in labels if naming.retired_in(label) is None}


def shown_labels(snapshot: Snapshot, field_pk: int) -> list[str]:
    """Return the labels of a closed set, sorted; of an open one what was declared or described."""
    vocabulary = Vocabulary(snapshot, field_pk)
    naming = vocabulary.naming
    if vocabulary.is_closed:
        return sorted(labels_in_use(snapshot, field_pk, naming))
    return sorted(label for label in naming.notes if naming.retired_in(label) is None)


def label_counts(snapshot: Snapshot, field_pk: int) -> Mapping[str, int]:
    """Return how many documents have each label of a field, or of the one that it belongs to."""
    table, fields = schema.standing, {field_pk, owner_of(snapshot, field_pk)}
    query = (
        select(table.c.label, func.count().label("n"))
        .where(table.c.field_pk.in_(sorted(fields)), table.c.label.is_not(None))
        .group_by(table.c.label)
    )
    return {row.label: row.n for row in snapshot.rows(query)}


def check_in_use(snapshot: Snapshot, field_pk: int, labels: Iterable[str | None]) -> None:
    """Raise BadInput for a label that nobody can give in a field, and say why."""
    given = {label for label in labels if label is not None}
    vocabulary = Vocabulary(snapshot, field_pk)
    for label in sorted(given):
        if (reason := vocabulary.why_not(label)) is not None:
            raise BadInput(reason)


def check_not_outside(snapshot: Snapshot, field_pk: int, labels: Iterable[str | None]) -> None:
    """Raise BadInput for a label that is none of a closed set."""
    vocabulary = Vocabulary(snapshot, field_pk)
    for label in labels:
        if label is not None and (reason := vocabulary.why_outside(label)) is not None:
            raise BadInput(reason)


def new_kinds(snapshot: Snapshot, field_pk: int, documents: Sequence[int] | None = None) -> int:
    """Return how many documents, among some or among all, a person called a new kind."""
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
    """Return the taxonomy of a closed set `before` and `after` a new kind reopens it.

    None where no set is closed, or none of the `documents`, or of all, is called a new kind.
    """
    taxonomy = _taxonomy(snapshot, field_pk)
    if not taxonomy.get("closed_set") or not new_kinds(snapshot, field_pk, documents):
        return None
    after = taxonomy | {"closed_set": False, "version": taxonomy["version"] + 1}
    return {"before": taxonomy, "after": after}


def _nearest(label: str, known: Sequence[str]) -> list[str]:
    """Return the labels that were probably meant, the nearest first."""
    folded = {one.casefold(): one for one in reversed(known)}
    return [folded[one] for one in get_close_matches(label.casefold(), list(folded), n=3)]


def _taxonomy(snapshot: Snapshot, field_pk: int) -> dict[str, Any]:
    table = schema.field
    (row,) = snapshot.rows(select(table.c.taxonomy).where(table.c.pk == field_pk))
    return dict(row.taxonomy)
