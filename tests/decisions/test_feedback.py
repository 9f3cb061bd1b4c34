"""Several people in one field: conflicts, second opinions, and how far people agree."""

import random
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from sklearn.metrics import cohen_kappa_score

import lookalike
from folded import assert_folded
from lookalike.cli.output import show_agreement
from lookalike.decisions.ledger.fold import Line, fold, opinions
from lookalike.errors import BadInput, Conflict
from lookalike.library.collection.collection import Collection
from lookalike.model import EventKind, Origin, Question
from lookalike.quality.stats.agreement import agreement

LABELLED, REJECTED = EventKind.LABELLED, EventKind.REJECTED
NEW_KIND, CANNOT_TELL, RETRACTED = EventKind.NEW_KIND, EventKind.CANNOT_TELL, EventKind.RETRACTED


def says(actor: str, label: str | None, kind: EventKind = LABELLED, *, asked: bool = False) -> Line:
    return Line(kind, label, Origin.HUMAN, actor, asked)


CONTESTED = [
    ("one answer contradicts nothing", [says("ann", "A")], False),
    ("who changes their mind contradicts nobody", [says("ann", "A"), says("ann", "B")], False),
    ("two labels contradict each other", [says("ann", "A"), says("ben", "B")], True),
    ("two who say the same agree", [says("ann", "A"), says("ben", "A")], False),
    ("a label below another one refines it", [says("ann", "A"), says("ben", "A > B")], False),
    ("two labels below one do not", [says("ann", "A > C"), says("ben", "A > B")], True),
    ("a new kind is no label", [says("ann", "A"), says("ben", None, NEW_KIND)], True),
    (
        "not this contradicts who says it is",
        [says("ann", "A > B"), says("ben", "A", REJECTED)],
        True,
    ),
    ("not this agrees with another label", [says("ann", "A"), says("ben", "B", REJECTED)], False),
    (
        "who cannot tell contradicts nobody",
        [says("ann", "A"), says("ben", None, CANNOT_TELL)],
        False,
    ),
    (
        "who takes it back contradicts nobody",
        [says("ann", "A"), says("ben", "B"), says("ben", None, RETRACTED)],
        False,
    ),
    ("who comes round agrees", [says("ann", "A"), says("ben", "B"), says("ann", "B")], False),
    (
        "a third word that the queue did not ask for settles nothing",
        [says("ann", "A"), says("ben", "B"), says("cat", "B")],
        True,
    ),
    (
        "an answer to the queue settles it",
        [says("ann", "A"), says("ben", "B"), says("cat", "B", asked=True)],
        False,
    ),
    (
        "a second opinion that differs is a conflict, not its end",
        [says("ann", "A"), says("ben", "B", asked=True)],
        True,
    ),
    (
        "what was settled can be contradicted again",
        [says("ann", "A"), says("ben", "B"), says("cat", "B", asked=True), says("ann", "A")],
        True,
    ),
]


@pytest.mark.parametrize(
    ("rule", "lines", "contested"), CONTESTED, ids=[one[0] for one in CONTESTED]
)
def test_people_contradict_each_other(rule: str, lines: list[Line], contested: bool) -> None:
    assert fold(lines).contested is contested, rule


@given(
    st.lists(
        st.builds(
            Line,
            st.sampled_from([LABELLED, REJECTED]),
            st.sampled_from(["A", "B", "A > C"]),
            st.just(Origin.HUMAN),
            st.sampled_from(["ann", "ben", "cat"]),
            st.booleans(),
        )
    )
)
def test_a_conflict_needs_two_and_never_moves_the_last_word(lines: list[Line]) -> None:
    statement = fold(lines)

    if statement.contested:
        assert len(opinions(lines)) > 1
    alone = [Line(one.kind, one.label, one.origin, "ann", one.asked) for one in lines]
    assert not fold(alone).contested
    assert fold(alone).label == statement.label


KINDS = ("Bags", "Boots", "Hats", "Scarves")
KIND_OF = np.arange(160) % 4


