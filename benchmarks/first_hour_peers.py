"""The first hour of other methods, with the same person, at the same cost.

    LOOKALIKE_DATA=… python benchmarks/first_hour_peers.py --only bccd groups
    LOOKALIKE_DATA=… python benchmarks/first_hour_peers.py --output benchmarks/first_hour_peers.md

Person, costs and data are those of `first_hour.py`. Lookalike and its policy `threshold` are asked
through the public API. The peers are written here from what their papers publish; each asks about
one document at a time and names it. All of them have the same model: scikit-learn's multinomial
logistic regression on centred unit vectors. The first ten answers are drawn at random and train it.
From then on `margin + logistic` asks for the smallest margin. The other three need a random sample
to calibrate with, so their answers alternate: one of a small margin trains the model, one drawn at
random calibrates and never trains. Models and limits are made again after five more answers, later
after a tenth more. The papers make a limit once; a person who looks that often, and stops at the
first success, has less than their guarantees. A peer ends when 90 % are settled, or after 1,500
answers.
"""

from __future__ import annotations

import json
import math
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from first_hour import (
    SETS,
    SETTLED,
    Items,
    Point,
    hour,
    parsed,
    parser,
    person_for,
)
from first_hour_page import HEAD, KNOWN, KNOWN_CUT, MOST_ANSWERS, OURS, Result, row, section
from lookalike.classifier.calibration.intervals import upper_bound
from lookalike.labels import is_within

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Runs = list[list[Point]]

TARGET = 0.95
"""The precision that every method is asked for; each peer may be wrong in the rest."""

_NONE = -1
_WRONG, _ALPHA = 1 - TARGET, 0.05
_C, _ITERATIONS, _FOLDS = 10.0, 200, 5
_SEED_ANSWERS, _ROUND, _GROWTH = 10, 5, 1.1
_LEAST_ABOVE = 20


# --- what a peer knows ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A fitted model: its `classes` (k,), and the probability of each for all documents (n, k)."""

    classes: Codes
    table: Floats

    @cached_property
    def predicted(self) -> Codes:
        """The likeliest class of each document."""
        found: Codes = self.classes[self.table.argmax(axis=1)]
        return found

    @cached_property
    def confidence(self) -> Floats:
        """The probability of the likeliest class."""
        found: Floats = self.table.max(axis=1)
        return found

    @cached_property
    def margin(self) -> Floats:
        """The difference between the two largest probabilities."""
        two = np.partition(self.table, -2, axis=1)
        return two[:, -1] - two[:, -2]


@dataclass(slots=True)
class Answers:
    """All answers so far, for n documents with centred unit `vectors` (n, d).

    `given` (n,) has the label that the person gave, or -1; `trains` marks those that may train.
    `drawn` are the places that a random permutation came to, also those that were given before.
    `automatic` (n,) has the labels that the peer gives now, or -1.
    """

    vectors: NDArray[np.float32]
    chance: np.random.Generator
    given: Codes
    trains: Mask
    automatic: Codes
    order: list[int]
    drawn: list[int] = field(default_factory=list)

    @classmethod
    def none(cls, items: Items, seed: int) -> Answers:
        """Return the state before the first answer."""
        count = len(items.labels)
        centred = items.vectors.astype(np.float32) - items.vectors.mean(axis=0, dtype=np.float32)
        centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
        chance = np.random.default_rng(seed)
        nothing = np.full(count, _NONE, np.int64)
        order = chance.permutation(count).tolist()
        return cls(centred, chance, nothing, np.zeros(count, bool), nothing.copy(), order)

    @property
    def checks(self) -> Codes:
        """The places that were drawn to calibrate and answered."""
        drawn = np.array(self.drawn, np.int64)
        found: Codes = drawn[(self.given[drawn] != _NONE) & ~self.trains[drawn]]
        return found

    @property
    def open(self) -> Mask:
        """Which documents have no label yet, neither given nor automatic."""
        found: Mask = (self.given == _NONE) & (self.automatic == _NONE)
        return found

    def draw(self, *, among: Mask) -> int | None:
        """Return the next place of the permutation that is among those; None at its end."""
        while self.order:
            self.drawn.append(self.order.pop())
            if among[self.drawn[-1]]:
                return self.drawn[-1]
        return None


def fit(answers: Answers, places: Codes, of: Codes | slice = slice(None)) -> Model | None:
    """Return a model of the answers at some places, applied to those `of` interest.

    None where fewer than two labels were given.
    """
    labels = answers.given[places]
    if len(np.unique(labels)) < 2:
        return None
    model = LogisticRegression(C=_C, max_iter=_ITERATIONS)
    model.fit(answers.vectors[places], labels)
    table = model.predict_proba(answers.vectors[of]).astype(np.float64)
    return Model(model.classes_.astype(np.int64), table)


