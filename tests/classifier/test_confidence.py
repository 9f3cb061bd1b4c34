"""When the rule may label by itself, and when it says what is missing: on made items."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.classifier.calibration.confidence import ALONE, Confidence, Predictions, predict
from lookalike.classifier.calibration.decision_rule import Ground, Method
from lookalike.classifier.calibration.intervals import certified_threshold
from lookalike.classifier.calibration.thresholds import UNREACHABLE
from lookalike.classifier.calibration.training_data import (
    AnswerSampling,
    decision_rule_of,
    fit_confidence,
    with_background,
)
from lookalike.classifier.graph.graph import NeighbourGraph, build_neighbour_graph
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.scores.scores import BACKGROUND, Scores


@dataclass(frozen=True)
class Made:
    """A collection of made items, of which `truth` (n,) tells the kind."""

    neighbour_graph: NeighbourGraph
    truth: NDArray[np.int64]

    def some(self, kinds: range, shots: int, seed: int = 0) -> Places:
        chance = np.random.default_rng(seed)
        chosen = [chance.choice(np.flatnonzero(self.truth == kind), shots, False) for kind in kinds]
        return np.sort(np.concatenate(chosen))

    def learned(
        self,
        references: Places,
        sampling: AnswerSampling | None = None,
        target: float = 0.95,
        targets: dict[str, float] | None = None,
    ) -> tuple[Confidence, Predictions, Places]:
        """What is learned, and what is said of all other items, at which places."""
        sampling, scores = sampling or AnswerSampling(), Scores(self.neighbour_graph)
        kinds = np.unique(self.truth[references]).tolist()
        named = {f"{kind:03}": references[self.truth[references] == kind] for kind in kinds}
        scores.set_references(with_background(named, sampling.new))
        answered = np.union1d(references, sampling.new)
        waiting = np.setdiff1d(np.arange(len(self.truth)), answered)
        sure = fit_confidence(scores, waiting, target, targets=targets, sampling=sampling)
        return sure, predict(sure, scores, waiting), waiting

    def scores(self, references: Places) -> Scores:
        """What these references say."""
        scores, kinds = Scores(self.neighbour_graph), np.unique(self.truth[references]).tolist()
        named = {f"{kind:03}": references[self.truth[references] == kind] for kind in kinds}
        scores.set_references(named)
        return scores

    def drawn(self, known: range, count: int, seed: int = 0) -> tuple[Places, Places]:
        """Of `count` random places those of known kinds, and the others."""
        chance = np.random.default_rng(seed)
        places = np.sort(chance.choice(len(self.truth), count, replace=False))
        is_known = np.isin(self.truth[places], list(known))
        return places[is_known], places[~is_known]


def made(kinds: int, each: int, width: float = 0.8) -> Made:
    chance = np.random.default_rng(1)
    truth = np.repeat(np.arange(kinds), each)
    rows = chance.standard_normal((kinds, 24))[truth]
    rows = rows + width * chance.standard_normal(rows.shape)
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    return Made(build_neighbour_graph(np.arange(len(truth)), unit), truth)


@pytest.fixture(scope="module")
def many() -> Made:
    return made(36, 40)


@pytest.fixture(scope="module")
def few() -> Made:
    return made(4, 150)


# --- labels by itself, or not -------------------------------------------------------------------


def test_with_many_labels_it_labels_on_an_estimate_and_keeps_the_target(many: Made) -> None:
    sure, said, waiting = many.learned(many.some(range(24), 10))

    names = np.array([int(label) for label in sure.labels])
    right = names[said.winners] == many.truth[waiting]
    assert decision_rule_of(sure, 1).ground is Ground.ESTIMATE
    assert said.accepted.mean() > 0.2
    assert right[said.accepted].mean() >= 0.95


@pytest.mark.parametrize("shots", [1, 2])
def test_a_label_with_one_or_two_references_only_suggests(many: Made, shots: int) -> None:
    """Hardly anything tests it by leave-one-out. A third reference does."""
    clear = many.some(range(24), 10)
    few, three = (np.union1d(clear, many.some(range(24, 25), n)) for n in (shots, 3))

    untested, of_few, _ = many.learned(few)
    tested, of_three, _ = many.learned(three)

    column = untested.labels.index("024")
    assert untested.limits[column] == UNREACHABLE > tested.limits[column]
    assert not (of_few.accepted & (of_few.winners == column)).any()
    assert (of_few.winners == column).any() and of_few.accepted.any()
    assert (of_three.accepted & (of_three.winners == column)).any()


def test_three_labels_promise_nothing_however_clearly_they_differ(few: Made) -> None:
    sure, said, _ = few.learned(few.some(range(3), 30))

    standard = decision_rule_of(sure, 1)
    assert sure.leave_one_out_accuracy > 0.95
    assert standard.ground is Ground.NONE
    assert not said.accepted.any()
    assert standard.missing[0].startswith(
        "3 labels are too few to estimate the share of unknown categories: check 18 documents"
    )


def test_a_closed_set_of_three_labels_needs_no_more(few: Made) -> None:
    """Nothing is new: only the three labels are there, and each is told from the others."""
    references = few.some(range(3), 30)
    others = few.truth > 2
    scores = Scores(few.neighbour_graph)
    scores.set_references({f"{k:03}": references[few.truth[references] == k] for k in range(3)})
    waiting = np.setdiff1d(np.flatnonzero(~others), references)

    sure = fit_confidence(scores, waiting, 0.95, closed=True)

    said = predict(sure, scores, waiting)
    right = np.array([int(name) for name in sure.labels])[said.winners] == few.truth[waiting]
    assert sure.new_share == 0
    assert said.accepted.mean() > 0.9
    assert right[said.accepted].mean() >= 0.95


def test_random_answers_unlock_what_three_labels_cannot_promise(few: Made) -> None:
    references, new = few.drawn(range(3), 160)

    sure, said, waiting = few.learned(
        references, AnswerSampling(drawn=np.union1d(references, new), new=new)
    )

    names = np.array([-1 if name == BACKGROUND else int(name) for name in sure.labels])
    right = names[said.winners] == few.truth[waiting]
    assert decision_rule_of(sure, 1).ground is not Ground.NONE
    assert said.accepted[few.truth[waiting] < 3].mean() > 0.5
    assert right[said.accepted].mean() >= 0.95


def test_more_random_answers_are_asked_for_in_numbers_that_fall(few: Made) -> None:
    given = few.some(range(3), 10)
    missing = []
    for count in (0, 15, 30):
        known, new = few.drawn(range(3), count)
        new = np.setdiff1d(new, given)
        sampling = AnswerSampling(drawn=np.union1d(known, new), new=new)
        missing.append(few.learned(np.union1d(given, known), sampling)[0].drawn_missing)

    assert missing[0] == 45
    assert missing[0] > missing[2] > 0


def test_a_few_random_answers_beside_many_of_a_queue_promise_nothing(many: Made) -> None:
    """By the rule of succession 18 answers, all right, are the fewest that show 95 %."""
    references = many.some(range(24), 10)
    drawn = references[::16]

    sure, said, _ = many.learned(
        references, AnswerSampling(asked=np.setdiff1d(references, drawn), drawn=drawn)
    )

    assert not said.accepted.any()
    more = 18 - len(drawn)
    assert decision_rule_of(sure, 1).missing == (
        f"too few answers to random samples: check {more} more documents",
    )


def test_a_check_unlocks_what_a_queue_picked(many: Made) -> None:
    references = many.some(range(24), 10)
    first, _, _ = many.learned(references, AnswerSampling(asked=references))
    scores = many.scores(references)
    waiting = np.setdiff1d(np.arange(len(many.truth)), references)
    likely = waiting[predict(first, scores, waiting).probability >= 0.8]
    checked = np.random.default_rng(3).choice(likely, 48, replace=False)
    known = checked[many.truth[checked] < 24]
    new = np.setdiff1d(checked, known)
    answered = np.union1d(references, known)

    sure, said, rest = many.learned(
        answered, AnswerSampling(asked=np.union1d(answered, new), checked=checked, new=new)
    )

    names = np.array([-1 if name == BACKGROUND else int(name) for name in sure.labels])
    right = names[said.winners] == many.truth[rest]
    assert sure.sampled == 48
    assert said.accepted.mean() > 0.2
    assert right[said.accepted].mean() >= 0.93


def test_labels_that_a_sheet_discovered_count_as_wrong_where_their_label_was_missing(
    many: Made,
) -> None:
    """The sheet's documents of new labels are references now, so only `corrected` tells. A label
    that was corrected twice is no discovery: the first document would have shown the second.
    """
    references, others = many.some(range(24), 10), many.some(range(24), 12, seed=3)
    known, pairs = np.setdiff1d(others, references)[::4], many.some(range(24, 27), 2, seed=4)
    first = pairs[::2]
    answered = np.unique(np.concatenate([references, known, pairs, many.some(range(24, 27), 3)]))
    one = AnswerSampling(asked=answered, checked=np.union1d(known, first))
    two = replace(one, checked=np.union1d(known, pairs))

    def fitted(sampling: AnswerSampling) -> list[float]:
        return list(many.learned(answered, sampling)[0].limits)

    bold, of_bold, _ = many.learned(answered, one)
    wary, of_wary, waiting = many.learned(answered, replace(one, corrected=first))

    names = np.array([int(label) for label in wary.labels])
    right = names[of_wary.winners] == many.truth[waiting]
    assert bold.sampled == wary.sampled == len(one.checked)
    assert 0 < of_wary.accepted.sum() < of_bold.accepted.sum()
    assert right[of_wary.accepted].mean() >= 0.95
    assert fitted(replace(two, corrected=pairs)) == fitted(two)


def test_what_a_queue_picked_does_not_calibrate(many: Made) -> None:
    references = many.some(range(24), 10)

    sure, said, _ = many.learned(references, AnswerSampling(asked=references))

    assert sure.answers == 0
    assert sure.limit == UNREACHABLE
    assert not said.accepted.any()
    assert said.probability.max() > 0.5


def test_random_answers_alone_calibrate_once_there_are_enough(many: Made) -> None:
    given = many.some(range(24), 10)
    for count, alone in ((ALONE - 40, False), (4 * ALONE, True)):
        known, new = many.drawn(range(24), count)
        new = np.setdiff1d(new, given)
        sampling = AnswerSampling(drawn=np.union1d(known, new), new=new)
        references = np.union1d(given, known)

        sure, _, _ = many.learned(references, sampling)

        assert sure.drawn == len(known) + len(new)
        expected = len(known) + len(new) if alone else len(references) + len(new)
        assert sure.answers == expected


def test_the_share_of_new_is_counted_on_random_answers(many: Made) -> None:
    known, new = many.drawn(range(24), 200)
    sampling = AnswerSampling(drawn=np.union1d(known, new), new=new)

    sure, _, _ = many.learned(known, sampling)

    assert sure.new_share == pytest.approx((len(new) + 1) / 202)


def test_until_new_is_counted_the_standard_says_how_many_answers_it_takes(many: Made) -> None:
    sure, _, _ = many.learned(many.some(range(24), 10))

    assert decision_rule_of(sure, 1).missing == (
        "the share of unknown categories is estimated: 30 more random answers will measure it",
    )


def test_what_is_like_none_of_these_is_null(many: Made) -> None:
    references, new = many.some(range(24), 10), many.some(range(24, 36), 5)

    _, said, waiting = many.learned(references, AnswerSampling(asked=new, new=new))

    strangers = many.truth[waiting] >= 24
    assert (said.margin[strangers] < 0).mean() > 0.4
    assert (said.margin[~strangers] < 0).mean() < 0.1
    assert not said.accepted[said.margin < 0].any()
    assert (said.winners > 0).all()


def test_a_target_out_of_reach_labels_nothing_and_says_so(many: Made) -> None:
    sure, said, _ = many.learned(many.some(range(24), 5), target=0.9999)

    assert not said.accepted.any()
    assert "cannot prove a precision" in decision_rule_of(sure, 1).missing[0]


def test_vectors_that_tell_nothing_apart_only_suggest(many: Made) -> None:
    mixed = Made(many.neighbour_graph, np.random.default_rng(0).permutation(many.truth))

    sure, _, _ = mixed.learned(mixed.some(range(24), 5))

    standard = decision_rule_of(sure, 1)
    assert standard.rule is Method.SUGGEST
    assert standard.ground is Ground.NONE
    assert "another extractor may do better" in standard.missing[0]


# --- targets of labels --------------------------------------------------------------------------


def test_a_label_with_a_stricter_target_has_a_higher_limit_of_its_own(many: Made) -> None:
    references = many.some(range(24), 10)
    plain, said, _ = many.learned(references, target=0.9)

    sure, strict, _ = many.learned(references, target=0.9, targets={"003": 0.98})

    place = sure.labels.index("003")
    assert sure.limits[place] > sure.limit
    assert set(plain.limits) == {plain.limit}
    assert decision_rule_of(sure, 1).limits == {"003": sure.limits[place]}
    mine = strict.winners == place
    assert strict.accepted[mine].sum() < said.accepted[mine].sum()


def test_a_target_of_its_own_that_is_the_default_changes_nothing(many: Made) -> None:
    references = many.some(range(24), 10)

    with_own = many.learned(references, targets={"003": 0.95})[0]

    assert with_own.limits == many.learned(references)[0].limits


# --- certificates -------------------------------------------------------------------------------


def trials(*right: bool) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Answers in falling order of how sure the rule was."""
    return np.linspace(1, 0.01, len(right)), np.array(right)


