"""Challenging: how a label field would be decided by another rule, from the same answers.

Nothing is written. What both rules say follows from vectors, labels and the rules alone, so it is
computed when somebody asks, new documents included, and kept in a file until something changes.
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
from lookalike.quality.space_comparison import silence_poor
from lookalike.quality.stats.paired_comparison import Challenger, Outcome
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of

Labels = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PairedDecisions:
    """What both rules say, by codes of `names`, −1 for no label.

    Of the documents that are the machine's: `pks` (n,) rising, and of those that people have
    answered: `answered` (m,) rising, of each as if its own label did not vote.
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
    """Return the taxonomy that a challenger makes of one. Raises BadInput where it is the same."""
    after = rule_of(known, rule.confidence_threshold, rule.target_precision, rule.targets)
    if rule.top_k is not None and rule.top_k != after.top_k:
        after = replace(after, top_k=rule.top_k, version=known.version + 1)
    if rule.references is not None:
        after = replace(after, references=rule.references, version=known.version + 1)
    if after == known and rule.extractor is None:
        raise BadInput("that is the rule in force; say something else that shall be tried")
    return after


def spaces_for(snapshot: Snapshot, field: FieldRow, extractor: str) -> dict[int, StandbySpace]:
    """Return the spaces that a migration to an extractor has prepared, by the collection's pk.

    Raises Conflict where there is none: it is not prepared, or erased since.
    """
    table = schema.field
    query = select(table.c.collection_pk).where(
        table.c.pk.in_([field.pk, field.reference_field_pk])
    )
    found = {}
    for row in snapshot.rows(query.distinct()):
        beside = standby_spaces(snapshot, row.collection_pk)
        known = [one for one in beside if one.extractor == extractor]
        if not known:
            raise Conflict(
                f"no space of the extractor {extractor!r} is prepared: run `lookalike migrate "
                f"COLLECTION --extractor {extractor}` first, without --switch"
            )
        found[row.collection_pk] = known[-1]
    return found


def confront(
    snapshot: Snapshot, field: FieldRow, rule: Challenger, answered: Ids, cache: Path, name: str
) -> PairedDecisions:
    """Return what the rule in force and a challenger say; `name` is that of the file that keeps it.

    Raises Conflict where the challenger is no more what it was.
    """
    memory = cache / f"{name}.{field.pk}.npz"
    mark = _mark(snapshot, field, rule, answered)
    kept = read_cache(memory)
    if kept is not None and kept[0].get("made_from") == mark:
        return PairedDecisions(names=tuple(kept[0]["names"]), **kept[1])
    stored = stored_field(snapshot, field.pk)
    codes = Codes()
    with TemporaryDirectory(prefix="lookalike-") as folder:
        places = [Path(folder, one) for one in ("champion", "challenger")]
        for place in places:
            _furnish(place, cache, field.pk)
        champion = Decider(stored, places[0])
        champion.refresh(snapshot)
        challenger, decided = _challenger(snapshot, field, stored, rule, places[1])
        columns = champion.state.columns
        pks = columns.pks[champion.state.undecided]
        pks = pks[np.isin(pks, challenger.state.columns.pks)]
        rows = challenger.state.columns.rows_of(pks)
        both = np.intersect1d(answered, columns.pks)
        both = np.intersect1d(both, challenger.state.columns.pks)
        said = columns["codes"][columns.rows_of(pks)]
        found = PairedDecisions(
            names=(),
            pks=pks,
            champion=_shared(codes, champion, said),
            challenger=_shared(codes, challenger, decided[rows]),
            answered=both,
            champion_left=_left_out(codes, champion, snapshot, both),
            challenger_left=_left_out(codes, challenger, snapshot, both),
        )
    found = replace(found, names=codes.names)
    arrays = {part: getattr(found, part) for part in PairedDecisions.__slots__ if part != "names"}
    write_cache(memory, {"made_from": mark, "names": list(found.names)}, arrays)
    return found


def check_references(snapshot: Snapshot, field: FieldRow, operation: str) -> None:
    """Raise NotFound for an operation that is none, and where other references are tried already.

    Raises Conflict where the references are another collection's, or bounded by a trial before.
    """
    table = schema.operation
    if not snapshot.rows(select(table.c.pk).where(table.c.id == operation)):
        raise NotFound(
            f"there is no operation {operation!r} that the references of {field.name!r} could be "
            "those of; see `lookalike history`"
        )
    if field.reference_field_pk != field.pk:
        raise Conflict(
            f"the references of {field.name!r} are in the collection {field.taxonomy.reference!r}: "
            "try them there"
        )
    if field.taxonomy.references:
        raise Conflict(
            f"the references of {field.name!r} are those of {field.taxonomy.references} already: "
            "undo its adoption first"
        )


# --- inside ---------------------------------------------------------------------------------------


