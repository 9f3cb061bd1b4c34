"""Check sheets at every door: Python, HTTP, a client, a command, another process, a crash."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lookalike
import patient
from lookalike import Collection
from lookalike.errors import BadInput, NotFound, Stale
from lookalike.model import Origin, Question
from serving import Served

KINDS = tuple(f"Kind {one}" for one in range(4))
COUNT = 400
_GIVEN = 8


def vectors() -> Any:
    chance = np.random.default_rng(0)
    centres = chance.normal(size=(len(KINDS), 32))
    return centres[np.arange(COUNT) % len(KINDS)] + 0.35 * chance.normal(size=(COUNT, 32))


def kind_of(id: str) -> str:
    return KINDS[int(id[1:]) % len(KINDS)]


def other_than(label: str | None) -> str:
    return next(kind for kind in KINDS if kind != label)


def fill(collection: Any) -> None:
    """Bring things of four kinds in, and label eight of each."""
    collection.add(vectors=vectors(), ids=[f"v{place}" for place in range(COUNT)])
    collection.label({f"v{n}": kind_of(f"v{n}") for n in range(_GIVEN * len(KINDS))}, asked=True)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with things of which some are labelled: a sheet waits."""
    store = tmp_path_factory.mktemp("checks") / "store"
    with lookalike.open(store, actor="ann") as library:
        fill(library.labeler("things", extractor="passthrough"))
    return store


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    place = tmp_path / "store"
    shutil.copytree(filled, place)
    return place


@pytest.fixture
def things(store: Path) -> Iterator[Collection]:
    with lookalike.open(store, actor="ann") as library:
        yield library.collection("things")


def sheet_of(collection: Any) -> Question:
    found: Question | None = collection.check()
    assert found is not None, "a sheet waits"
    return found


def shown(sheet: Question) -> dict[str, str]:
    """The suggestion for each document of a sheet."""
    assert len(sheet.documents) == len(sheet.suggestions)
    pairs = zip(sheet.documents, sheet.suggestions, strict=True)
    return {one.id: label for one, label in pairs if label is not None}


def as_rows(sheet: Question) -> list[dict[str, Any]]:
    return [{"id": id, "label": label, "shown": label} for id, label in shown(sheet).items()]


def give_back(collection: Collection, rows: Sequence[Mapping[str, Any]]) -> Any:
    return collection.import_labels(rows, origin=Origin.HUMAN, asked=True)


# --- Python -------------------------------------------------------------------------------------


def test_a_sheet_waits_as_soon_as_something_may_be_labelled(things: Collection) -> None:
    sheet = sheet_of(things)

    assert sheet.kind == "check"
    assert len(sheet.documents) == 24
    assert sheet.worth > 100
    assert sheet == next(one for one in things.queue(limit=5) if one.kind == "check")
    assert not set(shown(sheet)) & {f"v{n}" for n in range(_GIVEN * len(KINDS))}


def test_a_sheet_is_grouped_by_label(things: Collection) -> None:
    labels = list(sheet_of(things).suggestions)

    changes = sum(one != other for one, other in pairwise(labels))

    assert changes == len(set(labels)) - 1


def test_confirming_a_sheet_labels_the_rest(things: Collection) -> None:
    changed = things.label(shown(sheet_of(things)), asked=True)

    assert changed.by_person == 24
    assert changed.by_itself > 200
    assert all(one.label == kind_of(one.id) for one in things.documents(origin="auto"))


def test_a_sheet_all_of_it_wrong_labels_nothing(things: Collection) -> None:
    sheet = shown(sheet_of(things))

    changed = things.label({id: other_than(label) for id, label in sheet.items()}, asked=True)

    assert changed.by_person == 24
    assert changed.labelled == {}
    assert things.report().labelled.get("auto", 0) == 0


def test_what_is_rejected_counts_as_answered(things: Collection) -> None:
    sheet = shown(sheet_of(things))
    wrong = dict(list(sheet.items())[:2])

    things.reject(wrong)
    left = shown(sheet_of(things))
    things.label(left, asked=True)

    assert left == {id: label for id, label in sheet.items() if id not in wrong}
    after = things.check()
    assert after is None or not set(shown(after)) & set(left)


