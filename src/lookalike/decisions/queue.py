"""The review queue of one field: its documents as the queue needs them, and chance mixed in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, select

from lookalike.catalog.label_names import naming_of
from lookalike.classifier.calibration.decision_rule import MAX_ITEMS, QUICK_ITEMS
from lookalike.classifier.graph.graph import NeighbourGraph
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.graph.search import Ids
from lookalike.classifier.policies import REASONS
from lookalike.classifier.review.check_sheets import BASE
from lookalike.classifier.review.new_categories import NewCategory, group_new_categories
from lookalike.classifier.review.purity import Purity, learn_purity
from lookalike.classifier.review.queue import (
    STRIP_REFERENCES,
    Guessed,
    ItemStates,
    QuestionKind,
    ReviewQuestion,
    SameLabelGroup,
    questions,
)
from lookalike.classifier.scores.scores import BACKGROUND, Scores
from lookalike.classifier.scores.zero_shot import Names, guess, probability_right, representatives
from lookalike.decisions.check_sheets import open_sheet, plan_sheet, size_of
from lookalike.decisions.decider import Decider
from lookalike.decisions.field.classifier import Judge
from lookalike.decisions.field.state import FieldState
from lookalike.decisions.ledger.fold import PERSONAL, Line, opinions
from lookalike.decisions.ledger.samples import due
from lookalike.decisions.ledger.statements import read_now
from lookalike.labels import NO_LABEL, ancestors
from lookalike.model import EventKind, Origin, Reason
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, conditions

# --- annotator agreement and second opinions -----------------------------------------------------

_ANSWERED = (EventKind.LABELLED, EventKind.NEW_KIND)


@dataclass(frozen=True, slots=True)
class Spoken:
    """A person's latest answer about a document, and when it was given (UTC seconds)."""

    line: Line
    at: float


def contested_documents(snapshot: Snapshot, field_pk: int) -> Ids:
    """Return the documents of which people contradict each other, the longest known first."""
    table = schema.standing.c
    query = select(table.document_pk).where(table.field_pk == field_pk, table.contested)
    return snapshot.numbers(query.order_by(table.revision, table.document_pk))[:, 0]


def spoken_of(
    snapshot: Snapshot, field_pk: int, documents: Iterable[int]
) -> dict[int, list[Spoken]]:
    """Return each person's latest answer about each of the documents, the earliest first."""
    found: dict[int, list[Spoken]] = {}
    for chosen in conditions(schema.event.c.document_pk, sorted(documents)):
        times: dict[int, dict[Line, float]] = {}
        for pk, line, at in _lines(snapshot, field_pk, _said(field_pk).where(chosen)):
            lines = times.setdefault(pk, {})
            lines.pop(line, None)
            lines[line] = at
        for pk, lines in times.items():
            found[pk] = [Spoken(line, lines[line]) for line in opinions(lines).values()]
    return found


def said_by_several(snapshot: Snapshot, field_pk: int) -> tuple[dict[int, list[Line]], set[str]]:
    """Return what was said of each document that several people spoke of; and all who spoke."""
    lines: dict[int, list[Line]] = {}
    for pk, line, _ in _lines(snapshot, field_pk, _said(field_pk)):
        lines.setdefault(pk, []).append(line)
    people = {line.actor for some in lines.values() for line in some}
    several = {pk: some for pk, some in lines.items() if len({one.actor for one in some}) > 1}
    return several, people


def answered_by_others(snapshot: Snapshot, field_pk: int, actor: str, count: int) -> list[int]:
    """Return up to `count` documents that others answered and the actor did not, by chance.

    The order is the actor's own, and stays: who asks again is asked the same. What is contested is
    left out.
    """
    event, operation, standing = schema.event, schema.operation, schema.standing
    same = (standing.c.document_pk == event.c.document_pk) & (standing.c.field_pk == field_pk)
    query = (
        select(event.c.document_pk, operation.c.actor, standing.c.contested, standing.c.origin)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .join(standing, same)
        .where(event.c.field_pk == field_pk, event.c.origin == Origin.HUMAN)
        .where(event.c.kind.in_(_ANSWERED), operation.c.undone_by.is_(None))
        .distinct()
    )
    mine: set[int] = set()
    others: set[int] = set()
    for row in snapshot.rows(query):
        is_open = row.origin == Origin.HUMAN and not row.contested
        (others if row.actor != actor and is_open else mine).add(row.document_pk)
    return sorted(others - mine, key=lambda pk: _chance(field_pk, actor, pk))[:count]


def _chance(field_pk: int, actor: str, pk: int) -> bytes:
    return blake2b(f"{field_pk}:{pk}:{actor}".encode(), digest_size=8).digest()


