"""Audits in the store: draw a frozen sample of automatic labels, record answers, close it.

Until an audit is closed, its answers are not labels, and its documents are not used as references.
A person judges the label that was sampled, even if the document's label has changed since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import select, update

from lookalike.catalog.label_names import naming_of, owner_of
from lookalike.catalog.reader import FieldRow, document_query, ids_of, label_states, pks_of
from lookalike.catalog.resources import CollectionRow
from lookalike.catalog.vocabulary import check_not_outside
from lookalike.decisions.ledger.samples import audit_items, stratum_sizes
from lookalike.decisions.operations import LabelStatement, Operations, Running
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.labels import check_label, is_within, path_of
from lookalike.model import EventKind, Origin, Verdict
from lookalike.quality.stats.audit_estimate import (
    Audit,
    AuditItem,
    Estimate,
    Stratum,
    allocation,
    estimate,
    strata_of,
)
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

MAX_SIZE = 10_000
"""The largest number of labels in a sample."""

_MAX_STRATA = 20
_UNKNOWN_ERROR = 0.5


@dataclass(frozen=True, slots=True)
class AuditAnswer:
    """A person's answer to one label of a sample; `truth` is the correct label, if it was given."""

    verdict: Verdict | None
    truth: str | None = None


def answers(
    labels: Mapping[str, str] | None,
    right: Iterable[str],
    wrong: Iterable[str],
    cannot_tell: Iterable[str],
) -> dict[str, AuditAnswer]:
    """Return the answer by document id. Raises BadInput for no answer, or two for one document.

    Where a person gives the correct label, `answer` compares it with the automatic one, so the
    person need not see that.
    """
    given = [(id, AuditAnswer(None, check_label(label))) for id, label in (labels or {}).items()]
    given += [(id, AuditAnswer(Verdict.RIGHT)) for id in right]
    given += [(id, AuditAnswer(Verdict.WRONG)) for id in wrong]
    given += [(id, AuditAnswer(Verdict.CANNOT_TELL)) for id in cannot_tell]
    twice = [id for id, count in Counter(id for id, _ in given).items() if count > 1]
    if twice:
        raise BadInput(f"there are two answers for {twice[0]!r}; give one for each item")
    if not given:
        raise BadInput("no answer was given: give labels, right, wrong or cannot_tell")
    return dict(given)


def draw(
    running: Running,
    collection: CollectionRow,
    field: FieldRow,
    *,
    size: int,
    strata: int,
    label: str | None,
) -> None:
    """Draw a sample of `size` automatic labels, and store the labels as they are now.

    The seed is made of field and operation, so the same history gives the same sample. Raises
    Conflict where there is nothing to audit.
    """
    _check_sizes(size, strata)
    if label is not None:
        naming = naming_of(running.txn, owner_of(running.txn, field.pk))
        label = naming.resolve_one(path_of(check_label(label), field.taxonomy.separator))
    rows = _automatic(running.txn, collection, field, label)
    confidence = np.array([row.confidence or 0.0 for row in rows])
    codes = strata_of(confidence, strata)
    sizes = np.bincount(codes)
    counts = allocation(sizes.tolist(), _errors(field, confidence, codes), size)
    rng = np.random.default_rng([field.pk, running.pk])
    audit_pk = running.txn.insert_one(
        schema.audit,
        collection_pk=collection.pk,
        field_pk=field.pk,
        operation_pk=running.pk,
        strata=[[*_range(confidence[codes == one]), int(size)] for one, size in enumerate(sizes)],
        labels=_label_sizes(rows, codes, len(sizes)),
    )
    items = [
        {
            "audit_pk": audit_pk,
            "document_pk": rows[place].pk,
            "stratum": stratum,
            "label": rows[place].label,
            "confidence": rows[place].confidence,
            "source_pk": rows[place].source_pk,
            "probability": count / int(sizes[stratum]),
        }
        for stratum, count in enumerate(counts)
        for place in rng.choice(np.flatnonzero(codes == stratum), count, replace=False).tolist()
    ]
    shuffled = [items[place] for place in rng.permutation(len(items))]
    running.txn.insert(schema.audit_item, shuffled)
    running.details["drawn"] = len(items)