def test_two_people_answer_one_sheet_half_each(store: Path) -> None:
    with lookalike.open(store, actor="ann") as one, lookalike.open(store, actor="ben") as other:
        ann, ben = one.collection("things"), other.collection("things")
        sheet = sheet_of(ann)
        assert sheet_of(ben) == sheet
        halves = list(shown(sheet).items())

        first = ann.label(dict(halves[:12]), asked=True)
        assert list(shown(sheet_of(ben)).items()) == halves[12:]
        second = ben.label(dict(halves[12:]), asked=True)

        assert first.by_itself == 0, "half a sheet is no random sample"
        assert second.by_itself > 200
        assert {ann.document(id).standing.actor for id, _ in halves} == {"ann", "ben"}


def test_of_two_who_answer_the_same_sheet_the_second_is_told_and_loses_nothing(store: Path) -> None:
    with lookalike.open(store, actor="ann") as one, lookalike.open(store, actor="ben") as other:
        ann, ben = one.collection("things"), other.collection("things")
        sheet = sheet_of(ben)
        seen = {document.id: document.standing.revision for document in sheet.documents}
        corrected, dropped, *rest = shown(sheet)
        label = other_than(shown(sheet)[corrected])
        ann.label({id: kind_of(id) for id in rest} | {corrected: label}, asked=True)
        ann.reject({dropped: shown(sheet)[dropped]})
        before = [operation.id for operation in ben.operations()]

        with pytest.raises(Stale, match=r"^ann ") as told:
            ben.label(shown(sheet), asked=True, revisions=seen)

        answers = told.value.now["answers"]
        assert {id: (one["kind"], one["label"]) for id, one in answers.items()} == {
            corrected: ("labelled", label),
            dropped: ("rejected", shown(sheet)[dropped]),
        }
        assert [operation.id for operation in ben.operations()] == before
        fresh = {id: revision for id, revision in seen.items() if id in rest}
        again = ben.label({id: kind_of(id) for id in rest}, asked=True, revisions=fresh)
        assert again.by_person == len(rest)
        assert (ann.document(corrected).label, ann.document(corrected).standing.actor) == (
            label,
            "ann",
        )
        assert ann.document(dropped).standing.rejected == (shown(sheet)[dropped],)
        assert {len(ann.opinions(id)) for id in rest} == {2}
        ben.undo(again.operation)
        assert {ann.document(id).standing.actor for id in rest} == {"ann"}


def test_an_answer_given_twice_says_nothing_new(things: Collection) -> None:
    sheet = shown(sheet_of(things))
    first = things.label(sheet, asked=True)
    after, report = things.check(), things.report()

    second = things.label(sheet, asked=True)

    assert first.by_person == len(sheet)
    assert (second.by_person, second.by_itself) == (0, 0)
    assert (things.check(), things.report()) == (after, report)


def test_what_is_forgotten_meanwhile_refuses_the_answer_and_is_named(store: Path) -> None:
    with lookalike.open(store, actor="ann") as one, lookalike.open(store, actor="ben") as other:
        things = one.collection("things")
        sheet = shown(sheet_of(things))
        gone = next(iter(sheet))
        other.collection("things").forget([gone])
        before = things.operations()

        with pytest.raises(NotFound, match=gone):
            things.label(sheet, asked=True)

        assert things.operations() == before
        del sheet[gone]
        assert shown(sheet_of(things)) == sheet
        assert things.label(sheet, asked=True).by_itself > 200


