"""The landscape rule at work: one field's scores and confidence, kept up as its references change.

Everything here is derived from vectors and labels. Labels are taken in the order of their names,
so that two processes come to the same judgement; neighbour lists, which take longest to find, are
remembered in a file.
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
    Judgement,
    confidence_to,
    judge,
    levels_with_scores,
)
from lookalike.classifier.calibration.incremental import Judgements
from lookalike.classifier.calibration.intervals import EVEN
from lookalike.classifier.calibration.training_data import (
    AnswerSampling,
    learn_confidence,
    without_suspects,
)
from lookalike.classifier.graph.graph import KnownGraph, NeighbourGraph, attach, neighbour_graph_of
from lookalike.classifier.graph.metric import Blend, unit_blocks, weigh
from lookalike.classifier.graph.neighbours import FindLists, Ranked, neighbour_lists
from lookalike.classifier.graph.propagation import Graph, Places
from lookalike.classifier.policies import NO_SOURCE, REASONS, Decisions, deepest
from lookalike.classifier.review.queue import GraphReach
from lookalike.classifier.review.reference_checks import LeaveOneOutTrials, landscape_trials
from lookalike.classifier.scores.scores import BACKGROUND, Scores
from lookalike.content.files import recall, remember
from lookalike.decisions.field.rejections import Rejections
from lookalike.labels import NO_LABEL
from lookalike.model import Reason
from lookalike.stores.base import Packed

# --- neighbour lists in a cache file -------------------------------------------------------------

# Derived state: it may be deleted at any time. It is of its items while each has its vector in the
# same slot; packing moves vectors, and what was kept follows.

_FOUND_BY = "lists.6"
"""How lists are found; those that were kept under another name are found again."""

_GRAPH = ("starts", "columns", "weights")


class KeptLists:
    """What was found out about items: `pks` (n,) rising, with the `slots` of their vectors.

    `blend` is that of the members of a combined space. As a `nearness.Progress` it keeps how far
    the neighbours have been found.
    """

    def __init__(self, file: Path, pks: Places, slots: Places, blend: Blend | None) -> None:
        self._file, self._pks, self._slots = file, pks, slots
        self._weighed = "" if blend is None else repr(blend)
        self._mark = _mark_of(pks, slots, self._weighed)

    def known(self) -> KnownGraph | None:
        """Return what was kept of these items, if anything was."""
        found = recall(self._file)
        if found is None or found[0].get("items") != self._mark:
            return None
        arrays = found[1]
        graph = Graph.of(*(arrays[name] for name in _GRAPH))
        near = arrays["near"].astype(np.int64)
        return KnownGraph(near, arrays["cosines"], arrays["turn"], graph, arrays["degrees"])

    def keep_all(self, land: NeighbourGraph) -> None:
        """Keep what their landscape has."""
        arrays = {
            "pks": self._pks,
            "slots": self._slots,
            "near": land.near.astype(np.int32),
            "cosines": land.near_cosines,
            "turn": land.whitening_matrix,
            "degrees": land.degrees,
            **{name: getattr(land.graph, name) for name in _GRAPH},
        }
        remember(self._file, {"items": self._mark, "weighed": self._weighed}, arrays)

    def kept(self) -> tuple[int, Ranked] | None:
        """Return how many items have their neighbours, and which, if that was kept."""
        found = recall(self._file)
        if found is None or found[0].get("partly") != self._mark:
            return None
        return found[0]["done"], found[1]["ranked"]

    def keep(self, done: int, found: Ranked) -> None:
        """Keep the neighbours of the first items."""
        remember(self._file, {"partly": self._mark, "done": done}, {"ranked": found})


def follow_packed(file: Path, packed: Packed) -> None:
    """Let what was kept of items of a space be of where their vectors are now."""
    found = recall(file)
    if found is None or "items" not in found[0]:
        return
    mark, arrays = found
    slots = packed.moved(arrays["slots"])
    if slots is not None:
        items = _mark_of(arrays["pks"], slots, mark["weighed"])
        remember(file, mark | {"items": items}, arrays | {"slots": slots})


def _mark_of(pks: Places, slots: Places, weighed: str) -> str:
    mark = hashlib.sha256(f"{_FOUND_BY}{weighed}".encode())
    mark.update(np.ascontiguousarray(pks, "<i8").data)
    mark.update(np.ascontiguousarray(slots, "<i8").data)
    return mark.hexdigest()


# -------------------------------------------------------------------------------------------------

REBUILD_ITEMS = 2000
"""Up to so many items the graph is made again with every arrival."""

REBUILD_GROWTH = 1.2
"""Beyond, when so many times its nodes have come."""

_FAR = 10.0
"""A margin, which is log-odds, is told up to here.