def answer(
    running: Running, collection: CollectionRow, audit: str, given: Mapping[str, AuditAnswer]
) -> None:
    """Record answers, by document id: all or none.

    Raises Conflict for a closed audit and for a document that was answered before, NotFound for an
    unknown audit and a document that is not in it, BadInput for a label outside a closed set.
    """
    txn, table = running.txn, schema.audit_item
    row, pks = _open_one(txn, collection, audit), pks_of(running.txn, collection, list(given))
    check_not_outside(txn, row.field_pk, [one.truth for one in given.values()])
    items = {one.document_pk: one for one in audit_items(txn, [row.pk]) if one.label is not None}
    separator = _separator(txn, row.field_pk)
    naming = naming_of(txn, owner_of(txn, row.field_pk))
    changes = []
    for id, one in given.items():
        item = items.get(pks[id])
        if item is None:
            raise NotFound(f"{id!r} is not in the audit {audit!r}; answer the items waiting in it")
        if item.verdict is not None:
            raise Conflict(
                f"{id!r} was answered in the audit {audit!r}: {item.verdict}; answers are final"
            )
        truth = None if one.truth is None else naming.resolve_one(path_of(one.truth, separator))
        right = truth is not None and is_within(truth, str(item.label))
        by_truth = Verdict.RIGHT if right else Verdict.WRONG
        verdict = by_truth if one.verdict is None else one.verdict
        stored = None if truth == item.label else truth
        changes.append({"pk": item.pk, "verdict": verdict, "truth": stored, "actor": running.actor})
    txn.update(table, changes)
    running.details["answered"] = len(changes)


def close(
    operations: Operations, running: Running, collection: CollectionRow, audit: str, *, keep: bool
) -> None:
    """Close an audit, so that its documents may be references again.

    With `keep`, right labels and given ones become the person's labels, and wrong labels are
    rejected where no correct one was given. A label that a person gave outside the audit stays.
    """
    txn, table = running.txn, schema.audit
    row = _open_one(txn, collection, audit)
    txn.execute(update(table).where(table.c.pk == row.pk).values(closed_at=running.at))
    items = {pk: one for one in audit_items(txn, [row.pk]) if (pk := one.document_pk) is not None}
    now = label_states(txn, row.field_pk, items)
    by_others = {pk for pk, one in now.items() if one.origin not in (None, Origin.AUTO)}
    statements = []
    if keep:
        free = [one for pk, one in items.items() if now[pk].origin != Origin.HUMAN]
        statements = [made for one in free if (made := _statement(one)) is not None]
    running.by_person = len(statements)
    operations.append(running, row.field_pk, statements)
    operations.fold_again(
        running, row.field_pk, sorted(by_others - {one.document_pk for one in statements})
    )


def audit_of(snapshot: Snapshot, collection: CollectionRow, audit: str) -> Audit:
    """Return one audit. Raises NotFound."""
    return _read_audits(snapshot, collection, [_one(snapshot, collection, audit)])[0]


def drawn_labels(snapshot: Snapshot, collection: CollectionRow, audit: str) -> dict[str, str]:
    """Return the labels of an audit's sample, by document id. Raises NotFound."""
    items = audit_items(snapshot, [_one(snapshot, collection, audit).pk])
    known = {one.document_pk: one.label for one in items if one.document_pk and one.label}
    return {id: known[pk] for pk, id in ids_of(snapshot, set(known)).items()}


def audits_of(snapshot: Snapshot, collection: CollectionRow, field: FieldRow) -> list[Audit]:
    """Return the audits of a field, the newest first."""
    query = _query(collection).where(schema.audit.c.field_pk == field.pk)
    return _read_audits(
        snapshot, collection, snapshot.rows(query.order_by(schema.audit.c.pk.desc()))
    )