def _said(field_pk: int) -> Select[tuple[int]]:
    """Return the query of what people said in a field, in order; what was undone is left out."""
    event, operation = schema.event, schema.operation
    return (
        select(event.c.document_pk, event.c.kind, event.c.label, event.c.detail)
        .add_columns(operation.c.actor, operation.c.at, event.c.operation_pk)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .where(event.c.field_pk == field_pk, event.c.origin == Origin.HUMAN)
        .where(event.c.kind.in_(PERSONAL), operation.c.undone_by.is_(None))
        .order_by(event.c.seq)
    )


def _lines(
    snapshot: Snapshot, field_pk: int, query: Select[tuple[int]]
) -> Iterable[tuple[int, Line, float]]:
    naming = naming_of(snapshot, field_pk)
    for row in snapshot.rows(query):
        asked = bool((row.detail or {}).get("asked"))
        for label in read_now(naming, row):
            line = Line(EventKind(row.kind), label, Origin.HUMAN, row.actor, asked)
            yield row.document_pk, line, row.at


# -------------------------------------------------------------------------------------------------

CONTESTED_SHARE = 0.3
"""So much of what is asked, at most, people contradict each other on; it comes first."""

_WRONG = 0.5
"""About so many of the labels that look wrong are wrong: so many actions a look saves for each."""

_COMPARED = 10_000
"""So many documents, evenly spread, are compared with names; that takes 15 ms for 77 labels."""

_CONFLICT = REASONS.index(Reason.CONFLICT)


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """What to ask about documents (pks, the seed first); see `review.ReviewQuestion`.

    `place` is where in the label tree a new kind may belong, "" for anywhere. People contradict
    each other on what is `contested`. `suggestions` has a label, or None, for each document.
    """

    pks: tuple[int, ...]
    suggestion: str | None
    place: str
    worth: float
    kind: QuestionKind
    contested: bool = False
    suggestions: tuple[str | None, ...] = ()


def ask(
    decider: Decider,
    snapshot: Snapshot,
    count: int,
    actor: str,
    second_opinion: float,
    names: Names | None = None,
) -> list[ReviewItem]:
    """Return up to `count` questions about the documents of a field, best first.

    First comes what people contradict each other on, then a share of what others than the `actor`
    have answered, for a second opinion. `names` are those of declared labels.
    """
    field_pk = decider.field.pk
    most = min(count, max(1, round(CONTESTED_SHARE * count)))
    contested = contested_documents(snapshot, field_pk)[:most].tolist()
    wanted = min(round(second_opinion * count), count - len(contested))
    second = answered_by_others(snapshot, field_pk, actor, wanted) if wanted else []
    left = count - len(contested) - len(second)
    return [
        *(
            ReviewItem((pk,), None, "", 1.0, QuestionKind.CONFLICT, contested=True)
            for pk in contested
        ),
        *(ReviewItem((pk,), None, "", 1.0, QuestionKind.SECOND_OPINION) for pk in second),
        *(_ask(decider, snapshot, left, names) if left else []),
    ]


def _ask(decider: Decider, snapshot: Snapshot, count: int, names: Names | None) -> list[ReviewItem]:
    """Return up to `count` questions about what nobody has answered, best first."""
    state = decider.state
    answers = int((state.columns["asked"] & state.columns["stands"]).sum())
    drawn = due(snapshot, decider.field.pk, answers)
    if _takes_long(state):
        return _simply(state, drawn, count)
    judge, scores = decider.surveyed(snapshot)
    land = judge.neighbour_graph
    standing = _standing(state, land.pks, () if scores is None else tuple(scores.labels))
    groups = _groups(judge, scores, standing)
    purity = learn_purity(land, _given(state, land.pks))
    found = questions(
        judge.reach,
        standing,
        scores,
        count,
        groups=[_alike(land, purity, group.places) for group in groups],
        guessed=None if names is None else _guessed(state, land, names, standing),
        drawn=land.places_of(drawn).tolist(),
        sheets=[*_check(snapshot, state, land), *_suspects(snapshot, state, land)],
    )
    by_seed = {int(group.places[0]): group for group in groups}
    return [_asked(question, land.pks, by_seed) for question in found]


def _alike(land: NeighbourGraph, purity: Purity, places: Places) -> SameLabelGroup:
    return SameLabelGroup(places, purity.of(land.cosines(places[1:], places[:1])[:, 0]))


