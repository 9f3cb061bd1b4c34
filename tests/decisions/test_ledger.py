"""The fold: from what was said about a document to what stands."""

import dataclasses
import random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lookalike.decisions.ledger.fold import Line, Statement, decided_label, fold
from lookalike.model import Answer, EventKind, Origin

HUMAN, IMPORT, PROMOTED, AUTO = Origin.HUMAN, Origin.IMPORT, Origin.PROMOTED, Origin.AUTO


def says(origin: Origin, label: str, actor: str = "ann") -> Line:
    kind = EventKind.PROMOTED if origin is PROMOTED else EventKind.LABELLED
    return Line(kind, label, origin, actor)


def takes_back(origin: Origin) -> Line:
    return Line(EventKind.RETRACTED, None, origin, "ann")


def not_this(label: str) -> Line:
    return Line(EventKind.REJECTED, label, HUMAN, "ann")


def new_kind(*, asked: bool = False) -> Line:
    return Line(EventKind.NEW_KIND, None, HUMAN, "ann", asked)


def cannot_tell() -> Line:
    return Line(EventKind.CANNOT_TELL, None, HUMAN, "ann")


def suggests(label: str) -> Line:
    return Line(EventKind.SUGGESTED, label, IMPORT, "ann")


def decides(label: str | None) -> Line:
    return Line(EventKind.DECIDED, label, AUTO, "")


STANDING = [
    ("nothing said, nothing stands", [], None, None),
    ("a person's label stands", [says(HUMAN, "A")], "A", HUMAN),
    ("the person's last word counts", [says(HUMAN, "A"), says(HUMAN, "B")], "B", HUMAN),
    ("an import never overwrites a person", [says(HUMAN, "A"), says(IMPORT, "B")], "A", HUMAN),
    ("a person overwrites an import", [says(IMPORT, "B"), says(HUMAN, "A")], "A", HUMAN),
    (
        "promotion does not overwrite an import",
        [says(IMPORT, "A"), says(PROMOTED, "B")],
        "A",
        IMPORT,
    ),
    ("an import overwrites a promotion", [says(PROMOTED, "B"), says(IMPORT, "A")], "A", IMPORT),
    ("the last import counts", [says(IMPORT, "A"), says(IMPORT, "B")], "B", IMPORT),
    (
        "below a label taken back the next voice stands",
        [says(IMPORT, "B"), says(HUMAN, "A"), takes_back(HUMAN)],
        "B",
        IMPORT,
    ),
    ("a label taken back is gone", [says(HUMAN, "A"), takes_back(HUMAN)], None, None),
    ("a new kind is a person's word", [says(IMPORT, "A"), new_kind()], None, HUMAN),
    ("no import names what a person said is new", [new_kind(), says(IMPORT, "A")], None, HUMAN),
    ("a new kind can be named", [new_kind(), says(HUMAN, "A")], "A", HUMAN),
    ("a new kind taken back is gone", [new_kind(), takes_back(HUMAN)], None, None),
    ("who cannot tell takes the own label back", [says(HUMAN, "A"), cannot_tell()], None, None),
    ("who cannot tell takes no other's", [says(IMPORT, "A"), cannot_tell()], "A", IMPORT),
    ("nobody takes back another's label", [says(IMPORT, "A"), takes_back(HUMAN)], "A", IMPORT),
    ("to take back what was not said does nothing", [takes_back(HUMAN)], None, None),
    ("not this silences every voice that said it", [says(IMPORT, "A"), not_this("A")], None, None),
    (
        "not this silences a person's own label",
        [says(HUMAN, "A"), not_this("A")],
        None,
        None,
    ),
    (
        "not this leaves other labels alone",
        [says(IMPORT, "B"), says(HUMAN, "A"), not_this("A")],
        "B",
        IMPORT,
    ),
    ("after not this an import is not heard", [not_this("A"), says(IMPORT, "A")], None, None),
    ("nor is a promotion", [not_this("A"), says(PROMOTED, "A")], None, None),
    ("a person may change their mind", [not_this("A"), says(HUMAN, "A")], "A", HUMAN),
    (
        "and then imports are heard again",
        [not_this("A"), says(HUMAN, "A"), takes_back(HUMAN), says(IMPORT, "A")],
        "A",
        IMPORT,
    ),
    ("not this of a part is not of the whole", [says(IMPORT, "A"), not_this("A > B")], "A", IMPORT),
    ("a suggestion does not stand", [suggests("A")], None, None),
    ("what the machine decided is no voice", [decides("A")], None, None),
]