def test_an_earlier_answer_is_undone_and_a_later_one_stays(tmp_path: Path) -> None:
    """The first sheet waits again, and counts no more until it is answered again."""
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        things = library.labeler("things", extractor="passthrough", target_precision=0.99)
        fill(things)
        first = shown(sheet_of(things))
        answered = things.label(first, asked=True)
        second = shown(sheet_of(things))
        things.label({id: kind_of(id) for id in second}, asked=True)
        checked = things.report()

        undone = things.undo(answered.operation)

        assert not set(first) & set(second)
        assert {things.document(id).origin for id in second} == {Origin.HUMAN}
        assert {things.document(id).origin for id in first} <= {Origin.AUTO, None}
        assert things.run().by_itself == 0
        things.undo(undone.operation)
        assert {id: things.document(id).label for id in first} == first
        assert things.report().labelled["human"] == checked.labelled["human"]


def test_an_undone_answer_brings_the_sheet_back(things: Collection) -> None:
    before = sheet_of(things)
    changed = things.label(shown(before), asked=True)

    undone = things.undo(changed.operation)

    assert things.report().labelled.get("auto", 0) == 0
    assert shown(sheet_of(things)) == shown(before)
    again = things.undo(undone.operation)
    assert again.by_itself == changed.by_itself


def test_a_forgotten_document_leaves_the_sheet_and_the_rest_counts(things: Collection) -> None:
    sheet = shown(sheet_of(things))
    gone = next(iter(sheet))

    things.forget([gone])
    left = shown(sheet_of(things))
    changed = things.label(left, asked=True)

    assert set(left) == set(sheet) - {gone}
    assert changed.by_itself > 200


def test_another_process_sees_the_same_sheet(store: Path, things: Collection) -> None:
    told = [one.id for one in sheet_of(things).documents]
    code = "import sys, lookalike; c = lookalike.open(sys.argv[1]).collection('things')"
    code += "; print(*(one.id for one in c.check().documents))"

    said = subprocess.run(
        [sys.executable, "-c", code, str(store)], capture_output=True, text=True, check=True
    )

    assert said.stdout.split() == told


def test_a_field_with_a_threshold_has_no_sheet(things: Collection) -> None:
    shown_before = shown(sheet_of(things))
    things.run(confidence_threshold=0.5)
    assert things.check() is None

    things.run(target_precision=0.95)

    assert shown(sheet_of(things)) == shown_before


def test_a_field_that_had_a_threshold_gets_a_sheet(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "known", actor="ann") as library:
        known = library.labeler("known", extractor="passthrough", confidence_threshold=0.999)
        fill(known)
        assert known.check() is None

        known.run(target_precision=0.95)

        assert len(sheet_of(known).documents) == 24


def test_an_empty_collection_has_no_sheet(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "none") as library:
        assert library.labeler("none", extractor="passthrough").check() is None


# --- a table given back -------------------------------------------------------------------------


def test_a_table_confirms_corrects_and_drops_in_one_operation(things: Collection) -> None:
    sheet = sheet_of(things)
    rows = as_rows(sheet)
    rows[0]["label"] = other_than(rows[0]["shown"])
    rows[1]["label"] = ""

    changed = give_back(things, rows)

    assert (changed.by_person, changed.refused) == (24, {})
    assert things.document(rows[0]["id"]).label == rows[0]["label"]
    assert things.document(rows[1]["id"]).standing.rejected == (rows[1]["shown"],)
    after = things.check()
    assert after is None or not set(shown(after)) & set(shown(sheet))
    things.undo(changed.operation)
    assert shown(sheet_of(things)) == shown(sheet)


def test_a_table_given_back_twice_says_nothing_new(things: Collection) -> None:
    rows = as_rows(sheet_of(things))
    rows[1]["label"] = None
    first = give_back(things, rows)

    second = give_back(things, rows)

    assert first.by_person == 24
    assert (second.by_person, second.by_itself, second.refused) == (0, 0, {})


