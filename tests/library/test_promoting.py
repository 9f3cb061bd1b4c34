"""Promotion: seen before it is done, by what an audit found right, undone as a whole."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_audits import fill, truth

import lookalike
import patient
from goods import ok
from lookalike.cli.group import cli
from serving import Served


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


def labels(collection: Any) -> dict[str, tuple[Any, ...]]:
    return {
        one.id: (one.label, one.origin, one.confidence, one.standing.is_reference)
        for one in collection.documents()
    }


def separate(library: Any) -> tuple[Any, Any]:
    """A curated collection with references, and a stock that refers to it."""
    from test_labelling import blobs

    curated = fill(library, "curated")
    stock = library.labeler(
        "stock", extractor="passthrough", reference="curated", confidence_threshold=0.1
    )
    vectors, _ = blobs(360, kinds=3, width=1.1)
    stock.add(vectors=vectors[300:], ids=[f"s{number}" for number in range(60)])
    return curated, stock


def test_a_preview_tells_what_promoting_then_does_and_writes_nothing(
    library: lookalike.Library,
) -> None:
    things = fill(library)
    ids = ["v0", *things.ids(origin="auto")[:20]]
    before, operations = labels(things), things.operations()

    seen = things.promote(ids, preview=True)

    assert (seen.operation, seen.revision) == ("", 0)
    assert labels(things) == before
    assert things.operations() == operations
    done = things.promote(ids)
    assert done.promoted == seen.promoted
    assert sum(done.promoted.values()) == done.by_person == seen.by_person == 20
    assert done.refused == seen.refused == {"v0": "its label is human, not auto"}
    assert (done.labelled, done.relabelled) == (seen.labelled, seen.relabelled)
    assert done.by_itself == seen.by_itself > 0
    after = labels(things)
    changed = sum(after[id][0] != before[id][0] for id in after)
    assert changed == done.by_itself
    things.undo(done.operation)
    assert labels(things) == before


def test_only_what_an_audit_found_right_is_promoted_when_that_is_asked(
    library: lookalike.Library,
) -> None:
    things = fill(library)
    audit = things.audit(30)
    right, wrong, *others = audit.waiting
    things.answer_audit(audit.id, right=[right], wrong=[wrong])
    things.close_audit(audit.id)

    done = things.promote([right, wrong, *others[:2]], audited_only=True)

    assert done.by_person == 1
    assert things.document(right).origin == "promoted"
    assert set(done.refused) == {wrong, *others[:2]}
    assert set(done.refused.values()) == {"no audit has found its label right"}


def test_in_separate_mode_one_operation_copies_and_undo_takes_all_of_it_back(
    library: lookalike.Library,
) -> None:
    curated, stock = separate(library)
    ids = stock.ids(origin="auto")[:6]
    before = labels(stock)
    references = curated.report().references

    seen = stock.promote(ids, preview=True)
    assert (len(curated), curated.report().references) == (300, references)
    done = stock.promote(ids)

    assert (seen.by_person, seen.promoted) == (done.by_person, done.promoted)
    assert (len(curated), curated.report().references) == (306, references + 6)
    assert {one.origin for one in curated.documents(ids=ids)} == {"promoted"}
    stock.undo(done.operation)
    assert curated.report().references == references
    assert {one.standing.is_reference for one in curated.documents(ids=ids)} == {False}
    assert labels(stock) == before


def test_the_command_line_previews(
    library: lookalike.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_STORE", str(library.path))
    things = fill(library)
    id = things.ids(origin="auto")[0]

    shown = CliRunner().invoke(cli, ["promote", "things", id, "--preview"])

    assert shown.exit_code == 0, shown.output
    assert "nothing was written" in shown.output and "promoted" in shown.output
    refused = CliRunner().invoke(cli, ["promote", "things", id, "--audited-only", "--json"])
    assert json.loads(refused.output)["refused"] == {id: "no audit has found its label right"}
    assert things.document(id).origin == "auto"


def test_the_server_previews_and_promotes_into_the_curated_collection(tmp_path: Path) -> None:
    with Served(tmp_path / "store") as server, lookalike.connect(server.url) as remote:
        curated, stock = separate(remote)
        place = f"{server.url}/v1/collections/stock/promotions"
        body = {"filters": {"field": "label_source", "operator": "eq", "value": "auto"}}
        some = {"document_ids": stock.ids(origin="auto")[:5]}

        seen = ok(patient.post(place, json={**some, "preview": True}))
        assert len(curated) == 300
        assert ok(patient.post(place, json={**body, "limit_per_label": 1, "preview": True}))
        far = stock.promote(some["document_ids"], preview=True)
        done = ok(patient.post(place, json=some))

        assert (seen["operation_id"], seen["changed"]["by_person"]) == ("", 5)
        assert far.promoted == seen["changed"]["promoted"] == done["changed"]["promoted"]
        assert len(curated) == 305
        assert {truth("v0")} <= {one.label for one in curated.documents()}
