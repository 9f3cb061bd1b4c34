"""Answers that are no label, and draws: what people say, and how they came to say it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

import lookalike
from lookalike.catalog.reader import fields_of, ids_of
from lookalike.decisions.ledger.samples import SAMPLED_AHEAD, sample, unanswered_samples
from lookalike.library.collection.collection import Collection
from lookalike.model import Answer, Document, EventKind, Origin, Reason
from lookalike.stores import schema

VECTORS = np.random.default_rng(3).normal(size=(90, 8))
IDS = [f"d{place:02}" for place in range(len(VECTORS))]


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    """A field that learns: chance draws what it learns from."""
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        collection = library.labeler("things", extractor="passthrough")
        collection.add(vectors=VECTORS, ids=IDS)
        yield collection


def rows(collection: Collection, table: Any) -> list[Any]:
    with collection._runtime.store.read() as snapshot:
        return list(snapshot.rows(select(table)))


def drawn_ids(collection: Collection) -> list[str]:
    """The drawn documents that nobody has answered yet."""
    with collection._runtime.store.read() as snapshot:
        (field,) = fields_of(snapshot, collection._row.pk)
        pks = unanswered_samples(snapshot, field.pk).tolist()
        table = schema.document
        names = {row.pk: row.id for row in snapshot.rows(select(table.c.pk, table.c.id))}
    return [names[pk] for pk in pks]


def sample_ids(collection: Collection) -> list[str]:
    """The drawn documents from whose answers something is learned."""
    with collection._runtime.store.read() as snapshot:
        (field,) = fields_of(snapshot, collection._row.pk)
        return list(ids_of(snapshot, sample(snapshot, field.pk).tolist()).values())


def test_what_is_of_a_new_kind_has_no_label_and_is_the_persons(collection: Collection) -> None:
    changed = collection.new_kind(["d05"])

    new = collection.document("d05")
    assert changed.by_person == 1
    assert (new.label, new.origin, new.reason) == (None, Origin.HUMAN, Reason.REJECTED)
    assert (new.standing.answer, new.standing.is_reference) == (Answer.NEW_KIND, False)
    assert new.standing.reviewed_by == "ann"


def test_a_new_kind_is_not_labelled_by_the_machine(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        known = library.labeler("known", extractor="passthrough", confidence_threshold=0.5)
        known.add(vectors=VECTORS[[0, 0, 0, 1]], ids=["a", "b", "c", "d"])
        known.new_kind(["b"])

        known.label({"a": "A"})

        assert {one.id: one.label for one in known.documents()} == {
            "a": "A",
            "b": None,
            "c": "A",
            "d": None,
        }
        named = known.label({"b": "B"})
        assert named.relabelled == {"B": 1} or known.document("b").label == "B"


def test_an_answer_is_undone_with_its_operation(collection: Collection) -> None:
    before = [_without_history(one) for one in collection.documents()]
    new, unclear = collection.new_kind(["d05"]), collection.cannot_tell(["d06"])

    collection.undo(new.operation)
    collection.undo(unclear.operation)

    assert [_without_history(one) for one in collection.documents()] == before


def _without_history(document: Document) -> Document:
    """The document without who wrote of it last, and when: an undo is written, too."""
    standings = {
        field: replace(one, revision=0, actor=None, source=None)
        for field, one in document.standings.items()
    }
    return replace(document, standings=standings)


def test_who_cannot_tell_says_nothing_about_the_label(collection: Collection) -> None:
    collection.cannot_tell(["d07"])

    document = collection.document("d07")
    assert (document.origin, document.standing.answer) == (None, Answer.CANNOT_TELL)


def test_some_drawn_documents_always_wait(collection: Collection) -> None:
    """As many as before, whatever is answered; an answered one is not drawn again."""
    first = drawn_ids(collection)
    collection.label(dict.fromkeys(first[:3], "A"))
    collection.new_kind(first[3:4])
    collection.cannot_tell(first[4:5])
    collection.label({"d00": "B"})

    later = drawn_ids(collection)

    assert len(first) == len(later) == SAMPLED_AHEAD
    assert not set(first[:5]) & set(later)
    assert first[5:] == later[:5]


def test_drawing_ends_when_all_are_drawn(collection: Collection) -> None:
    for _ in range(12):
        collection.label(dict.fromkeys(drawn_ids(collection), "A"))

    assert drawn_ids(collection) == []
    assert len(rows(collection, schema.draw)) == len(IDS)


def test_an_answer_tells_whether_the_queue_had_asked(collection: Collection) -> None:
    collection.label({"d00": "A"})
    collection.label({"d01": "A"}, asked=True)
    collection.new_kind(["d02"], asked=True)
    collection.cannot_tell(["d03"], asked=True)

    ids = {row.pk: row.id for row in rows(collection, schema.document)}
    asked = {ids[row.document_pk]: row.asked for row in rows(collection, schema.standing)}

    assert [asked[id] for id in ("d00", "d01", "d02", "d03", "d04")] == [
        False,
        True,
        True,
        None,
        None,
    ]


def test_the_sample_ends_before_the_first_drawn_one_that_waits(collection: Collection) -> None:
    """Who answers only what is easy, or what is known, must not shape what is learned."""
    drawn = drawn_ids(collection)

    collection.label({drawn[0]: "A", drawn[2]: "A", drawn[3]: "A"})
    some = sample_ids(collection)
    collection.cannot_tell([drawn[1]])
    more = sample_ids(collection)

    assert some == drawn[:1]
    assert more[:4] == drawn[:4]


def test_what_is_answered_already_can_be_drawn(collection: Collection) -> None:
    """Else the sample would be one of the unanswered only, and not of all."""
    collection.label(dict.fromkeys(IDS[:80], "A"))
    for _ in range(8):
        collection.label(dict.fromkeys(drawn_ids(collection), "B"))

    assert drawn_ids(collection) == []
    assert sorted(sample_ids(collection)) == IDS


def test_a_draw_logs_its_probability(collection: Collection) -> None:
    probabilities = {row.probability for row in rows(collection, schema.draw)}

    assert probabilities == {SAMPLED_AHEAD / len(IDS)}


def test_the_event_keeps_what_the_machine_had_said(tmp_path: Path) -> None:
    """What a correction tells of the reference that caused the label, and of the error rate."""
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        known = library.labeler("known", extractor="passthrough", confidence_threshold=0.5)
        known.add(vectors=VECTORS[[0, 0, 1]], ids=["a", "b", "c"])
        known.label({"a": "A"})

        known.label({"b": "B"}, asked=True)

        (event,) = (one for one in known.history("b") if one.kind is EventKind.LABELLED)
        similarity = event.detail["confidence"]
        assert event.detail == {"asked": True, "was": "A", "source": "a", "confidence": similarity}
        assert similarity == pytest.approx(1, abs=1e-3)


def test_nothing_is_drawn_where_the_rule_is_a_number(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        known = library.labeler("known", extractor="passthrough", confidence_threshold=0.5)
        known.add(vectors=VECTORS, ids=IDS)
        known.label({"d00": "A"})

        assert rows(known, schema.draw) == []


def test_what_is_forgotten_is_no_draw_any_more(collection: Collection) -> None:
    gone = drawn_ids(collection)[0]

    collection.forget([gone])

    assert gone not in drawn_ids(collection)
    assert len(rows(collection, schema.draw)) == len(set(drawn_ids(collection)))


def test_random_answers_count_how_often_the_machine_was_right(tmp_path: Path) -> None:
    """What a person says first of a drawn document that had labelled itself is a check."""
    chance = np.random.default_rng(4)
    kinds = np.arange(900) % 30
    centres = chance.normal(size=(30, 32))
    vectors = centres[kinds] + 0.3 * chance.normal(size=(900, 32))
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        collection = library.labeler("things", extractor="passthrough")
        collection.add(vectors=vectors, ids=[f"v{place}" for place in range(900)])
        collection.label({f"v{place}": f"Kind {kinds[place]}" for place in range(300)})
        before = collection.report()

        for _ in range(6):
            drawn = drawn_ids(collection)
            collection.label({id: f"Kind {kinds[int(id[1:])]}" for id in drawn[:-1]}, asked=True)
            collection.label({drawn[-1]: "Another"}, asked=True)

        after = collection.report()

    assert (before.checked, before.at_least) == (0, None)
    assert before.estimated_precision is not None and before.estimated_precision >= 0.95
    assert after.drawn >= 54
    assert 20 < after.checked <= after.drawn
    assert 1 <= after.wrong <= 6
    assert after.at_least is not None
    assert after.at_least < 1 - after.wrong / after.checked
