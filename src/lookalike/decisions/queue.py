"""The review queue of one field: questions by value, random samples and second opinions."""

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
from lookalike.classifier.review.purity import Purity, fit_purity
from lookalike.classifier.review.queue import (
    GROUP_REFERENCES,
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
from lookalike.decisions.field.classifier import GraphClassifier
from lookalike.decisions.field.state import FieldState
from lookalike.decisions.ledger.fold import PERSONAL, Line, opinions
from lookalike.decisions.ledger.samples import due_samples
from lookalike.decisions.ledger.statements import read_now
from lookalike.labels import NO_LABEL, ancestors
from lookalike.model import EventKind, Origin, Reason
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, conditions

# --- annotator agreement and second opinions -----------------------------------------------------

_ANSWERED = (EventKind.LABELLED, EventKind.NEW_KIND)


@dataclass(frozen=True, slots=True)
class PersonalAnswer:
    """A person's latest answer about a document, and its time (UTC seconds)."""

    line: Line
    at: float


def contested_documents(snapshot: Snapshot, field_pk: int) -> Ids:
    """Return the documents on which people disagree, the longest known first."""
    table = schema.standing.c
    query = select(table.document_pk).where(table.field_pk == field_pk, table.contested)
    return snapshot.numbers(query.order_by(table.revision, table.document_pk))[:, 0]


def personal_answers(
    snapshot: Snapshot, field_pk: int, documents: Iterable[int]
) -> dict[int, list[PersonalAnswer]]:
    """Return each person's latest answer about each of the documents, earliest first."""
    found: dict[int, list[PersonalAnswer]] = {}
    for chosen in conditions(schema.event.c.document_pk, sorted(documents)):
        times: dict[int, dict[Line, float]] = {}
        for pk, line, at in _lines(snapshot, field_pk, _personal_events(field_pk).where(chosen)):
            lines = times.setdefault(pk, {})
            lines.pop(line, None)
            lines[line] = at
        for pk, lines in times.items():
            found[pk] = [PersonalAnswer(line, lines[line]) for line in opinions(lines).values()]
    return found


def answered_by_several(
    snapshot: Snapshot, field_pk: int
) -> tuple[dict[int, list[Line]], set[str]]:
    """Return the answers by document, if several people answered it, and all people's names."""
    lines: dict[int, list[Line]] = {}
    for pk, line, _ in _lines(snapshot, field_pk, _personal_events(field_pk)):
        lines.setdefault(pk, []).append(line)
    people = {line.actor for answers in lines.values() for line in answers}
    several = {
        pk: answers for pk, answers in lines.items() if len({line.actor for line in answers}) > 1
    }
    return several, people


def answered_by_others(snapshot: Snapshot, field_pk: int, actor: str, count: int) -> list[int]:
    """Return up to `count` random documents that others answered and the actor did not.

    The order depends on the actor and is stable: repeated calls give the same documents. Documents
    on which people disagree are left out.
    """
    event, operation, states = schema.event, schema.operation, schema.standing
    same = (states.c.document_pk == event.c.document_pk) & (states.c.field_pk == field_pk)
    query = (
        select(event.c.document_pk, operation.c.actor, states.c.contested, states.c.origin)
        .join(operation, operation.c.pk == event.c.operation_pk)
        .join(states, same)
        .where(event.c.field_pk == field_pk, event.c.origin == Origin.HUMAN)
        .where(event.c.kind.in_(_ANSWERED), operation.c.undone_by.is_(None))
        .distinct()
    )
    mine: set[int] = set()
    others: set[int] = set()
    for row in snapshot.rows(query):
        is_open = row.origin == Origin.HUMAN and not row.contested
        (others if row.actor != actor and is_open else mine).add(row.document_pk)
    return sorted(others - mine, key=lambda pk: _random_key(field_pk, actor, pk))[:count]


def _random_key(field_pk: int, actor: str, pk: int) -> bytes:
    return blake2b(f"{field_pk}:{pk}:{actor}".encode(), digest_size=8).digest()


def _personal_events(field_pk: int) -> Select[tuple[int]]:
    """Return the query of people's answers in a field, in order, without undone ones."""
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
"""At most this share of the questions is about documents on which people disagree; they come first.
"""

_WRONG = 0.5
"""About this share of the suspect labels is wrong: the expected corrections per question."""

_COMPARED = 10_000
"""Compare this many documents, evenly spaced, with label names; this takes 15 ms for 77 labels."""

_CONFLICT = REASONS.index(Reason.CONFLICT)


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A question about documents (pks, the seed first); see `review.ReviewQuestion`.

    `place` is where in the label tree a new category may belong, "" for anywhere. `contested`:
    people disagree about it. `suggestions` has a label, or None, for each document.
    """

    pks: tuple[int, ...]
    suggestion: str | None
    place: str
    value: float
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

    First come documents on which people disagree, then a share of documents that others than the
    `actor` answered, for a second opinion. `names` are the vectors of the names of declared labels.
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
    """Return up to `count` questions about documents without an answer, best first."""
    state = decider.state
    answers = int((state.columns["asked"] & state.columns["settled"]).sum())
    drawn = due_samples(snapshot, decider.field.pk, answers)
    if _graph_takes_long(state):
        return _without_graph(state, drawn, count)
    classifier, scores = decider.classifier_and_scores(snapshot)
    graph = classifier.neighbour_graph
    states = _item_states(state, graph.pks, () if scores is None else tuple(scores.labels))
    groups = _groups(classifier, scores, states)
    purity = fit_purity(graph, _given(state, graph.pks))
    found = questions(
        classifier.reach,
        states,
        scores,
        count,
        groups=[_same_label_group(graph, purity, group.places) for group in groups],
        guessed=None if names is None else _guessed(state, graph, names, states),
        drawn=graph.places_of(drawn).tolist(),
        sheets=[*_check(snapshot, state, graph), *_suspects(snapshot, state, graph)],
    )
    by_seed = {int(group.places[0]): group for group in groups}
    return [_review_item(question, graph.pks, by_seed) for question in found]


def _same_label_group(graph: NeighbourGraph, purity: Purity, places: Places) -> SameLabelGroup:
    return SameLabelGroup(places, purity.of(graph.cosines(places[1:], places[:1])[:, 0]))


def _guessed(
    state: FieldState, graph: NeighbourGraph, names: Names, states: ItemStates
) -> Guessed | None:
    """Return suggestions from the names of labels with few references, one per label."""
    counts = np.bincount(state.references.codes, minlength=len(state.codes.names))
    known_codes = {name: code for code, name in enumerate(state.codes.names)}
    codes = [known_codes.get(label, NO_LABEL) for label in names.labels]
    had = {at: 0 if code < 0 else int(counts[code]) for at, code in enumerate(codes)}
    had = {at: count for at, count in had.items() if count < GROUP_REFERENCES}
    if not had:
        return None
    given = _given(state, graph.pks)
    answered = np.flatnonzero(given != NO_LABEL)[-_COMPARED:]
    known = guess(graph, answered, names)
    right = np.asarray(codes)[known.nearest] == given[answered]
    restricted = np.setdiff1d(state.rejected.among(graph.pks), answered)
    dropped = guess(graph, restricted, names)
    excluded = state.rejected.excluded(graph.pks[restricted], names.labels)
    is_excluded = excluded[np.arange(len(restricted)), dropped.nearest]
    open_ = np.flatnonzero(states.open & ~states.automatic)
    open_ = np.setdiff1d(open_, restricted[is_excluded])
    open_ = open_[:: -(-len(open_) // _COMPARED) or 1]
    if not len(open_):
        return None
    found = guess(graph, open_, names)
    margins = np.append(known.margin, dropped.margin[is_excluded])
    likely = probability_right(
        found.margin, margins, np.append(right, np.zeros(is_excluded.sum(), bool))
    )
    rows = representatives(found, likely, had, size_of(state.field.space.name))
    labels = tuple(names.labels[at] for at in found.nearest[rows].tolist())
    return Guessed(open_[rows], labels, likely[rows])


def _given(state: FieldState, pks: Ids) -> NDArray[np.int64]:
    """Return the given label of each item of a graph, as a code; −1 for none."""
    columns, own = state.columns, np.isin(pks, state.columns.pks)
    rows = columns.rows_of(pks[own])
    given = np.full(len(pks), NO_LABEL, np.int64)
    given[own] = np.where(columns["settled"][rows], columns["codes"][rows], NO_LABEL)
    return given


def ask_check(decider: Decider, snapshot: Snapshot) -> ReviewItem | None:
    """Return the open check sheet, as `ask` does, or None; it needs no graph."""
    found = _open_check(snapshot, decider.state)
    if found is None:
        return None
    return ReviewItem(
        tuple(found.pks.tolist()),
        None,
        "",
        round(found.value, 3),
        QuestionKind.CHECK,
        suggestions=found.labels,
    )


class _Check(NamedTuple):
    """An open check sheet: documents (pks), grouped by their `labels`.

    The other fields are those of `ReviewQuestion`.
    """

    pks: Ids
    labels: tuple[str | None, ...]
    value: float
    gain: float


def _check(snapshot: Snapshot, state: FieldState, graph: NeighbourGraph) -> list[ReviewQuestion]:
    """Return the question of the open check sheet, if there is one."""
    found = _open_check(snapshot, state)
    if found is None:
        return []
    places = tuple(graph.places_of(found.pks).tolist())
    return [ReviewQuestion(places, None, found.value, QuestionKind.CHECK, found.gain, found.labels)]


def _open_check(snapshot: Snapshot, state: FieldState) -> _Check | None:
    sheet = open_sheet(snapshot, state.field.pk)
    if sheet is None or state.rule is None or state.rule.learned is None:
        return None
    columns, name = state.columns, state.codes.name
    rows = columns.rows_of(sheet.left)
    rows = rows[state.undecided[rows]]
    codes = columns["codes"][rows]
    shown = np.where(codes == NO_LABEL, columns["runner_up"][rows], codes)
    rows = rows[(order := np.lexsort((columns.pks[rows], shown)))]
    if not len(rows):
        return None
    labels = tuple(name(code) for code in shown[order].tolist())
    plan = plan_sheet(state)
    value, gain = (float(len(rows)), BASE) if plan is None else (plan.value, plan.gain)
    return _Check(columns.pks[rows], labels, value, gain)


def _suspects(snapshot: Snapshot, state: FieldState, graph: NeighbourGraph) -> list[ReviewQuestion]:
    """Return a question that shows suspect labels again, if there are any.

    Documents on which people disagree are left out: they have questions of their own.
    """
    if not state.field.unified:
        return []
    contested = contested_documents(snapshot, state.field.pk)
    pks = np.setdiff1d(state.suspects(), contested)[: size_of(state.field.space.name)]
    if not len(pks):
        return []
    codes = state.references.codes[np.searchsorted(state.references.pks, pks)]
    labels = tuple(state.codes.name(code) for code in codes.tolist())
    places = tuple(graph.places_of(pks).tolist())
    gain = _WRONG * len(pks)
    return [ReviewQuestion(places, None, gain, QuestionKind.SUSPECT, gain, labels)]


def unknown_groups(decider: Decider, snapshot: Snapshot) -> list[tuple[int, ...]]:
    """Return groups of documents (pks) that are similar to each other and to no known label.

    Empty before the first label, and if building the graph takes too long.
    """
    if _graph_takes_long(decider.state):
        return []
    classifier, scores = decider.classifier_and_scores(snapshot)
    if scores is None:
        return []
    pks = classifier.neighbour_graph.pks
    states = _item_states(decider.state, pks, tuple(scores.labels))
    groups = _groups(classifier, scores, states)
    return [tuple(pks[group.places].tolist()) for group in groups]


def _groups(
    classifier: GraphClassifier, scores: Scores | None, states: ItemStates
) -> list[NewCategory]:
    settled = states.settled | states.automatic
    return group_new_categories(classifier.neighbour_graph, scores, classifier.known(), settled)


def _graph_takes_long(state: FieldState) -> bool:
    """Return whether the graph is large and not built yet: too slow for a request."""
    count, rule = len(state.columns), state.rule
    made = rule is not None and rule.nodes_upto > 0
    return count > MAX_ITEMS or (count > QUICK_ITEMS and not made)


def _review_item(question: ReviewQuestion, pks: Ids, groups: dict[int, NewCategory]) -> ReviewItem:
    group = groups.get(question.places[0]) if question.kind is QuestionKind.NEW_KIND else None
    return ReviewItem(
        tuple(pks[list(question.places)].tolist()),
        question.suggestion,
        "" if group is None else group.place,
        round(question.value, 3),
        question.kind,
        suggestions=question.suggestions or (None,) * len(question.places),
    )


def _item_states(state: FieldState, pks: Ids, labels: tuple[str, ...]) -> ItemStates:
    """Return the review state of a graph's items; those of other collections are settled."""
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
    settled[own] = ~state.undecided[rows]
    automatic, skipped, conflicts = (np.zeros(len(pks), bool) for _ in range(3))
    automatic[own] = ~columns["settled"][rows] & (label != NO_LABEL)
    # An item with only a parent's label may belong to a new sub-label, so it may be asked about.
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


def _without_graph(state: FieldState, drawn: Places, count: int) -> list[ReviewItem]:
    """Return questions for fields where building the graph takes too long.

    First the random samples, then documents without a label, most confident first, then documents
    with an automatic label, least confident first.
    """
    columns = state.columns
    open_ = np.flatnonzero(state.undecided & ~columns["unclear"])
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
