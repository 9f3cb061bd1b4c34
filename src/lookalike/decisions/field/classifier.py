"""Graph-based classifier of one label field: scores and confidence, updated incrementally.

All its data is derived from vectors and labels. Labels are used in the order of their names, so
that two processes compute the same decisions. Neighbour lists, which take longest to compute, are
cached in a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.calibration.confidence import (
    Confidence,
    Predictions,
    confidence_to,
    levels_with_scores,
    predict,
)
from lookalike.classifier.calibration.incremental import CachedPredictions
from lookalike.classifier.calibration.intervals import EVEN
from lookalike.classifier.calibration.training_data import (
    AnswerSampling,
    fit_confidence,
    without_suspects,
)
from lookalike.classifier.graph.graph import KnownGraph, NeighbourGraph, attach, neighbour_graph_of
from lookalike.classifier.graph.metric import Blend, unit_blocks, weigh
from lookalike.classifier.graph.neighbours import FindLists, Ranked, neighbour_lists
from lookalike.classifier.graph.propagation import Graph, Places
from lookalike.classifier.policies import NO_SOURCE, REASONS, Decisions, deepest
from lookalike.classifier.review.queue import GraphReach
from lookalike.classifier.review.reference_checks import (
    LeaveOneOutTrials,
    answered_trials,
    landscape_trials,
)
from lookalike.classifier.scores.scores import BACKGROUND, Scores
from lookalike.content.files import read_cache, write_cache
from lookalike.decisions.field.rejections import Rejections
from lookalike.labels import NO_LABEL
from lookalike.model import Reason
from lookalike.stores.base import Packed

# --- neighbour lists in a cache file -------------------------------------------------------------

# Derived data, which may be deleted at any time. A cache file is valid for its items while each
# item has its vector in the same slot. Compaction moves vectors; `move_cached_slots` then updates
# the file.

_SEARCH_VERSION = "lists.6"
"""Version of the neighbour search; lists that were cached under another version are ignored."""

_GRAPH = ("starts", "columns", "weights")


class NeighbourListCache:
    """The cache file of the neighbour lists and the graph of some items.

    `pks` (n,) are rising, with the `slots` of their vectors. `blend` gives the members of a
    combined space. As a `neighbours.Progress` it also stores the partial result of a search.
    """

    def __init__(self, file: Path, pks: Places, slots: Places, blend: Blend | None) -> None:
        self._file, self._pks, self._slots = file, pks, slots
        self._blend_key = "" if blend is None else repr(blend)
        self._mark = _mark_of(pks, slots, self._blend_key)

    def known(self) -> KnownGraph | None:
        """Return the cached graph of these items, or None."""
        found = read_cache(self._file)
        if found is None or found[0].get("items") != self._mark:
            return None
        arrays = found[1]
        graph = Graph.of(*(arrays[name] for name in _GRAPH))
        near = arrays["near"].astype(np.int64)
        return KnownGraph(near, arrays["cosines"], arrays["turn"], graph, arrays["degrees"])

    def keep_all(self, graph: NeighbourGraph) -> None:
        """Store the graph of these items."""
        arrays = {
            "pks": self._pks,
            "slots": self._slots,
            "near": graph.near.astype(np.int32),
            "cosines": graph.near_cosines,
            "turn": graph.whitening_matrix,
            "degrees": graph.degrees,
            **{name: getattr(graph.graph, name) for name in _GRAPH},
        }
        write_cache(self._file, {"items": self._mark, "weighed": self._blend_key}, arrays)

    def kept(self) -> tuple[int, Ranked] | None:
        """Return the number of items with finished neighbour lists, and the lists, or None."""
        found = read_cache(self._file)
        if found is None or found[0].get("partly") != self._mark:
            return None
        return found[0]["done"], found[1]["ranked"]

    def keep(self, done: int, found: Ranked) -> None:
        """Store the neighbour lists of the first `done` items."""
        write_cache(self._file, {"partly": self._mark, "done": done}, {"ranked": found})


def move_cached_slots(file: Path, packed: Packed) -> None:
    """Update the cache file of a space after compaction moved its vectors to other slots."""
    found = read_cache(file)
    if found is None or "items" not in found[0]:
        return
    mark, arrays = found
    slots = packed.moved(arrays["slots"])
    if slots is not None:
        items = _mark_of(arrays["pks"], slots, mark["weighed"])
        write_cache(file, mark | {"items": items}, arrays | {"slots": slots})


def _mark_of(pks: Places, slots: Places, weighed: str) -> str:
    mark = hashlib.sha256(f"{_SEARCH_VERSION}{weighed}".encode())
    mark.update(np.ascontiguousarray(pks, "<i8").data)
    mark.update(np.ascontiguousarray(slots, "<i8").data)
    return mark.hexdigest()


# -------------------------------------------------------------------------------------------------

REBUILD_ITEMS = 2000
"""Up to this number of items, rebuild the graph whenever items are added."""

REBUILD_GROWTH = 1.2
"""Above that, rebuild the graph when the items exceed its nodes by this factor."""

_MAX_MARGIN = 10.0
"""Margins, which are log-odds, are clipped to ±this value.