# --- the rules ------------------------------------------------------------------------------------

Rule = Callable[[Answers, Model], Codes]
"""Answers and the model → the automatic label of each document, or -1."""


def cross_validated(answers: Answers, model: Model) -> Codes:
    """Label from the smallest confidence on at which cross-validation is precise enough.

    Margin sampling: Scheffer et al. 2001, "Active Hidden Markov Models for Information Extraction".
    The limit is common practice: five folds of the answers, the predictions of each by a model of
    the other four, and the smallest confidence above which 95 % of them, of twenty or more, are
    right. No paper promises anything for it: a margin's answers are no random sample.
    """
    places = np.flatnonzero(answers.trains)
    right, confidence = np.zeros(len(places), bool), np.zeros(len(places))
    folds = KFold(_FOLDS, shuffle=True, random_state=0)
    for others, held in folds.split(places):
        if (part := fit(answers, places[others], places[held])) is not None:
            right[held] = part.predicted == answers.given[places[held]]
            confidence[held] = part.confidence
    above = np.argsort(-confidence)
    count = np.arange(1, len(places) + 1)
    enough = (np.cumsum(right[above]) >= TARGET * count) & (count >= _LEAST_ABOVE)
    if not enough.any():
        return np.full(len(model.table), _NONE)
    limit = confidence[above[np.flatnonzero(enough)[-1]]]
    return np.where(model.confidence >= limit, model.predicted, _NONE)


def pac(answers: Answers, model: Model) -> Codes:
    """Label what is less uncertain than the first limit at which too much could be wrong.

    Candès, Ilyas and Zrnić 2025, "Probably Approximately Correct Labels", arXiv 2506.10908,
    algorithm 1 with even sampling weights. Uncertainty is one minus the probability. The limit is
    the smallest u at which an upper confidence bound (1 − α) of the share of wrong labels less
    uncertain than u exceeds ε, of a random sample of all documents; the bound is the exact binomial
    one. What the person labelled counts as right, so ε is of the whole data set: the automatic
    labels alone may have more errors.
    """
    drawn = np.array(answers.drawn, np.int64)
    checked = answers.checks
    wrong = model.predicted[checked] != answers.given[checked]
    allowed = _allowed(len(drawn))
    if allowed < 0:
        return np.full(len(model.table), _NONE)
    uncertainty = 1 - model.confidence
    errors = np.sort(uncertainty[checked][wrong])
    limit = errors[allowed] if len(errors) > allowed else np.inf
    return np.where(uncertainty < limit, model.predicted, _NONE)


def _allowed(checked: int) -> int:
    """Return how many may be wrong of so many, or -1 where they are too few to show anything."""
    allowed = -1
    while allowed + 1 < checked and upper_bound(allowed + 1, checked, 1 - _ALPHA) <= _WRONG:
        allowed += 1
    return allowed


def conformal(answers: Answers, model: Model) -> Codes:
    """Label what Benjamini and Hochberg's procedure selects by conformal p-values.

    Huang et al. 2025, "Model-agnostic Selective Labeling with Provable Statistical Guarantees",
    arXiv 2510.14581v2 (Conformal Labeling). The p-value of a document compares its confidence with
    those of the calibration documents that the model labels wrongly; the level of the procedure is
    α divided by the share of wrong ones, (1 + wrong) / (1 + all), so that the expected share of
    wrong labels among those selected is at most α.
    """
    checked = answers.checks
    wrong = checked[model.predicted[checked] != answers.given[checked]]
    waiting = np.flatnonzero(answers.given == _NONE)
    rivals = np.sort(model.confidence[wrong])
    as_sure = len(wrong) - np.searchsorted(rivals, model.confidence[waiting], side="left")
    p = (1 + as_sure) / (1 + len(wrong))
    level = _WRONG * (1 + len(checked)) / (1 + len(wrong))
    order = np.argsort(p, kind="stable")
    passes = np.flatnonzero(p[order] <= level * np.arange(1, len(p) + 1) / len(p))
    found = np.full(len(model.table), _NONE)
    if len(passes):
        selected = waiting[order[: passes[-1] + 1]]
        found[selected] = model.predicted[selected]
    return found


_C1, _LEAST_CHECKS = 0.25, 10
_PENALTY, _STEEPNESS = 10.0, 1.0
_EPOCHS, _STEP, _DECAY = 300, 0.01, 0.01