@pytest.mark.parametrize(
    ("lines", "label", "origin"), [case[1:] for case in STANDING], ids=[c[0] for c in STANDING]
)
def test_what_stands(lines: list[Line], label: str | None, origin: Origin | None) -> None:
    statement = fold(lines)

    assert (statement.label, statement.origin) == (label, origin)
    assert statement.votes == (label is not None)


def test_the_actor_is_the_one_whose_label_stands() -> None:
    lines = [says(IMPORT, "A", "tool"), says(HUMAN, "B", "ann"), says(IMPORT, "C", "other")]

    assert fold(lines).actor == "ann"
    assert fold([*lines, takes_back(HUMAN)]).actor == "other"
    assert fold([]).actor is None


SUGGESTIONS = [
    ("the last suggestion is shown", [suggests("A"), suggests("B")], "B"),
    ("a label does not hide it", [suggests("A"), says(HUMAN, "B")], "A"),
    ("not this takes it away", [suggests("A"), not_this("A")], None),
    ("what was rejected is not suggested", [not_this("A"), suggests("A")], None),
    ("another one may be", [not_this("A"), suggests("B")], "B"),
]


@pytest.mark.parametrize(
    ("lines", "suggestion"), [case[1:] for case in SUGGESTIONS], ids=[c[0] for c in SUGGESTIONS]
)
def test_what_is_suggested(lines: list[Line], suggestion: str | None) -> None:
    assert fold(lines).suggestion == suggestion


def test_the_machines_last_decision_counts_and_null_is_one() -> None:
    assert decided_label([]) is None
    assert decided_label([decides("A"), decides("B"), says(HUMAN, "C")]) == "B"
    assert decided_label([decides("A"), decides(None)]) is None


def test_origins_are_as_strong_as_the_product_says() -> None:
    strengths = [origin.strength for origin in (HUMAN, IMPORT, PROMOTED, AUTO)]

    assert strengths == sorted(set(strengths), reverse=True)


labels = st.sampled_from(["A", "B", "C"])
voices = st.sampled_from([HUMAN, IMPORT, PROMOTED])
weaker = st.sampled_from([IMPORT, PROMOTED])
sayings = st.builds(says, voices, labels, st.sampled_from(["ann", "bob"]))
lines = (
    sayings
    | st.builds(takes_back, voices)
    | st.builds(not_this, labels)
    | st.builds(suggests, labels)
)
histories = st.lists(lines, max_size=12)


@given(histories)
def test_the_strongest_voice_wins_whatever_the_order(history: list[Line]) -> None:
    statement = fold([*history, says(HUMAN, "A"), says(IMPORT, "B"), says(PROMOTED, "C")])

    assert (statement.label, statement.origin) == ("A", HUMAN)


@given(histories, st.lists(st.builds(says, weaker, labels), max_size=6), st.randoms())
def test_the_order_of_weaker_voices_does_not_matter_to_a_person(
    history: list[Line], others: list[Line], chance: random.Random
) -> None:
    spoken = [says(HUMAN, "A", "ann"), *others]
    shuffled = list(spoken)
    chance.shuffle(shuffled)

    first, second = fold([*history, *spoken]), fold([*history, *shuffled])

    assert (first.label, first.origin, first.actor) == ("A", HUMAN, "ann")
    assert (second.label, second.origin, second.actor) == ("A", HUMAN, "ann")