A larger margin means a near-certain label, but would change with every new label: unclipped, 9,400
rows of 100,000 were rewritten instead of 2,000.
"""

_BELOW = REASONS.index(Reason.BELOW_THRESHOLD)
_TOO_CLOSE = REASONS.index(Reason.TOO_CLOSE)

Vectors = Callable[[Places], NDArray[np.float16]]


class FittedConfidence(NamedTuple):
    """The fitted confidence, and the references (pks, rising) left out because they look wrong."""

    confidence: Confidence
    suspects: Places


class GraphClassifier:
    """Classifies the documents of one field.

    `cache_file` stores the neighbour lists that `find` computes.
    """

    def __init__(self, cache_file: Path, find: FindLists | None = None) -> None:
        self._cache_file = cache_file
        self._find = find
        self._is_hypothetical = False
        self._graph: NeighbourGraph | None = None
        self._slots: Places = np.empty(0, np.int64)
        self._scores: Scores | None = None
        self._confidence: Confidence | None = None
        self._predictions: CachedPredictions | None = None
        self._reach: GraphReach | None = None

    def hypothetical(self) -> GraphClassifier:
        """Return a copy for what-if decisions.

        It does not change this one, does not write the cache, classifies only the items asked for,
        and does not rebuild a large graph because it has grown.
        """
        other = copy(self)
        other._is_hypothetical = True
        return other

    @property
    def neighbour_graph(self) -> NeighbourGraph:
        """The graph of the items set last."""
        assert self._graph is not None, "call set_items first"
        return self._graph

    def set_items(
        self,
        pks: Places,
        slots: Places,
        vectors: Vectors,
        nodes_upto: int,
        blend: Blend | None = None,
    ) -> int:
        """Set the items: `pks` (n,) rising, each with the slot of its vector in `slots`.

        `blend` gives the members of a combined space. `nodes_upto` is the last pk in the graph so
        far, 0 for a new graph. Return the last pk in the current graph, which is a new one if too
        many items were added or any was removed.
        """
        nodes = int(np.searchsorted(pks, nodes_upto, side="right"))
        outgrown = len(pks) > REBUILD_GROWTH * nodes and not self._is_hypothetical
        if nodes == 0 or len(pks) <= REBUILD_ITEMS or outgrown:
            nodes = len(pks)
        graph = self._graph
        known = 0 if graph is None else len(graph)
        same = graph is not None and (graph.nodes, graph.frame.blend) == (nodes, blend)
        if not same or not self._is_current(pks, slots, known):
            # Drop the old graph first, because two at once take too much memory.
            graph = self._graph = self._scores = self._predictions = self._reach = None
            self._graph = graph = self._build_graph(pks[:nodes], slots[:nodes], vectors, blend)
            known = nodes
        if known < len(pks) and graph is not None:
            self._graph = attach(graph, pks[known:], vectors(pks[known:]))
            self._scores = self._scores and self._scores.extended_to(self._graph)
            self._predictions = None
        self._slots = slots.copy()  # the caller changes its own in place
        return int(pks[nodes - 1])

    def fit_member_weights(
        self, references: Mapping[str, Places], vectors: Vectors
    ) -> tuple[float, ...]:
        """Return the member weights that fit the references of each label best.

        Return the current weights unless others fit noticeably better.
        """
        frame = self.neighbour_graph.frame
        assert frame.blend is not None, "only a combined space has members"
        named = [references[name] for name in sorted(references) if name != BACKGROUND]
        own = np.repeat(np.arange(len(named)), [len(pks) for pks in named])
        pks = np.concatenate(named)
        order = np.argsort(pks)
        units = unit_blocks(frame.centred(vectors(pks[order])), frame.blend.blocks)
        members = [units[:, block] for block in frame.blend.blocks]
        return weigh(members, own[order], frame.blend.weights)

    def fit(
        self,
        references: Mapping[str, Places],
        waiting: Places,
        target: float,
        *,
        targets: Mapping[str, float] | None = None,
        sampling: AnswerSampling | None = None,
        hierarchical: bool = False,
        closed: bool = False,
    ) -> FittedConfidence:
        """Set the references of each label and fit the confidence; return the result.

        `references` include those of the background and, with `hierarchical` labels, parents are
        fitted too. With `closed` there are no unknown categories. References whose label looks
        wrong are left out.
        """
        graph = self.neighbour_graph
        sampling = _by_place(sampling or AnswerSampling(), graph)
        scores = self._fresh_scores(references)
        trusted, doubted = without_suspects(scores, sampling.confirmed)
        if doubted.references:
            scores.set_references(trusted)
        confidence = fit_confidence(
            scores,
            graph.places_of(waiting),
            target,
            targets=targets,
            sampling=replace(sampling, doubted=doubted),
            hierarchical=hierarchical,
            closed=closed,
        )
        confidence = replace(confidence, fine_propagation=scores.fine_propagation)
        self._confidence, self._predictions = confidence, None
        return FittedConfidence(confidence, graph.pks[doubted.places])

    def restore(self, confidence: Confidence, references: Mapping[str, Places]) -> None:
        """Use a confidence fitted earlier, with the current references."""
        scores = self._scores or Scores(self.neighbour_graph)
        self._scores = scores.with_propagation(fine=confidence.fine_propagation)
        self._set_references(references)
        self._confidence, self._predictions = confidence, None

    def uses(self, learned: Mapping[str, object]) -> bool:
        """Return whether this confidence (JSON values) is the one in use."""
        known = self._confidence
        return known is not None and self._scores is not None and confidence_to(known) == learned

    def update_references(self, references: Mapping[str, Places]) -> Places:
        """Set references of the same labels without refitting.

        Return the documents (pks, rising) that were classified again, among the items of the last
        fit; the decisions of all others are unchanged.
        """
        if self._is_hypothetical:
            self._set_references(references)
            return np.empty(0, np.int64)
        updated = self._current_predictions().update(self._places(references))
        return np.asarray(self.neighbour_graph.pks[updated])

    def decide(
        self, pks: Places, code_of: Callable[[str], int], rejected: Rejections | None = None
    ) -> Decisions:
        """Return decisions for documents, with the caller's label codes.

        If no label is confident enough, decide the nearest parent that is.
        """
        graph, scores, confidence = self._graph, self._scores, self._confidence
        assert graph is not None and scores is not None and confidence is not None, "call fit first"
        places = graph.places_of(pks)
        restricted = np.empty(0, np.int64) if rejected is None else rejected.among(pks)
        levels = levels_with_scores(confidence, scores)
        if self._is_hypothetical:
            found = [predict(model, level, places) for model, level in levels]
        else:
            cached = self._current_predictions()
            found = [cached.at(places), *cached.above(places)]
        decisions: list[Decisions] = []
        for (model, level), predictions in zip(levels, found, strict=True):
            if rejected is not None and len(restricted):
                excluded = rejected.excluded(pks[restricted], model.labels)
                again = predict(model, level, places[restricted], excluded)
                predictions = _overwritten(predictions, restricted, again)
            sources = np.where(predictions.winners >= 0, graph.pks[predictions.sources], NO_SOURCE)
            decisions.append(_decisions(predictions, _codes(model.labels, code_of), sources))
        return deepest(decisions)

    def compute_scores(self, references: Mapping[str, Places]) -> Scores | None:
        """Set the references of each label without fitting; return the scores, None without any."""
        if not references:
            return None
        if self._confidence is None:
            return self._fresh_scores(references)
        return self._set_references(references)

    def _fresh_scores(self, references: Mapping[str, Places]) -> Scores:
        """Set the references of each label for a new fit: their number selects the propagation."""
        scores = self._scores or Scores(self.neighbour_graph)
        self._confidence = self._predictions = None
        self._scores = scores.for_references(self._places(references))
        return self._scores

    def _set_references(self, references: Mapping[str, Places]) -> Scores:
        """Set the references of each label; the propagation stays that of the last fit."""
        if self._scores is None:
            self._scores = Scores(self.neighbour_graph)
        places = self._places(references)
        if self._scores.changed_by(places):
            self._scores.set_references(places)
            self._confidence = self._predictions = None
        return self._scores

    def _places(self, references: Mapping[str, Places]) -> dict[str, Places]:
        return {name: self.neighbour_graph.places_of(pks) for name, pks in references.items()}

    @property
    def reach(self) -> GraphReach:
        """How many items a new label would reach, for the current items."""
        assert self._graph is not None, "call set_items first"
        if self._reach is None or len(self._reach) != len(self._graph):
            self._reach = GraphReach(self._graph)
        return self._reach

    def known(self) -> NDArray[np.float64]:
        """Return each item's probability of having a known label (n,); 0 before the first fit."""
        assert self._graph is not None, "call set_items first"
        if self._confidence is None:
            return np.zeros(len(self._graph))
        return self._current_predictions().at(np.arange(len(self._graph))).known

    def trials(self, code_of: Callable[[str], int]) -> LeaveOneOutTrials:
        """Return leave-one-out results of the references, with the caller's codes."""
        scores, confidence = self._scores, self._confidence
        assert scores is not None and confidence is not None, "call fit first"
        trials = landscape_trials(scores, confidence.sight.mix)
        return _with_codes(trials, _codes(scores.labels, code_of).astype(np.int64))

    def suspect_trials(
        self, suspects: Mapping[str, Places], code_of: Callable[[str], int]
    ) -> LeaveOneOutTrials:
        """Return the results of references (pks by label) that look wrong and are not used."""
        scores, confidence = self._scores, self._confidence
        assert scores is not None and confidence is not None, "call fit first"
        trials = answered_trials(scores, confidence.sight.mix, self._places(suspects))
        return _with_codes(trials, _codes(scores.labels, code_of).astype(np.int64))

    def causes(self, pk: int, count: int) -> list[tuple[int, str, float]]:
        """Return the `count` references (pk, label, share) with the most evidence for a document.

        The share is that of all evidence that reaches the document.
        """
        graph, scores = self.neighbour_graph, self._scores
        assert scores is not None, "call fit first"
        here = graph.places_of(np.array([pk]))
        amounts = [
            (float(scores.reference_evidence(place).evidence.at(here)[0]), place, name)
            for name in scores.labels
            if name != BACKGROUND
            for place in scores.references(name).tolist()
        ]
        whole = sum(amount for amount, _, _ in amounts)
        most = sorted(amounts, key=lambda one: (-one[0], one[1]))[:count]
        return [(int(graph.pks[p]), name, amount / whole) for amount, p, name in most if amount > 0]

    def label_without(self, pk: int, reference: int) -> str | None:
        """Return the label that a document would get without one of the references."""
        graph, scores, confidence = self._graph, self._scores, self._confidence
        assert graph is not None and scores is not None and confidence is not None, "call fit first"
        every = {name: scores.references(name) for name in scores.labels}
        left = {name: places[graph.pks[places] != reference] for name, places in every.items()}
        fewer = {name: places for name, places in left.items() if len(places)}
        if len(fewer) < len(every) and confidence.above is None:
            return None
        here = graph.places_of(np.array([pk]))
        scores.set_references(fewer)
        try:
            for model, level in levels_with_scores(confidence, scores):
                predictions = predict(model, level, here)
                if predictions.accepted[0]:
                    return model.labels[int(predictions.winners[0])]
        finally:
            scores.set_references(every)
        return None

    def _current_predictions(self) -> CachedPredictions:
        if self._predictions is None:
            scores, confidence = self._scores, self._confidence
            assert scores is not None and confidence is not None, "call fit first"
            self._predictions = CachedPredictions(confidence, scores)
        return self._predictions

    def _is_current(self, pks: Places, slots: Places, known: int) -> bool:
        assert self._graph is not None, "needs a graph"
        return (
            known <= len(pks)
            and np.array_equal(self._graph.pks, pks[:known])
            and np.array_equal(self._slots[:known], slots[:known])
        )

    def _build_graph(
        self, pks: Places, slots: Places, vectors: Vectors, blend: Blend | None
    ) -> NeighbourGraph:
        lists = NeighbourListCache(self._cache_file, pks, slots, blend)
        known = lists.known()
        neighbour_graph = neighbour_graph_of(
            pks,
            lambda places: vectors(pks[places]),
            known,
            blend=blend,
            find=self._find
            or partial(neighbour_lists, progress=None if self._is_hypothetical else lists),
        )
        if known is None and not self._is_hypothetical:
            lists.keep_all(neighbour_graph)
        return neighbour_graph


