"""The backend for Label Studio, asked as version 1.23.2 asks.

`tests/clients` has the real one.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import lookalike
from goods import ok
from lookalike.formats.base import Example
from lookalike.library.transfer.imported import KnownDocuments
from patient import WAIT_S
from serving import Served

CHOICES = """<View><Text name="text" value="$text"/>
<Choices name="mood" toName="text"><Choice value="good"/><Choice value="bad" alias="b"/></Choices>
</View>"""
PLACE = "/v1/label-studio/notes"
TEXTS = ("A fine and sunny day", "A fine and sunny morning", "Rain, rain and more rain")
PROJECT = {"id": 3, "created_at": "2026-01-01T00:00:00Z", "label_config": CHOICES}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        notes = library.labeler("notes", extractor="text", field="mood", confidence_threshold=0.75)
        notes.add([{"id": f"n{number}", "text": text} for number, text in enumerate(TEXTS)])
        notes.label({"n0": "good"})
    return tmp_path / "store"


@pytest.fixture
def client(store: Path) -> Iterator[httpx2.Client]:
    with Served(store) as server, httpx2.Client(base_url=server.url, timeout=WAIT_S) as asked:
        yield asked


def task(text: str, id: int = 1) -> dict[str, Any]:
    return {"id": id, "project": 3, "data": {"text": text}, "meta": None}


def chosen(value: str) -> list[dict[str, Any]]:
    found = {"from_name": "mood", "to_name": "text", "type": "choices"}
    return [{**found, "value": {"choices": [value]}}]


def predictions(client: httpx2.Client, *texts: str, config: str = CHOICES) -> list[Any]:
    asked = {"tasks": [task(text) for text in texts], "label_config": config, "params": {}}
    answer = ok(client.post(f"{PLACE}/predict", json=asked))
    return [
        one[0]["result"][0]["value"]["choices"][0] if one else None for one in answer["results"]
    ]


def said(client: httpx2.Client, action: str, text: str, **annotation: Any) -> Any:
    """Return the answer to a webhook about an annotation of a text."""
    told = {"id": 9, "completed_by": 7, "was_cancelled": False, "result": [], **annotation}
    body = {"action": action, "project": PROJECT, "task": task(text), "annotation": told}
    return ok(client.post(f"{PLACE}/webhook", json=body))


def label_of(client: httpx2.Client, id: str) -> Any:
    found = ok(client.post("/v1/collections/notes/verbs/document", json={"id": id}))
    return found["standings"]["mood"]["label"], found["standings"]["mood"]["actor"]


def test_it_is_up_and_has_another_version_after_each_operation(client: httpx2.Client) -> None:
    assert ok(client.get(f"{PLACE}/health"))["status"] == "UP"
    before = ok(client.post(f"{PLACE}/setup", json={"project": "3.17", "schema": CHOICES}))
    said(client, "ANNOTATION_CREATED", TEXTS[2], result=chosen("b"))
    after = ok(client.post(f"{PLACE}/setup", json={"project": "3.17", "schema": CHOICES}))

    assert before["model_version"] != after["model_version"]
    assert client.get("/v1/label-studio/nothing/health").status_code == 404


def test_a_task_has_the_label_of_its_document_or_what_it_would_get_or_nothing(
    client: httpx2.Client,
) -> None:
    new = "A fine and sunny evening"

    assert predictions(client, *TEXTS, new, "Stock prices") == ["good", "good", None, "good", None]
    answer = client.post(
        f"{PLACE}/predict", json={"tasks": [task(TEXTS[1])], "label_config": CHOICES}
    )
    (found,) = ok(answer)["results"][0]
    assert 0.75 <= found["score"] <= 1
    assert found["result"][0]["from_name"] == "mood"


def test_a_label_that_the_project_does_not_offer_is_no_prediction(client: httpx2.Client) -> None:
    others = CHOICES.replace('"good"', '"fine"')

    assert predictions(client, TEXTS[0], config=others) == [None]


def test_the_last_part_of_a_path_stands_for_it_both_ways(client: httpx2.Client) -> None:
    ok(client.post("/v1/collections/notes/labels", json=update("n2", "Weather > b")))

    assert predictions(client, TEXTS[2]) == ["b"]
    said(client, "ANNOTATION_CREATED", TEXTS[1], result=chosen("b"))
    assert label_of(client, "n1") == ("Weather > b", "label-studio-7")


def update(id: str, label: str) -> dict[str, Any]:
    return {"updates": [{"document_id": id, "label": label}]}


def test_an_annotation_is_made_changed_emptied_and_deleted(client: httpx2.Client) -> None:
    made = said(client, "ANNOTATION_CREATED", TEXTS[2], result=chosen("b"))
    again = said(client, "ANNOTATION_CREATED", TEXTS[2], result=chosen("b"))
    assert (made["by_person"], again["by_person"]) == (1, 1)
    assert label_of(client, "n2") == ("b", "label-studio-7")

    said(client, "ANNOTATION_UPDATED", TEXTS[2], result=chosen("good"), updated_at="2")
    assert label_of(client, "n2")[0] == "good"
    said(client, "ANNOTATION_UPDATED", TEXTS[2], result=[], updated_at="3")
    assert label_of(client, "n2")[0] is None

    said(client, "ANNOTATION_UPDATED", TEXTS[2], result=chosen("b"), updated_at="4")
    body = {"action": "ANNOTATIONS_DELETED", "project": PROJECT, "annotations": [{"id": 9}]}
    ok(client.post(f"{PLACE}/webhook", json=body))
    assert label_of(client, "n2")[0] is None


def test_the_annotation_of_another_project_is_another_one(client: httpx2.Client) -> None:
    said(client, "ANNOTATION_CREATED", TEXTS[2], result=chosen("b"))
    other = {**PROJECT, "created_at": "2026-02-02"}

    body = {"action": "ANNOTATIONS_DELETED", "project": other, "annotations": [{"id": 9}]}
    ok(client.post(f"{PLACE}/webhook", json=body))

    assert label_of(client, "n2")[0] == "b"


def test_a_new_text_comes_in_with_its_label(client: httpx2.Client) -> None:
    new = "Snow and ice on all roads"

    said(client, "ANNOTATION_CREATED", new, result=chosen("b"))

    assert predictions(client, new) == ["b"]
    assert ok(client.get("/v1/collections/notes/documents/count"))["count"] == 4


def test_many_annotations_at_once_and_those_sent_to_train(client: httpx2.Client) -> None:
    told = {"id": 1, "completed_by": 7, "result": chosen("b")}
    body: dict[str, Any] = {"action": "ANNOTATIONS_CREATED", "project": PROJECT}
    body |= {"task": [task(TEXTS[1]), task(TEXTS[2])], "annotation": [told, {**told, "id": 2}]}

    both = ok(client.post(f"{PLACE}/webhook", json=body))
    trained: dict[str, Any] = {"project": "3.17", "label_config": CHOICES}
    trained |= {"annotations": [{**task(TEXTS[1]), "annotations": [{**told, "id": 3}]}]}
    ok(client.post(f"{PLACE}/train", json=trained))

    assert both["by_person"] == 2
    assert [label_of(client, id)[0] for id in ("n1", "n2")] == ["b", "b"]


def test_what_is_skipped_or_about_something_else_changes_nothing(client: httpx2.Client) -> None:
    skipped = said(client, "ANNOTATION_CREATED", TEXTS[2], result=[], was_cancelled=True)
    other = ok(client.post(f"{PLACE}/webhook", json={"action": "PROJECT_UPDATED"}))
    training = {"action": "START_TRAINING", "project": PROJECT}
    started = ok(client.post(f"{PLACE}/webhook", json=training))

    assert [one["by_person"] for one in (skipped, other, started)] == [0, 0, 0]


RECTANGLES = """<View><Image name="i" value="$i"/><RectangleLabels name="l" toName="i">
<Label value="a"/></RectangleLabels></View>"""


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("setup", {"schema": RECTANGLES}, "has no <Choices> or <Taxonomy>"),
        ("setup", {"schema": "<View>"}, "is not XML"),
        ("setup", {"schema": "<!DOCTYPE a><View/>"}, "has a document type"),
        ("predict", {"tasks": [], "label_config": RECTANGLES}, "labels whole files"),
        ("webhook", {"action": "ANNOTATION_CREATED"}, "has no label_config"),
        (
            "webhook",
            {
                "action": "ANNOTATION_CREATED",
                "project": PROJECT,
                "task": {"id": 1, "data": {"image": "/data/upload/3/0a1b2c3d-no.png"}},
                "annotation": {"id": 1, "result": chosen("b")},
            },
            "'no.png' is no document of 'notes'",
        ),
        (
            "webhook",
            {
                "action": "ANNOTATION_CREATED",
                "project": PROJECT,
                "task": task(TEXTS[0]),
                "annotation": {"id": 1, "result": [{"type": "rating", "value": {"rating": 3}}]},
            },
            "is no region",
        ),
        ("webhook", {"action": "ANNOTATION_CREATED", "project": PROJECT, "task": []}, "1 ann"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_reason(
    client: httpx2.Client, path: str, body: dict[str, Any], reason: str
) -> None:
    if reason == "1 ann":
        body = {**body, "annotation": [{"id": 1}]}
    answer = client.post(f"{PLACE}/{path}", json=body)

    assert answer.status_code == 422
    assert reason in answer.json()["error"]["message"]


def test_a_key_is_sent_as_the_password_and_does_what_its_scope_allows(store: Path) -> None:
    with lookalike.open(store) as library:
        keys = {scope: library.access().create(scope, scope) for scope in ("read", "label")}
    environment = {"LOOKALIKE_API_KEY": "another-long-secret"}
    body = {"action": "START_TRAINING", "project": PROJECT}
    with Served(store, environment=environment) as server:

        def asked(method: str, path: str, key: str | None, **values: Any) -> int:
            auth = None if key is None else ("label-studio", key)
            url = f"{server.url}{PLACE}/{path}"
            return httpx2.request(method, url, auth=auth, timeout=WAIT_S, **values).status_code

        assert asked("GET", "health", None) == 401
        assert asked("GET", "health", "wrong") == 401
        assert asked("GET", "health", keys["read"]) == 200
        assert asked("POST", "webhook", keys["read"], json=body) == 403
        assert asked("POST", "webhook", keys["label"], json=body) == 200
        broken = {"authorization": "Basic %%%"}
        assert (
            httpx2.get(f"{server.url}{PLACE}/health", headers=broken, timeout=WAIT_S).status_code
            == 401
        )


def test_only_the_documents_of_the_tasks_are_read(store: Path) -> None:
    with lookalike.open(store) as library:
        notes = library.collection("notes")
        inline = "data:text/plain;base64," + base64.b64encode(TEXTS[1].encode()).decode()
        examples = [Example("", id="n0"), Example("", uri=inline), Example("x.txt")]

        known = KnownDocuments(notes, examples)

        assert [known.find(one) for one in examples] == [["n0"], ["n1"], []]
        assert sorted(known._ids) == ["n0", "n1"]