def _challenger(
    snapshot: Snapshot, field: FieldRow, stored: StoredField, rule: Challenger, place: Path
) -> tuple[Decider, Labels]:
    """Return who decides by a challenger, and the label codes of all its documents."""
    other = replace(stored, taxonomy=rule_with(stored.taxonomy, rule))
    if rule.extractor is not None:
        spaces = spaces_for(snapshot, field, rule.extractor)
        own = spaces[stored.collection_pk].space
        (elsewhere,) = [one.space for pk, one in spaces.items() if pk != stored.collection_pk] or [
            own
        ]
        other = replace(other, space=own, reference_space=elsewhere)
    decider = Decider(other, place)
    decider.refresh(snapshot)
    if rule.extractor is not None and not other.taxonomy.low_quality:
        silence_poor(decider.state, snapshot)
    if rule.references is not None:
        _restrict(snapshot, field, decider, rule.references)
    return decider, decider.decide_rebuilt(snapshot).decisions.codes


def _restrict(snapshot: Snapshot, field: FieldRow, decider: Decider, operation: str) -> None:
    """Let only those vote of which nobody has said anything after an operation."""
    state = decider.state
    since = touched_since(snapshot, field.reference_field_pk, operation)
    silent = state.references.pks[np.isin(state.references.pks, sorted(since))]
    if len(silent):
        state.references = state.references.without(silent)
        state.search(snapshot, np.arange(len(state.columns)))


def _left_out(codes: Codes, decider: Decider, snapshot: Snapshot, pks: Ids) -> Labels:
    """Return what is said of documents (m,) as if the label of each did not vote."""
    said = [codes.code(decider.label_without(snapshot, pk, pk)) for pk in pks.tolist()]
    return np.array(said, np.int32)


def _shared(codes: Codes, decider: Decider, labels: Labels) -> Labels:
    """Return labels by the codes that both sides share."""
    table = [codes.code(one) for one in decider.state.codes.names]
    return np.array([*table, NO_LABEL], np.int32)[labels]  # the last one is that of no label, −1


def _furnish(place: Path, cache: Path, field_pk: int) -> None:
    """Let a decider begin with what is known of the field's documents, in files of its own."""
    place.mkdir()
    for file in cache.glob(f"*.{field_pk}.npz"):
        with suppress(OSError):  # another file system: then it is computed again
            os.link(file, place / file.name)


def _mark(
    snapshot: Snapshot, field: FieldRow, rule: Challenger, answered: Sequence[int] | Ids
) -> dict[str, Any]:
    """Return what both sides follow from, as JSON values."""
    fields = sorted({field.pk, field.reference_field_pk})
    stored = stored_field(snapshot, field.pk)
    beside = {} if rule.extractor is None else spaces_for(snapshot, field, rule.extractor)
    return {
        "revisions": [[newest_revision(snapshot, pk), epoch_of(snapshot, pk)] for pk in fields],
        "taxonomy": taxonomy_to(stored.taxonomy),
        "space": stored.space.name,
        "beside": sorted(
            [pk, one.space.pk, one.space.generation, _size(snapshot, one.space.pk)]
            for pk, one in beside.items()
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
    """Return how many vectors there ever were in a space."""
    table = schema.space
    return int(snapshot.rows(select(table.c.next_slot).where(table.c.pk == space_pk))[0].next_slot)


# --- replay of answers to random draws from before a trial ---------------------------------------


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """What is known of a document: what it is, or what it is not.

    `q` is the probability with which the random slice or an audit had drawn it.
    """

    outcome: Outcome | None
    truth: str | None = None
    refuted: frozenset[str] = frozenset()
    q: float = 1.0


def share_drawn(snapshot: Snapshot, field_pk: int) -> float:
    """Return the share of a field's documents that the random slice has drawn and people answered.

    Chance is the same for all of them, so that is each one's probability.
    """
    table = schema.standing
    count = select(func.count().label("n")).where(table.c.field_pk == field_pk)
    documents = int(snapshot.rows(count)[0].n)
    return min(len(sample(snapshot, field_pk)) / max(documents, 1), 1.0)


def known_answers(snapshot: Snapshot, field_pk: int) -> dict[int, KnownAnswer]:
    """Return what is known of documents by the random slice and by audits, by their pk."""
    share = share_drawn(snapshot, field_pk)
    drawn = sample(snapshot, field_pk).tolist()
    said = stated(snapshot, field_pk, drawn)
    missed: dict[int, float] = {}
    found: dict[int, KnownAnswer] = {}
    for item in _audited(snapshot, field_pk):
        missed[item.document_pk] = missed.get(item.document_pk, 1.0) * (1 - item.probability)
        found[item.document_pk] = _of_audit(item)
    found |= {pk: said[pk] for pk in drawn if pk in said}
    return {
        pk: KnownAnswer(one.outcome, one.truth, one.refuted, 1 - (1 - share) * missed.get(pk, 1.0))
        for pk, one in sorted(found.items())
        if share or missed.get(pk, 1.0) < 1
    }


def stated(snapshot: Snapshot, field_pk: int, documents: Sequence[int]) -> dict[int, KnownAnswer]:
    """Return what people have said of documents, where they have said anything."""
    standing, rejection = schema.standing, schema.rejection
    query = select(standing.c.document_pk, standing.c.label, standing.c.origin, standing.c.answer)
    query = query.where(standing.c.field_pk == field_pk, one_of(standing.c.document_pk, documents))
    refuted: dict[int, set[str]] = {}
    refused = select(rejection.c.document_pk, rejection.c.label)
    refused = refused.where(rejection.c.field_pk == field_pk)
    for row in snapshot.rows(refused.where(one_of(rejection.c.document_pk, documents))):
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