def kind_of(id: str) -> str:
    return KINDS[KIND_OF[int(id[1:])]]


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    """Things of four kinds, forty of them labelled by ann."""
    chance = np.random.default_rng(0)
    vectors = chance.normal(size=(4, 16))[KIND_OF] + 0.4 * chance.normal(size=(160, 16))
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        collection = library.labeler("things", extractor="passthrough")
        collection.add(vectors=vectors, ids=[f"v{place}" for place in range(160)])
        collection.label({f"v{place}": kind_of(f"v{place}") for place in range(40)})
        yield collection


def conflicts(questions: list[Question]) -> list[str]:
    return [one.documents[0].id for one in questions if one.opinions]


def test_what_people_contradict_each_other_on_is_asked_first(collection: Collection) -> None:
    collection.label({"v3": "Bags"}, actor="ben")

    first = collection.queue(limit=5)[0]

    assert (first.kind, first.documents[0].id, first.suggestion) == ("conflict", "v3", None)
    said = [(one.actor, one.label) for one in first.opinions]
    assert said == [("ann", "Scarves"), ("ben", "Bags")]
    assert collection.opinions("v3") == first.opinions
    assert collection.document("v3").label == "Bags", "the last word stands, and votes"
    assert collection.inspect().contested == ("v3",)


def test_an_answer_to_the_queue_settles_a_conflict_and_undoing_it_brings_it_back(
    collection: Collection,
) -> None:
    collection.label({"v3": "Bags"}, actor="ben")

    settled = collection.label({"v3": "Scarves"}, asked=True, actor="cat")
    after = conflicts(collection.queue())
    collection.undo(settled.operation)

    assert after == []
    assert conflicts(collection.queue()) == ["v3"]
    assert collection.document("v3").label == "Bags"


def test_conflicts_leave_room_for_what_nobody_has_answered(collection: Collection) -> None:
    collection.label({f"v{place}": "Gloves" for place in range(30)}, actor="ben")

    asked = collection.queue(limit=10)

    assert len(conflicts(asked)) == 3
    assert len(asked) == 10


def test_a_second_opinion_is_asked_without_the_first(collection: Collection) -> None:
    asked = collection.queue(limit=10, second_opinion=0.5, actor="ben")

    second = [one for one in asked if one.kind == "second_opinion"]
    assert len(asked) == 10
    assert len(second) == 5
    for question in second:
        (document,) = question.documents
        assert int(document.id[1:]) < 40
        assert (document.label, document.standing.actor, question.suggestion) == (None, None, None)
        assert document.standing.decision.label is None


def test_nobody_gives_a_second_opinion_on_what_they_said(collection: Collection) -> None:
    own = collection.queue(limit=10, second_opinion=1)
    ids = [one.documents[0].id for one in collection.queue(second_opinion=1, actor="ben")]
    collection.label({id: kind_of(id) for id in ids}, asked=True, actor="ben")

    again = [one.documents[0].id for one in collection.queue(second_opinion=1, actor="ben")]

    assert "second_opinion" not in {one.kind for one in own}
    assert len(ids) == len(again) == 20
    assert not set(ids) & set(again)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_an_impossible_share_of_second_opinions_is_named(
    collection: Collection, share: float
) -> None:
    with pytest.raises(BadInput, match=f"second_opinion is {share}"):
        collection.queue(second_opinion=share)


