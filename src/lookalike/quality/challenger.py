"""The decisions of the current rule of a field and of another one, from the same answers.

Read-only. The decisions depend only on vectors, labels and rules, so they are computed on request,
including new documents, and cached in a file until one of these changes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from lookalike.catalog.fields import StoredField, stored_field, taxonomy_to
from lookalike.catalog.reader import FieldRow
from lookalike.catalog.references import epoch_of, newest_revision
from lookalike.catalog.spaces import StandbySpace, standby_spaces
from lookalike.catalog.taxonomies import rule_of
from lookalike.classifier.graph.search import Ids
from lookalike.content.files import read_cache, write_cache
from lookalike.decisions.decider import Decider
from lookalike.decisions.ledger.samples import audit_items, sample
from lookalike.decisions.ledger.statements import touched_since
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.labels import NO_LABEL, Codes
from lookalike.model import Answer, Origin, Taxonomy, Verdict
from lookalike.quality.space_comparison import exclude_low_quality
from lookalike.quality.stats.paired_comparison import Challenger, Outcome
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of

Labels = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PairedDecisions:
    """The label codes that both rules give: places in `names`, −1 for no label.

    `champion` and `challenger` (n,) are for the documents `pks` (n,), rising, that nobody answered.
    `champion_left` and `challenger_left` (m,) are leave-one-out labels of the answered documents
    `answered` (m,), rising: each as if its own label was no reference.
    """

    names: tuple[str, ...]
    pks: Ids
    champion: Labels
    challenger: Labels
    answered: Ids
    champion_left: Labels
    challenger_left: Labels

    def name(self, code: int) -> str | None:
        """Return the label of a code."""
        return None if code == NO_LABEL else self.names[code]


def rule_with(known: Taxonomy, rule: Challenger) -> Taxonomy:
    """Return a taxonomy with a challenger's changes. Raises BadInput where nothing changes."""
    after = rule_of(known, rule.confidence_threshold, rule.target_precision, rule.targets)
    if rule.top_k is not None and rule.top_k != after.top_k:
        after = replace(after, top_k=rule.top_k, version=known.version + 1)
    if rule.references is not None:
        after = replace(after, references=rule.references, version=known.version + 1)
    if after == known and rule.extractor is None:
        raise BadInput("that is the current rule already; give another value to try")
    return after


def spaces_for(snapshot: Snapshot, field: FieldRow, extractor: str) -> dict[int, StandbySpace]:
    """Return the spaces that a migration to an extractor has prepared, by the collection's pk.

    Raises Conflict where a collection has none: it was never prepared, or was erased.
    """
    table = schema.field
    query = select(table.c.collection_pk).where(
        table.c.pk.in_([field.pk, field.reference_field_pk])
    )
    found = {}
    for row in snapshot.rows(query.distinct()):
        standby = standby_spaces(snapshot, row.collection_pk)
        matching = [one for one in standby if one.extractor == extractor]
        if not matching:
            raise Conflict(
                f"no space of the extractor {extractor!r} is prepared: run `lookalike migrate "
                f"COLLECTION --extractor {extractor}` first, without --switch"
            )
        found[row.collection_pk] = matching[-1]
    return found


def decide_by_both(
    snapshot: Snapshot, field: FieldRow, rule: Challenger, answered: Ids, cache: Path, name: str
) -> PairedDecisions:
    """Return the decisions of the current rule and of a challenger, cached in the file `name`.

    Raises Conflict where the space of the challenger's extractor is no longer prepared.
    """
    cache_file = cache / f"{name}.{field.pk}.npz"
    key = _cache_key(snapshot, field, rule, answered)
    cached = read_cache(cache_file)
    if cached is not None and cached[0].get("made_from") == key:
        return PairedDecisions(names=tuple(cached[0]["names"]), **cached[1])
    stored = stored_field(snapshot, field.pk)
    codes = Codes()
    with TemporaryDirectory(prefix="lookalike-") as folder:
        folders = [Path(folder, one) for one in ("champion", "challenger")]
        for one in folders:
            _link_caches(one, cache, field.pk)
        champion = Decider(stored, folders[0])
        champion.refresh(snapshot)
        challenger, decided = _challenger(snapshot, field, stored, rule, folders[1])
        columns = champion.state.columns
        pks = columns.pks[champion.state.undecided]
        pks = pks[np.isin(pks, challenger.state.columns.pks)]
        rows = challenger.state.columns.rows_of(pks)
        both = np.intersect1d(answered, columns.pks)
        both = np.intersect1d(both, challenger.state.columns.pks)
        current = columns["codes"][columns.rows_of(pks)]
        found = PairedDecisions(
            names=(),
            pks=pks,
            champion=_shared_codes(codes, champion, current),
            challenger=_shared_codes(codes, challenger, decided[rows]),
            answered=both,
            champion_left=_leave_one_out(codes, champion, snapshot, both),
            challenger_left=_leave_one_out(codes, challenger, snapshot, both),
        )
    found = replace(found, names=codes.names)
    arrays = {part: getattr(found, part) for part in PairedDecisions.__slots__ if part != "names"}
    write_cache(cache_file, {"made_from": key, "names": list(found.names)}, arrays)
    return found


