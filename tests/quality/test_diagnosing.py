"""Each cause of trouble, made on purpose in a small collection, is named, and nothing else is."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import lookalike
from goods import BALLOON, THRESHOLD, Shop, asking, item, ok, pictures
from lookalike import Collection, Library
from lookalike.cli.group import cli
from lookalike.quality.diagnosis.diagnose import CHECKS
from lookalike.quality.diagnosis.findings import (
    Checkup,
    Finding,
    Severity,
    Step,
    Symptom,
    most_telling_first,
)
from lookalike.testing.fakes import DIMENSION
from serving import Served

Vectors = NDArray[np.float64]


def clusters(kinds: int, each: int, spread: float = 0.3, seed: int = 0) -> Vectors:
    """`each` vectors around each of `kinds` centres, kind by kind in turn."""
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(kinds, DIMENSION))
    which = np.arange(kinds * each) % kinds
    return centres[which] + spread * chance.normal(size=(kinds * each, DIMENSION))


def filled(
    library: Library, vectors: Vectors, labelled: int, kinds: int, **rule: Any
) -> Collection:
    """A collection of vectors `v0`, `v1`, … of which the first are labelled by their kind."""
    things = library.labeler("things", extractor="passthrough", **rule)
    things.add(vectors=vectors, ids=[f"v{place}" for place in range(len(vectors))])
    things.label({f"v{place}": f"Kind {place % kinds}" for place in range(labelled)})
    return things


def causes(found: Checkup) -> list[str]:
    return [one.cause for one in found.findings]


def the(found: Checkup, cause: str) -> Finding:
    (one,) = (one for one in found.findings if one.cause == cause)
    return one


def do(step: Step, library: Library) -> str:
    """Type a command of a finding, in this store; it must end well."""
    first, *words = shlex.split(step.command)
    assert first == "lookalike"
    done = CliRunner().invoke(cli, ["--store", str(library.path), *words])
    assert done.exit_code == 0, (step.command, done.output, done.exception)
    return done.output


# --- a healthy collection -------------------------------------------------------------------------


def test_nothing_is_found_in_a_healthy_collection_that_calibrates(library: Library) -> None:
    things = filled(library, clusters(20, 24), 240, 20, target_precision=0.9)

    found = things.diagnose()

    assert found.findings == ()
    assert found.automatic > 100
    assert found.checked == tuple(check.__name__ for check in CHECKS)


def test_nothing_is_found_in_a_healthy_collection_with_a_threshold(library: Library) -> None:
    things = filled(library, clusters(6, 30), 60, 6, confidence_threshold=0.8)

    assert things.diagnose().findings == ()


# --- too many without a label ---------------------------------------------------------------------


def test_without_documents_that_is_said(library: Library) -> None:
    empty = library.labeler("empty", extractor="passthrough")

    (one,) = empty.diagnose().findings

    assert (one.cause, one.severity) == ("no_documents", Severity.STOPS)
    do(one.steps[0], library)


def test_without_references_one_is_told_to_answer(library: Library) -> None:
    things = filled(library, clusters(4, 10), 0, 4)

    (one,) = things.diagnose().findings

    assert (one.cause, one.symptom, one.share) == ("few_references", Symptom.NULLS, 1.0)
    assert "v" in do(one.steps[0], library)


def test_labels_with_few_references_that_nulls_lean_to_are_named(library: Library) -> None:
    vectors = clusters(4, 30, spread=0.5)
    things = library.labeler("things", extractor="passthrough", confidence_threshold=0.93)
    things.add(vectors=vectors, ids=[f"v{place}" for place in range(120)])
    many = {f"v{place}": f"Kind {place % 4}" for place in range(48) if place % 4}
    things.label({**many, "v0": "Kind 0"})

    one = the(things.diagnose(), "few_references")

    assert (one.labels, one.severity) == (("Kind 0",), Severity.COSTS)
    assert 0 < (one.share or 0) < 1


def test_references_that_repeat_each_other_are_one_sided(library: Library) -> None:
    vectors = clusters(3, 30, spread=0.4)
    twins = vectors[:1] + 0.0001 * np.random.default_rng(3).normal(size=(12, DIMENSION))
    things = filled(library, vectors, 45, 3, confidence_threshold=0.9)
    things.add(vectors=twins, ids=[f"twin{place}" for place in range(12)])
    things.label({f"v{place}": None for place in range(3, 45, 3)})
    things.label({f"twin{place}": "Kind 0" for place in range(12)})

    one = the(things.diagnose(), "one_sided_references")

    assert one.labels == ("Kind 0",)
    do(one.steps[0], library)


def test_a_limit_that_is_too_strict_for_the_space_is_lowered_by_the_command(
    library: Library,
) -> None:
    things = filled(library, clusters(6, 30), 60, 6, confidence_threshold=0.99)
    before = things.report().coverage

    found = things.diagnose()

    one = found.findings[0]
    assert (one.cause, one.symptom) == ("limit_too_strict", Symptom.NULLS)
    assert (one.share or 0) > 0.8
    do(one.steps[0], library)
    assert things.report().coverage > before + 0.5
    assert "limit_too_strict" not in causes(things.diagnose())


def test_a_target_that_costs_more_than_it_saves_is_lowered_by_the_command(
    library: Library,
) -> None:
    things = filled(library, clusters(20, 24, spread=1.0), 240, 20, target_precision=0.98)
    before = things.report().labelled["auto"]

    one = the(things.diagnose(), "limit_too_strict")

    do(one.steps[0], library)
    assert things.report().labelled["auto"] > before


def test_a_kind_that_nobody_named_is_found_under_a_threshold_too(library: Library) -> None:
    vectors = clusters(7, 30)
    things = library.labeler("things", extractor="passthrough", confidence_threshold=0.8)
    things.add(vectors=vectors, ids=[f"v{place}" for place in range(210)])
    things.label({f"v{place}": f"Kind {place % 7}" for place in range(84) if place % 7 < 6})

    (one,) = things.diagnose().findings

    assert one.cause == "new_categories"
    assert all(int(id[1:]) % 7 == 6 for id in one.ids)


def test_a_kind_that_nobody_named_is_found_among_the_nulls(library: Library) -> None:
    vectors = clusters(21, 24)
    kinds = np.arange(len(vectors)) % 21
    things = library.labeler("things", extractor="passthrough", target_precision=0.9)
    things.add(vectors=vectors, ids=[f"v{place}" for place in range(len(vectors))])
    things.label({f"v{place}": f"Kind {kinds[place]}" for place in range(252) if kinds[place] < 20})

    found = things.diagnose()

    one = found.findings[0]
    assert one.cause == "new_categories"
    assert all(kinds[int(id[1:])] == 20 for id in one.ids)
    for step in one.steps:
        do(step, library)
    assert things.document(one.ids[0]).standing.answer == "new_kind"


def test_labels_under_another_name_in_the_metadata_are_taken_by_the_command(
    library: Library,
) -> None:
    things = library.labeler("things", extractor="passthrough", confidence_threshold=0.8)
    metadata = [{"category": f"Kind {place % 3}", "sku": f"s{place}"} for place in range(15)]
    things.add(vectors=clusters(3, 5), ids=[f"v{place}" for place in range(15)], metadata=metadata)

    one = the(things.diagnose(), "label_not_passed_through")

    assert (one.share, "'category'" in one.seen) == (1.0, True)
    do(one.steps[0], library)
    assert things.report(field="category").references == 15


def test_documents_that_were_seen_badly_are_counted(library: Library) -> None:
    things = library.labeler("things", extractor="parts_listed", confidence_threshold=0.8)
    vectors = clusters(2, 10)
    parts = [
        {"key": f"p{place}", "vector": vector.tolist(), "attributes": {"low_quality": place >= 12}}
        for place, vector in enumerate(vectors)
    ]
    things.add([{"text": json.dumps(parts), "id": "all"}])
    ids = {one.part: one.id for one in things.documents()}
    things.label({ids[f"p{place}"]: f"Kind {place % 2}" for place in range(12)})

    (one,) = things.diagnose().findings

    assert (one.cause, one.share) == ("low_quality", 1.0)
    assert set(one.ids) < {ids[f"p{place}"] for place in range(12, 20)}
    do(one.steps[0], library)


def test_what_cannot_be_extracted_is_told_with_its_reason(library: Library, tmp_path: Path) -> None:
    things = library.labeler("things", extractor="parts_listed", confidence_threshold=0.8)
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "broken.txt"
    file.write_text("no JSON")
    (tmp_path / "in" / "good.txt").write_text(json.dumps([{"vector": [1.0] * DIMENSION}]))
    things.add(str(tmp_path / "in"))

    one = the(things.diagnose(), "failed_extraction")

    assert ("cannot read" in one.seen, len(one.ids), one.share) == (True, 1, 0.5)
    file.write_text(json.dumps([{"vector": [2.0] * DIMENSION}]))
    do(one.steps[0], library)
    assert things.report().failed == 0


# --- wrong labels ---------------------------------------------------------------------------------


def test_a_limit_that_is_too_loose_is_raised_by_the_command(library: Library) -> None:
    chance = np.random.default_rng(5)
    near = clusters(6, 20, spread=0.25)
    stray = chance.normal(size=(60, DIMENSION))
    vectors = np.concatenate([near, stray])
    things = library.labeler("things", extractor="passthrough", confidence_threshold=0.1)
    things.add(vectors=vectors, ids=[f"v{place}" for place in range(180)])
    things.label({f"v{place}": f"Kind {place % 6}" for place in range(90)})
    things.label({f"v{place}": f"Kind {chance.integers(6)}" for place in range(120, 150)})

    one = the(things.diagnose(), "limit_too_loose")

    assert (one.symptom, (one.share or 0) > 0.5) == (Symptom.WRONG, True)
    do(one.steps[0], library)
    assert "limit_too_loose" not in causes(things.diagnose())


def test_two_labels_that_are_taken_for_each_other_are_a_pair(library: Library) -> None:
    vectors = clusters(6, 30)
    things = library.labeler("things", extractor="passthrough", target_precision=0.9)
    things.add(vectors=vectors, ids=[f"v{place}" for place in range(180)])
    chance = np.random.default_rng(1)
    said = {0: ("Mug", "Cup")}
    things.label(
        {
            f"v{place}": str(chance.choice(said[0])) if place % 6 == 0 else f"Kind {place % 6}"
            for place in range(120)
        }
    )

    one = the(things.diagnose(), "confused_labels")

    assert set(one.labels) == {"Mug", "Cup"}
    assert one.share == pytest.approx(1.0, abs=0.1)
    for step in one.steps:
        do(step, library)


def test_a_wrong_reference_is_named_and_put_right_by_the_command(library: Library) -> None:
    things = filled(library, clusters(4, 40, spread=0.5), 80, 4)
    things.label({"v0": "Kind 1"})

    one = the(things.diagnose(), "bad_references")

    assert one.ids[0] == "v0"
    for step in one.steps:
        do(step, library)
    assert things.document("v0").label == "Kind 0"
    assert "bad_references" not in causes(things.diagnose())


def test_a_reference_that_caused_corrections_is_named(library: Library) -> None:
    known = library.labeler("known", extractor="passthrough", confidence_threshold=0.9)
    ids = [f"{kind}{place}" for kind in "abc" for place in range(6)]
    near = np.repeat(np.eye(3), 6, axis=0) + 0.05 * np.random.default_rng(0).normal(size=(18, 3))
    known.add(vectors=near, ids=ids)
    known.label({"a0": "A", "b0": "B", "c0": "C"})
    known.label({"a1": "B", "a2": "B"})

    one = the(known.diagnose(), "bad_references")

    assert "a0" in one.ids
    assert [step.command.split()[1] for step in one.steps] == ["why", "label"]
    for step in one.steps:
        do(step, library)


def test_references_that_contradict_their_duplicates_are_named(library: Library) -> None:
    things = filled(library, clusters(4, 40), 80, 4)
    vector = clusters(1, 1, seed=9)
    things.add(vectors=np.repeat(vector, 3, axis=0), ids=["one", "same", "again"])
    things.label({"one": "Kind 0", "same": "Kind 2"})

    one = the(things.diagnose(), "bad_references")

    assert {"one", "same"} <= set(one.ids)
    assert "1 groups of duplicates contradict each other" in one.seen


def test_documents_whose_object_changed_since_are_out_of_step(
    library: Library, tmp_path: Path
) -> None:
    things = library.labeler("things", extractor="parts_listed", confidence_threshold=0.8)
    file = tmp_path / "one.txt"
    file.write_text(json.dumps([{"vector": [1.0] * DIMENSION}]))
    things.add(str(file))
    things.label({next(things.documents()).id: "Kind 0"})
    file.write_text("no JSON any more")
    things.add(str(file))

    one = the(things.diagnose(), "out_of_step")

    assert one.ids == (next(things.documents()).id,)
    file.write_text(json.dumps([{"vector": [2.0] * DIMENSION}]))
    do(one.steps[0], library)
    assert "out_of_step" not in causes(things.diagnose())


def test_an_imported_label_that_is_not_that_of_the_object_is_out_of_step(
    library: Library,
) -> None:
    things = library.labeler("things", extractor="passthrough", confidence_threshold=0.9)
    metadata = [{"label": "Kind 0"}, {"label": "Kind 1"}, {"label": "Kind 1"}]
    things.add(vectors=np.eye(3), ids=["a", "b", "c"], metadata=metadata)
    things.import_labels([{"id": "a", "label": "Kind 1"}])
    things.label({"c": "Kind 0"})

    one = the(things.diagnose(), "out_of_step")

    assert one.ids == ("a",), "a person's word stands, whatever the object says"
    do(one.steps[0], library)


# --- it does not improve --------------------------------------------------------------------------


def test_vectors_that_cannot_tell_the_labels_apart_are_named(library: Library) -> None:
    vectors = np.random.default_rng(0).normal(size=(120, DIMENSION))
    things = filled(library, vectors, 80, 8)

    found = things.diagnose()

    one = found.findings[0]
    assert (one.cause, one.symptom, one.share) == ("cannot_tell_apart", Symptom.STUCK, 1.0)
    assert "confused_labels" not in causes(found)
    do(one.steps[0], library)


def test_another_extractor_is_tried_where_the_vectors_are_made_here(library: Library) -> None:
    things = library.labeler("things", extractor="word_lengths")
    chance = np.random.default_rng(0)
    words = ["a", "bb", "ccc", "dddd", "eeeee"]
    texts = [" ".join(chance.choice(words, 6)) for _ in range(40)]
    things.add([{"text": text, "id": f"t{place}"} for place, text in enumerate(texts)])
    things.label({f"t{place}": f"Kind {place % 5}" for place in range(30)})

    one = the(things.diagnose(), "cannot_tell_apart")

    assert one.steps[0].command == "lookalike migrate things --extractor text --dry-run"
    do(one.steps[0], library)


def test_answers_that_the_queue_picked_alone_prove_nothing(library: Library) -> None:
    things = library.labeler("things", extractor="passthrough")
    things.add(vectors=clusters(4, 40), ids=[f"v{place}" for place in range(160)])
    drawn = {one.documents[0].id for one in things.queue(limit=30) if len(one.documents) == 1}
    chosen = [place for place in range(160) if f"v{place}" not in drawn][:60]
    things.label({f"v{place}": f"Kind {place % 4}" for place in chosen}, asked=True)

    one = the(things.diagnose(), "only_asked_answers")

    assert (one.symptom, one.severity) == (Symptom.STUCK, Severity.STOPS)
    do(one.steps[0], library)


def test_too_few_answers_to_promise_anything_are_told_with_what_is_missing(
    library: Library,
) -> None:
    things = filled(library, clusters(4, 30), 12, 4, target_precision=0.99)

    one = the(things.diagnose(), "nothing_certain")

    assert "check 98 documents" in one.seen
    do(one.steps[0], library)


def test_answers_where_labels_do_not_vote_are_idle(library: Library) -> None:
    filled(library, clusters(4, 20), 40, 4, confidence_threshold=0.95)
    stock = library.labeler(
        "stock", extractor="passthrough", reference="things", confidence_threshold=0.95
    )
    stock.add(vectors=clusters(4, 10, seed=8), ids=[f"s{place}" for place in range(40)])
    stock.label({f"s{place}": f"Kind {place % 4}" for place in range(8)})

    one = the(stock.diagnose(), "idle_answers")

    assert (one.share, one.steps[0].command) == (1.0, "lookalike queue things")
    do(one.steps[0], library)


# --- how it is told -------------------------------------------------------------------------------


def test_what_explains_most_comes_first_then_what_does_most() -> None:
    def finding(cause: str, severity: Severity, share: float | None) -> Finding:
        return Finding(cause, Symptom.NULLS, severity, "", "", (), share=share)

    told = most_telling_first(
        [
            finding("note", Severity.NOTE, None),
            finding("stops", Severity.STOPS, None),
            finding("some", Severity.COSTS, 0.2),
            finding("most", Severity.COSTS, 0.7),
        ]
    )

    assert [one.cause for one in told] == ["most", "some", "stops", "note"]


def test_a_second_field_is_named_in_commands_and_requests(library: Library) -> None:
    things = filled(library, clusters(4, 10), 0, 4)
    library.add_taxonomy("things", "colour of it", confidence_threshold=0.9)

    (one,) = things.diagnose(field="colour of it").findings

    assert one.steps[0].command == "lookalike queue things --field 'colour of it'"
    assert one.steps[0].route == "GET /v1/collections/things/queue?field=colour+of+it"
    do(one.steps[0], library)


def test_the_command_line_tells_findings_with_commands_for_its_store(library: Library) -> None:
    filled(library, clusters(4, 10), 0, 4)
    store = str(library.path)

    done = CliRunner().invoke(cli, ["--store", store, "doctor", "things"])
    told = CliRunner().invoke(cli, ["--store", store, "doctor", "things", "--json"])

    first = "1. too many without a label (stops, 100% of the unlabelled): few_references"
    assert first in done.output
    assert f"→ lookalike --store {store} queue things" in done.output
    (one,) = json.loads(told.output)["findings"]
    assert one["steps"][0]["command"] == f"lookalike --store {store} queue things"


def test_a_field_needs_a_collection(library: Library) -> None:
    done = CliRunner().invoke(cli, ["--store", str(library.path), "doctor", "--field", "colour"])

    assert "needs a collection" in str(done.exception)


# --- over HTTP ------------------------------------------------------------------------------------


def test_the_server_and_its_client_tell_what_the_library_tells(tmp_path: Path) -> None:
    store = tmp_path / "served"
    with lookalike.open(store, actor="ann") as library:
        expected = filled(library, clusters(4, 40, spread=0.5), 80, 4)
        expected.label({"v0": "Kind 1"})
        told = expected.diagnose()

    with (
        Served(store) as served,
        asking(served.url) as client,
        lookalike.connect(served.url) as remote,
    ):
        things = remote.collection("things")
        assert things.diagnose() == told
        body = ok(client.get("/v1/collections/things/analytics/diagnosis"))
        assert [one["cause"] for one in body["findings"]] == causes(told)

        for step in the(told, "bad_references").steps:
            method, path = step.route.split(" ")
            ok(client.request(method, path, json=step.body))

        assert things.document("v0").label == "Kind 0"


def test_a_retriever_that_asks_for_no_label_is_put_right_by_the_request(tmp_path: Path) -> None:
    with Served(tmp_path / "served") as served, asking(served.url) as client:
        shop = Shop(client, "shop")
        shop.open()
        shop.collect("goods")
        shop.put(*pictures(BALLOON)[:3])
        search = {"stage_type": "feature_search", "top_k": 5}
        retriever = {
            "retriever_name": "labelled",
            "collection_identifiers": ["goods"],
            "stages": [search],
        }
        ok(client.post("/v1/retrievers", json=retriever))
        config = {
            "taxonomy_type": "flat",
            "retriever_id": "labelled",
            "field_to_enrich": "category",
            "confidence_threshold": THRESHOLD,
        }
        ok(client.post("/v1/taxonomies", json={"taxonomy_name": "kinds", "config": config}))
        applied = {"taxonomy_applications": [{"taxonomy_id": "kinds"}]}
        ok(client.patch("/v1/collections/goods", json=applied))

        def found() -> list[dict[str, Any]]:
            told = ok(client.get("/v1/collections/goods/analytics/diagnosis"))
            return [one for one in told["findings"] if one["cause"] == "retriever_without_filter"]

        (one,) = found()
        (step,) = one["steps"]
        method, path = step["route"].split(" ")
        ok(client.request(method, path, json=step["body"]))

        assert found() == []


def test_what_nobody_extracts_is_extracted_by_the_command(tmp_path: Path) -> None:
    store = tmp_path / "served"
    with (
        Served(store, arguments=["--no-worker"]) as served,
        asking(served.url) as client,
    ):
        shop = Shop(client, "shop")
        shop.open()
        shop.collect("goods", taxonomy={"field_to_enrich": "category"})
        ok(client.post("/v1/buckets/shop/objects", json=item(pictures(BALLOON)[0])))
    with lookalike.open(store) as library:
        goods = library.collection("goods")

        (one,) = goods.diagnose().findings

        assert (one.cause, "1 objects wait" in one.seen) == ("no_documents", True)
        do(one.steps[0], library)
        assert len(goods) == 1