What is further ahead is as good as certain, and would be written anew with every label: measured,
9,400 rows of 100,000 instead of 2,000.
"""

_BELOW = REASONS.index(Reason.BELOW_THRESHOLD)
_TOO_CLOSE = REASONS.index(Reason.TOO_CLOSE)

Vectors = Callable[[Places], NDArray[np.float16]]


class Learned(NamedTuple):
    """How sure to be, and which references (pks, rising) do not vote: they look wrong."""

    confidence: Confidence
    suspects: Places


class Judge:
    """Judges the documents of one field. `memory` keeps neighbour lists that `find` found."""

    def __init__(self, memory: Path, find: FindLists | None = None) -> None:
        self._memory = memory
        self._find = find
        self._imagines = False
        self._landscape: NeighbourGraph | None = None
        self._slots: Places = np.empty(0, np.int64)
        self._scores: Scores | None = None
        self._confidence: Confidence | None = None
        self._judgements: Judgements | None = None
        self._reach: GraphReach | None = None

    def imagining(self) -> Judge:
        """Return a judge who knows what this one does, for items that will not be kept.

        Nothing that they teach comes back. He judges only what he is asked about, and makes no
        large graph again because it has grown.
        """
        other = copy(self)
        other._imagines = True
        return other

    @property
    def neighbour_graph(self) -> NeighbourGraph:
        """The items as surveyed last."""
        assert self._landscape is not None, "survey comes first"
        return self._landscape

    def survey(
        self,
        pks: Places,
        slots: Places,
        vectors: Vectors,
        nodes_upto: int,
        blend: Blend | None = None,
    ) -> int:
        """Take over which items there are: `pks` (n,) rising, each with the `slots` of its vector.

        `blend` is that of the members of a combined space. `nodes_upto` is the last item of the
        graph so far, 0 for a new one; the answer is that of the graph in force, which is a new one
        when too much has come or anything has gone.
        """
        nodes = int(np.searchsorted(pks, nodes_upto, side="right"))
        outgrown = len(pks) > REBUILD_GROWTH * nodes and not self._imagines
        if nodes == 0 or len(pks) <= REBUILD_ITEMS or outgrown:
            nodes = len(pks)
        land = self._landscape
        known = 0 if land is None else len(land)
        same = land is not None and (land.nodes, land.frame.blend) == (nodes, blend)
        if not same or not self._holds(pks, slots, known):
            # The old one goes first: two at once take too much memory.
            land = self._landscape = self._scores = self._judgements = self._reach = None
            self._landscape = land = self._surveyed(pks[:nodes], slots[:nodes], vectors, blend)
            known = nodes
        if known < len(pks) and land is not None:
            self._landscape = attach(land, pks[known:], vectors(pks[known:]))
            self._scores = self._scores and self._scores.extended_to(self._landscape)
            self._judgements = None
        self._slots = slots.copy()  # the caller changes its own in place
        return int(pks[nodes - 1])

    def weigh(self, references: Mapping[str, Places], vectors: Vectors) -> tuple[float, ...]:
        """Return the weights of the members that suit the references of each label.

        Those of the items surveyed, unless others suit noticeably better.
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

    def learn(
        self,
        references: Mapping[str, Places],
        waiting: Places,
        target: float,
        *,
        targets: Mapping[str, float] | None = None,
        sampling: AnswerSampling | None = None,
        hierarchical: bool = False,
        closed: bool = False,
    ) -> Learned:
        """Take over the references of each label and learn how sure to be; return what was learned.

        Those of the background are among them; if labels are `hierarchical`, that of their parents.
        In a `closed` set nothing is new. References whose label looks wrong are left out.
        """
        land = self.neighbour_graph
        sampling = _placed(sampling or AnswerSampling(), land)
        scores = self._hear(references)
        voting, doubted = without_suspects(scores, sampling.confirmed)
        if doubted.references:
            scores.set_references(voting)
        confidence = learn_confidence(
            scores,
            land.places_of(waiting),
            target,
            targets=targets,
            sampling=replace(sampling, doubted=doubted),
            hierarchical=hierarchical,
            closed=closed,
        )
        self._confidence, self._judgements = confidence, None
        return Learned(confidence, land.pks[doubted.places])

    def adopt(self, confidence: Confidence, references: Mapping[str, Places]) -> None:
        """Judge by what was learned before, on the references of now."""
        self._hear(references)
        self._confidence, self._judgements = confidence, None

    def judges_by(self, learned: Mapping[str, object]) -> bool:
        """Return whether that is what is judged by now (JSON values of a confidence)."""
        known = self._confidence
        return known is not None and self._scores is not None and confidence_to(known) == learned

    def follow(self, references: Mapping[str, Places]) -> Places:
        """Take over references of the same labels without learning again.

        Return the documents (pks, rising) that were judged again, on the items last learned from:
        no other's decision is a different one.
        """
        if self._imagines:
            self._hear(references)
            return np.empty(0, np.int64)
        land, judgements = self.neighbour_graph, self._judged()
        places = {name: land.places_of(pks) for name, pks in references.items()}
        return np.asarray(land.pks[judgements.update(places)])

    def decide(
        self, pks: Places, code_of: Callable[[str], int], rejected: Rejections | None = None
    ) -> Decisions:
        """Return decisions for documents, with the caller's label codes.

        Where no label is sure enough it is the nearest parent that is.
        """
        land, scores, confidence = self._landscape, self._scores, self._confidence
        assert land is not None and scores is not None and confidence is not None, "learn first"
        places = land.places_of(pks)
        choosy = np.empty(0, np.int64) if rejected is None else rejected.among(pks)
        levels = levels_with_scores(confidence, scores)
        if self._imagines:
            found = [judge(sure, said, places) for sure, said in levels]
        else:
            judged = self._judged()
            found = [judged.at(places), *judged.above(places)]
        decisions: list[Decisions] = []
        for (sure, said), judgement in zip(levels, found, strict=True):
            if rejected is not None and len(choosy):
                barred = rejected.barred(pks[choosy], sure.labels)
                again = judge(sure, said, places[choosy], barred)
                judgement = _overwritten(judgement, choosy, again)
            sources = np.where(judgement.winners >= 0, land.pks[judgement.sources], NO_SOURCE)
            decisions.append(_decisions(judgement, _codes(sure.labels, code_of), sources))
        return deepest(decisions)

    def hear(self, references: Mapping[str, Places]) -> Scores | None:
        """Take over the references of each label without learning from them; return the scores."""
        return self._hear(references) if references else None

    def _hear(self, references: Mapping[str, Places]) -> Scores:
        land = self.neighbour_graph
        if self._scores is None:
            self._scores = Scores(land)
        places = {name: land.places_of(pks) for name, pks in references.items()}
        if self._scores.changed_by(places):
            self._scores.set_references(places)
            self._confidence = self._judgements = None
        return self._scores

    @property
    def reach(self) -> GraphReach:
        """How far a word carries among the items surveyed."""
        assert self._landscape is not None, "survey comes first"
        if self._reach is None or len(self._reach) != len(self._landscape):
            self._reach = GraphReach(self._landscape)
        return self._reach

    def known(self) -> NDArray[np.float64]:
        """Return how likely every item is of a known label (n,); 0 before anything was learned."""
        assert self._landscape is not None, "survey comes first"
        if self._confidence is None:
            return np.zeros(len(self._landscape))
        return self._judged().at(np.arange(len(self._landscape))).known

    def trials(self, code_of: Callable[[str], int]) -> LeaveOneOutTrials:
        """Return what each reference would get if it did not vote, with the caller's codes."""
        scores, confidence = self._scores, self._confidence
        assert scores is not None and confidence is not None, "learn first"
        codes = _codes(scores.labels, code_of).astype(np.int64)
        trials = landscape_trials(scores, confidence.sight.mix)
        trials = replace(trials, own=codes[trials.own], rival=codes[trials.rival])
        return trials.of(trials.own != NO_LABEL)

    def causes(self, pk: int, count: int) -> list[tuple[int, str, float]]:
        """Return the `count` references (pk, label) that say most of a document, with their share.

        The share is that of all evidence that reaches it.
        """
        land, scores = self.neighbour_graph, self._scores
        assert scores is not None, "learn first"
        here = land.places_of(np.array([pk]))
        said = [
            (float(scores.reference_evidence(place).evidence.at(here)[0]), place, name)
            for name in scores.labels
            if name != BACKGROUND
            for place in scores.references(name).tolist()
        ]
        whole = sum(amount for amount, _, _ in said)
        most = sorted(said, key=lambda one: (-one[0], one[1]))[:count]
        return [(int(land.pks[p]), name, amount / whole) for amount, p, name in most if amount > 0]

    def label_without(self, pk: int, reference: int) -> str | None:
        """Return the label that a document would have if a reference did not vote."""
        land, scores, confidence = self._landscape, self._scores, self._confidence
        assert land is not None and scores is not None and confidence is not None, "learn first"
        every = {name: scores.references(name) for name in scores.labels}
        left = {name: places[land.pks[places] != reference] for name, places in every.items()}
        fewer = {name: places for name, places in left.items() if len(places)}
        if len(fewer) < len(every) and confidence.above is None:
            return None
        here = land.places_of(np.array([pk]))
        scores.set_references(fewer)
        try:
            for sure, said in levels_with_scores(confidence, scores):
                judgement = judge(sure, said, here)
                if judgement.accepted[0]:
                    return sure.labels[int(judgement.winners[0])]
        finally:
            scores.set_references(every)
        return None

    def _judged(self) -> Judgements:
        if self._judgements is None:
            scores, confidence = self._scores, self._confidence
            assert scores is not None and confidence is not None, "learn first"
            self._judgements = Judgements(confidence, scores)
        return self._judgements

    def _holds(self, pks: Places, slots: Places, known: int) -> bool:
        assert self._landscape is not None, "only asked of a landscape"
        return (
            known <= len(pks)
            and np.array_equal(self._landscape.pks, pks[:known])
            and np.array_equal(self._slots[:known], slots[:known])
        )

    def _surveyed(
        self, pks: Places, slots: Places, vectors: Vectors, blend: Blend | None
    ) -> NeighbourGraph:
        lists = KeptLists(self._memory, pks, slots, blend)
        known = lists.known()
        neighbour_graph = neighbour_graph_of(
            pks,
            lambda places: vectors(pks[places]),
            known,
            blend=blend,
            find=self._find or partial(neighbour_lists, progress=None if self._imagines else lists),
        )
        if known is None and not self._imagines:
            lists.keep_all(neighbour_graph)
        return neighbour_graph


