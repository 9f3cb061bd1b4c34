"""Which references caused automatic labels that people corrected, from their answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select

from lookalike.catalog.label_names import naming_of
from lookalike.catalog.reader import FieldRow
from lookalike.classifier.graph.search import NOBODY
from lookalike.classifier.review import reference_checks as hygiene
from lookalike.labels import Codes, is_within
from lookalike.model import EventKind, Origin
from lookalike.quality.flows import VERDICTS
from lookalike.stores import schema
from lookalike.stores.base import Snapshot


@dataclass(frozen=True, slots=True)
class Blame:
    """A reference whose labels people corrected: at least `at_least` of them, 19 times of 20."""

    id: str
    label: str | None
    corrected: int
    confirmed: int
    at_least: float
    instead: str | None


def blamed(snapshot: Snapshot, field: FieldRow, codes: Codes) -> list[hygiene.Blame]:
    """Return what people's answers say of the references that had caused automatic labels.

    References are told by their pks, labels by `codes`, which learn those that they do not know.
    """
    event, operation = schema.event, schema.operation
    query = (
        select(event.c.kind, event.c.label, event.c.detail)
        .add_columns(event.c.operation_pk, event.c.document_pk)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(event.c.field_pk == field.pk, event.c.origin == Origin.HUMAN)
        .where(event.c.kind.in_(VERDICTS), operation.c.undone_by.is_(None))
    )
    rows = [
        row
        for row in snapshot.rows(query)
        if row.detail and "was" in row.detail
        # Who refuses another label than the machine's says nothing about that.
        if row.kind != EventKind.REJECTED or row.label == row.detail["was"]
    ]
    sources = [row.detail["source"] for row in rows]
    naming = naming_of(snapshot, field.pk)

    def code(label: str | None, row: Any) -> int:
        known = label and naming.now(label, row.operation_pk, row.document_pk)
        return codes.code(known)

    given = [code(_instead(row), row) for row in rows]
    return hygiene.blamed(
        np.array([NOBODY if one is None else one for one in sources], np.int64),
        np.array([code(row.detail["was"], row) for row in rows], np.int64),
        np.array(given, np.int64),
    )


def _instead(row: Any) -> str | None:
    """Return the label that a person gave; the machine's, where that is above it."""
    if row.kind != EventKind.LABELLED:
        return None
    was = str(row.detail["was"])
    return was if is_within(row.label, was) else str(row.label)