def test_what_happened_meanwhile_is_told_and_the_rest_counts(store: Path) -> None:
    with lookalike.open(store, actor="ann") as one, lookalike.open(store, actor="ben") as other:
        things = one.collection("things")
        rows = as_rows(sheet_of(things))
        labelled, agreed, new, gone, changed, dropped = (row["id"] for row in rows[:6])
        ben = other.collection("things")
        ben.label({labelled: "Other", agreed: rows[1]["shown"]})
        ben.new_kind([new])
        ben.forget([gone])
        rows[4]["sha256"] = "0" * 64
        ben.label({dropped: "Kind 9"})
        rows[5]["label"] = ""

        said = give_back(things, rows)

        assert said.by_person == len(rows) - 5
        reasons = {name.split("(")[1][:-1]: reason for name, reason in said.refused.items()}
        assert reasons == {
            labelled: "ben answered 'Other' meanwhile; that stays",
            new: "ben answered 'new category' meanwhile; that stays",
            gone: "is not a document of this collection",
            changed: "has other content now; look at it again",
            dropped: "ben answered 'Kind 9' meanwhile; that stays",
        }
        assert things.document(labelled).label == "Other"


def test_what_has_another_content_meanwhile_is_not_taken_and_the_rest_counts(
    things: Collection,
) -> None:
    sheet = sheet_of(things)
    digests = {one.id: one.sha256 for one in sheet.documents}
    rows = [row | {"sha256": digests[row["id"]]} for row in as_rows(sheet)]
    things.add(vectors=vectors()[:1] + 5, ids=[rows[0]["id"]])

    said = give_back(things, rows)

    assert said.by_person == len(rows) - 1
    assert list(said.refused.values()) == ["has other content now; look at it again"]
    assert things.document(rows[0]["id"]).origin is not Origin.HUMAN


def test_a_table_of_which_all_is_refused_labels_nothing(things: Collection) -> None:
    rows = as_rows(sheet_of(things))

    said = give_back(things, [row | {"label": ""} for row in rows])

    assert (said.by_person, said.labelled, said.refused) == (len(rows), {}, {})
    assert things.report().labelled["auto"] == 0
    for row in rows:
        standing = things.document(row["id"]).standing
        assert (standing.label, standing.rejected) == (None, (row["shown"],))
    after = things.check()
    assert after is None or not set(shown(after)) & {row["id"] for row in rows}
    undone = things.undo(said.operation)
    assert list(shown(sheet_of(things))) == [row["id"] for row in rows]
    things.undo(undone.operation)
    assert things.document(rows[0]["id"]).standing.rejected == (rows[0]["shown"],)


def test_a_table_of_labels_that_a_closed_set_does_not_have_is_refused(things: Collection) -> None:
    things.run(closed_set=True)
    rows = as_rows(sheet_of(things))
    before = things.operations()

    with pytest.raises(BadInput, match=r"'Knid 1' is not in the closed set.*did you mean 'Kind 1'"):
        give_back(things, [row | {"label": "Knid 1"} for row in rows])

    assert things.operations() == before
    assert len(sheet_of(things).documents) == len(rows)


def test_a_new_label_on_a_sheet_is_added_to_a_closed_set_by_saying_so(things: Collection) -> None:
    things.run(closed_set=True)
    sheet = shown(sheet_of(things))
    odd = next(iter(sheet))
    said = sheet | {odd: "Kind 9"}

    with pytest.raises(BadInput, match="not in the closed set"):
        things.label(said, asked=True)
    assert shown(sheet_of(things)) == sheet
    changed = things.label(said, asked=True, new_labels=True)

    assert changed.by_person == len(sheet)
    assert things.label_tree().closed_set
    assert "Kind 9" in {node.label for node in things.label_tree().nodes}
    things.undo(changed.operation)
    assert "Kind 9" not in {node.label for node in things.label_tree().nodes}
    assert shown(sheet_of(things)) == sheet


def test_a_new_kind_on_a_sheet_of_a_closed_set_opens_it_and_the_rest_counts(
    things: Collection,
) -> None:
    closed = things.run(closed_set=True)
    sheet = shown(sheet_of(things))
    odd = next(iter(sheet))

    opened = things.new_kind([odd])
    left = shown(sheet_of(things))
    answered = things.label(left, asked=True)

    assert (opened.reopened, things.label_tree().closed_set) == (True, False)
    assert set(left) == set(sheet) - {odd}
    assert answered.by_person == len(left)
    things.undo(opened.operation)
    assert things.label_tree().closed_set
    assert things.document(odd).standing.answer is None
    things.undo(closed.operation)
    assert not things.label_tree().closed_set