def _guessed(
    state: FieldState, land: NeighbourGraph, names: Names, standing: ItemStates
) -> Guessed | None:
    """Return what the names of labels with few references suggest, one of each label."""
    counts = np.bincount(state.references.codes, minlength=len(state.codes.names))
    known_codes = {name: code for code, name in enumerate(state.codes.names)}
    codes = [known_codes.get(label, NO_LABEL) for label in names.labels]
    had = {at: 0 if code < 0 else int(counts[code]) for at, code in enumerate(codes)}
    had = {at: count for at, count in had.items() if count < STRIP_REFERENCES}
    if not had:
        return None
    given = _given(state, land.pks)
    answered = np.flatnonzero(given != NO_LABEL)[-_COMPARED:]
    known = guess(land, answered, names)
    right = np.asarray(codes)[known.nearest] == given[answered]
    choosy = np.setdiff1d(state.rejected.among(land.pks), answered)
    dropped = guess(land, choosy, names)
    barred = state.rejected.barred(land.pks[choosy], names.labels)
    is_barred = barred[np.arange(len(choosy)), dropped.nearest]
    open_ = np.flatnonzero(standing.open & ~standing.automatic)
    open_ = np.setdiff1d(open_, choosy[is_barred])
    open_ = open_[:: -(-len(open_) // _COMPARED) or 1]
    if not len(open_):
        return None
    found = guess(land, open_, names)
    leads = np.append(known.margin, dropped.margin[is_barred])
    likely = probability_right(
        found.margin, leads, np.append(right, np.zeros(is_barred.sum(), bool))
    )
    rows = representatives(found, likely, had, size_of(state.field.space.name))
    labels = tuple(names.labels[at] for at in found.nearest[rows].tolist())
    return Guessed(open_[rows], labels, likely[rows])


def _given(state: FieldState, pks: Ids) -> NDArray[np.int64]:
    """Return the label, as a code, that somebody gave each item of a landscape; −1 for none."""
    columns, own = state.columns, np.isin(pks, state.columns.pks)
    rows = columns.rows_of(pks[own])
    given = np.full(len(pks), NO_LABEL, np.int64)
    given[own] = np.where(columns["stands"][rows], columns["codes"][rows], NO_LABEL)
    return given


def ask_check(decider: Decider, snapshot: Snapshot) -> ReviewItem | None:
    """Return the check that waits, as `ask` does, or None: it needs no landscape."""
    found = _open_check(snapshot, decider.state)
    if found is None:
        return None
    return ReviewItem(
        tuple(found.pks.tolist()),
        None,
        "",
        round(found.worth, 3),
        QuestionKind.CHECK,
        suggestions=found.labels,
    )


class _Check(NamedTuple):
    """A check that waits: documents (pks), grouped by their `labels`; the rest as in
    `ReviewQuestion`.
    """

    pks: Ids
    labels: tuple[str | None, ...]
    worth: float
    gain: float


def _check(snapshot: Snapshot, state: FieldState, land: NeighbourGraph) -> list[ReviewQuestion]:
    """Return the check that waits, if there is any."""
    found = _open_check(snapshot, state)
    if found is None:
        return []
    places = tuple(land.places_of(found.pks).tolist())
    return [ReviewQuestion(places, None, found.worth, QuestionKind.CHECK, found.gain, found.labels)]


def _open_check(snapshot: Snapshot, state: FieldState) -> _Check | None:
    sheet = open_sheet(snapshot, state.field.pk)
    if sheet is None or state.standard is None or state.standard.learned is None:
        return None
    columns, name = state.columns, state.codes.name
    rows = columns.rows_of(sheet.left)
    rows = rows[state.waiting[rows]]
    codes = columns["codes"][rows]
    shown = np.where(codes == NO_LABEL, columns["runner_up"][rows], codes)
    rows = rows[(order := np.lexsort((columns.pks[rows], shown)))]
    if not len(rows):
        return None
    labels = tuple(name(code) for code in shown[order].tolist())
    plan = plan_sheet(state)
    worth, gain = (float(len(rows)), BASE) if plan is None else (plan.worth, plan.gain)
    return _Check(columns.pks[rows], labels, worth, gain)


def _suspects(snapshot: Snapshot, state: FieldState, land: NeighbourGraph) -> list[ReviewQuestion]:
    """Return the question about labels that look wrong, if there are any: they are shown again.

    What people contradict each other on is asked about anyway.
    """
    if not state.field.unified:
        return []
    contested = contested_documents(snapshot, state.field.pk)
    pks = np.setdiff1d(state.suspects(), contested)[: size_of(state.field.space.name)]
    if not len(pks):
        return []
    codes = state.references.codes[np.searchsorted(state.references.pks, pks)]
    labels = tuple(state.codes.name(code) for code in codes.tolist())
    places = tuple(land.places_of(pks).tolist())
    gain = _WRONG * len(pks)
    return [ReviewQuestion(places, None, gain, QuestionKind.SUSPECT, gain, labels)]


def unknown_groups(decider: Decider, snapshot: Snapshot) -> list[tuple[int, ...]]:
    """Return groups of documents (pks) that look like each other and like nothing named.

    There are none before something is named, and where a landscape takes long to make.
    """
    if _takes_long(decider.state):
        return []
    judge, scores = decider.surveyed(snapshot)
    if scores is None:
        return []
    pks = judge.neighbour_graph.pks
    standing = _standing(decider.state, pks, tuple(scores.labels))
    groups = _groups(judge, scores, standing)
    return [tuple(pks[group.places].tolist()) for group in groups]


def _groups(judge: Judge, scores: Scores | None, standing: ItemStates) -> list[NewCategory]:
    settled = standing.settled | standing.automatic
    return group_new_categories(judge.neighbour_graph, scores, judge.known(), settled)


def _takes_long(state: FieldState) -> bool:
    """Return whether nobody should wait for a landscape: it is large, and not made yet."""
    count, standard = len(state.columns), state.standard
    made = standard is not None and standard.nodes_upto > 0
    return count > MAX_ITEMS or (count > QUICK_ITEMS and not made)


def _asked(question: ReviewQuestion, pks: Ids, groups: dict[int, NewCategory]) -> ReviewItem:
    group = groups.get(question.places[0]) if question.kind is QuestionKind.NEW_KIND else None
    return ReviewItem(
        tuple(pks[list(question.places)].tolist()),
        question.suggestion,
        "" if group is None else group.place,
        round(question.worth, 3),
        question.kind,
        suggestions=question.suggestions or (None,) * len(question.places),
    )


def _standing(state: FieldState, pks: Ids, labels: tuple[str, ...]) -> ItemStates:
    """Return how the items of a landscape stand; those of another collection are never asked."""
    columns, codes = state.columns, state.codes
    own = np.isin(pks, columns.pks)
    rows = columns.rows_of(pks[own])
    known = {name: column for column, name in enumerate(labels) if name != BACKGROUND}
    counts = np.bincount(state.references.codes, minlength=len(codes.names))
    column_of, references = np.full(len(codes.names) + 1, -1), np.zeros(len(labels), np.int64)
    for name, column in known.items():
        column_of[codes.code(name)] = column
        references[column] = counts[codes.code(name)]
    label = columns["codes"][rows]
    winners, probability = np.full(len(pks), -1), np.zeros(len(pks))
    winners[own] = column_of[np.where(label == NO_LABEL, columns["runner_up"][rows], label)]
    probability[own] = np.nan_to_num(columns["confidence"][rows])
    settled = ~own
    settled[own] = ~state.waiting[rows]
    automatic, skipped, conflicts = (np.zeros(len(pks), bool) for _ in range(3))
    automatic[own] = ~columns["stands"][rows] & (label != NO_LABEL)
    # Who has only a parent's label may be of a new kind, and may still be told which.
    above = {codes.code(parent) for name in known for parent in ancestors(name)}
    halfway = np.zeros(len(pks), bool)
    halfway[own] = automatic[own] & np.isin(label, list(above))
    automatic[halfway] = False
    probability[halfway] /= 2
    skipped[own] = columns["unclear"][rows]
    conflicts[own] = columns["reasons"][rows] == _CONFLICT
    return ItemStates(
        labels, references, winners, probability, settled, automatic, skipped, conflicts
    )


def _simply(state: FieldState, drawn: Places, count: int) -> list[ReviewItem]:
    """Return questions where a landscape takes long to make.

    What chance drew, then what has no label, the surest first, then what labelled itself, the least
    sure first.
    """
    columns = state.columns
    open_ = np.flatnonzero(state.waiting & ~columns["unclear"])
    confidence = np.nan_to_num(columns["confidence"][open_])
    automatic = columns["codes"][open_] != NO_LABEL
    order = np.lexsort((np.where(automatic, confidence, -confidence), automatic))
    chosen = columns.pks[open_[order]]
    chosen = np.concatenate([drawn, chosen[~np.isin(chosen, drawn)]])[:count]
    kinds = dict(zip(columns.pks[open_].tolist(), automatic.tolist(), strict=True))
    return [
        ReviewItem(
            (pk,), None, "", 1.0, QuestionKind.LIMIT if kinds.get(pk) else QuestionKind.VALUE
        )
        for pk in chosen.tolist()
    ]