def test_any_operations_of_several_people_leave_what_the_ledger_says(tmp_path: Path) -> None:
    """What stands, and what is contested, is that of the ledger read from scratch."""
    chance = random.Random(7)
    with lookalike.open(tmp_path / "store") as library:
        few = library.labeler("few", extractor="passthrough", confidence_threshold=0.8)
        few.add(vectors=np.random.default_rng(3).normal(size=(8, 4)), ids=list("abcdefgh"))
        done: list[str] = []
        for step in range(40):
            id, actor = chance.choice("abc"), chance.choice(["ann", "ben", "cat"])
            verb = chance.choice(["label", "asked", "take back", "reject", "new kind", "undo"])
            if verb == "undo" and done:
                few.undo(done.pop(chance.randrange(len(done))), actor=actor)
            elif verb == "reject":
                done.append(few.reject({id: "X"}, actor=actor).operation)
            elif verb == "new kind":
                done.append(few.new_kind([id], actor=actor).operation)
            else:
                said = {id: None if verb == "take back" else chance.choice("XY")}
                changed = few.label(said, actor=actor, asked=verb == "asked")
                done.append(changed.operation)
            if step % 5 == 4:
                with few._runtime.store.read() as snapshot:
                    assert_folded(snapshot)


def test_agreement_is_that_of_simulated_people(collection: Collection) -> None:
    """Ben errs with a fifth of what he is asked, cat never."""
    chance = random.Random(1)
    given: dict[str, dict[str, str]] = {"ben": {}, "cat": {}}
    for actor, errs in (("ben", 0.2), ("cat", 0.0)):
        for one in collection.queue(limit=30, second_opinion=1, actor=actor):
            if one.kind == "second_opinion":
                id = one.documents[0].id
                given[actor][id] = "Hats" if chance.random() < errs else kind_of(id)
        collection.label(given[actor], asked=True, actor=actor)

    found = collection.agreement(blind=True)

    pair = next(one for one in found.pairs if one.people == ("ann", "ben"))
    ids = sorted(given["ben"])
    truth, said = [kind_of(id) for id in ids], [given["ben"][id] for id in ids]
    assert pair.shared == len(ids) == 30
    assert pair.same == sum(map(str.__eq__, truth, said))
    assert pair.kappa == pytest.approx(cohen_kappa_score(truth, said))
    assert next(one for one in found.pairs if one.people == ("ann", "cat")).kappa == 1
    assert found.alpha is not None
    assert 0 < found.alpha < 1
    assert found.blind == found.shared
    assert found.disputed[0].labels[0] != found.disputed[0].labels[1]
    assert sum(one.times for one in found.disputed) >= 30 - pair.same
    assert "Krippendorff" in show_agreement(found)


def test_alpha_is_the_published_one() -> None:
    """The example of Krippendorff's article on Wikipedia: three coders, fifteen units, 0.691."""
    coders = {
        "ann": "*****34121133*3",
        "ben": "1*213343*******",
        "cat": "**21344*21133*4",
    }
    units = [
        {actor: said[place] for actor, said in coders.items() if said[place] != "*"}
        for place in range(15)
    ]

    found = agreement("things", "label", [one for one in units if len(one) > 1], 0)

    assert found.alpha == pytest.approx(0.691, abs=0.0005)


def test_what_was_said_in_sight_is_no_independent_answer(collection: Collection) -> None:
    """Corrections are told apart, and what settles a conflict is left out."""
    collection.label({"v0": "Hats", "v1": "Boots"}, actor="ben")
    collection.label({"v0": "Bags"}, asked=True, actor="ben")

    found = collection.agreement()

    assert (found.shared, found.agreed, found.blind) == (2, 1, 0)
    with pytest.raises(Conflict, match="no item twice without seeing"):
        collection.agreement(blind=True)


def test_one_label_alone_tells_nothing_about_agreement(collection: Collection) -> None:
    collection.label({"v0": "Bags", "v4": "Bags"}, actor="ben")

    found = collection.agreement()

    assert (found.alpha, found.pairs[0].kappa, found.agreed) == (None, None, 2)


def test_agreement_needs_two_people_and_a_document_that_both_answered(
    collection: Collection,
) -> None:
    with pytest.raises(
        Conflict, match=r"only ann answered: let another person .* --second-opinion"
    ):
        collection.agreement()

    collection.label({"v100": "Bags"}, actor="ben")

    with pytest.raises(Conflict, match=r"ann, ben answered, but no item .* by two"):
        collection.agreement()
