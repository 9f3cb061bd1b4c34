"""Labels declared before anyone gives them, and closed sets: these are all the labels there are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from playwright.sync_api import expect
from sqlalchemy import select, update

import lookalike
import patient
from browsing import Visit
from folded import assert_folded
from goods import ok, refused
from lookalike import Collection
from lookalike.cli.group import cli
from lookalike.errors import BadInput, Conflict, LookalikeError
from lookalike.model import Origin
from lookalike.stores import schema
from serving import Served

LABELS = ("Invoice", "Contract")
RULE: dict[str, Any] = {"extractor": "passthrough", "confidence_threshold": 0.6}
IDS = [f"{letter}{number}" for letter in "abc" for number in range(6)]
"""Two labels and a third group that neither of them is."""


def vectors(each: int = 6, *, seed: int = 0) -> Any:
    centres = np.random.default_rng(7).normal(size=(3, 16))
    return np.repeat(centres, each, 0) + 0.2 * np.random.default_rng(seed).normal(
        size=(3 * each, 16)
    )


def filled(library: Any, name: str = "papers", **more: Any) -> Any:
    made = library.labeler(name, **(RULE | more))
    made.add(vectors=vectors(), ids=IDS)
    return made


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


@pytest.fixture
def papers(library: lookalike.Library) -> Collection:
    """A closed set of two labels, with references of both."""
    made: Collection = filled(library, labels=LABELS, closed_set=True)
    made.label({"a0": "Invoice", "a1": "Invoice", "b0": "Contract"})
    return made


def names(collection: Any) -> list[str]:
    return [one.label for one in collection.label_tree().nodes if not one.retired]


def is_closed(collection: Any) -> bool:
    report, tree = collection.report(), collection.label_tree()
    assert report.closed_set == tree.closed_set
    return bool(tree.closed_set)


def shown(collection: Any) -> dict[str, tuple[Any, ...]]:
    return {one.id: (one.label, one.origin, one.confidence) for one in collection.documents()}


def folds(collection: Collection) -> None:
    with collection._runtime.store.read() as snapshot:
        assert_folded(snapshot)


# --- declared before the first answer -----------------------------------------------------------


def test_declared_labels_are_there_before_anyone_gives_them(library: lookalike.Library) -> None:
    made = library.labeler(
        "papers", **RULE, labels={"Invoice": "It asks for money.", "A > B": None}
    )

    tree = made.label_tree()
    assert [(one.label, one.description, one.all.references) for one in tree.nodes] == [
        ("A", "", 0),
        ("A > B", "", 0),
        ("Invoice", "It asks for money.", 0),
    ]
    assert made.report().per_label == {"A > B": {}, "Invoice": {}}
    assert not is_closed(made)
    made.add(vectors=vectors(), ids=IDS)
    made.label({"a0": "Something else"})
    assert names(made) == ["A", "A > B", "Invoice", "Something else"]


def test_the_same_call_again_changes_nothing_and_another_one_is_a_run(
    library: lookalike.Library,
) -> None:
    made = filled(library, labels=LABELS, closed_set=True)
    before = [one.id for one in made.operations()]

    again = library.labeler("papers", **RULE, labels=list(LABELS), closed_set=True)
    assert [one.id for one in again.operations()] == before
    library.labeler("papers", **RULE)
    assert is_closed(made)

    library.labeler("papers", **RULE, labels=["Receipt"])
    library.labeler(
        "papers", **RULE, labels={"Receipt": "It says what was paid."}, closed_set=False
    )

    assert [one.kind for one in made.operations()][:2] == ["run", "run"]
    assert names(made) == ["Contract", "Invoice", "Receipt"]
    assert not is_closed(made)
    assert made.label_tree().node("Receipt").description == "It says what was paid."


def test_a_run_declares_closes_and_is_undone(library: lookalike.Library) -> None:
    made = filled(library)
    made.label({"a0": "Invoice", "b0": "Contract"})
    before = shown(made)

    closed = made.run(closed_set=True, labels=["Invoice", "Contract", "Receipt"])

    assert is_closed(made)
    assert names(made) == ["Contract", "Invoice", "Receipt"]
    assert made.operations()[0].summary["closed_set"] is True
    made.undo(closed.operation)
    assert not is_closed(made)
    assert names(made) == ["Contract", "Invoice"]
    redone = made.undo(made.operations()[0].id)
    assert is_closed(made)
    assert names(made) == ["Contract", "Invoice", "Receipt"]
    opened = made.run(closed_set=False)
    assert (is_closed(made), opened.reopened) == (False, False)
    made.undo(opened.operation)
    assert is_closed(made)
    assert shown(made) == before
    assert redone.by_itself == 0
    folds(made)


def test_a_set_is_closed_over_the_labels_that_are_there(library: lookalike.Library) -> None:
    made = filled(library)
    made.label({"a0": "Invoice", "b0": "Contract > Lease"})
    said = made.label({"c0": "Receipt"})

    made.run(closed_set=True)

    assert names(made) == ["Contract", "Contract > Lease", "Invoice", "Receipt"]
    made.undo(said.operation)
    assert names(made) == ["Contract", "Contract > Lease", "Invoice", "Receipt"]
    made.label({"c1": "Receipt", "b1": "Contract"})


def test_under_the_policy_precision_it_is_decided_again_each_time(
    library: lookalike.Library,
) -> None:
    made = library.labeler("papers", extractor="passthrough")
    made.add(vectors=vectors(20), ids=[f"d{number}" for number in range(60)])
    made.label({f"d{number}": LABELS[number // 20] for number in range(40) if number % 20 < 6})
    open_rule, before = made.report(), shown(made)

    closed = made.run(closed_set=True)
    assert made.run().by_itself == 0
    opened = made.new_kind(["d40"])

    assert opened.reopened
    assert made.run().by_itself == 0
    made.undo(opened.operation)
    made.undo(closed.operation)
    assert (made.report().limit, shown(made)) == (open_rule.limit, before)
    folds(made)


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"closed_set": True}, "has no labels yet"),
        ({"closed_set": True, "labels": []}, "has no labels yet"),
        ({"labels": "Invoice"}, "give a list of labels"),
        ({"labels": ["Invoice", " "]}, "empty part"),
        ({"labels": [7]}, "a label is a text"),
        ({"labels": {"Invoice": 7}}, "a description is a text"),
        ({"labels": {"Invoice": "x" * 10_001}}, "give at most 10,000"),
    ],
)
def test_what_cannot_be_declared_is_refused_and_nothing_is_made(
    library: lookalike.Library, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        library.labeler("papers", **RULE, **values)
    assert (library.collections(), library.buckets()) == ([], [])

    made = filled(library)
    before = made.operations()
    with pytest.raises(BadInput, match=message):
        made.run(**values)
    assert made.operations() == before


def test_a_set_is_not_closed_while_documents_carry_other_labels(library: lookalike.Library) -> None:
    made = filled(library)
    made.label({"a0": "Invoice", "b0": "Contract", "c0": "Receipt", "c1": "Receipt"})
    made.import_labels([{"id": "c2", "label": "Ticket"}])
    made.describe_label("Bill")
    before, history = shown(made), made.operations()

    with pytest.raises(BadInput) as caught:
        made.run(closed_set=True, labels=LABELS, confidence_threshold=0.9)

    assert "'Bill' (0 documents), 'Receipt' (" in str(caught.value)
    assert "'Ticket' (" in str(caught.value)
    assert "give them too" in str(caught.value)
    with pytest.raises(BadInput, match="'Contract' \\("):
        made.run(closed_set=True, labels=[])
    assert (shown(made), made.operations(), is_closed(made)) == (before, history, False)
    made.run(closed_set=True, labels=[*LABELS, "Receipt", "Ticket", "Bill"])
    assert is_closed(made)


def test_a_set_is_not_closed_while_something_is_of_a_new_kind(library: lookalike.Library) -> None:
    made = filled(library)
    made.label({"a0": "Invoice"})
    made.new_kind(["c0"])

    with pytest.raises(BadInput, match="people marked 1 document as a new category"):
        made.run(closed_set=True)

    made.label({"c0": "Contract"})
    made.run(closed_set=True)


def test_a_label_outside_is_refused_with_the_nearest_names(papers: Collection) -> None:
    before, history = shown(papers), papers.operations()

    for label, hint in (
        ("invoise", "did you mean 'Invoice'?"),
        ("xyz", "known: Contract, Invoice"),
    ):
        with pytest.raises(BadInput) as labelled:
            papers.label({"a2": "Invoice", "c0": label})
        with pytest.raises(BadInput) as amended:
            papers.amend({"c0": {"label": label}})
        for caught in (labelled, amended):
            assert hint in str(caught.value)
            assert "`new_labels`" in str(caught.value)
    with pytest.raises(BadInput, match="not in the closed set"):
        papers.describe_label("Receipt")

    assert (shown(papers), papers.operations()) == (before, history)


def test_new_labels_are_added_in_the_same_operation_and_undone_with_it(papers: Collection) -> None:
    before = shown(papers)

    added = papers.label({"c0": "Receipt", "a2": "Invoice"}, new_labels=True)

    assert names(papers) == ["Contract", "Invoice", "Receipt"]
    assert is_closed(papers)
    papers.label({"c1": "Receipt"})
    papers.undo(papers.operations()[0].id)
    papers.undo(added.operation)
    assert (names(papers), shown(papers)) == (["Contract", "Invoice"], before)
    with pytest.raises(BadInput):
        papers.label({"c1": "Receipt"})
    papers.undo(papers.operations()[0].id)
    papers.label({"c1": "Receipt"})
    folds(papers)


def test_what_documents_carry_stays_in_the_set_though_its_adding_is_undone(
    papers: Collection,
) -> None:
    added = papers.run(labels=["Receipt"])
    papers.label({"c0": "Receipt"})

    papers.undo(added.operation)

    papers.label({"c1": "Receipt"})
    assert names(papers) == ["Contract", "Invoice", "Receipt"]


def test_rows_of_an_import_are_refused_one_by_one(papers: Collection) -> None:
    rows = [
        {"id": "a3", "label": "Invoice"},
        {"id": "c0", "label": "Invioce"},
        {"id": "b1", "label": "Contract"},
    ]

    changed = papers.import_labels(rows)

    assert changed.by_person == 2
    assert list(changed.refused) == ["row 2 (c0)"]
    assert "did you mean 'Invoice'?" in changed.refused["row 2 (c0)"]
    with pytest.raises(BadInput, match="not in the closed set"):
        papers.import_labels(rows[1:2])


def test_metadata_that_arrive_with_another_label_only_suggest_it(papers: Collection) -> None:
    papers.add(
        vectors=vectors(1),
        ids=["x", "y", "z"],
        metadata=[{"label": "Invoice"}, {"label": "Bill"}, {}],
    )

    arrived = {one.id: one.standing for one in papers.documents(ids=["x", "y"])}

    assert (arrived["x"].label, arrived["x"].origin) == ("Invoice", Origin.IMPORT)
    assert (arrived["y"].is_reference, arrived["y"].suggestion) == (False, "Bill")
    refusals = [one.summary["refused"] for one in papers.operations() if one.kind == "add"]
    assert any("'Bill' is not in the closed set" in one.get("y", "") for one in refusals)
    assert names(papers) == ["Contract", "Invoice"]


def test_a_field_whose_metadata_have_other_labels_is_not_made_closed(
    library: lookalike.Library,
) -> None:
    made = library.labeler("papers", **RULE)
    made.add(vectors=vectors(), ids=IDS, metadata=[{"kind": one[0]} for one in IDS])

    with pytest.raises(BadInput, match="'c' \\("):
        library.add_taxonomy(
            "papers", "kind", confidence_threshold=0.6, labels=["a", "b"], closed_set=True
        )
    assert made.fields == ("label",)

    library.labeler("papers", **RULE, field="kind", closed_set=True)

    assert made.label_tree(field="kind").closed_set
    assert not made.label_tree(field="label").closed_set
    assert [one.label for one in made.label_tree(field="kind").nodes] == ["a", "b", "c"]


def test_answers_of_audits_and_trials_keep_to_the_set(library: lookalike.Library) -> None:
    made = library.labeler("papers", extractor="passthrough", confidence_threshold=0.5)
    made.add(vectors=vectors(20), ids=[f"d{number}" for number in range(60)])
    made.label({"d0": "Invoice", "d20": "Contract"})
    made.run(closed_set=True)
    audit = made.audit(size=5)
    item = audit.waiting[0]
    trial = made.try_policy(confidence_threshold=0.99)
    (drawn,) = made.disagreements(trial.id, limit=1)

    with pytest.raises(BadInput, match="not in the closed set"):
        made.answer_audit(audit.id, labels={item: "Receipt"})
    with pytest.raises(BadInput, match="not in the closed set"):
        made.answer_trial(trial.id, labels={drawn: "Receipt"})

    made.answer_audit(audit.id, labels={item: "Contract"})


# --- a new kind ---------------------------------------------------------------------------------


def test_a_new_kind_reopens_the_set_and_undoing_it_closes_it_again(papers: Collection) -> None:
    before = shown(papers)

    answered = papers.new_kind(["c0", "c1"])

    assert answered.reopened
    assert not is_closed(papers)
    assert papers.operations()[0].summary["reopened"] is True
    papers.label({"c2": "Receipt"})
    papers.undo(papers.operations()[0].id)
    papers.undo(answered.operation)
    assert is_closed(papers)
    assert shown(papers) == before
    again = papers.undo(papers.operations()[0].id)
    assert (is_closed(papers), again.reopened) == (False, False)
    folds(papers)


def test_undoing_does_not_close_a_set_in_which_something_is_still_a_new_kind(
    papers: Collection,
) -> None:
    first = papers.new_kind(["c0"])
    second = papers.new_kind(["c1"])

    undone = papers.undo(first.operation)

    assert (second.reopened, undone.reopened, is_closed(papers)) == (False, True, False)
    folds(papers)


def test_an_answer_that_comes_back_reopens_the_set(library: lookalike.Library) -> None:
    made = filled(library)
    made.label({"a0": "Invoice", "b0": "Contract"})
    made.new_kind(["c0"])
    corrected = made.label({"c0": "Contract"})
    made.run(closed_set=True)

    undone = made.undo(corrected.operation)

    assert (undone.reopened, is_closed(made)) == (True, False)
    assert made.document("c0").label is None


def test_undoing_a_rule_neither_opens_nor_closes_a_set(library: lookalike.Library) -> None:
    made = filled(library)
    made.label({"a0": "Invoice", "b0": "Contract"})
    first, before = made.run(confidence_threshold=0.5), shown(made)
    closed = made.run(closed_set=True)
    strict = made.run(confidence_threshold=0.999)
    reopened = made.new_kind(["c0"])

    made.undo(strict.operation)
    assert {**shown(made), "c0": None} == {**before, "c0": None}
    made.undo(reopened.operation)
    assert (is_closed(made), made.report().limit) == (True, 0.5)
    made.undo(closed.operation)
    assert (is_closed(made), made.report().limit) == (False, 0.5)
    made.undo(first.operation)
    assert (is_closed(made), made.report().limit) == (False, 0.6)
    assert not made.as_of(first.operation).report().closed_set
    assert made.as_of(closed.operation).report().closed_set
    folds(made)


def test_what_was_learned_under_a_rule_that_is_undone_is_not_kept(
    library: lookalike.Library,
) -> None:
    made = library.labeler("papers", extractor="passthrough")
    chance = np.random.default_rng(3)
    kinds = np.repeat(np.random.default_rng(7).normal(size=(12, 16)), 40, 0)
    rows = kinds + 0.9 * chance.normal(size=kinds.shape)
    made.add(vectors=rows, ids=[f"d{number}" for number in range(480)])
    made.label({f"d{n}": f"Kind {n // 40:02}" for n in range(480) if n % 40 < 10})
    before = made.report().limit
    lax = made.run(target_precision=0.5)
    assert made.report().limit != before
    closed = made.run(closed_set=True)

    made.undo(lax.operation)

    strict, seen = made.report().limit, shown(made)
    made.undo(closed.operation)
    made.run(closed_set=True)
    assert (made.report().limit, shown(made)) == (strict, seen)


def test_not_this_and_cannot_tell_leave_the_set_closed(papers: Collection) -> None:
    papers.reject({"a2": "Invoice"})
    papers.cannot_tell(["c0"])

    assert is_closed(papers)


# --- labels that change themselves --------------------------------------------------------------


def test_the_set_follows_what_becomes_of_its_labels(papers: Collection) -> None:
    papers.rename_label("Contract", "Deal")
    assert papers.label({"b1": "Contract"}).renamed == {"Contract": "Deal"}
    papers.split_label("Invoice", {"Bill": ["a0"], "Reminder": ["a1"]})
    assert names(papers) == ["Bill", "Deal", "Reminder"]
    papers.label({"a0": None, "a1": "Bill"})
    assert names(papers) == ["Bill", "Deal", "Reminder"]
    with pytest.raises(BadInput, match="was split into"):
        papers.label({"a2": "Invoice"})
    papers.merge_labels(["Reminder", "Bill"], "Invoices")
    assert names(papers) == ["Deal", "Invoices"]
    retired = papers.retire_label("Deal")
    with pytest.raises(BadInput, match="is retired"):
        papers.label({"b2": "Deal"}, new_labels=True)
    assert names(papers) == ["Invoices"]
    papers.undo(retired.operation)
    papers.label({"b2": "Deal"})

    for operation in papers.operations():
        if operation.undone_by is None and operation.kind not in ("undo", "add", "create"):
            papers.undo(operation.id)
    assert (names(papers), is_closed(papers)) == (["Contract", "Invoice"], True)
    folds(papers)


def test_a_forgotten_label_leaves_the_set_and_the_ledger(papers: Collection) -> None:
    papers.label({"c0": "Mr Smith"}, new_labels=True)

    papers.forget(label="Mr Smith")

    assert names(papers) == ["Contract", "Invoice"]
    with papers._runtime.store.read() as snapshot:
        details = json.dumps([row.detail for row in snapshot.rows(select(schema.event))])
        summaries = json.dumps([row.summary for row in snapshot.rows(select(schema.operation))])
    assert "Smith" not in details + summaries


def test_a_separator_and_an_alias_are_read_as_the_label(library: lookalike.Library) -> None:
    made = filled(library, "papers")
    library.add_taxonomy(
        *("papers", "place"),
        confidence_threshold=0.6,
        separator="/",
        labels=["Asia/Japan", "Europe"],
        closed_set=True,
    )
    made.describe_label("Europe", aliases=["EU"], field="place")

    changed = made.label({"a0": "Asia/Japan", "b0": "EU"}, field="place")

    assert changed.renamed["EU"] == "Europe"
    tree = made.label_tree(field="place")
    assert [one.label for one in tree.nodes] == ["Asia", "Asia > Japan", "Europe"]


# --- where else a rule goes ---------------------------------------------------------------------


def test_the_labels_of_production_are_those_of_the_curated_collection(
    library: lookalike.Library, papers: Collection
) -> None:
    stock = filled(library, "stock", reference="papers", closed_set=True)
    papers.run(closed_set=False)

    assert (is_closed(stock), is_closed(papers)) == (True, False)
    with pytest.raises(BadInput, match="not in the closed set"):
        stock.label({"c0": "Receipt"})
    papers.label({"c0": "Receipt"})
    stock.label({"c0": "Receipt"})
    assert stock.new_kind(["c1"]).reopened
    assert (is_closed(stock), is_closed(papers)) == (False, False)


def test_a_point_in_the_past_has_its_set_and_a_version_brings_it_back(papers: Collection) -> None:
    papers.keep_version("closed")
    papers.run(closed_set=False)
    papers.label({"c0": "Receipt"})

    assert papers.as_of("closed").report().closed_set
    assert papers.compare_versions("closed").policy == {"closed_set": (True, False)}
    papers.run(version="closed")

    assert is_closed(papers)
    assert names(papers) == ["Contract", "Invoice", "Receipt"]
    with pytest.raises(BadInput, match="either a version or a policy"):
        papers.run(version="closed", closed_set=True)


def test_a_trial_keeps_the_set(papers: Collection) -> None:
    trial = papers.try_policy(confidence_threshold=0.9)

    papers.adopt_trial(trial.id)

    assert is_closed(papers)


def test_a_store_without_the_flag_opens_as_open(library: lookalike.Library) -> None:
    made = filled(library)
    made.label({"a0": "Invoice"})
    with library.runtime.store.write() as txn:
        (row,) = txn.rows(select(schema.field))
        old = {name: value for name, value in row.taxonomy.items() if name != "closed_set"}
        txn.execute(update(schema.field).values(taxonomy=old))

    assert not is_closed(made)
    trial = made.try_policy(confidence_threshold=0.9)
    assert trial.state == "open"
    made.run(closed_set=True)
    assert is_closed(made)


def test_an_operation_named_before_is_done_once(papers: Collection) -> None:
    once = papers.label({"c0": "Receipt"}, new_labels=True, op_id="one")
    again = papers.label({"c0": "Receipt"}, new_labels=True, op_id="one")
    assert once == again
    with pytest.raises(Conflict):
        papers.label({"c0": "Receipt"}, op_id="one")
    assert papers.run(labels=["A"], op_id="two") == papers.run(labels=["A"], op_id="two")


# --- the other doors ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = tmp_path_factory.mktemp("closed_sets") / "store"
    with Served(store, environment={"LOOKALIKE_ACTOR": "ann"}) as served:
        yield served


def test_a_client_closes_a_set_as_the_library_does(
    server: Served, library: lookalike.Library
) -> None:
    told: list[list[Any]] = []
    with lookalike.connect(server.url) as remote:
        for here in (library, remote):
            lines: list[Any] = []

            def refusal(say: Any) -> str:
                with pytest.raises(LookalikeError) as caught:
                    say()
                return f"{type(caught.value).__name__}: {caught.value}"

            lines.append(refusal(lambda here=here: here.labeler("remote", **RULE, closed_set=True)))
            made = filled(
                here, "remote", labels={"Invoice": "Pay!", "Contract": None}, closed_set=True
            )
            lines += [names(made), is_closed(made), made.label_tree().node("Invoice").description]
            lines.append(refusal(lambda made=made: made.label({"c0": "Invioce"})))
            made.label({"c0": "Receipt"}, new_labels=True)
            lines += [names(made), made.new_kind(["c1"]).reopened, is_closed(made)]
            lines.append(refusal(lambda made=made: made.run(closed_set=True, labels=LABELS)))
            made.label({"c1": "Receipt"})
            lines.append(refusal(lambda made=made: made.run(closed_set=True, labels=LABELS)))
            made.run(closed_set=True, labels=(*LABELS, "Receipt"))
            here.add_taxonomy("remote", "kind", labels=["A"], closed_set=True)
            lines += [is_closed(made), made.label_tree(field="kind").closed_set]
            told.append(lines)

    assert told[0] == told[1]


def made_there(server: Served, name: str, taxonomy: dict[str, Any]) -> dict[str, Any]:
    ok(patient.post(f"{server.url}/v1/buckets", json={"bucket_name": name, "bucket_schema": {}}))
    body = {
        "collection_name": name,
        "source": {"type": "bucket", "bucket_id": name},
        "feature_extractor": {"feature_extractor_name": "passthrough"},
        "taxonomy": {"field_to_enrich": "label", "confidence_threshold": 0.6, **taxonomy},
    }
    return ok(patient.post(f"{server.url}/v1/collections", json=body))


def test_the_routes_make_show_change_and_refuse_closed_sets(server: Served) -> None:
    made = made_there(
        server, "routes", {"labels": {"Invoice": "Pay!", "Contract": None}, "closed_set": True}
    )
    place, taxonomy = (
        f"{server.url}/v1/collections/routes",
        f"{server.url}/v1/taxonomies/routes_label",
    )
    (field,) = made["fields"]
    assert (field["closed_set"], field["labels"]) == (True, ["Contract", "Invoice"])
    config = ok(patient.get(taxonomy))["config"]
    assert (config["closed_set"], config["labels"]) == (True, {"Invoice": "Pay!", "Contract": None})
    assert [one["label"] for one in ok(patient.get(taxonomy))["nodes"]] == ["Contract", "Invoice"]
    tree = ok(patient.get(f"{taxonomy}/labels"))
    assert tree["closed_set"]
    assert [(one["label"], one["description"]) for one in tree["labels"]] == [
        ("Contract", ""),
        ("Invoice", "Pay!"),
    ]
    assert ok(patient.get(f"{place}/analytics/coverage"))["closed_set"]
    with lookalike.connect(server.url) as remote:
        remote.collection("routes").add(vectors=vectors(), ids=IDS)

    def label(id: str, label: str, **more: Any) -> Any:
        said = {"updates": [{"document_id": id, "label": label}], **more}
        return patient.post(f"{place}/labels", json=said)

    ok(label("a0", "Invoice"))
    error = refused(label("c0", "Invioce"), 422)
    assert (error["code"], "did you mean 'Invoice'?" in error["message"]) == ("bad_input", True)
    patched = patient.patch(f"{place}/documents/c0", json={"metadata": {"label": "Bill"}})
    assert "not in the closed set" in refused(patched, 422)["message"]
    ok(label("c0", "Receipt", new_labels=True))
    rows = [{"id": "a1", "label": "Invoice"}, {"id": "c1", "label": "Bill"}]
    imported = ok(patient.post(f"{place}/labels/import", json={"rows": rows}))["changed"]
    assert (imported["by_person"], list(imported["refused"])) == (1, ["row 2 (c1)"])
    answer = ok(patient.post(f"{place}/rejections/new-kind", json={"document_ids": ["c1"]}))
    assert answer["changed"]["reopened"]
    assert not ok(patient.get(place))["fields"][0]["closed_set"]
    again = patient.patch(place, json={"taxonomy": {"closed_set": True}})
    assert "a new category" in refused(again, 422)["message"]
    ok(patient.post(f"{server.url}/v1/operations/{answer['operation_id']}/undo"))
    opened = ok(patient.patch(place, json={"taxonomy": {"closed_set": False, "labels": ["Bill"]}}))
    (field,) = opened["fields"]
    assert (field["closed_set"], field["confidence_threshold"]) == (False, 0.6)
    assert field["labels"] == ["Bill", "Contract", "Invoice", "Receipt"]


def test_the_routes_refuse_what_is_no_set_and_make_nothing(server: Served) -> None:
    bucket = {"bucket_name": "nothing", "bucket_schema": {}}
    ok(patient.post(f"{server.url}/v1/buckets", json=bucket))

    def make(**taxonomy: Any) -> Any:
        body = {
            "collection_name": "nothing",
            "source": {"type": "bucket", "bucket_id": "nothing"},
            "feature_extractor": {"feature_extractor_name": "passthrough"},
            "taxonomy": {"field_to_enrich": "label", **taxonomy},
        }
        return patient.post(f"{server.url}/v1/collections", json=body)

    assert "no labels yet" in refused(make(closed_set=True), 422)["message"]
    assert refused(make(labels="Invoice"), 422)["code"]
    assert refused(make(labels=[" "]), 422)["code"] == "bad_input"
    several = make(field_to_enrich=["one", "two"], labels=["Invoice"])
    assert "one field alone" in refused(several, 422)["message"]
    assert patient.get(f"{server.url}/v1/collections/nothing").status_code == 404


def test_a_named_taxonomy_and_a_clone_carry_the_set(server: Served) -> None:
    made_there(server, "first", {"labels": ["Invoice"], "closed_set": True})
    config = {"field_to_enrich": "kind", "labels": ["A", "B"], "closed_set": True}
    named = {"taxonomy_name": "kinds", "config": config}
    ok(patient.post(f"{server.url}/v1/taxonomies", json=named))
    place = f"{server.url}/v1/collections/first"
    applied = {"taxonomy_applications": [{"taxonomy_id": "kinds"}]}

    fields = ok(patient.patch(place, json=applied))["fields"]
    cloned = ok(patient.post(f"{place}/clone", json={"collection_name": "second"}))["collection"]

    for shown in (fields, cloned["fields"]):
        assert {one["field"]: (one["closed_set"], one["labels"]) for one in shown} == {
            "label": (True, ["Invoice"]),
            "kind": (True, ["A", "B"]),
        }


def test_a_version_of_a_taxonomy_that_is_applied_declares_and_closes(
    server: Served,
) -> None:
    made_there(server, "applied", {"labels": ["Invoice"]})
    named = {"taxonomy_name": "sorts", "config": {"field_to_enrich": "kind", "labels": ["A"]}}
    ok(patient.post(f"{server.url}/v1/taxonomies", json=named))
    place = f"{server.url}/v1/collections/applied"
    ok(patient.patch(place, json={"taxonomy_applications": [{"taxonomy_id": "sorts"}]}))
    config = {"field_to_enrich": "kind", "labels": {"B": "The second."}, "closed_set": True}

    def follow(config: dict[str, Any]) -> tuple[str, str]:
        ok(patient.post(f"{server.url}/v1/taxonomies/sorts/versions", json={"config": config}))
        task = ok(patient.post(f"{place}/apply-taxonomy", json={"taxonomy_id": "sorts"}))
        return ended(server, task["task_id"])

    status, error = follow(config)
    assert (status, "'A' (0 documents)" in error) == ("FAILED", True)
    status, error = follow(config | {"labels": {"A": None, "B": "The second."}})
    assert status == "COMPLETED", error
    fields = {one["field"]: one for one in ok(patient.get(place))["fields"]}
    assert (fields["kind"]["closed_set"], fields["kind"]["labels"]) == (True, ["A", "B"])
    assert not fields["label"]["closed_set"]


def ended(server: Served, task: str) -> tuple[str, str]:
    while True:
        told = ok(patient.get(f"{server.url}/v1/tasks/{task}"))
        if told["status"] not in ("PENDING", "PROCESSING"):
            return told["status"], str(told.get("error"))


def test_declared_labels_have_numbers_on_the_page_before_the_first_answer(
    server: Served, visit: Callable[..., Visit]
) -> None:
    with lookalike.connect(server.url) as remote:
        filled(remote, "onpage", labels=LABELS, closed_set=True)
    page = visit(server.url).tab("#/review?c=onpage")
    numbered = page.get_by_role("group", name="Labels by number").get_by_role("button")

    expect(numbered).to_have_text(["1 Contract", "2 Invoice"])
    page.keyboard.press("2")
    expect(page.get_by_role("status")).to_contain_text("by you")

    with lookalike.connect(server.url) as remote:
        made = remote.collection("onpage")
        assert {one.label for one in made.documents(origin="human")} == {"Invoice"}


def test_the_command_line_closes_opens_and_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("LOOKALIKE_ACTOR", "ann")

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli, list(words))
        assert (done.exit_code == 0) == (code == 0), done.output
        return done.output if code == 0 else str(done.exception)

    options = ("--extractor", "passthrough", "--confidence-threshold", "0.6")
    assert "no labels yet" in run("create", "papers", *options, "--closed-set", code=1)
    made = run(
        *("create", "papers", *options),
        *("--labels", 'Invoice, "Bill, paid"', "--labels", "Contract", "--closed-set"),
    )
    assert "closed set: no other labels are allowed" in made
    assert "       0  Bill, paid\n" in made
    assert "papers.label, a closed set (" in run("labels", "tree", "papers")
    with lookalike.open(tmp_path / "store") as library:
        library.collection("papers").add(vectors=vectors(), ids=IDS)
    assert "did you mean 'Invoice'?" in run("label", "papers", "c0", "Invioce", code=1)
    run("label", "papers", "c0", "Receipt", "--new-labels")
    told = run("new-kind", "papers", "c1")
    assert "the closed label set is open again" in told
    run("undo", "papers")
    opened = run("run", "papers", "--open-set", "--labels", "Ticket")
    assert "undo with: op_" in opened
    tree = json.loads(run("labels", "tree", "papers", "--json"))
    assert (tree["closed_set"], tree["nodes"][-1]["label"]) == (False, "Ticket")
    left_out = run("run", "papers", "--closed-set", "--labels", "Invoice", code=1)
    assert "'Contract' (0 documents)" in left_out
    run("run", "papers", "--closed-set")
    (tmp_path / "some.csv").write_text("id,label\na0,Invoice\nc2,Unknown\n")
    assert "refused: 1 × 'Unknown' is not" in run(
        "label", "papers", "--from", str(tmp_path / "some.csv")
    )


# --- the estimator ------------------------------------------------------------------------------


def test_the_estimator_takes_a_closed_set() -> None:
    from lookalike import LookalikeClassifier

    model = LookalikeClassifier(closed_set=True)
    assert model.get_params()["closed_set"] is True

    rows = vectors(20)[:40]
    given: list[Any] = [LABELS[n // 20] if n % 20 < 6 else None for n in range(40)]
    model.fit(rows, given)

    assert model.score(rows, [LABELS[n // 20] for n in range(40)]) == 1.0


def test_two_answers_in_a_small_closed_set_leave_what_labelled_itself(
    library: lookalike.Library,
) -> None:
    chance = np.random.default_rng(0)
    kinds = np.arange(120) % 3
    rows = 3 * chance.standard_normal((3, 24))[kinds] + chance.standard_normal((120, 24))
    made = library.labeler(
        "spots", extractor="passthrough", labels=["a", "b", "c"], closed_set=True
    )
    made.add(vectors=rows, ids=[f"v{number}" for number in range(120)])
    made.label({f"v{number}": "abc"[kinds[number]] for number in range(30)})
    before = made.report().labelled["auto"]

    for question in made.queue(limit=2):
        made.label(
            {one.id: "abc"[kinds[int(one.id[1:])]] for one in question.documents}, asked=True
        )

    assert before >= 80
    assert made.report().labelled["auto"] >= before / 2
    assert not any("share of unknown categories" in one for one in made.report().missing)