@given(histories, labels)
def test_a_rejected_label_never_stands_and_is_never_suggested(
    history: list[Line], label: str
) -> None:
    machines = [says(IMPORT, label), says(PROMOTED, label), suggests(label)]

    statement = fold([*history, not_this(label), *machines])

    assert label in statement.rejected
    assert label not in (statement.label, statement.suggestion)


@given(histories)
def test_what_stands_is_never_rejected(history: list[Line]) -> None:
    statement = fold(history)

    assert statement.label not in statement.rejected
    assert statement.suggestion not in statement.rejected


@given(histories, labels)
def test_a_person_who_gives_a_label_again_takes_the_rejection_back(
    history: list[Line], label: str
) -> None:
    statement = fold([*history, not_this(label), says(HUMAN, label)])

    assert (statement.label, statement.origin) == (label, HUMAN)
    assert label not in statement.rejected


@given(histories, voices, labels)
def test_to_say_and_take_back_leaves_the_other_voices_as_they_were(
    history: list[Line], origin: Origin, label: str
) -> None:
    before = fold([*history, takes_back(origin)])

    after = fold([*history, says(origin, label), takes_back(origin)])

    same = dataclasses.replace(before, rejected=before.rejected - {label})
    changed = origin is HUMAN and label in before.rejected
    if changed and before.suggestion is None:
        same = dataclasses.replace(same, suggestion=after.suggestion)
    assert after == (same if changed else before)


@given(histories)
def test_saying_the_same_again_changes_nothing(history: list[Line]) -> None:
    """But that a label said twice is confirmed."""
    doubled = [line for line in history for _ in range(2)]

    assert dataclasses.replace(fold(doubled), confirmed=fold(history).confirmed) == fold(history)


def test_a_label_that_a_person_gives_again_is_confirmed() -> None:
    said = says(HUMAN, "A")

    assert not fold([said]).confirmed
    assert fold([said, said]).confirmed
    assert not fold([said, said, says(HUMAN, "B")]).confirmed
    assert not fold([said, said, takes_back(HUMAN)]).confirmed
    assert not fold([says(Origin.IMPORT, "A"), said]).confirmed


@given(histories, st.lists(labels | st.none(), max_size=4))
def test_the_machines_decisions_do_not_change_what_others_said(
    history: list[Line], decided: list[str | None]
) -> None:
    assert fold([*history, *map(decides, decided)]) == fold(history)


@given(histories)
def test_without_any_voice_nothing_votes(history: list[Line]) -> None:
    silent = [line for line in history if line.kind in (EventKind.REJECTED, EventKind.SUGGESTED)]

    statement = fold(silent)

    assert statement == Statement(None, None, None, statement.suggestion, statement.rejected)
    assert not statement.votes


def test_an_answer_lasts_until_the_person_says_otherwise() -> None:
    assert fold([new_kind()]).answer is Answer.NEW_KIND
    assert fold([new_kind(), cannot_tell()]).answer is Answer.CANNOT_TELL
    assert fold([cannot_tell(), not_this("A"), says(IMPORT, "B")]).answer is Answer.CANNOT_TELL
    assert fold([cannot_tell(), says(HUMAN, "A")]).answer is None
    assert fold([new_kind(), takes_back(HUMAN)]).answer is None


def test_whether_the_queue_had_asked_is_that_of_the_persons_last_word() -> None:
    asked = Line(EventKind.LABELLED, "A", HUMAN, "ann", True)

    assert fold([says(HUMAN, "B"), asked]).asked
    assert not fold([asked, says(HUMAN, "B")]).asked


def test_who_repeats_a_label_leaves_how_it_came_about() -> None:
    asked = Line(EventKind.LABELLED, "A", HUMAN, "ann", True)

    assert not fold([says(HUMAN, "A"), asked]).asked
    assert fold([asked, says(HUMAN, "A")]).asked


def test_whether_the_queue_had_asked_holds_for_a_new_kind_too() -> None:
    assert fold([new_kind(asked=True)]).asked