def colander(answers: Answers, model: Model) -> Codes:
    """Label from limits on a confidence that is learned for coverage, and keep what was labelled.

    Vishwakarma et al. 2024, "Pearls from Pebbles: Improved Confidence Functions for Auto-labeling",
    arXiv 2404.16188 (Colander). One half of the validation sample learns the confidence function,
    the other sets one limit for each predicted label: the smallest with more than ten validation
    answers above it whose error, plus a quarter of its standard deviation, is at most ε. Documents
    that are labelled leave the pool, and so do validation answers above their limit.

    Simplified: the confidence function sees the model's log-probabilities only, as a linear model
    has no layer before them; its hyperparameters are fixed (λ = 10, α = 1, Adam, full batches, the
    last of 300 epochs) where the paper searches them. The constants of the limit are the defaults
    of the authors' published configuration (a quarter, ten answers).
    """
    found = answers.automatic.copy()
    checked = answers.checks
    checked = checked[found[checked] == _NONE]
    shuffled = answers.chance.permutation(checked)
    half = len(shuffled) // 2
    if half <= _LEAST_CHECKS:
        return found
    column = model.table.argmax(axis=1)
    wrong = model.classes[column] != answers.given
    logs = np.log(np.maximum(model.table, 1e-12))
    score = learned_confidence(logs, column, wrong, shuffled[:half], answers.chance)
    for label in np.unique(column).tolist():
        ours = shuffled[half:][column[shuffled[half:]] == label]
        limit = _smallest_limit(score[ours], wrong[ours])
        found[(found == _NONE) & (column == label) & (score >= limit)] = model.classes[label]
    return found


def learned_confidence(
    features: Floats, column: Codes, wrong: Mask, places: Codes, chance: np.random.Generator
) -> Floats:
    """Return the confidence (n,) of a two-layer network (tanh, softmax) learned at some places.

    It minimises −coverage + λ error, both smooth: an answer counts σ(α (g − t)), g being the
    network's output for its predicted label and t a limit of that label, learned with it.
    """
    labels = features.shape[1]
    shift, scale = features[places].mean(axis=0), features[places].std(axis=0) + 1e-6
    inputs = (features - shift) / scale
    weights = [
        chance.normal(0, labels**-0.5, (labels, 2 * labels)),
        chance.normal(0, (2 * labels) ** -0.5, (2 * labels, labels)),
        np.zeros(labels),
    ]
    means, squares = ([np.zeros_like(one) for one in weights] for _ in range(2))
    for step in range(1, _EPOCHS + 1):
        slopes = _slopes(weights, inputs[places], column[places], wrong[places])
        for one, slope, m, v in zip(weights, slopes, means, squares, strict=True):
            slope = slope + _DECAY * one
            m += 0.1 * (slope - m)
            v += 0.001 * (slope**2 - v)
            one -= _STEP * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    _, outputs = _forward(weights, inputs)
    found: Floats = outputs[np.arange(len(outputs)), column]
    return found


def _forward(weights: Sequence[Floats], inputs: Floats) -> tuple[Floats, Floats]:
    hidden = np.tanh(inputs @ weights[0])
    outputs = hidden @ weights[1]
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return hidden, powers / powers.sum(axis=1, keepdims=True)


def _slopes(
    weights: Sequence[Floats], inputs: Floats, column: Codes, wrong: Mask
) -> tuple[Floats, ...]:
    """Return the gradient of the loss in each of the weights."""
    hidden, outputs = _forward(weights, inputs)
    rows = np.arange(len(inputs))
    confidence = outputs[rows, column]
    counts = 1 / (1 + np.exp(-_STEEPNESS * (confidence - weights[2][column])))
    total = counts.sum()
    by_count = -1 / len(rows) + _PENALTY * (wrong * total - counts[wrong].sum()) / total**2
    by_confidence = by_count * _STEEPNESS * counts * (1 - counts)
    by_output = -outputs * (by_confidence * confidence)[:, None]
    by_output[rows, column] += by_confidence * confidence
    by_hidden = (by_output @ weights[1].T) * (1 - hidden**2)
    by_limit: Floats = -np.bincount(column, by_confidence, len(weights[2])).astype(np.float64)
    return inputs.T @ by_hidden, hidden.T @ by_output, by_limit


def _smallest_limit(score: Floats, wrong: Mask) -> float:
    order = np.argsort(-score, kind="stable")
    count = np.arange(1, len(order) + 1)
    error = np.cumsum(wrong[order]) / count
    allowed = error + _C1 * np.sqrt(error * (1 - error)) <= _WRONG
    passes = np.flatnonzero(allowed & (count > _LEAST_CHECKS))
    return float(score[order[passes[-1]]]) if len(passes) else math.inf


# --- the loop -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Peer:
    """A method: its `rule`, whether every second answer is `drawn` at random, whether automatic
    labels are `final`, and of how many of the smallest margins one is asked (`spread`).
    """

    rule: Rule
    drawn: bool = True
    final: bool = False
    spread: int = 1