def test_forty_five_right_answers_certify_and_forty_four_do_not() -> None:
    p, right = trials(*[True] * 60)

    assert certified_threshold(p[:45], right[:45], 0.95, 0.9) == p[44]
    assert certified_threshold(p[:44], right[:44], 0.95, 0.9) is None


def test_a_certificate_goes_down_as_far_as_the_answers_carry_it() -> None:
    p, right = trials(*[True] * 50, False, *[True] * 40, False, False, False, *[True] * 200)

    assert certified_threshold(p, right, 0.95, 0.9) == p[76]


def test_one_wrong_answer_at_the_top_certifies_nothing() -> None:
    p, right = trials(False, *[True] * 300)

    assert certified_threshold(p, right, 0.95, 0.9) is None


def test_equally_sure_answers_are_certified_together_or_not_at_all() -> None:
    right = np.array([True] * 45 + [False] * 5)

    assert certified_threshold(np.full(50, 0.9), right, 0.95, 0.9) is None


def test_a_certificate_is_false_no_oftener_than_it_says() -> None:
    """Where the share of right answers is just below the target at every limit."""
    chance = np.random.default_rng(0)
    p = np.linspace(1, 0, 200)

    false = [
        certified_threshold(p, chance.random(200) < 0.949, 0.95, 0.9) is not None
        for _ in range(2000)
    ]

    assert np.mean(false) <= 0.12