def check_references(snapshot: Snapshot, field: FieldRow, operation: str) -> None:
    """Check that a field can try the references of an earlier `operation`.

    Raises NotFound for an unknown operation, Conflict where the references are in another
    collection, or where an adopted trial limits them already.
    """
    table = schema.operation
    if not snapshot.rows(select(table.c.pk).where(table.c.id == operation)):
        raise NotFound(
            f"there is no operation {operation!r} whose references {field.name!r} could use; see "
            "`lookalike history`"
        )
    if field.reference_field_pk != field.pk:
        raise Conflict(
            f"the references of {field.name!r} are in the collection {field.taxonomy.reference!r}: "
            "try them there"
        )
    if field.taxonomy.references:
        raise Conflict(
            f"{field.name!r} uses the references of {field.taxonomy.references} already: undo the "
            "adoption of that trial first"
        )


# --- inside ---------------------------------------------------------------------------------------


def _challenger(
    snapshot: Snapshot, field: FieldRow, stored: StoredField, rule: Challenger, folder: Path
) -> tuple[Decider, Labels]:
    """Return the decider of a challenger, and the label codes of all its documents."""
    other = replace(stored, taxonomy=rule_with(stored.taxonomy, rule))
    if rule.extractor is not None:
        spaces = spaces_for(snapshot, field, rule.extractor)
        own = spaces[stored.collection_pk].space
        others = [one.space for pk, one in spaces.items() if pk != stored.collection_pk]
        (reference_space,) = others or [own]
        other = replace(other, space=own, reference_space=reference_space)
    decider = Decider(other, folder)
    decider.refresh(snapshot)
    if rule.extractor is not None and not other.taxonomy.low_quality:
        exclude_low_quality(decider.state, snapshot)
    if rule.references is not None:
        _restrict_references(snapshot, field, decider, rule.references)
    return decider, decider.decide_rebuilt(snapshot).decisions.codes


def _restrict_references(
    snapshot: Snapshot, field: FieldRow, decider: Decider, operation: str
) -> None:
    """Remove the references that people have changed after an operation."""
    state = decider.state
    since = touched_since(snapshot, field.reference_field_pk, operation)
    changed = state.references.pks[np.isin(state.references.pks, sorted(since))]
    if len(changed):
        state.references = state.references.without(changed)
        state.search(snapshot, np.arange(len(state.columns)))


def _leave_one_out(codes: Codes, decider: Decider, snapshot: Snapshot, pks: Ids) -> Labels:
    """Return the label code (m,) of each document as if its own label was no reference."""
    labels = [codes.code(decider.label_without(snapshot, pk, pk)) for pk in pks.tolist()]
    return np.array(labels, np.int32)


def _shared_codes(codes: Codes, decider: Decider, labels: Labels) -> Labels:
    """Translate the label codes of a decider into those that both rules share."""
    table = [codes.code(one) for one in decider.state.codes.names]
    return np.array([*table, NO_LABEL], np.int32)[labels]  # index −1, no label, gives NO_LABEL


def _link_caches(folder: Path, cache: Path, field_pk: int) -> None:
    """Make a folder for a decider, with hard links to the field's cache files."""
    folder.mkdir()
    for file in cache.glob(f"*.{field_pk}.npz"):
        with suppress(OSError):  # another file system: the decider computes it again
            os.link(file, folder / file.name)


def _cache_key(
    snapshot: Snapshot, field: FieldRow, rule: Challenger, answered: Sequence[int] | Ids
) -> dict[str, Any]:
    """Return everything that the decisions of both rules depend on, as JSON values."""
    fields = sorted({field.pk, field.reference_field_pk})
    stored = stored_field(snapshot, field.pk)
    standby = {} if rule.extractor is None else spaces_for(snapshot, field, rule.extractor)
    return {
        "revisions": [[newest_revision(snapshot, pk), epoch_of(snapshot, pk)] for pk in fields],
        "taxonomy": taxonomy_to(stored.taxonomy),
        "space": stored.space.name,
        "beside": sorted(
            [pk, one.space.pk, one.space.generation, _size(snapshot, one.space.pk)]
            for pk, one in standby.items()
        ),
        "references": rule.references,
        "rule": [
            rule.confidence_threshold,
            rule.target_precision,
            None if rule.targets is None else dict(rule.targets),
            rule.top_k,
            rule.extractor,
        ],
        "answered": [int(pk) for pk in answered],
    }


