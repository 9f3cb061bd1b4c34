"""What is ours over HTTP: answers, the queue, why, history, reports and exports."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

import patient
from goods import BALLOON, JIGSAW, SIGNAL, THRESHOLD, Shop, asking, ok, pictures, refused
from serving import Served

BALLOONS, JIGSAWS, SIGNALS = pictures(BALLOON), pictures(JIGSAW), pictures(SIGNAL)
TAXONOMY = {"field_to_enrich": "category", "confidence_threshold": THRESHOLD}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    store: Path = tmp_path_factory.mktemp("labels") / "store"
    actor = {"LOOKALIKE_ACTOR": "ann"}
    with Served(store, environment=actor) as server, asking(server.url) as asked:
        yield asked


@pytest.fixture
def shop(client: httpx2.Client, request: pytest.FixtureRequest) -> Shop:
    """Four balloons, four jigsaws and two signals in a collection named after the test."""
    shop = Shop(client, re.sub(r"\W+", "_", request.node.name)[5:95])
    shop.open()
    shop.collect(shop.name, taxonomy=TAXONOMY)
    shop.put(*BALLOONS[:4], *JIGSAWS[:4], *SIGNALS[:2])
    return shop


def post(shop: Shop, path: str, **body: Any) -> dict[str, Any]:
    return ok(shop.client.post(f"/v1/collections/{shop.name}/{path}", json=body))


def get(shop: Shop, path: str, **query: Any) -> dict[str, Any]:
    return ok(shop.client.get(f"/v1/collections/{shop.name}/{path}", params=query))


def label(shop: Shop, **labels: str | None) -> dict[str, Any]:
    updates = [{"document_id": id, "label": one} for id, one in labels.items()]
    return post(shop, "labels", updates=updates)


def test_labels_are_one_operation_that_tells_its_ripple(shop: Shop) -> None:
    updates = [
        {"document_id": BALLOONS[0], "label": BALLOON},
        {"document_id": JIGSAWS[0], "label": JIGSAW},
    ]

    done = post(shop, "labels", updates=updates, op_id=f"op-{shop.name}")
    again = post(shop, "labels", updates=updates, op_id=f"op-{shop.name}")

    assert done["operation_id"] == f"op-{shop.name}"
    assert (done["changed"]["by_person"], done["ripple"]) == (2, 6)
    assert done["changed"]["labelled"] == {BALLOON: 3, JIGSAW: 3}
    assert again == done
    assert shop.document(shop.name, BALLOONS[0])["labels"]["category"]["actor"] == "ann"


def test_where_one_document_is_unknown_nothing_is_labelled(shop: Shop) -> None:
    updates = [
        {"document_id": BALLOONS[0], "label": BALLOON},
        {"document_id": "doc_nowhere", "label": JIGSAW},
    ]

    answer = shop.client.post(f"/v1/collections/{shop.name}/labels", json={"updates": updates})

    assert "doc_nowhere" in refused(answer, 404)["message"]
    assert set(shop.labels(shop.name).values()) == {None}


def test_several_rejections_are_one_operation(shop: Shop) -> None:
    label(shop, **{BALLOONS[0]: BALLOON, JIGSAWS[0]: JIGSAW})

    done = post(
        shop,
        "rejections",
        rejections=[
            {"document_id": BALLOONS[1]},
            {"document_id": JIGSAWS[1], "label": JIGSAW},
            {"document_id": JIGSAWS[2], "label": "Nothing of the kind"},
        ],
    )

    labels = shop.labels(shop.name)
    assert done["changed"]["by_person"] == 3
    assert (labels[BALLOONS[1]], labels[JIGSAWS[1]], labels[JIGSAWS[2]]) == (None, None, JIGSAW)
    ok(shop.client.post(f"/v1/operations/{done['operation_id']}/undo"))
    labels = shop.labels(shop.name)
    assert (labels[BALLOONS[1]], labels[JIGSAWS[1]]) == (BALLOON, JIGSAW)


def test_a_promotion_takes_the_surest_of_each_label_and_says_what_stays_out(shop: Shop) -> None:
    label(shop, **{BALLOONS[0]: BALLOON, JIGSAWS[0]: JIGSAW})
    auto = [one for one in shop.documents(shop.name) if one["taxonomy_match"]]
    surest = {
        kind: max(
            (one for one in auto if one["metadata"]["category"] == kind),
            key=lambda one: float(one["taxonomy_match"]["confidence"]),
        )["document_id"]
        for kind in (BALLOON, JIGSAW)
    }

    done = post(shop, "promotions", min_confidence=THRESHOLD, limit_per_label=1)
    human = post(shop, "promotions", document_ids=[BALLOONS[0], SIGNALS[0]])

    promoted = [
        one["document_id"]
        for one in shop.documents(shop.name)
        if one["labels"]["category"]["origin"] == "promoted"
    ]
    assert set(promoted) == set(surest.values())
    assert done["changed"]["by_person"] == 2
    assert human["changed"]["by_person"] == 0
    assert human["changed"]["refused"].keys() == {BALLOONS[0], SIGNALS[0]}
    nothing = shop.client.post(f"/v1/collections/{shop.name}/promotions", json={})
    assert refused(nothing, 422)["code"] == "bad_input"


def test_all_that_filters_choose_is_said_to_be_something_but_for_the_exceptions(shop: Shop) -> None:
    label(shop, **{BALLOONS[0]: BALLOON, JIGSAWS[0]: JIGSAW})
    unknown = {"field": "category", "operator": "is_null", "value": True}
    others = {"field": "document_id", "operator": "nin", "value": [SIGNALS[0]]}
    chosen = {"AND": [unknown, others]}
    body = {"filters": chosen, "label": SIGNAL, "op_id": "all"}

    done = post(shop, "labels", **body)
    again = post(shop, "labels", **body)
    nothing = shop.client.post(
        f"/v1/collections/{shop.name}/labels", json={"filters": chosen, "label": SIGNAL}
    )

    assert again == done
    assert done["changed"]["by_person"] == 1
    assert shop.labels(shop.name)[SIGNALS[1]] == SIGNAL
    assert "no document fits" in refused(nothing, 422)["message"]


def test_all_that_filters_choose_is_refused_put_aside_or_called_new(shop: Shop) -> None:
    label(shop, **{BALLOONS[0]: BALLOON, JIGSAWS[0]: JIGSAW})
    named = {"field": "category", "operator": "eq", "value": BALLOON}
    unknown = {"field": "category", "operator": "is_null", "value": True}

    aside = post(shop, "rejections/cannot-tell", filters=unknown)
    refusal = post(shop, "rejections", filters=named)
    new = post(shop, "rejections/new-kind", filters=unknown, op_id="new")

    assert aside["changed"]["by_person"] == len(SIGNALS[:2])
    assert refusal["changed"]["by_person"] == len(BALLOONS[:4])
    assert new == post(shop, "rejections/new-kind", filters=unknown, op_id="new")
    neither = shop.client.post(f"/v1/collections/{shop.name}/rejections/cannot-tell", json={})
    assert refused(neither, 422)["code"] == "bad_input"


def test_an_answer_to_the_queue_settles_what_it_asked_about(shop: Shop) -> None:
    shop.put(*BALLOONS[4:], *JIGSAWS[4:], *SIGNALS[2:])
    first = get(shop, "queue", limit=3)["results"][0]
    asked = [one["document_id"] for one in first["documents"]]

    post(
        shop,
        "labels",
        asked=True,
        updates=[{"document_id": one, "label": "Named"} for one in asked],
    )
    after = get(shop, "queue", limit=20)["results"]

    again = {doc["document_id"] for one in after for doc in one["documents"]}
    assert again.isdisjoint(asked)
    assert get(shop, "analytics/coverage")["references"] == len(asked) > 0


def test_the_queue_asks_one_kind_of_question_and_counts_them_all(shop: Shop) -> None:
    whole = get(shop, "queue", limit=200)
    kinds = {one["kind"] for one in whole["results"]}

    parts = {kind: get(shop, "queue", limit=200, kind=kind) for kind in kinds}

    assert {kind: part["total"] for kind, part in parts.items()} == whole["kinds"]
    for kind, part in parts.items():
        assert {one["kind"] for one in part["results"]} == {kind}


def test_the_queue_stays_as_it_was_asked_for_while_it_is_answered(shop: Shop) -> None:
    shop.put(*BALLOONS[4:], *JIGSAWS[4:], *SIGNALS[2:])
    first = get(shop, "queue", limit=2)
    whole = get(shop, "queue", limit=200, snapshot=first["snapshot"])
    seeds = [one["documents"][0]["document_id"] for one in whole["results"]]
    label(shop, **{seeds[0]: "Named"})

    rest = get(shop, "queue", limit=200, snapshot=first["snapshot"], offset=first["next_offset"])
    again = get(shop, "queue", limit=200, snapshot=first["snapshot"])
    gone = shop.client.get(f"/v1/collections/{shop.name}/queue", params={"snapshot": "another"})

    shown = {doc["document_id"] for one in again["results"] for doc in one["documents"]}
    assert [one["documents"][0]["document_id"] for one in rest["results"]] == seeds[2:]
    assert seeds[0] not in shown and set(seeds[1:]) <= shown
    assert (whole["next_offset"], again["total"]) == (None, len(seeds))
    assert (gone.status_code, "another" in gone.text) == (404, True)


def test_cannot_tell_and_new_kind_are_answers(shop: Shop) -> None:
    label(shop, **{BALLOONS[0]: BALLOON})

    post(shop, "rejections/cannot-tell", document_ids=[SIGNALS[0]])
    post(shop, "rejections/new-kind", document_ids=[BALLOONS[1]])

    asked = {
        doc["document_id"]
        for one in get(shop, "queue", limit=50)["results"]
        for doc in one["documents"]
    }
    found = shop.document(shop.name, BALLOONS[1])
    assert SIGNALS[0] not in asked
    assert shop.document(shop.name, SIGNALS[0])["labels"]["category"]["answer"] == "cannot_tell"
    assert found["metadata"]["category"] is None
    assert found["labels"]["category"]["answer"] == "new_kind"


def test_why_names_the_witnesses_and_what_were_without_the_first(shop: Shop) -> None:
    label(shop, **{BALLOONS[0]: BALLOON})

    found = get(shop, f"documents/{BALLOONS[1]}/why")
    unsure = get(shop, f"documents/{SIGNALS[0]}/why")

    (witness, *_) = found["witnesses"]
    assert witness["match"]["document_id"] == BALLOONS[0]
    assert witness["match"]["label"] == BALLOON
    assert (witness["origin"], witness["actor"]) == ("human", "ann")
    assert found["counterfactual"] == {"without": BALLOONS[0], "label": None}
    assert found["standing"]["label"] == BALLOON
    assert unsure["standing"]["decision"]["reason"] == "below_threshold"
    assert unsure["counterfactual"] is None


def test_the_history_of_a_document_names_every_voice(shop: Shop) -> None:
    label(shop, **{BALLOONS[0]: BALLOON})
    post(shop, "rejections", document_id=BALLOONS[1])
    label(shop, **{BALLOONS[1]: "Ball"})

    events = get(shop, f"documents/{BALLOONS[1]}/history")["results"]
    operations = get(shop, "operations", limit=3)["results"]

    said = [(one["kind"], one["label"], one["origin"]) for one in events]
    assert [one for one in said if one[2] == "human"] == [
        ("rejected", BALLOON, "human"),
        ("labelled", "Ball", "human"),
    ]
    assert ("decided", BALLOON, "auto") in said
    assert [one["kind"] for one in operations] == ["label", "reject", "label"]
    assert operations[0]["id"] == events[-1]["operation"]


def test_coverage_and_references_are_reported(shop: Shop) -> None:
    label(shop, **{BALLOONS[0]: BALLOON, BALLOONS[1]: "Ball"})

    coverage = get(shop, "analytics/coverage")
    references = get(shop, "analytics/references")

    labels = list(shop.labels(shop.name).values())
    assert coverage["documents"] == 10
    assert coverage["coverage"] == pytest.approx(1 - labels.count(None) / 10)
    assert coverage["labelled"]["human"] == 2
    assert sum(coverage["nulls"].values()) == labels.count(None)
    assert sum(coverage["histogram"]) <= 10
    assert {one["label"] for one in references["labels"]} == {BALLOON, "Ball"}


def test_how_sure_the_machine_is_is_shown_with_what_other_limits_would_give(shop: Shop) -> None:
    label(shop, **{BALLOONS[0]: BALLOON, JIGSAWS[0]: JIGSAW})
    found = ok(shop.client.get(f"/v1/collections/{shop.name}/documents"))["results"]
    sure = [one["taxonomy_match"]["confidence"] for one in found if one["taxonomy_match"]]
    sure = [one for one in sure if one is not None]

    confidence = get(shop, "analytics/confidence")
    curve = get(shop, "analytics/curve")

    counted = [sum(bin["low"] <= one < bin["high"] for one in sure) for bin in confidence["bins"]]
    assert [bin["count"] for bin in confidence["bins"]] == counted
    for point in curve["points"]:
        count = sum(one >= point["limit"] for one in sure)
        assert (point["labelled"], point["coverage"]) == (count, pytest.approx((count + 2) / 10))
        assert point["precision"] is None, "a similarity is no probability"


def test_the_error_rate_is_unknown_until_chance_has_drawn_answers(shop: Shop) -> None:
    label(shop, **{BALLOONS[0]: BALLOON})

    rate = get(shop, "analytics/error-rate")

    assert (rate["checked"], rate["rate"], rate["low"], rate["high"]) == (0, None, None, None)


def test_what_limits_cost_is_told_where_there_are_probabilities(shop: Shop) -> None:
    label(shop, **{BALLOONS[0]: BALLOON})
    path = f"/v1/collections/{shop.name}/analytics/cost"

    of_similarities = refused(shop.client.get(path), 409)
    of_nothing = refused(shop.client.get(path, params={"wrong_costs": 0}), 422)

    assert "not probabilities" in of_similarities["message"]
    assert "wrong_costs is 0.0" in of_nothing["message"]


def test_people_contradict_each_other_and_the_queue_asks(shop: Shop) -> None:
    """Cat and dan say different things; who is asked for a second opinion sees neither."""
    for actor, name in (("cat", BALLOON), ("dan", JIGSAW)):
        said = {"labels": {BALLOONS[0]: name, BALLOONS[1]: BALLOON}, "actor": actor}
        ok(shop.client.post(f"/v1/collections/{shop.name}/verbs/label", json=said))

    path = f"/v1/collections/{shop.name}/queue"
    asked = ok(shop.client.get(path, params={"second_opinion": 0.2}))
    opinions = get(shop, f"documents/{BALLOONS[0]}/opinions")["results"]
    agreement = get(shop, "analytics/agreement")
    post(shop, "verbs/label", labels=dict.fromkeys(BALLOONS[:2], BALLOON), asked=True)
    later = ok(shop.client.get(path, params={"snapshot": asked["snapshot"]}))

    first, second = asked["results"][:2]
    assert (first["kind"], first["opinions"]) == ("conflict", opinions)
    assert [one["actor"] for one in opinions] == ["cat", "dan"]
    assert (second["kind"], second["opinions"]) == ("second_opinion", [])
    hidden = second["documents"][0]
    assert hidden["document_id"] == BALLOONS[1]
    assert (hidden["labels"]["category"]["label"], hidden["metadata"]["category"]) == (None, None)
    assert (agreement["shared"], agreement["agreed"]) == (2, 1)
    assert not {"conflict", "second_opinion"} & {one["kind"] for one in later["results"]}


@pytest.mark.parametrize("format", ["json", "jsonl", "csv"])
def test_an_export_has_every_document_with_its_scores(shop: Shop, format: str) -> None:
    shop.say(JIGSAWS[0], note='a "late", field', category=JIGSAW)

    done = post(shop, "export", format=format)
    text = patient.get(done["download_url"]).text

    assert done["document_count"] == 10
    assert done["file_size_bytes"] == len(text.encode())
    if format == "csv":
        rows = {one["document_id"]: one for one in csv.DictReader(io.StringIO(text))}
        assert rows[JIGSAWS[0]]["metadata.note"] == 'a "late", field'
        assert rows[BALLOONS[0]]["metadata.note"] == ""
        assert rows[JIGSAWS[1]]["metadata.category"] == JIGSAW
        assert float(rows[JIGSAWS[1]]["taxonomy_match.confidence"]) >= THRESHOLD
        return
    whole = json.loads(text) if format == "json" else list(map(json.loads, text.splitlines()))
    by_id = {one["document_id"]: one for one in whole}
    assert len(whole) == 10
    assert by_id[JIGSAWS[0]]["metadata"] == {"note": 'a "late", field', "category": JIGSAW}
    assert by_id[JIGSAWS[1]]["labels"]["category"]["origin"] == "auto"
    assert by_id[JIGSAWS[1]]["taxonomy_match"]["source_document_id"] == JIGSAWS[0]


def test_an_export_may_be_a_part_with_vectors(shop: Shop) -> None:
    label(shop, **{BALLOONS[0]: BALLOON})
    fields = ["document_id", "category", "taxonomy_match.confidence"]
    labelled = {"field": "category", "operator": "ne", "value": None}

    part = post(shop, "export", format="jsonl", filters=labelled, select_fields=fields)
    vectors = post(shop, "export", format="jsonl", include_vectors=True, sample_size=3)

    rows = [json.loads(line) for line in patient.get(part["download_url"]).text.splitlines()]
    assert [one.keys() == set(fields) for one in rows] == [True] * 4
    assert {one["category"] for one in rows} == {BALLOON}
    some = [json.loads(line) for line in patient.get(vectors["download_url"]).text.splitlines()]
    lengths = [np.linalg.norm(one["vector"]) for one in some]
    assert lengths == pytest.approx([1.0] * 3, abs=1e-2)


def test_documents_are_counted_and_grouped(shop: Shop) -> None:
    label(shop, **{BALLOONS[0]: BALLOON, JIGSAWS[0]: JIGSAW})
    labelled = {"field": "category", "operator": "ne", "value": None}

    count = get(shop, "documents/count", filters=json.dumps(labelled))
    distinct = post(shop, "documents/distinct", field="category")
    groups = post(
        shop,
        "documents/aggregate",
        group_by=[{"field": "category", "alias": "kind"}],
        aggregations=[
            {"function": "count", "alias": "n"},
            {"function": "min", "field": "taxonomy_match.confidence", "alias": "least"},
        ],
        sort_by="n",
        filters=labelled,
    )

    assert count["count"] == 8
    assert {one["value"]: one["count"] for one in distinct["values"]} == {BALLOON: 4, JIGSAW: 4}
    assert {one["group"]["kind"]: one["metrics"]["n"] for one in groups["results"]} == {
        BALLOON: 4,
        JIGSAW: 4,
    }
    assert all(one["metrics"]["least"] >= THRESHOLD for one in groups["results"])
