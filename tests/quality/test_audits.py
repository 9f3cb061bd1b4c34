"""Audits of a collection: a hidden, frozen sample, answers, an interval, and closing it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import select
from test_labelling import blobs

import lookalike
import patient
from goods import ok, refused
from lookalike.classifier.calibration.intervals import lower_bound
from lookalike.cli.group import cli
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.library.collection.collection import Collection
from lookalike.model import Verdict
from lookalike.quality.stats.audit_estimate import Audit
from lookalike.stores import schema
from serving import Served

COUNT, REFERENCES = 300, 12


def fill(library: Any, name: str = "things", **taxonomy: Any) -> Any:
    """Vectors `v0` … of three kinds, some of which lie between two; the known rule labels all."""
    vectors, _ = blobs(COUNT, kinds=3, width=1.1)
    taxonomy = taxonomy or {"confidence_threshold": 0.1}
    collection = library.labeler(name, extractor="passthrough", **taxonomy)
    collection.add(vectors=vectors, ids=[f"v{number}" for number in range(COUNT)])
    collection.label({f"v{number}": truth(f"v{number}") for number in range(REFERENCES)})
    return collection


def truth(id: str) -> str:
    _, kind = blobs(COUNT, kinds=3, width=1.1)
    return f"Kind > {kind[int(id[1:])]}"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


@pytest.fixture
def things(library: lookalike.Library) -> Collection:
    made: Collection = fill(library)
    return made


def answered(collection: Any, audit: Audit) -> Any:
    """The audit after a person who knows the truth has answered all of it."""
    return collection.answer_audit(audit.id, {id: truth(id) for id in audit.waiting})


def share_of_wrong(collection: Collection) -> float:
    return float(
        np.mean([one.label != truth(one.id) for one in collection.documents(origin="auto")])
    )


# --- drawing and answering ----------------------------------------------------------------------


def test_a_sample_is_of_automatic_labels_and_hides_them(things: Collection) -> None:
    automatic = set(things.ids(origin="auto"))

    audit = things.audit(40)

    assert len(set(audit.waiting)) == audit.unanswered == 40
    assert set(audit.waiting) < automatic
    assert audit.answered == ()
    assert (audit.estimate.size, audit.estimate.checked) == (len(automatic), 0)
    assert (audit.estimate.rate, audit.estimate.low, audit.estimate.high) == (None, 0, 1)
    assert audit.at_least() is None


@pytest.mark.parametrize("strata", [1, 4])
def test_answers_give_the_share_of_wrong_labels_within_its_interval(
    things: Collection, strata: int
) -> None:
    wrong = share_of_wrong(things)

    audit = answered(things, things.audit(60, strata=strata))

    estimate = audit.estimate
    assert estimate.rate is not None
    assert 0 < estimate.low <= estimate.rate <= estimate.high < 1
    assert estimate.low <= wrong <= estimate.high
    assert len(audit.strata) == strata
    assert sum(one.checked for one in audit.strata) == estimate.checked == 60
    bound = audit.at_least()
    assert bound is not None and bound <= 1 - wrong
    if strata == 1:
        assert bound == lower_bound(60 - estimate.wrong, 60, 0.95)


def test_each_label_has_an_estimate_of_its_own(things: Collection) -> None:
    audit = answered(things, things.audit(80))

    checked = {one.id: one for one in things.documents(ids=[i.document for i in audit.answered])}
    assert set(audit.labels) == {one.label for one in checked.values()}
    for label, estimate in audit.labels.items():
        here = [one for one in checked.values() if one.label == label]
        assert estimate.checked == len(here)
        assert estimate.wrong == sum(truth(one.id) != label for one in here)
        assert estimate.size == len(things.ids(label=label, origin="auto"))
    assert sum(one.wrong for one in audit.labels.values()) == audit.estimate.wrong


def test_an_audit_of_one_label_draws_that_label_only(things: Collection) -> None:
    audit = things.audit(10, label="Kind>1")

    assert {one.label for one in things.documents(ids=audit.waiting)} == {"Kind > 1"}


def test_right_wrong_and_cannot_tell_may_be_said_without_a_label(things: Collection) -> None:
    audit = things.audit(4)
    first, second, third, fourth = audit.waiting

    audit = things.answer_audit(
        audit.id, {fourth: "Other"}, right=[first], wrong=[second], cannot_tell=[third]
    )

    said = {one.document: (one.verdict, one.truth, one.actor) for one in audit.answered}
    assert said == {
        first: (Verdict.RIGHT, None, "ann"),
        second: (Verdict.WRONG, None, "ann"),
        third: (Verdict.CANNOT_TELL, None, "ann"),
        fourth: (Verdict.WRONG, "Other", "ann"),
    }
    assert (audit.estimate.checked, audit.estimate.wrong, audit.cannot_tell) == (3, 2, 1)
    assert audit.at_least() == lower_bound(1, 4, 0.95)


def test_an_answer_tells_the_reference_that_caused_the_label_and_its_probability(
    things: Collection,
) -> None:
    audit = answered(things, things.audit(20))

    item = audit.answered[0]
    shown = things.document(str(item.document))
    assert (item.label, item.confidence) == (shown.label, shown.confidence)
    assert item.source == shown.standing.source
    assert item.probability == pytest.approx(20 / (COUNT - REFERENCES))


def test_the_label_that_was_drawn_is_judged_whatever_it_is_now(things: Collection) -> None:
    audit = things.audit(20)
    drawn = {one.id: one.label for one in things.documents(ids=audit.waiting)}
    things.run(confidence_threshold=0.999)
    assert things.documents(ids=audit.waiting, label=None)

    audit = answered(things, audit)

    assert {one.document: one.label for one in audit.answered} == drawn
    assert audit.estimate.wrong == sum(truth(id) != label for id, label in drawn.items())


def test_audits_are_listed_the_newest_first(things: Collection) -> None:
    first, second = things.audit(5), things.audit(5)

    assert things.audits() == [second, first]


def test_an_audit_of_more_than_there_is_takes_all(things: Collection) -> None:
    audit = things.audit(1000)

    assert len(audit.waiting) == COUNT - REFERENCES
    assert audit.more_checks(0.01) <= audit.estimate.size


def test_what_is_asked_for_again_by_name_is_done_once(things: Collection) -> None:
    first = things.audit(5, op_id="a")
    assert things.audit(5, op_id="a") == first

    said = {first.waiting[0]: "Kind > 1"}
    once = things.answer_audit("a", said, op_id="b")

    assert things.answer_audit("a", said, op_id="b") == once
    assert things.close_audit("a", op_id="c") == things.close_audit("a", op_id="c")
    assert len(things.audits()) == 1


def test_strata_follow_the_probability_of_being_right_under_precision(
    library: lookalike.Library,
) -> None:
    vectors, kind = blobs(1600, kinds=20, width=1.15)
    collection = library.labeler("sure", extractor="passthrough", target_precision=0.8)
    collection.add(vectors=vectors, ids=[f"v{number}" for number in range(1600)])
    collection.label({f"v{number}": f"K{kind[number]}" for number in range(500)})

    audit = collection.audit(60, strata=3)

    assert [one.low for one in audit.strata] == sorted(one.low for one in audit.strata)
    assert sum(one.drawn for one in audit.strata) == 60
    least_sure, *_, surest = [one.drawn / one.size for one in audit.strata]
    assert least_sure > 1.2 * surest


# --- references ---------------------------------------------------------------------------------


def test_what_is_said_in_an_audit_is_no_label_before_it_is_closed(things: Collection) -> None:
    before = things.report()

    audit = answered(things, things.audit(30))

    after = things.report()
    assert (after.references, after.per_label) == (before.references, before.per_label)
    changed = things.close_audit(audit.id)
    assert (changed.by_person, changed.by_itself) == (0, 0)
    assert things.report().per_label == before.per_label


def test_a_label_given_elsewhere_votes_when_the_audit_is_closed(things: Collection) -> None:
    audit = things.audit(30)
    chosen = audit.waiting[:10]
    changed = things.label({id: truth(id) for id in chosen})
    assert changed.by_itself == 0
    assert things.report().references == REFERENCES
    assert not any(one.standing.is_reference for one in things.documents(ids=chosen))

    closed = things.close_audit(audit.id)

    assert things.report().references == REFERENCES + 10
    assert all(one.standing.is_reference for one in things.documents(ids=chosen))
    assert closed.by_itself > 0
    settled = {one.id: one.label for one in things.documents()}
    things.run()
    assert {one.id: one.label for one in things.documents()} == settled


def test_what_is_under_audit_is_not_promoted(things: Collection) -> None:
    audit = things.audit(20)

    changed = things.promote(audit.waiting)

    assert changed.by_person == 0
    assert set(changed.refused) == set(audit.waiting)
    assert "in an open audit" in changed.refused[audit.waiting[0]]
    things.close_audit(audit.id)
    assert things.promote(audit.waiting).by_person == 20


def test_two_audits_hold_a_document_until_both_are_closed(things: Collection) -> None:
    first, second = things.audit(1000), things.audit(1000)
    things.label({"v50": truth("v50")})

    things.close_audit(first.id)
    assert not things.document("v50").standing.is_reference
    things.close_audit(second.id)

    assert things.document("v50").standing.is_reference


def test_answers_that_are_kept_become_the_persons_labels(things: Collection) -> None:
    audit = things.audit(12)
    named, right, wrong, unclear, spoken, *left = audit.waiting
    labels = {one.id: one.label for one in things.documents(ids=audit.waiting)}
    things.label({spoken: "Said before"})
    things.answer_audit(
        audit.id,
        {named: "Other", spoken: "Said in the audit"},
        right=[right],
        wrong=[wrong],
        cannot_tell=[unclear],
    )

    changed = things.close_audit(audit.id, keep=True)

    shown = {one.id: one for one in things.documents(ids=audit.waiting)}
    assert changed.by_person == 3
    assert (shown[named].label, shown[named].origin) == ("Other", "human")
    assert (shown[right].label, shown[right].origin) == (labels[right], "human")
    assert labels[wrong] in shown[wrong].standing.rejected
    assert shown[unclear].origin == "auto"
    assert shown[spoken].label == "Said before"
    assert {shown[id].origin for id in left} == {"auto"}
    things.undo(changed.operation)
    assert things.document(named).origin == "auto"


# --- what cannot be -----------------------------------------------------------------------------


def test_an_audit_of_nothing_says_what_to_do(library: lookalike.Library) -> None:
    empty = library.labeler("empty", extractor="passthrough")

    with pytest.raises(Conflict, match="no automatic label to audit; label some references first"):
        empty.audit()
    with pytest.raises(Conflict, match="no automatic label 'Nobody' to audit"):
        fill(library).audit(label="Nobody")


def test_what_is_answered_is_not_answered_again_and_nothing_of_the_rest_is_taken(
    things: Collection,
) -> None:
    audit = things.audit(5)
    first, second, *_ = audit.waiting
    things.answer_audit(audit.id, right=[first])

    with pytest.raises(Conflict, match=rf"{first!r} was answered .*: right; answers are final"):
        things.answer_audit(audit.id, wrong=[second, first])

    assert things.audits()[0].unanswered == 4


def test_a_closed_audit_takes_no_answer_and_is_not_closed_again(things: Collection) -> None:
    audit = things.audit(5)
    things.close_audit(audit.id)

    for late in (
        lambda: things.answer_audit(audit.id, right=[audit.waiting[0]]),
        lambda: things.close_audit(audit.id),
    ):
        with pytest.raises(Conflict, match="is closed; draw another one"):
            late()
    (closed,) = things.audits()
    assert (closed.waiting, closed.unanswered) == ((), 5)
    assert closed.at_least() is None


def test_what_is_not_in_the_audit_or_nowhere_is_not_found(things: Collection) -> None:
    audit = things.audit(5)

    with pytest.raises(NotFound, match="'v0' is not in the audit"):
        things.answer_audit(audit.id, right=["v0"])
    with pytest.raises(NotFound, match="no document 'nobody'"):
        things.answer_audit(audit.id, right=["nobody"])
    with pytest.raises(NotFound, match="no audit 'none'; see `lookalike audit list things`"):
        things.answer_audit("none", right=[audit.waiting[0]])


@pytest.mark.parametrize(
    ("size", "strata", "message"),
    [(0, 1, "size is 0"), (10_001, 1, "size is 10001"), (3, 4, "4 strata"), (9, 0, "0 strata")],
)
def test_sizes_that_cannot_be_drawn_are_refused(
    things: Collection, size: int, strata: int, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        things.audit(size, strata=strata)


def test_two_answers_for_one_document_and_none_at_all_are_refused(things: Collection) -> None:
    audit = things.audit(5)
    first = audit.waiting[0]

    with pytest.raises(BadInput, match="two answers"):
        things.answer_audit(audit.id, {first: "A"}, right=[first])
    with pytest.raises(BadInput, match="no answer was given"):
        things.answer_audit(audit.id)
    with pytest.raises(BadInput, match=r"confidence is 1\.0"):
        audit.at_least(1.0)


def test_drawing_and_answering_are_not_undone(things: Collection) -> None:
    audit = things.audit(5)
    things.answer_audit(audit.id, right=[audit.waiting[0]])

    for one in things.operations(limit=2):
        with pytest.raises(Conflict, match="belongs to an audit"):
            things.undo(one.id)


# --- erasing ------------------------------------------------------------------------------------


def test_a_forgotten_document_leaves_its_verdict_and_nothing_else(things: Collection) -> None:
    audit = things.audit(10)
    first, second, *_ = audit.waiting
    before = things.answer_audit(audit.id, {first: "Secret"})

    things.forget([first, second])

    (after,) = things.audits()
    assert after.estimate == before.estimate
    assert second not in after.waiting
    assert (after.unanswered, len(after.waiting)) == (9, 8)
    (item,) = after.answered
    assert (item.document, item.truth, item.confidence, item.source) == (None, None, None, None)
    assert things.close_audit(audit.id, keep=True).by_person == 0


def test_a_forgotten_label_is_in_no_audit(things: Collection, tmp_path: Path) -> None:
    audit = answered(things, things.audit(40))
    things.label({"v0": "Kind > 1"})
    known = set(audit.labels)

    things.forget(label="Kind > 1")

    (after,) = things.audits()
    assert set(after.labels) == known - {"Kind > 1"}
    assert after.estimate == audit.estimate
    assert "Kind > 1" not in {one.label for one in after.answered}
    assert "Kind > 1" not in {one.truth for one in after.answered}


def test_a_removed_collection_takes_its_audits_along(library: lookalike.Library) -> None:
    kept = fill(library, "kept").audit(5)
    fill(library).audit(7)

    library.remove_collection("things")

    assert library.collection("kept").audits() == [kept]
    with library.runtime.store.read() as snapshot:
        assert len(snapshot.rows(select(schema.audit))) == 1
        assert len(snapshot.rows(select(schema.audit_item))) == 5


# --- the other doors ----------------------------------------------------------------------------


def test_the_command_line_draws_shows_takes_answers_and_closes(
    things: Collection, library: lookalike.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_STORE", str(library.path))

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli, ["audit", *words])
        assert (done.exit_code == 0) == (code == 0), done.output
        return done.output if code == 0 else str(done.exception)

    audit = json.loads(run("draw", "things", "--size", "12", "--json"))
    id, (first, second, third, *rest) = audit["id"], audit["waiting"]
    hidden = run("report", "things", id)
    assert "a sample of 12 from 288" in hidden
    assert "12 to check:" in hidden and "and 2 more" in hidden
    run("answer", "things", id, first, "Other")
    run("answer", "things", id, second, "--cannot-tell")
    told = run("answer", "things", id, third, *rest, "--right")

    assert "wrong: 9.1% (0.2% to 41.3%), 1 of 11 checked" in told
    assert "1 that nobody can tell" in told
    assert f"wrong: {first} was 'Kind" in told and "is 'Other' (because of v" in told
    assert "at least " in told and "more checks → about ±5%" in told
    assert id in run("list", "things")
    assert "was answered" in run("answer", "things", id, first, "--right", code=1)
    assert "give only one of" in run("answer", "things", id, first, "--right", "--wrong", code=1)
    assert "alone is not enough" in run("answer", "things", id, first, code=1)
    assert "no audit is named 'x'" in run("report", "things", "x", code=1)
    assert "11 by you" in run("close", "things", id, "--keep")
    assert "(closed)" in run("list", "things")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = tmp_path_factory.mktemp("audits") / "store"
    with Served(store, environment={"LOOKALIKE_ACTOR": "ann"}) as served:
        yield served


def test_a_client_gets_what_the_library_gives(server: Served, things: Collection) -> None:
    with lookalike.connect(server.url) as remote:
        there = fill(remote, "things")

        drawn, here = there.audit(30, strata=3), things.audit(30, strata=3)
        done, same = answered(there, drawn), answered(things, here)

        assert set(drawn.waiting) == set(here.waiting)
        assert (done.estimate, done.labels) == (same.estimate, same.labels)
        assert done.at_least() == same.at_least()
        assert there.audits() == [done]
        with pytest.raises(Conflict, match="was answered"):
            there.answer_audit(done.id, right=[drawn.waiting[0]])
        assert there.close_audit(done.id, keep=True).by_person == 30


def test_the_routes_draw_hide_answer_tell_and_close(server: Served) -> None:
    with lookalike.connect(server.url) as remote:
        fill(remote, "routes")
    place = f"{server.url}/v1/collections/routes/audits"

    drawn = ok(patient.post(place, json={"size": 3}))
    mine = f"{place}/{drawn['audit_id']}"
    shown = ok(patient.get(mine, params={"limit": 3}))

    assert (drawn["waiting"], drawn["at_least"], drawn["estimate"]["rate"]) == (3, None, None)
    assert "label" not in json.dumps(shown["next"])
    first, second, third = (one["document_id"] for one in shown["next"])
    assert drawn["next"][0]["document_id"] == first
    said = ok(patient.post(f"{mine}/answers", json={"labels": {first: "Other"}, "right": [second]}))
    assert said["estimate"]["wrong"] == 1
    assert said["next"][0]["document_id"] == third
    assert said["answered"][0]["truth"] in ("Other", None)
    assert [one["half_width"] for one in said["more_checks"]] == [0.1, 0.05, 0.02]
    again = patient.post(f"{mine}/answers", json={"right": [first]})
    assert refused(again, 409)["code"] == "conflict"
    assert refused(patient.get(f"{place}/none"), 404)["code"] == "not_found"
    assert refused(patient.post(place, json={"size": 0}), 422)
    closed = ok(patient.post(f"{mine}/close", json={"keep": True}))
    assert closed["changed"]["by_person"] == 2
    (listed,) = ok(patient.get(place))["results"]
    assert (listed["audit_id"], listed["unanswered"]) == (drawn["audit_id"], 1)
    assert listed["closed_at"]