PEERS = {
    "margin + logistic": Peer(cross_validated, drawn=False),
    "PAC labelling": Peer(pac),
    "Conformal Labeling": Peer(conformal),
    "Colander": Peer(colander, final=True, spread=2),
}


def peer_hour(items: Items, peer: Peer, seed: int, errors: float) -> list[Point]:
    """Return what stands after each answer, until enough is settled or the answers are too many."""
    names = sorted(set(items.labels))
    codes = {name: code for code, name in enumerate(names)}
    truth = np.array([codes[label] for label in items.labels])
    fits = np.array([[is_within(below, above) for above in names] for below in names])
    person, answers = person_for(items, seed, errors), Answers.none(items, seed)
    points: list[Point] = []
    model, due = None, _SEED_ANSWERS
    while answers.open.any() and len(points) < MOST_ANSWERS:
        place, trains = _asked(answers, peer, model, len(points))
        answers.given[place] = codes[person.name(f"d{place}")]
        answers.trains[place] = trains
        if len(points) + 1 >= due:
            due = max(len(points) + 1 + _ROUND, math.ceil(due * _GROWTH))
            model = fit(answers, np.flatnonzero(answers.trains))
            if model is not None:
                answers.automatic = peer.rule(answers, model)
        automatic = np.flatnonzero((answers.given == _NONE) & (answers.automatic != _NONE))
        right = int(fits[truth[automatic], answers.automatic[automatic]].sum())
        given = int((answers.given != _NONE).sum())
        points.append(Point(person.actions, person.seconds, given, len(automatic), right))
        if given + len(automatic) >= SETTLED * len(truth):
            break
    return points


def _asked(answers: Answers, peer: Peer, model: Model | None, count: int) -> tuple[int, bool]:
    """Return the place of the next question, and whether its answer trains."""
    waiting = answers.given == _NONE
    if model is None:
        return int(answers.chance.choice(np.flatnonzero(waiting))), True
    if peer.drawn and count % 2:
        drawn = answers.draw(among=answers.open if peer.final else waiting)
        if drawn is not None:
            return drawn, False
    waits = np.flatnonzero(answers.open)
    few = min(len(waits), _ROUND * peer.spread if peer.spread > 1 else 1)
    smallest = waits[np.argpartition(model.margin[waits], few - 1)[:few]]
    return int(answers.chance.choice(smallest)), True


# --- all methods ----------------------------------------------------------------------------------


def results(name: str, options: Namespace) -> Iterator[Result]:
    """Yield what each method does on a data set; the known rule goes on as long as Lookalike."""
    every = SETS[name].items(options.data, options.folder)
    samples = [every.some(SETS[name].upto, seed) for seed in range(options.seeds)]
    for errors in options.errors:
        ours: Runs = []
        for method in (OURS, KNOWN, *PEERS):
            kept = options.runs and options.runs / f"{name} {errors:.0%} {method.strip('*')}.json"
            runs = _recall(kept, options.seeds)
            if runs is None:
                runs = [
                    _run(method, items, seed, errors, ours[seed] if ours else [])
                    for seed, items in enumerate(samples)
                ]
                _keep(kept, runs)
            ours = ours or runs
            yield Result(SETS[name], len(samples[0].labels), errors, method, runs)


def _run(method: str, items: Items, seed: int, errors: float, ours: Sequence[Point]) -> list[Point]:
    if method in PEERS:
        return peer_hour(items, PEERS[method], seed, errors)
    if method == OURS:
        return hour(items, seed, errors)[0]
    least = ours[-1].actions
    return hour(items, seed, errors, confidence_threshold=KNOWN_CUT, least_actions=least)[0]


def _recall(kept: Path | None, seeds: int) -> Runs | None:
    if kept is None or not kept.exists():
        return None
    runs = [[Point(*point) for point in run] for run in json.loads(kept.read_text("utf-8"))]
    return runs if len(runs) == seeds else None


def _keep(kept: Path | None, runs: Runs) -> None:
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps([[astuple(point) for point in run] for run in runs]), "utf-8")


def main() -> None:
    """Read the options, run everything, print each row as it comes and write the section."""
    options_of = parser((__doc__ or "").partition("\n")[0])
    options_of.add_argument("--output", type=Path, help="write the section of the page here")
    options_of.add_argument("--runs", type=Path, help="keep runs here; those that are are not run")
    options = parsed(options_of)
    # The first answers have nearly as many labels as rows; scikit-learn doubts that.
    warnings.filterwarnings("ignore", message="The number of unique classes")
    print(HEAD, flush=True)
    found = []
    for name in options.only:
        for result in results(name, options):
            found.append(result)
            print(row(result), flush=True)
    if options.output:
        options.output.write_text(section(found), "utf-8")


if __name__ == "__main__":
    main()