def test_a_row_without_label_and_without_what_was_shown_is_not_taken(things: Collection) -> None:
    rows = as_rows(sheet_of(things))
    rows[0] |= {"label": "", "shown": ""}

    said = give_back(things, rows)

    assert list(said.refused.values()) == ["has no 'label'"]


def test_a_label_that_a_closed_set_does_not_have_is_not_taken(things: Collection) -> None:
    things.run(closed_set=True)
    rows = as_rows(sheet_of(things))
    rows[0]["label"] = "Knid 1"

    said = give_back(things, rows)

    assert said.by_person == len(rows) - 1
    (reason,) = said.refused.values()
    assert "Knid 1" in reason
    assert list(shown(sheet_of(things))) == [rows[0]["id"]]


def test_only_a_person_gives_a_sheet_back(things: Collection) -> None:
    with pytest.raises(BadInput, match="marks a person's answers"):
        things.import_labels(as_rows(sheet_of(things)), asked=True)


def test_an_export_carries_what_a_sheet_said(things: Collection, tmp_path: Path) -> None:
    sheet = shown(sheet_of(things))
    things.label(sheet, asked=True)

    with lookalike.open(tmp_path / "other", actor="ann") as library:
        other = library.labeler("things", extractor="passthrough")
        other.add(vectors=vectors(), ids=[f"v{place}" for place in range(COUNT)])
        other.import_labels([row for row in things.rows() if row["label_source"] == "human"])

        assert {id: other.document(id).label for id in sheet} == sheet
        after = other.check()
        assert after is None or not set(shown(after)) & set(sheet)


# --- HTTP and its client ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("served") / "store"
    shutil.copytree(filled, place)
    with Served(place) as server:
        yield server