def _by_place(sampling: AnswerSampling, graph: NeighbourGraph) -> AnswerSampling:
    """Return the sampling with places in the graph instead of pks."""
    return AnswerSampling(
        asked=graph.places_of(sampling.asked),
        drawn=graph.places_of(sampling.drawn),
        new=graph.places_of(sampling.new),
        apart={name: graph.places_of(pks) for name, pks in sampling.apart.items()},
        checked=graph.places_of(sampling.checked),
        refuted={name: graph.places_of(pks) for name, pks in sampling.refuted.items()},
        confirmed=graph.places_of(sampling.confirmed),
        corrected=graph.places_of(sampling.corrected),
    )


def _overwritten(predictions: Predictions, rows: Places, other: Predictions) -> Predictions:
    columns = {part.name: getattr(predictions, part.name).copy() for part in fields(Predictions)}
    for name, column in columns.items():
        column[rows] = getattr(other, name)
    return Predictions(**columns)


def _with_codes(trials: LeaveOneOutTrials, codes: NDArray[np.int64]) -> LeaveOneOutTrials:
    """Return trials with the `codes` (labels,) of their columns, without those of no label."""
    coded = replace(trials, own=codes[trials.own], rival=codes[trials.rival])
    return coded.of(coded.own != NO_LABEL)