def latest(snapshot: Snapshot, collection: CollectionRow, field: FieldRow) -> Estimate | None:
    """Return the estimate of the newest audit of all labels that has a check in each stratum."""
    query = _query(collection).where(schema.audit.c.field_pk == field.pk)
    for row in snapshot.rows(query.order_by(schema.audit.c.pk.desc())):
        estimated = estimate(_counted(row.strata, audit_items(snapshot, [row.pk])))
        if len(row.labels) > 1 and estimated.rate is not None:
            return estimated
    return None


def _check_sizes(size: int, strata: int) -> None:
    if not 1 <= size <= MAX_SIZE:
        raise BadInput(f"the sample size is {size}; give 1 to {MAX_SIZE:,}, such as 50")
    if not 1 <= strata <= min(size, _MAX_STRATA):
        raise BadInput(
            f"a sample of {size} cannot have {strata} strata; give 1 to {min(size, _MAX_STRATA)}"
        )


def _automatic(
    snapshot: Snapshot, collection: CollectionRow, field: FieldRow, label: str | None
) -> Sequence[Any]:
    """Return the automatic labels of a field, in the order of arrival. Raises Conflict for none."""
    standing = schema.standing.c
    query = document_query(collection.pk, field.pk).where(standing.origin == Origin.AUTO)
    query = query.add_columns(standing.label, standing.confidence, standing.source_pk)
    if label is not None:
        query = query.where(standing.label == label)
    rows = snapshot.rows(query.order_by(schema.document.c.pk))
    if not rows:
        what = "automatic label" if label is None else f"automatic label {label!r}"
        raise Conflict(
            f"{field.name!r} has no {what} to audit; label some references first, and see "
            f"`lookalike report {collection.name}`"
        )
    return rows


def _errors(field: FieldRow, confidence: Any, codes: Any) -> list[float]:
    """Return the expected error rate of each stratum; 0.5 where confidence is a similarity."""
    if field.taxonomy.confidence_threshold is not None:
        return [_UNKNOWN_ERROR] * int(codes.max() + 1)
    return [float(1 - confidence[codes == one].mean()) for one in range(int(codes.max() + 1))]


def _range(confidence: Any) -> tuple[float, float]:
    return float(confidence.min()), float(confidence.max())


def _label_sizes(rows: Sequence[Any], codes: Any, strata: int) -> dict[str, list[int]]:
    """Count labels in each stratum, by label."""
    sizes: dict[str, list[int]] = {}
    for row, stratum in zip(rows, codes.tolist(), strict=True):
        sizes.setdefault(row.label, [0] * strata)[stratum] += 1
    return dict(sorted(sizes.items()))


def _query(collection: CollectionRow) -> Any:
    audit, operation, field = schema.audit, schema.operation, schema.field
    return (
        select(audit, operation.c.id, operation.c.actor, operation.c.at, field.c.name)
        .join(operation, operation.c.pk == audit.c.operation_pk)
        .join(field, field.c.pk == audit.c.field_pk)
        .where(audit.c.collection_pk == collection.pk)
    )


def _one(snapshot: Snapshot, collection: CollectionRow, audit: str) -> Any:
    rows = snapshot.rows(_query(collection).where(schema.operation.c.id == audit))
    if not rows:
        raise NotFound(
            f"{collection.name!r} has no audit {audit!r}; "
            f"see `lookalike audit list {collection.name}`"
        )
    return rows[0]


def _open_one(snapshot: Snapshot, collection: CollectionRow, audit: str) -> Any:
    row = _one(snapshot, collection, audit)
    if row.closed_at is not None:
        raise Conflict(f"the audit {audit!r} is closed; draw another one")
    return row