def _placed(sampling: AnswerSampling, land: NeighbourGraph) -> AnswerSampling:
    """Return how answers came about, by the places of their documents."""
    return AnswerSampling(
        asked=land.places_of(sampling.asked),
        drawn=land.places_of(sampling.drawn),
        new=land.places_of(sampling.new),
        apart={name: land.places_of(pks) for name, pks in sampling.apart.items()},
        checked=land.places_of(sampling.checked),
        refuted={name: land.places_of(pks) for name, pks in sampling.refuted.items()},
        confirmed=land.places_of(sampling.confirmed),
    )


def _overwritten(judgement: Judgement, rows: Places, other: Judgement) -> Judgement:
    columns = {part.name: getattr(judgement, part.name).copy() for part in fields(Judgement)}
    for name, column in columns.items():
        column[rows] = getattr(other, name)
    return Judgement(**columns)


def _codes(labels: Sequence[str], code_of: Callable[[str], int]) -> NDArray[np.int32]:
    """Return the caller's codes of labels, and of none; the background has none."""
    known = [NO_LABEL if name == BACKGROUND else code_of(name) for name in labels]
    return np.array([*known, NO_LABEL], np.int32)


def _told(probability: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return probabilities to thousandths, and to hundredths where no label is ever given.

    Down there a thousandth tells nothing, and what changes by one would be written anew with every
    label: measured, a tenth of the rows of a million.
    """
    finer = np.round(probability, 3)
    return np.where(finer < EVEN, np.round(probability, 2), finer).astype(np.float32)


def _decisions(judgement: Judgement, codes: NDArray[np.int32], sources: Places) -> Decisions:
    winner, runner = codes[judgement.winners], codes[judgement.runners_up]
    accepted = judgement.accepted
    known = (judgement.known >= judgement.limits) & (judgement.margin >= 0)
    reasons = np.where(known & (judgement.winners >= 0), _TOO_CLOSE, _BELOW)
    return Decisions(
        codes=np.where(accepted, winner, -1).astype(np.int32),
        confidence=_told(judgement.probability),
        margin=np.round(np.clip(judgement.margin, -_FAR, _FAR), 2).astype(np.float32),
        runner_up=np.where(accepted, runner, winner).astype(np.int32),
        reasons=np.where(accepted, -1, reasons).astype(np.int8),
        sources=sources,
    )
