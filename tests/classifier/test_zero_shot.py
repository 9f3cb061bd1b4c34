"""What the names of labels suggest before there are references, on texts of four topics."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lookalike
from lookalike.classifier.graph.graph import build_neighbour_graph
from lookalike.classifier.scores.zero_shot import (
    Guesses,
    Names,
    guess,
    probability_right,
    representatives,
    text_of,
)
from lookalike.decisions.label_vectors import MAX_NAMES, NameReader
from lookalike.extractors.text import text_extractor
from lookalike.library.collection.collection import Collection
from lookalike.library.library import Library
from lookalike.model import Changed, Question
from topics import TOPICS, rows, topic_of


def answer(collection: Collection, question: Question) -> Changed:
    """Give each document of a question its true label."""
    labels = {one.id: topic_of(one.id) for one in question.documents}
    return collection.label(labels, asked=True)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """An empty library."""
    with lookalike.open(tmp_path / "store") as opened:
        yield opened


def test_declared_names_fill_the_first_sheet_and_never_vote(library: Library) -> None:
    notes = library.labeler("notes", extractor="text", labels=list(TOPICS))
    notes.add(rows())
    question = notes.queue(limit=1)[0]
    assert (question.kind, question.suggestion) == ("names", None)
    shown = [
        (one.id, label) for one, label in zip(question.documents, question.suggestions, strict=True)
    ]
    assert sorted(label for _, label in shown if label) == sorted(TOPICS)
    assert sum(topic_of(id) == label for id, label in shown) >= 3
    assert all(one.label is None for one in notes.documents())
    changed = answer(notes, question)
    assert len(list(notes.documents(origin="human"))) == len(shown)
    notes.undo(changed.operation)
    assert notes.queue(limit=1)[0].suggestions == question.suggestions


def test_a_label_with_three_references_needs_its_name_no_longer(library: Library) -> None:
    notes = library.labeler("notes", extractor="text", labels=list(TOPICS))
    notes.add(rows())
    first = [row["id"] for row in rows() if topic_of(row["id"]) == "money"][:3]
    notes.label(dict.fromkeys(first, "money"))
    found = [one for one in notes.queue(limit=20) if one.kind == "names"]
    assert len(found) == 1
    assert set(found[0].suggestions) == TOPICS.keys() - {"money"}


def test_names_that_say_nothing_are_asked_about_no_more(library: Library) -> None:
    # Each name is that of another topic, so every suggestion is wrong.
    other = dict(zip(TOPICS, [*list(TOPICS)[1:], "cooking"], strict=True))
    notes = library.labeler("notes", extractor="text", labels=list(TOPICS))
    notes.add(rows())
    kinds = []
    for _ in range(6):
        question = notes.queue(limit=1)[0]
        kinds.append(question.kind)
        labels = {one.id: other[topic_of(one.id)] for one in question.documents}
        notes.label(labels, asked=True)
    assert kinds[0] == "names"
    assert "names" not in kinds[2:]


def test_without_declared_labels_or_texts_there_is_no_such_sheet(library: Library) -> None:
    notes = library.labeler("notes", extractor="text")
    notes.add(rows())
    assert {one.kind for one in notes.queue(limit=20)} <= {"value", "new_kind"}
    spots = library.labeler("spots", extractor="passthrough", labels=["a", "b"])
    spots.add(vectors=np.random.default_rng(0).standard_normal((20, 4)))
    assert "names" not in {one.kind for one in spots.queue(limit=20)}


def test_a_retired_label_is_suggested_no_more(library: Library) -> None:
    notes = library.labeler("notes", extractor="text", labels=list(TOPICS))
    notes.add(rows())
    notes.retire_label("money")
    assert "money" not in notes.queue(limit=1)[0].suggestions


def test_what_was_dropped_is_not_suggested_again_and_tells_that_names_are_wrong(
    library: Library,
) -> None:
    notes = library.labeler("notes", extractor="text", labels=list(TOPICS))
    notes.add(rows())
    dropped: set[tuple[str, str | None]] = set()
    for _ in range(6):
        sheets = [one for one in notes.queue(limit=20) if one.kind == "names"]
        if not sheets:
            break
        told = zip(sheets[0].documents, sheets[0].suggestions, strict=True)
        shown = {one.id: label for one, label in told if label}
        assert not dropped & set(shown.items())
        dropped |= set(shown.items())
        notes.reject(shown)
    else:
        pytest.fail("names that are always wrong were asked about again and again")


def test_what_is_of_a_new_kind_is_not_asked_about_by_name(library: Library) -> None:
    notes = library.labeler("notes", extractor="text", labels=list(TOPICS))
    notes.add(rows())
    shown = [one.id for one in notes.queue(limit=1)[0].documents]
    notes.new_kind(shown, asked=True)
    again = [one for one in notes.queue(limit=20) if one.kind == "names"]
    assert not {one.id for sheet in again for one in sheet.documents} & set(shown)


def test_a_parent_is_not_suggested_beside_its_children(library: Library) -> None:
    names = ["Sport", "Sport > football", "cooking", "weather", "money"]
    notes = library.labeler("notes", extractor="text", labels=names)
    notes.add(rows())
    assert set(notes.queue(limit=1)[0].suggestions) == {*names} - {"Sport"}


def test_names_are_compared_with_the_texts_of_a_combined_collection(library: Library) -> None:
    notes = library.labeler("notes", extractor=["image", "text"], labels=list(TOPICS))
    notes.add(rows())
    question = notes.queue(limit=1)[0]
    assert question.kind == "names"
    told = zip(question.documents, question.suggestions, strict=True)
    assert sum(topic_of(one.id) == label for one, label in told) >= 3


def test_descriptions_are_read_with_the_names() -> None:
    assert text_of("Cards > card_arrival", None) == "Cards, card arrival"
    assert text_of("A", "what begins") == "A: what begins"
    extractor = text_extractor()
    plain = NameReader().names(extractor, {"A": None, "B": None})
    told = NameReader().names(extractor, {"A": "fruit and vegetables", "B": None})
    assert plain is not None and told is not None
    assert plain.labels == ("A", "B")
    assert not np.array_equal(plain.vectors[0], told.vectors[0])
    np.testing.assert_array_equal(plain.vectors[1], told.vectors[1])


def test_one_name_or_far_too_many_are_not_read() -> None:
    extractor = text_extractor()
    assert NameReader().names(extractor, {"A": None}) is None
    assert (
        NameReader().names(extractor, {str(number): None for number in range(MAX_NAMES + 1)})
        is None
    )


def test_the_nearest_name_is_suggested_with_its_lead() -> None:
    chance = np.random.default_rng(0)
    names = Names(("a", "b", "c"), np.eye(3, 8).astype(np.float16))
    truth = chance.integers(3, size=90)
    vectors = names.vectors[truth] + 0.1 * chance.standard_normal((90, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    land = build_neighbour_graph(np.arange(90), vectors)
    found = guess(land, np.arange(90), names)
    np.testing.assert_array_equal(found.nearest, truth)
    assert (found.margin > 0).all()


def test_trust_is_learned_from_those_as_sure() -> None:
    leads = np.array([0.1, 0.9], np.float32)
    nothing = np.empty(0, np.float32)
    assert probability_right(leads, nothing, np.empty(0, bool)).tolist() == [0.75, 0.75]
    known = np.concatenate([np.full(20, 0.1), np.full(20, 0.9)]).astype(np.float32)
    low, high = probability_right(leads, known, known > 0.5)
    assert low == pytest.approx(3 / 14)
    assert high == pytest.approx(13 / 14)


def test_labels_with_fewer_references_come_first_one_each() -> None:
    leads = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2], np.float32)
    guesses = Guesses(np.array([0, 0, 0, 0, 1, 1, 1, 1]), leads)
    likely = np.full(8, 0.9)
    assert representatives(guesses, likely, {0: 0, 1: 0}, 5).tolist() == [1, 5]
    assert representatives(guesses, likely, {0: 2, 1: 0}, 5).tolist() == [5, 2]
    assert representatives(guesses, likely, {0: 2, 1: 0}, 1).tolist() == [5]
    assert representatives(guesses, likely, {1: 1}, 5).tolist() == [5]
    assert representatives(guesses, np.full(8, 0.4), {0: 0, 1: 0}, 5).tolist() == []