def _separator(snapshot: Snapshot, field_pk: int) -> str:
    table = schema.field
    (row,) = snapshot.rows(select(table.c.taxonomy).where(table.c.pk == field_pk))
    return str(row.taxonomy["separator"])


def _statement(item: Any) -> LabelStatement | None:
    """Return the label statement that an answer becomes when it is kept; None for no statement."""
    if item.label is None:  # the label was erased
        return None
    label = item.truth or (item.label if item.verdict == Verdict.RIGHT else None)
    if label is not None:
        return LabelStatement(item.document_pk, EventKind.LABELLED, label, Origin.HUMAN, asked=True)
    if item.verdict == Verdict.WRONG:
        return LabelStatement(
            item.document_pk, EventKind.REJECTED, item.label, Origin.HUMAN, asked=True
        )
    return None


def _read_audits(snapshot: Snapshot, collection: CollectionRow, rows: Sequence[Any]) -> list[Audit]:
    items: dict[int, list[Any]] = {row.pk: [] for row in rows}
    for one in audit_items(snapshot, list(items)) if items else ():
        items[one.audit_pk].append(one)
    drawn = [one for sample in items.values() for one in sample]
    pks = {pk for one in drawn for pk in (one.document_pk, one.source_pk)}
    ids = ids_of(snapshot, pks - {None})
    return [
        _audit(collection, row, items[row.pk], ids, stratum_sizes(snapshot, row)) for row in rows
    ]


def _audit(
    collection: CollectionRow,
    row: Any,
    items: Sequence[Any],
    ids: Mapping[int, str],
    sizes: Mapping[str, list[int]],
) -> Audit:
    """Return an audit from its row: `ids` of documents and references by pk, `sizes` by label."""
    open_ones = [one for one in items if one.verdict is None]
    strata = _counted(row.strata, items)
    return Audit(
        id=row.id,
        collection=collection.name,
        field=row.name,
        at=datetime.fromtimestamp(row.at, UTC),
        actor=row.actor,
        closed_at=None if row.closed_at is None else datetime.fromtimestamp(row.closed_at, UTC),
        estimate=estimate(strata),
        labels=_estimates_by_label(row.strata, items, sizes),
        strata=strata,
        cannot_tell=sum(one.unclear for one in strata),
        unanswered=len(open_ones),
        waiting=tuple(
            ids[one.document_pk]
            for one in open_ones
            if row.closed_at is None and None not in (one.document_pk, one.label)
        ),
        answered=tuple(_answered(one, ids) for one in items if one.verdict is not None),
    )


def _estimates_by_label(
    strata: Sequence[Any], items: Sequence[Any], sizes: Mapping[str, list[int]]
) -> dict[str, Estimate]:
    drawn = {one.label for one in items}
    return {
        label: estimate(
            _counted(
                [[low, high, size] for (low, high, _), size in zip(strata, own, strict=True)],
                [one for one in items if one.label == label],
            )
        )
        for label, own in sizes.items()
        if label in drawn
    }


def _counted(strata: Sequence[Any], items: Sequence[Any]) -> tuple[Stratum, ...]:
    verdicts = Counter((one.stratum, one.verdict) for one in items)
    drawn = Counter(one.stratum for one in items)
    return tuple(
        Stratum(
            low=low,
            high=high,
            size=size,
            drawn=drawn[place],
            checked=verdicts[place, Verdict.RIGHT] + verdicts[place, Verdict.WRONG],
            wrong=verdicts[place, Verdict.WRONG],
            unclear=verdicts[place, Verdict.CANNOT_TELL],
        )
        for place, (low, high, size) in enumerate(strata)
    )


def _answered(item: Any, ids: Mapping[int, str]) -> AuditItem:
    return AuditItem(
        document=ids.get(item.document_pk),
        label=item.label,
        confidence=item.confidence,
        probability=item.probability,
        verdict=Verdict(item.verdict),
        truth=item.truth,
        actor=item.actor,
        source=ids.get(item.source_pk),
    )