def _codes(labels: Sequence[str], code_of: Callable[[str], int]) -> NDArray[np.int32]:
    """Return the caller's codes of labels, then NO_LABEL; the background has no code."""
    known = [NO_LABEL if name == BACKGROUND else code_of(name) for name in labels]
    return np.array([*known, NO_LABEL], np.int32)


def _rounded(probability: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return probabilities rounded to thousandths; to hundredths below EVEN.

    No label is given below EVEN, so thousandths are not needed there and would cause rewrites with
    every label: a tenth of a million rows, as measured.
    """
    finer = np.round(probability, 3)
    return np.where(finer < EVEN, np.round(probability, 2), finer).astype(np.float32)


def _decisions(predictions: Predictions, codes: NDArray[np.int32], sources: Places) -> Decisions:
    winner, runner = codes[predictions.winners], codes[predictions.runners_up]
    accepted = predictions.accepted
    known = (predictions.known >= predictions.limits) & (predictions.margin >= 0)
    reasons = np.where(known & (predictions.winners >= 0), _TOO_CLOSE, _BELOW)
    return Decisions(
        codes=np.where(accepted, winner, -1).astype(np.int32),
        confidence=_rounded(predictions.probability),
        margin=np.round(np.clip(predictions.margin, -_MAX_MARGIN, _MAX_MARGIN), 2).astype(
            np.float32
        ),
        runner_up=np.where(accepted, runner, winner).astype(np.int32),
        reasons=np.where(accepted, -1, reasons).astype(np.int8),
        sources=sources,
    )