def _size(snapshot: Snapshot, space_pk: int) -> int:
    """Return the number of vectors that a space has ever had."""
    table = schema.space
    return int(snapshot.rows(select(table.c.next_slot).where(table.c.pk == space_pk))[0].next_slot)


# --- answers to random samples and audits from before a trial ------------------------------------


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """An answer about a document: its label (`truth`), or the labels that it does not have.

    `q` is the probability with which a random sample or an audit included the document.
    """

    outcome: Outcome | None
    truth: str | None = None
    refuted: frozenset[str] = frozenset()
    q: float = 1.0


def sampled_share(snapshot: Snapshot, field_pk: int) -> float:
    """Return the share of a field's documents that the queue sampled at random and people answered.

    The sample is uniform, so this is the probability of each document.
    """
    table = schema.standing
    count = select(func.count().label("n")).where(table.c.field_pk == field_pk)
    documents = int(snapshot.rows(count)[0].n)
    return min(len(sample(snapshot, field_pk)) / max(documents, 1), 1.0)


def known_answers(snapshot: Snapshot, field_pk: int) -> dict[int, KnownAnswer]:
    """Return the answers to random samples and audits of a field, by the document's pk."""
    share = sampled_share(snapshot, field_pk)
    sampled = sample(snapshot, field_pk).tolist()
    answered = answers_of(snapshot, field_pk, sampled)
    missed: dict[int, float] = {}
    found: dict[int, KnownAnswer] = {}
    for item in _audited(snapshot, field_pk):
        missed[item.document_pk] = missed.get(item.document_pk, 1.0) * (1 - item.probability)
        found[item.document_pk] = _of_audit(item)
    found |= {pk: answered[pk] for pk in sampled if pk in answered}
    return {
        pk: KnownAnswer(one.outcome, one.truth, one.refuted, 1 - (1 - share) * missed.get(pk, 1.0))
        for pk, one in sorted(found.items())
        if share or missed.get(pk, 1.0) < 1
    }


def answers_of(
    snapshot: Snapshot, field_pk: int, documents: Sequence[int]
) -> dict[int, KnownAnswer]:
    """Return the answers of people about documents, by pk, of those that have one."""
    standing, rejection = schema.standing, schema.rejection
    query = select(standing.c.document_pk, standing.c.label, standing.c.origin, standing.c.answer)
    query = query.where(standing.c.field_pk == field_pk, one_of(standing.c.document_pk, documents))
    refuted: dict[int, set[str]] = {}
    rejections = select(rejection.c.document_pk, rejection.c.label)
    rejections = rejections.where(rejection.c.field_pk == field_pk)
    for row in snapshot.rows(rejections.where(one_of(rejection.c.document_pk, documents))):
        refuted.setdefault(row.document_pk, set()).add(row.label)
    found = {}
    for row in snapshot.rows(query):
        if row.origin == Origin.HUMAN and row.label is not None:
            found[row.document_pk] = KnownAnswer(Outcome.LABEL, row.label)
        elif row.answer in (Answer.NEW_KIND, Answer.CANNOT_TELL):
            found[row.document_pk] = KnownAnswer(Outcome(row.answer))
        elif row.document_pk in refuted:
            found[row.document_pk] = KnownAnswer(None, None, frozenset(refuted[row.document_pk]))
    return found


def _audited(snapshot: Snapshot, field_pk: int) -> list[Any]:
    audit = schema.audit
    audits = snapshot.rows(select(audit.c.pk).where(audit.c.field_pk == field_pk))
    return [
        one
        for one in audit_items(snapshot, [row.pk for row in audits])
        if None not in (one.verdict, one.document_pk, one.label)
    ]


def _of_audit(item: Any) -> KnownAnswer:
    if item.verdict == Verdict.RIGHT:
        return KnownAnswer(Outcome.LABEL, item.label)
    if item.verdict == Verdict.CANNOT_TELL:
        return KnownAnswer(Outcome.CANNOT_TELL)
    if item.truth is not None:
        return KnownAnswer(Outcome.LABEL, item.truth)
    return KnownAnswer(None, None, frozenset([item.label]))
