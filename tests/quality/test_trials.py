"""Trials of another rule: replayed, in shadow, answered, compared by bets, adopted or dropped."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import select, update
from test_labelling import blobs
from test_migrating import filled as texts_filled
from test_migrating import plugins  # noqa: F401 a fixture

import lookalike
import patient
from folded import assert_folded
from goods import ok, refused
from lookalike.catalog.tasks import TaskKind, new_owner, request_task
from lookalike.cli.group import cli
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.library.collection.collection import Collection
from lookalike.model import Answer, Origin
from lookalike.quality.stats.confidence_sequences import (
    PairedGains,
    bounds,
    favours,
    mcnemar,
    more_needed,
)
from lookalike.quality.stats.paired_comparison import (
    Answered,
    Crossing,
    Outcome,
    Trial,
    answer_gains,
    paired_gains,
)
from lookalike.stores import schema
from serving import Served

COUNT, REFERENCES = 300, 12
STRICT = 0.6


def fill(library: Any, name: str = "things", *, upto: int = COUNT, **taxonomy: Any) -> Any:
    """Vectors `v0` … of three kinds, some of which lie between two; the known rule labels all."""
    vectors, _ = blobs(COUNT, kinds=3, width=1.1)
    taxonomy = taxonomy or {"confidence_threshold": 0.1}
    collection = library.labeler(name, extractor="passthrough", **taxonomy)
    collection.add(vectors=vectors[:upto], ids=[f"v{number}" for number in range(upto)])
    collection.label({f"v{number}": truth(f"v{number}") for number in range(REFERENCES)})
    return collection


def truth(id: str) -> str:
    _, kind = blobs(COUNT, kinds=3, width=1.1)
    return f"Kind > {kind[int(id[1:])]}"


def answered(collection: Any, trial: Trial, count: int | None = None) -> Any:
    """The trial after a person who knows the truth has answered what waits."""
    return collection.answer_trial(trial.id, {id: truth(id) for id in trial.waiting[:count]})


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


@pytest.fixture
def things(library: lookalike.Library) -> Collection:
    made: Collection = fill(library)
    return made


# --- the bets -----------------------------------------------------------------------------------


def coin_stakes(gains: list[float], wrong_costs: float) -> PairedGains:
    """Answers to disagreements of a null and a label."""
    ones = np.ones(len(gains))
    ends = (1 - wrong_costs) * ones, ones
    return PairedGains(np.array(gains), *ends, ones, unit=1.0, scale=wrong_costs)


@pytest.mark.parametrize(("wrong_costs", "right"), [(2.0, 0.5), (5.0, 0.8), (20.0, 0.95)])
def test_rules_that_do_not_differ_are_told_apart_in_5_of_100_trials_at_most(
    wrong_costs: float, right: float
) -> None:
    """The person looks after every tenth answer, and stops at the first verdict."""
    chance, told = np.random.default_rng(3), 0
    for _ in range(100):
        hits = chance.random(200) < right
        gains = np.where(hits, 1.0, 1 - wrong_costs).tolist()
        looks = (coin_stakes(gains[:count], wrong_costs) for count in range(10, 201, 10))
        told += any(favours(look, 0.95) for look in looks)

    assert told <= 5


def test_of_rules_that_differ_by_three_reviews_in_100_the_better_is_found() -> None:
    """They decide 6 of 100 documents otherwise: two labels, of which one is right more often."""
    found = 0
    for seed in range(100):
        hits = np.random.default_rng(seed).random(420) < 0.625
        pairs = [Answered("a", "b", Outcome.LABEL, "b" if hit else "a") for hit in hits.tolist()]
        stakes = paired_gains(answer_gains(pairs, 2.0), 2.0)
        looks = [stakes_upto(stakes, count) for count in range(20, 421, 40)]
        found += next((told for look in looks if (told := favours(look, 0.95))), 0)

    assert found >= 95, "a false verdict counts against a right one"


def stakes_upto(stakes: PairedGains, count: int) -> PairedGains:
    return replace(
        stakes,
        gains=stakes.gains[:count],
        least=stakes.least[:count],
        most=stakes.most[:count],
        weights=stakes.weights[:count],
    )


def test_the_order_of_answers_does_not_matter_and_bounds_hold_the_mean() -> None:
    gains = [1.0] * 30 + [-19.0] * 2
    there, back = coin_stakes(gains, 20), coin_stakes(gains[::-1], 20)

    assert bounds(there, 0.95) == bounds(back, 0.95)
    found = bounds(there, 0.95)
    assert found.low < np.mean(gains) < found.high
    assert favours(there, 0.95) == 0
    wider = bounds(there, 0.99)
    assert wider.low <= found.low and found.high <= wider.high


def test_a_verdict_comes_when_as_many_answers_as_foreseen_have_come() -> None:
    gains = [1.0, 1.0, 1.0, 1.0, -1.0] * 4
    stakes = coin_stakes(gains, 2)

    more = more_needed(stakes, 0.95)

    assert more is not None and favours(stakes, 0.95) == 0
    much = coin_stakes(gains * ((len(gains) + more) // len(gains) + 1), 2)
    assert favours(much, 0.95) == 1
    assert more_needed(coin_stakes([1.0, -1.0] * 10, 2), 0.95) is None
    assert more_needed(coin_stakes([], 2), 0.95) is None


def test_mcnemar_is_the_exact_test_of_a_fair_coin() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == 1
    assert mcnemar(0, 5) == 2 / 32
    assert mcnemar(10, 1) == mcnemar(1, 10) == pytest.approx(2 * 12 / 2**11)


def test_what_a_decision_costs() -> None:
    def gain(champion: str | None, challenger: str | None, truth: str | None) -> float:
        outcome = Outcome.NEW_KIND if truth is None else Outcome.LABEL
        return Answered(champion, challenger, outcome, truth).gain(20)

    assert gain(None, "Shoes > Running", "Shoes > Running") == 1
    assert gain(None, "Shoes", "Shoes > Running") == 1, "a parent of the right label is right"
    assert gain(None, "Shoe", "Shoes > Running") == -19
    assert gain("Hats", "Shoes", "Shoes") == 20
    assert gain("Hats", None, None) == 19
    assert gain("Hats", "Shoes", "Bags") == 0
    assert Answered("Hats", "Shoes", Outcome.CANNOT_TELL).gain(20) == 0
    refuted = frozenset(["Hats"])
    assert Answered("Hats", None, None, refuted=refuted).gain(20) == 19
    assert Answered("Hats", "Shoes", None, refuted=refuted).gain(20) == 0, "nobody said what it is"


# --- a trial ------------------------------------------------------------------------------------


def test_a_trial_labels_nothing_and_asks_about_disagreements_only(things: Collection) -> None:
    before = {one.id: (one.label, one.standing.revision) for one in things.documents()}

    trial = things.try_policy(confidence_threshold=STRICT)

    sure = {one.id for one in things.documents(origin="auto") if (one.confidence or 0) >= STRICT}
    unsure = set(things.ids(origin="auto")) - sure
    assert {one.id: (one.label, one.standing.revision) for one in things.documents()} == before
    assert set(trial.waiting) <= unsure and len(trial.waiting) == min(50, len(unsure))
    assert trial.crossing == Crossing(COUNT - REFERENCES, len(sure), 0, len(unsure), 0, 0)
    assert (trial.champion.labelled, trial.challenger.labelled) == (288, len(sure))
    assert trial.state == "open" and trial.answered == ()
    assert trial.verdict.startswith("cannot tell yet: at least ")
    assert things.trials() == [trial] == [things.trial(trial.id)]


def test_answers_tell_who_is_better_and_the_figures_are_counted(things: Collection) -> None:
    trial = things.try_policy(confidence_threshold=STRICT, wrong_costs=2)
    said = {one.id: one.label for one in things.documents(ids=trial.waiting)}
    rights = [said[id] == truth(id) for id in trial.waiting]

    trial = answered(things, trial)

    told = trial.comparison
    assert (told.answers, told.losses, told.wins) == (50, sum(rights), 50 - sum(rights))
    assert (told.only_champion_right, told.only_challenger_right) == (sum(rights), 0)
    assert told.p_value == mcnemar(sum(rights), 0)
    share = trial.crossing.disagreements / trial.crossing.documents
    saves = (told.wins - told.losses) / 50 * share * 100
    assert told.saves == pytest.approx(saves)
    assert told.saves_low < saves < told.saves_high < 0
    assert told.better == "champion" and told.more is None
    assert trial.verdict.startswith("the champion is better: it saves ")
    assert {one.better for one in trial.answered} == {"champion", "challenger"}
    assert {one.actor for one in trial.answered} == {"ann"}
    (probability,) = {one.probability for one in trial.answered}
    assert probability == pytest.approx(50 / trial.crossing.disagreements)


def test_an_answer_that_is_passed_over_holds_up_those_after_it(things: Collection) -> None:
    trial = things.try_policy(confidence_threshold=STRICT)
    first, *rest = trial.waiting

    trial = things.answer_trial(trial.id, {id: truth(id) for id in rest[:20]})
    assert trial.comparison.answers == 0
    assert trial.waiting == (first, *rest[20:])

    trial = things.answer_trial(trial.id, cannot_tell=[first])
    assert trial.comparison.answers == 21
    assert trial.comparison.wins + trial.comparison.losses == 20


def test_answers_are_no_labels_until_the_trial_ends_and_calibrate_nothing(
    things: Collection,
) -> None:
    trial = things.try_policy(confidence_threshold=STRICT)
    first, second, third, fourth = trial.waiting[:4]
    things.answer_trial(trial.id, {first: "Other"}, new_kind=[second], cannot_tell=[third])
    assert {things.document(id).origin for id in (first, second, third)} == {Origin.AUTO}

    things.label({fourth: "Kind > 9"})
    assert not things.document(fourth).standing.is_reference
    done = things.trial(trial.id)
    assert fourth not in done.waiting
    assert [one.truth for one in done.answered][-1] == "Kind > 9"
    changed = things.drop_trial(trial.id)

    assert changed.by_person == 3
    other = things.document(first)
    assert (other.label, other.origin, other.standing.is_reference) == ("Other", "human", True)
    assert things.document(second).standing.answer == Answer.NEW_KIND
    assert things.document(third).standing.answer == Answer.CANNOT_TELL
    assert things.document(fourth).standing.is_reference
    ended = things.trial(trial.id)
    assert (ended.state, ended.waiting) == ("dropped", ())
    assert ended.ended_at is not None
    assert ended.comparison == done.comparison and ended.crossing == done.crossing


def test_dropped_without_keeping_an_answer_leaves_no_trace(things: Collection) -> None:
    before = {one.id: (one.label, one.origin) for one in things.documents()}
    trial = answered(things, things.try_policy(confidence_threshold=STRICT), 9)

    changed = things.drop_trial(trial.id, keep=False)

    assert (changed.by_person, changed.by_itself) == (0, 0)
    assert {one.id: (one.label, one.origin) for one in things.documents()} == before


def test_new_documents_are_drawn_too(library: lookalike.Library) -> None:
    vectors, _ = blobs(COUNT, kinds=3, width=1.1)
    things = fill(library, upto=60)
    trial = things.try_policy(confidence_threshold=STRICT)
    while trial.waiting:
        trial = answered(things, trial)
        things.disagreements(trial.id)
        trial = things.trial(trial.id)
    assert things.disagreements(trial.id) == []
    seen = len(things.operations())

    things.add(vectors=vectors[60:], ids=[f"v{number}" for number in range(60, COUNT)])
    assert len(things.operations()) == seen + 1, "asking for nothing writes nothing"
    new = things.disagreements(trial.id, limit=30)

    assert len(new) == 30 and min(int(id[1:]) for id in new) >= 60
    assert things.trial(trial.id).crossing.documents == COUNT - REFERENCES


def test_answers_of_the_random_slice_and_of_audits_are_replayed(library: lookalike.Library) -> None:
    things = fill(library, "checked")
    audit = things.audit(60)
    things.answer_audit(audit.id, {id: truth(id) for id in audit.waiting})
    auto = {one.document: one for one in things.audits()[0].answered}

    trial = things.try_policy(confidence_threshold=STRICT)

    assert trial.replayed == 60
    assert (trial.champion.right, trial.champion.null) == (
        60 - things.audits()[0].estimate.wrong,
        0,
    )
    sure = [one for one in auto.values() if (one.confidence or 0) >= STRICT]
    assert trial.challenger.right == sum(one.verdict == "right" for one in sure)
    assert trial.challenger.null == 60 - len(sure)
    assert trial.champion.precision == pytest.approx(trial.champion.right / 60)
    assert trial.champion.low < (trial.champion.precision or 0) < trial.champion.high
    assert trial.comparison.answers == 60 - len(sure)
    assert not set(trial.waiting) & set(auto)
    things.close_audit(audit.id, keep=True)
    again = things.trial(trial.id)
    assert again.replayed == 60, "of each, its own label does not vote"


def test_the_random_slice_is_replayed_as_if_no_answer_of_it_voted_for_itself(
    library: lookalike.Library,
) -> None:
    things = fill(library, target_precision=0.9)
    odd = _drawn(things)[:3]
    for _ in range(4):
        things.label({id: f"Odd > {id}" if id in odd else truth(id) for id in _drawn(things)})
    labelled = set(things.ids(origin="human"))

    trial = things.try_policy(confidence_threshold=0.5)

    drawn = [id for id in _drawn(things) if id in labelled]
    assert trial.replayed == len(drawn) >= 30
    total = trial.challenger.right + trial.challenger.wrong + trial.challenger.null
    assert total == len(drawn)
    assert 0 < trial.challenger.right <= len(drawn) - 3, "nothing else has an odd one's label"


def _drawn(things: Collection) -> list[str]:
    """The documents that chance wants to be asked about."""
    draw, document = schema.draw, schema.document
    with things._runtime.store.read() as snapshot:
        query = select(document.c.id).join(draw, draw.c.document_pk == document.c.pk)
        return [row.id for row in snapshot.rows(query.order_by(document.c.pk))]


# --- adopting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [{"confidence_threshold": STRICT}, {"target_precision": 0.8}])
def test_adopting_decides_as_a_run_would_and_can_be_undone(
    library: lookalike.Library, rule: dict[str, float]
) -> None:
    things, twin = fill(library), fill(library, "twin")
    before = {one.id: one.label for one in things.documents()}
    trial = things.try_policy(**rule)

    changed = things.adopt_trial(trial.id, keep=False)

    twin.run(**rule)
    after = {one.id: one.label for one in things.documents()}
    assert after == {one.id: one.label for one in twin.documents()} != before
    differing = [id for id in after if after[id] != before[id]]
    assert len(differing) == trial.crossing.disagreements == changed.by_itself
    assert things.trial(trial.id).state == "adopted"
    assert things.report().policy == twin.report().policy
    things.undo(changed.operation)
    assert {one.id: one.label for one in things.documents()} == before
    assert things.trial(trial.id).state == "taken_back"
    with things._runtime.store.read() as snapshot:
        assert_folded(snapshot)


def test_adopting_with_its_answers_makes_them_labels(things: Collection) -> None:
    trial = answered(things, things.try_policy(confidence_threshold=STRICT), 10)

    changed = things.adopt_trial(trial.id)

    assert changed.by_person == 10
    assert {things.document(str(one.document)).origin for one in trial.answered} == {Origin.HUMAN}
    things.undo(changed.operation)
    assert {things.document(str(one.document)).origin for one in trial.answered} == {Origin.AUTO}


def test_other_references_can_be_tried_adopted_and_taken_back(things: Collection) -> None:
    first = things.operations()[0].id
    things.label({f"v{number}": "Kind > 0" for number in range(100, 120)})
    after = {one.id: one.label for one in things.documents()}
    sound = fill(things_library(things), "sound")

    trial = things.try_policy(references=first)
    assert trial.crossing.disagreements > 0
    changed = things.adopt_trial(trial.id)

    machine = [id for id in things.ids() if not 100 <= int(id[1:]) < 120]
    now = {one.id: one.label for one in things.documents()}
    assert {id: now[id] for id in machine} == {
        one.id: one.label for one in sound.documents() if one.id in machine
    }
    assert not things.document("v100").standing.is_reference
    with pytest.raises(Conflict, match="already: undo"):
        things.try_policy(references=first)
    things.undo(changed.operation)
    assert {one.id: one.label for one in things.documents()} == after
    assert things.document("v100").standing.is_reference


def things_library(things: Collection) -> lookalike.Library:
    return lookalike.Library(things._runtime, "default")


def test_another_extractor_is_tried_and_adopted_once_it_is_prepared(
    tmp_path: Path,
    plugins: Path,  # noqa: F811
) -> None:
    with lookalike.open(tmp_path / "store") as library:
        texts = texts_filled(library)
        with pytest.raises(Conflict, match="is prepared: run `lookalike migrate"):
            texts.try_policy(extractor="endings")
        found = library.prepare_migration("texts", extractor="endings", confidence_threshold=0.5)

        trial = texts.try_policy(extractor="endings", confidence_threshold=0.5)

        (field,) = found.fields
        assert trial.crossing.disagreements == field.changed + field.appeared + field.gone > 0
        before = texts.extractor
        texts.answer_trial(trial.id, cannot_tell=trial.waiting[:1])
        texts.adopt_trial(trial.id)
        assert texts.trial(trial.id).state == "adopted"
        assert library.collection("texts").extractor != before
        with texts._runtime.store.read() as snapshot:
            assert_folded(snapshot)


# --- what is refused ----------------------------------------------------------------------------


def test_what_cannot_be_tried_is_refused_with_its_reason(things: Collection) -> None:
    for said, reason in (
        ({}, "there is nothing to try"),
        ({"confidence_threshold": 0.1}, "that is the current rule already"),
        ({"confidence_threshold": 2.0}, "is not a threshold"),
        ({"target_precision": 0.0}, "is not a target"),
        ({"confidence_threshold": 0.2, "target_precision": 0.9}, "not both"),
        ({"top_k": 1}, "top_k is 1"),
        ({"target_precision": 0.9, "wrong_costs": 1}, "above 1"),
        (
            {"target_precision": 0.9, "extractor": "image"},
            "no other value than its confidence_threshold",
        ),
    ):
        with pytest.raises(BadInput, match=reason):
            things.try_policy(**said)
    with pytest.raises(NotFound, match="no operation 'op_none'"):
        things.try_policy(references="op_none")
    with pytest.raises(NotFound, match="label field"):
        things.try_policy(target_precision=0.9, field="none")
    assert things.trials() == []


def test_two_trials_at_once_are_refused(things: Collection) -> None:
    trial = things.try_policy(confidence_threshold=STRICT)

    with pytest.raises(Conflict, match=f"a trial already, {trial.id}"):
        things.try_policy(target_precision=0.9)

    things.drop_trial(trial.id)
    assert things.try_policy(target_precision=0.9).state == "open"


def test_answers_that_cannot_be_are_refused(things: Collection) -> None:
    trial = things.try_policy(confidence_threshold=STRICT)
    first, second = trial.waiting[:2]
    things.answer_trial(trial.id, {first: "Kind > 1"})

    with pytest.raises(Conflict, match="Kind > 1; answers are final"):
        things.answer_trial(trial.id, {second: "Kind > 1", first: "Kind > 2"})
    with pytest.raises(BadInput, match="two answers"):
        things.answer_trial(trial.id, {second: "Kind > 1"}, new_kind=[second])
    with pytest.raises(BadInput, match="no answer"):
        things.answer_trial(trial.id)
    with pytest.raises(NotFound, match="'v0' is not in the trial"):
        things.answer_trial(trial.id, {"v0": "Kind > 1"})
    with pytest.raises(NotFound, match="no trial 'none'"):
        things.answer_trial("none", {second: "Kind > 1"})
    assert things.trial(trial.id).waiting[0] == second
    for operation in things.operations():
        if operation.kind.startswith("trial"):
            with pytest.raises(Conflict, match="belongs to a trial"):
                things.undo(operation.id)
    things.drop_trial(trial.id)
    for again in (things.drop_trial, things.adopt_trial, things.disagreements):
        with pytest.raises(Conflict, match="has ended"):
            again(trial.id)


def test_a_trial_cannot_go_on_against_a_rule_that_was_changed(things: Collection) -> None:
    trial = answered(things, things.try_policy(confidence_threshold=STRICT), 5)

    things.run(confidence_threshold=0.3)

    told = things.trial(trial.id)
    assert "was changed since the trial" in told.trouble
    assert (told.comparison.answers, told.crossing.documents) == (5, 0)
    with pytest.raises(Conflict, match="was changed since the trial"):
        things.adopt_trial(trial.id)
    assert things.report().limit == pytest.approx(0.3)
    assert things.drop_trial(trial.id).by_person == 5


def test_nothing_is_adopted_while_a_migration_or_re_decision_is_under_way(
    things: Collection,
) -> None:
    trial = things.try_policy(confidence_threshold=STRICT)
    store, pk = things._runtime.store, things._row.pk
    with store.write() as txn:
        spec = {"collection_pk": pk, "collection": "things", "runs": []}
        request_task(txn, "default", TaskKind.DECIDE, spec, at=0.0)
    with pytest.raises(Conflict, match="is running"):
        things.adopt_trial(trial.id)
    with store.write() as txn:
        txn.execute(update(schema.task).values(status="COMPLETED"))
        held = {"owner": new_owner(), "expires_at": things._runtime.clock() + 60}
        txn.execute(update(schema.space).values(**held))
    with pytest.raises(Conflict, match="is running"):
        things.adopt_trial(trial.id)
    with store.write() as txn:
        txn.execute(update(schema.space).values(owner=None, expires_at=None))

    assert things.adopt_trial(trial.id).by_itself > 0


def test_what_is_forgotten_leaves_the_trial(library: lookalike.Library, things: Collection) -> None:
    trial = things.try_policy(confidence_threshold=STRICT)
    first, second = trial.waiting[:2]
    trial = things.answer_trial(trial.id, {first: "Secret", second: truth(second)})

    things.forget([first])
    things.forget(label=truth(second), only_parts=True)

    told = things.trial(trial.id)
    assert first not in {one.document for one in told.answered}
    kept = [(one.truth, one.champion, one.challenger) for one in told.answered]
    assert all(truth(second) not in one for one in kept)
    library.remove_collection("things")
    with things._runtime.store.read() as snapshot:
        assert not snapshot.rows(select(schema.trial.c.pk))
        assert not snapshot.rows(select(schema.trial_item.c.pk))


def test_a_trial_follows_what_labels_are_called(things: Collection) -> None:
    trial = answered(things, things.try_policy(confidence_threshold=STRICT, wrong_costs=2))
    before = trial.comparison

    things.rename_label("Kind > 1", "Sort > One")

    told = things.trial(trial.id)
    assert told.comparison.wins == before.wins
    assert told.comparison.losses == before.losses
    truths = {one.truth for one in told.answered}
    assert "Sort > One" in truths and "Kind > 1" not in truths
    things.adopt_trial(trial.id)
    assert "Kind > 1" not in things.report().per_label


# --- what would flip ----------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.02, 0.3, STRICT])
def test_what_would_flip_at_a_limit_is_what_a_run_changes(
    library: lookalike.Library, limit: float
) -> None:
    things = fill(library, confidence_threshold=0.3)
    told = things.flips(at=limit, limit=1000)

    changed = things.run(confidence_threshold=limit)

    assert told.appearing == changed.labelled and told.vanishing == changed.unlabelled
    assert (told.limit, told.at, told.target_precision) == (pytest.approx(0.3), limit, None)
    now = {one.id: one.label for one in things.documents()}
    assert [(one.id, now[one.id]) for one in told.documents] == [
        (one.id, one.after) for one in told.documents
    ]
    assert len(told.documents) == told.appear + told.vanish
    sure = [one.confidence for one in told.documents]
    assert sure == sorted(sure, reverse=bool(told.appear))


def test_what_would_flip_is_shown_by_the_page(library: lookalike.Library) -> None:
    things = fill(library, confidence_threshold=0.3)
    every = things.flips(at=STRICT, limit=1000).documents

    pages = [things.flips(at=STRICT, limit=7, offset=start).documents for start in range(0, 60, 7)]

    assert sum(pages, ()) == every[:63]
    assert things.flips(at=STRICT, limit=0).documents == ()
    for said in ({}, {"at": 0.5, "target_precision": 0.9}, {"at": 3.0}, {"at": 0.5, "limit": -1}):
        with pytest.raises(BadInput):
            things.flips(**said)
    with pytest.raises(Conflict, match="decides by a similarity threshold"):
        things.flips(target_precision=0.9)


def test_a_target_flips_about_what_a_run_with_it_changes(library: lookalike.Library) -> None:
    vectors, kind = blobs(1600, kinds=24, width=1.8)
    ids = [f"v{number}" for number in range(len(vectors))]
    things = library.labeler("many", extractor="passthrough", target_precision=0.95)
    things.add(vectors=vectors, ids=ids)
    things.label({id: f"Kind > {kind[place]}" for place, id in enumerate(ids[:480])})
    told = things.flips(target_precision=0.9)
    as_it_is = things.flips(target_precision=0.95)
    back = things.flips(at=told.at)
    in_force = things.flips(at=things.report().limit)

    changed = things.run(target_precision=0.9)

    assert told.appear > 100 and told.vanish == 0
    assert told.appear == pytest.approx(sum(changed.labelled.values()), abs=5)
    assert told.at == pytest.approx(things.report().limit, abs=0.01)
    assert as_it_is.appear + as_it_is.vanish <= 5
    assert (in_force.appear, in_force.vanish, in_force.documents) == (0, 0, ())
    assert back.appear == told.appear
    assert back.target_precision == pytest.approx(0.9, abs=0.001)


# --- the doors ----------------------------------------------------------------------------------


def test_the_commands_try_answer_tell_and_adopt(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        fill(library)

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli, ["--store", str(tmp_path / "store"), "trial", *words])
        assert (done.exit_code == 0) == (code == 0), done.output
        return done.output if code == 0 else str(done.exception)

    assert "no experiment yet" in run("list", "things")
    told = run("flips", "things", "--at", "0.6")
    assert "threshold 0.100 → 0.600: 0 labels appear, " in told
    begun = run("begin", "things", "--confidence-threshold", "0.6", "--wrong-costs", "3")
    assert "confidence_threshold 0.6, open" in begun and "cannot tell yet: at least" in begun
    id = begun.split()[1]
    waiting = [line.strip() for line in begun.splitlines() if line.startswith("  v")]
    first, second, third = waiting[:3]
    assert "1 answered" in run("answer", "things", id, first, "Kind > 1")
    run("answer", "things", id, second, "--new-kind")
    assert "3 answered" in run("answer", "things", id, third, "--cannot-tell")
    assert "alone is not enough" in run("answer", "things", id, first, code=1)
    assert "give only one of" in run(
        "answer", "things", id, first, "--new-kind", "--cannot-tell", code=1
    )
    assert "was answered" in run("answer", "things", id, first, "Kind > 1", code=1)
    assert "60 to answer" in run("report", "things", id, "--limit", "60")
    assert id in run("list", "things")
    assert "by you" in run("adopt", "things", id)
    assert "adopted" in run("list", "things")
    assert "has ended" in run("drop", "things", id, code=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = tmp_path_factory.mktemp("trials") / "store"
    with Served(store, environment={"LOOKALIKE_ACTOR": "ann"}) as served:
        yield served


@pytest.mark.parametrize("by_taxonomy", [False, True])
def test_the_routes_try_hide_answer_tell_and_adopt(server: Served, by_taxonomy: bool) -> None:
    name = f"routes{int(by_taxonomy)}"
    with lookalike.connect(server.url) as remote:
        fill(remote, name)
        place = f"{server.url}/v1/collections/{name}/trials"
        if by_taxonomy:
            place = f"{server.url}/v1/taxonomies/{attached(server.url, remote, name)}/trials"

    begun = ok(patient.post(place, json={"confidence_threshold": STRICT, "wrong_costs": 2}))
    mine = f"{place}/{begun['trial_id']}"
    shown = ok(patient.get(mine, params={"limit": 2}))

    assert (begun["waiting"], begun["state"]) == (50, "open")
    assert "label" not in json.dumps(shown["next"]) and "Kind" not in json.dumps(shown["next"])
    first, second = (one["document_id"] for one in shown["next"])
    said = ok(patient.post(f"{mine}/answers", json={"labels": {first: truth(first)}}))
    assert said["next"][0]["document_id"] == second
    assert said["answered"][0]["truth"] == truth(first)
    assert said["comparison"]["answers"] == 1 and said["verdict"].startswith("cannot tell yet")
    again = patient.post(f"{mine}/answers", json={"labels": {first: "x"}})
    assert refused(again, 409)["code"] == "conflict"
    drawn = ok(patient.post(f"{mine}/draw", json={"limit": 60}))
    assert drawn["waiting"] == len(drawn["next"]) == 60
    assert refused(patient.get(f"{place}/none"), 404)["code"] == "not_found"
    assert refused(patient.post(place, json={"target_precision": 0.9}), 409)
    assert refused(patient.post(place, json={"wrong_costs": 0, "top_k": 5}), 422)
    adopted = ok(patient.post(f"{mine}/adopt", json={"keep": False}))
    assert adopted["changed"]["by_person"] == 0
    (listed,) = ok(patient.get(place))["results"]
    assert (listed["trial_id"], listed["state"]) == (begun["trial_id"], "adopted")
    other = ok(patient.post(place, json={"confidence_threshold": 0.2}))
    ok(patient.post(f"{place}/{other['trial_id']}/drop", json={}))


def attached(url: str, remote: Any, curated: str) -> str:
    """A taxonomy that labels the same vectors in another collection, by the curated references."""
    name = f"{curated}_stock"
    vectors, _ = blobs(COUNT, kinds=3, width=1.1)
    remote.create_bucket(name)
    stock = remote.create_collection(name, bucket=name, extractor="passthrough")
    stock.add(vectors=vectors, ids=[f"v{number}" for number in range(COUNT)])
    (field,) = remote.collection(curated).fields
    source = {"collection_id": curated, "enrichment_fields": [field]}
    config = {"source_collection": source, "confidence_threshold": 0.1}
    body = {"taxonomy_name": f"{curated}_kinds", "config": config}
    made = ok(patient.post(f"{url}/v1/taxonomies", json=body))
    applied = {"taxonomy_id": made["taxonomy_id"]}
    ok(patient.post(f"{url}/v1/collections/{name}/apply-taxonomy", json=applied))
    return str(made["taxonomy_name"])


def test_the_route_tells_what_would_flip(server: Served) -> None:
    with lookalike.connect(server.url) as remote:
        fill(remote, "flipped")
    place = f"{server.url}/v1/collections/flipped/analytics/flips"

    told = ok(patient.get(place, params={"at": STRICT, "limit": 5}))

    assert told["vanish"] > 5 == len(told["documents"])
    assert told["appear"] == 0 and sum(told["vanishing"].values()) == told["vanish"]
    one = told["documents"][0]
    assert one["before"].startswith("Kind") and one["after"] is None
    assert {"document_id", "object_id", "thumbnail_url", "confidence"} <= one.keys()
    assert refused(patient.get(place), 422)