def ask(server: Served, path: str, **query: Any) -> Any:
    answer = patient.get(f"{server.url}/v1/collections/things/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def say(server: Served, path: str, **body: Any) -> Any:
    address = f"{server.url}/v1/collections/things/{path}"
    answer = patient.post(address, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_each_document_of_a_sheet_has_its_suggestion_over_http(served: Served) -> None:
    question = ask(served, "check")["question"]

    asked = [one["suggestion"] for one in question["documents"]]

    assert question["kind"] == "check"
    assert question["suggestions"] == asked
    assert len(asked) == 24
    assert question["suggestion"] is None
    first = next(one for one in ask(served, "queue")["results"] if one["kind"] == "check")
    assert first == question


def test_a_frozen_sheet_leaves_out_what_was_answered_meanwhile(served: Served) -> None:
    frozen = ask(served, "queue")
    whole = next(one for one in frozen["results"] if one["kind"] == "check")
    labelled, refused, *rest = [one["document_id"] for one in whole["documents"]]
    update = {"document_id": labelled, "label": kind_of(labelled)}
    undo = [say(served, "labels", updates=[update], asked=True)["operation_id"]]
    undo.append(say(served, "rejections", rejections=[{"document_id": refused}])["operation_id"])

    again = ask(served, "queue", snapshot=frozen["snapshot"])
    left = next(one for one in again["results"] if one["kind"] == "check")

    assert [one["document_id"] for one in left["documents"]] == rest
    assert left["suggestions"] == whole["suggestions"][2:]
    for one in undo:
        assert patient.post(f"{served.url}/v1/operations/{one}/undo").status_code == 200
    back = ask(served, "check")["question"]
    assert [one["document_id"] for one in back["documents"]] == [labelled, refused, *rest]


def test_a_client_is_asked_the_same_and_answers_the_same(served: Served) -> None:
    with (
        lookalike.connect(served.url) as library,
        lookalike.open(served.store, actor="ben") as here,
    ):
        remote, local = library.collection("things"), here.collection("things")
        sheet = sheet_of(remote)
        assert shown(sheet) == shown(sheet_of(local))
        assert (sheet.kind, sheet.worth) == ("check", sheet_of(local).worth)
        assert shown(sheet) == shown(next(q for q in remote.queue(limit=5) if q.kind == "check"))

        changed = remote.label(shown(sheet), asked=True)

        assert (changed.by_person, changed.by_itself > 200) == (24, True)
        after = remote.check()
        assert after is None or not set(shown(after)) & set(shown(sheet))
        remote.undo(changed.operation)
        rows = as_rows(sheet)
        rows[0]["label"] = ""
        back = remote.import_labels(rows, origin=Origin.HUMAN, asked=True)
        assert back.by_person == 24
        remote.undo(back.operation)
        assert shown(sheet_of(remote)) == shown(sheet)


def test_a_sheet_and_half_an_answer_outlive_a_killed_server(filled: Path, tmp_path: Path) -> None:
    place = tmp_path / "store"
    shutil.copytree(filled, place)
    with Served(place) as server:
        before = ask(server, "check")["question"]
        server.kill()
        server.start()
        assert ask(server, "check")["question"] == before

        half = before["documents"][:12]
        updates = [{"document_id": one["document_id"], "label": one["suggestion"]} for one in half]
        say(server, "labels", updates=updates, asked=True)
        server.kill()
        server.start()

        left = ask(server, "check")["question"]["documents"]
        assert [one["document_id"] for one in left] == [
            one["document_id"] for one in before["documents"][12:]
        ]
        updates = [{"document_id": one["document_id"], "label": one["suggestion"]} for one in left]
        assert say(server, "labels", updates=updates, asked=True)["ripple"] > 200


# --- labels that look wrong ---------------------------------------------------------------------


@pytest.fixture
def mistaken(tmp_path: Path) -> Iterator[Served]:
    """A server whose collection has two references with a wrong label."""
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        things = library.labeler("things", extractor="passthrough")
        fill(things)
        said = {f"v{n}": kind_of(f"v{n}") for n in range(32, 100)}
        things.label(said | {f"v{n}": other_than(kind_of(f"v{n}")) for n in (100, 101)})
        assert any(one.kind == "suspect" for one in things.queue(limit=20))
    with Served(tmp_path / "store") as server:
        yield server


def suspects(queue: Mapping[str, Any]) -> list[str]:
    found = [one for one in queue["results"] if one["kind"] == "suspect"]
    return [document["document_id"] for one in found for document in one["documents"]]


def test_labels_that_look_wrong_are_asked_until_somebody_looked(mistaken: Served) -> None:
    frozen = ask(mistaken, "queue")
    question = next(one for one in frozen["results"] if one["kind"] == "suspect")
    assert suspects(frozen) == ["v100", "v101"]
    assert question["suggestions"] == [other_than(kind_of(id)) for id in suspects(frozen)]

    again = {"document_id": "v100", "label": other_than(kind_of("v100"))}
    say(mistaken, "labels", updates=[again], asked=True)
    assert suspects(ask(mistaken, "queue", snapshot=frozen["snapshot"])) == ["v101"]
    assert suspects(ask(mistaken, "queue")) == ["v101"]

    say(mistaken, "labels", updates=[{"document_id": "v101", "label": kind_of("v101")}], asked=True)
    assert suspects(ask(mistaken, "queue", snapshot=frozen["snapshot"])) == []
    assert suspects(ask(mistaken, "queue")) == []


def test_what_was_answered_outlives_a_killed_server_and_is_undone_after_it(
    mistaken: Served,
) -> None:
    """A label that was confirmed, a closed set, a new kind, and a sheet with one that is wrong."""
    place = f"{mistaken.url}/v1/collections/things"

    def closed() -> bool:
        return bool(ask(mistaken, "analytics/coverage")["closed_set"])

    def again() -> None:
        mistaken.kill()
        mistaken.start()

    confirmed = {"document_id": "v100", "label": other_than(kind_of("v100"))}
    say(mistaken, "labels", updates=[confirmed], asked=True)
    assert patient.patch(place, json={"taxonomy": {"closed_set": True}}).status_code == 200
    assert suspects(ask(mistaken, "queue")) == ["v101"]
    assert closed()
    opened = say(mistaken, "rejections/new-kind", document_ids=["v399"])
    sheet = ask(mistaken, "check")["question"]["documents"]
    wrong, *right = ({"document_id": d["document_id"], "label": d["suggestion"]} for d in sheet)
    say(mistaken, "rejections", rejections=[wrong])
    answered = say(mistaken, "labels", updates=right, asked=True)
    again()
    assert not closed()
    assert "v100" not in suspects(ask(mistaken, "queue"))
    after = ask(mistaken, "check")["question"]
    on_it = set() if after is None else {one["document_id"] for one in after["documents"]}
    assert not on_it & {one["document_id"] for one in sheet}

    for operation in (answered, opened):
        address = f"{mistaken.url}/v1/operations/{operation['operation_id']}/undo"
        assert patient.post(address).status_code == 200
    again()
    assert closed()
    assert "v100" not in suspects(ask(mistaken, "queue"))
    waiting = [one["document_id"] for one in ask(mistaken, "check")["question"]["documents"]]
    assert sorted(waiting) == sorted(one["document_id"] for one in right)


# --- the command line ---------------------------------------------------------------------------


def typed(store: Path, *arguments: str, code: int = 0) -> str:
    """What a command prints, where it must end with `code`."""
    done = subprocess.run(
        [sys.executable, "-m", "lookalike", *arguments],
        cwd=store.parent,
        env={**os.environ, "LOOKALIKE_STORE": str(store), "LOOKALIKE_ACTOR": "ann"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_table(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_the_command_shows_the_sheet_by_label_and_confirms_it(store: Path) -> None:
    with lookalike.open(store) as library:
        sheet = sheet_of(library.collection("things"))

    said = typed(store, "check", "things")
    listed = typed(store, "queue", "things", "--limit", "3")
    told = json.loads(typed(store, "check", "things", "--json"))
    done = typed(store, "check", "things", "--confirm")

    assert said.startswith("24 to check, a random sample")
    for label in set(sheet.suggestions):
        assert f"\n{label}  ({list(sheet.suggestions).count(label)})\n" in said
    for id, label in shown(sheet).items():
        assert f"  {id}  " in said
        assert f"  {label}  {id}" in listed
    more = round(sheet.worth) - 24
    assert f"Confirm these and about {more} more get their label:" in said
    assert f"are these right? (check, settles about {sheet.worth:.0f})" in listed
    assert told["suggestions"] == list(sheet.suggestions)
    assert done.startswith("24 by you, ")


def test_the_sheet_as_a_table_is_corrected_and_given_back(store: Path) -> None:
    table = store.parent / "sheet.csv"
    said = typed(store, "check", "things", "--to", "sheet.csv")
    rows = read_table(table)
    rows[0]["label"] = "Kind 9"
    rows[1]["label"] = ""
    write_table(table, rows)

    done = typed(store, "label", "things", "--from", "sheet.csv", "--asked")
    again = typed(store, "label", "things", "--from", "sheet.csv", "--asked")

    assert list(rows[0]) == ["id", "file_name", "label", "confidence", "shown", "sha256"]
    assert "lookalike label things --from sheet.csv --asked" in said
    assert "new labels: Kind 9" in done
    assert "24 by you" in done
    assert again.startswith("all answers were recorded before\n0 by you, 0 automatically")
    with lookalike.open(store) as library:
        things = library.collection("things")
        assert things.document(rows[0]["id"]).label == "Kind 9"
        assert things.document(rows[1]["id"]).standing.rejected == (rows[1]["shown"],)
        assert things.document(rows[2]["id"]).label == rows[2]["shown"]
        assert things.history(rows[2]["id"])[-1].detail.get("asked") is True


def test_lines_missing_and_added_are_told(store: Path) -> None:
    table = store.parent / "sheet.csv"
    typed(store, "check", "things", "--to", "sheet.csv")
    rows = read_table(table)
    with lookalike.open(store) as library:
        on_sheet = {row["id"] for row in rows}
        free = next(id for id in library.collection("things").ids() if id not in on_sheet)
    extra = {**dict.fromkeys(rows[0], ""), "label": "Kind 1"}
    added = [{**extra, "id": free}, {**extra, "id": "nobody"}]
    write_table(table, [*rows[3:], *added])

    done = typed(store, "label", "things", "--from", "sheet.csv", "--asked")

    assert "3 of the sheet are not in the table: they still wait" in done
    assert "2 in the table are not on the waiting sheet" in done
    assert "refused: 1 × is not a document of this collection" in done
    assert "22 by you" in done
    assert typed(store, "check", "things").startswith("3 to check")


def test_a_table_with_labels_that_a_closed_set_does_not_have_is_told(store: Path) -> None:
    with lookalike.open(store, actor="ann") as library:
        library.collection("things").run(closed_set=True)
    typed(store, "check", "things", "--to", "sheet.csv")
    rows = read_table(store.parent / "sheet.csv")
    rows[0]["label"], rows[1]["label"] = "Knid 1", "Other"
    write_table(store.parent / "sheet.csv", rows)

    done = typed(store, "label", "things", "--from", "sheet.csv", "--asked")

    assert f"{len(rows) - 2} by you" in done
    assert "'Knid 1' is not in the closed set of labels (did you mean 'Kind 1'" in done
    assert "'Other' is not in the closed set of labels" in done
    assert typed(store, "check", "things").startswith("2 to check")


def test_without_a_sheet_the_command_says_why(store: Path) -> None:
    with lookalike.open(store) as library:
        library.labeler("none", extractor="passthrough").add(vectors=vectors()[:5])

    said = typed(store, "check", "none")
    refused = typed(store, "check", "none", "--confirm", code=1)

    assert said.startswith(
        "no check: nothing is labelled yet; answer the questions of `lookalike queue"
    )
    assert refused == f"lookalike: {said}"


def test_a_table_of_something_else_is_refused(store: Path) -> None:
    (store.parent / "sheet.csv").write_text("id,label\nnobody,Kind 1\n", encoding="utf-8")

    said = typed(store, "label", "things", "--from", "sheet.csv", "--asked", code=1)
    both = typed(store, "check", "things", "--confirm", "--to", "sheet.csv", code=1)

    assert "none of 1 rows gives a label" in said
    assert "give either --to (write the sheet) or --confirm, not both" in both


def test_the_queue_shows_labels_that_look_wrong(mistaken: Served) -> None:
    said = typed(mistaken.store, "queue", "things", "--limit", "30")

    lines = said[said.index("are these labels wrong?") :].splitlines()
    assert lines[0].endswith("(suspect, settles about 1)")
    assert [line.split()[0] for line in lines[1:3]] == ["v100", "v101"]
    assert f"  {other_than(kind_of('v100'))}  v100" in lines[1]


def test_a_process_that_is_killed_while_it_answers_leaves_the_whole_sheet(store: Path) -> None:
    """It dies in the transaction: nothing of the answer is there, and the sheet waits as it was."""
    code = (
        "import os, signal, sys, lookalike, lookalike.decisions.operations as operations\n"
        "things = lookalike.open(sys.argv[1], actor='ann').collection('things')\n"
        "sheet = things.check()\n"
        "pairs = zip(sheet.documents, sheet.suggestions)\n"
        "operations.draw_sheet = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "things.label({one.id: label for one, label in pairs}, asked=True)\n"
    )
    with lookalike.open(store) as library:
        before = sheet_of(library.collection("things"))

    done = subprocess.run([sys.executable, "-c", code, str(store)], check=False)

    assert done.returncode == -signal.SIGKILL
    with lookalike.open(store) as library:
        things = library.collection("things")
        assert sheet_of(things) == before
        assert things.label(shown(before), asked=True).by_itself > 200
