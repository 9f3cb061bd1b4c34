"""Versions and the past of a collection: what it was is shown, and decided again, to the digit."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import select
from test_labelling import blobs
from test_remote import shape

import lookalike
import patient
from goods import ok, refused
from lookalike.cli.group import cli
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.library.collection.history import Past
from lookalike.library.remote.collection import RemotePast
from lookalike.model import Changed, Document
from lookalike.stores import schema
from serving import Served

COUNT = 130


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


def filled(library: Any, name: str = "things", count: int = COUNT, **rule: Any) -> Any:
    """Vectors `v0` … of a dozen kinds, two thirds of the first ninety labelled."""
    collection = library.labeler(name, extractor="passthrough", **rule)
    add(collection, 0, count)
    collection.label({f"v{number}": truth(number) for number in range(60)})
    return collection


def add(collection: Any, start: int, stop: int) -> None:
    vectors, _ = blobs(300, kinds=12, width=0.8)
    ids = [f"v{number}" for number in range(start, stop)]
    collection.add(vectors=vectors[start:stop], ids=ids)


def truth(number: int) -> str:
    _, kind = blobs(300, kinds=12, width=0.8)
    return f"Kind > {kind[number]}"


def state(collection: Any) -> dict[str, Document]:
    """All that is shown of each document."""
    return {one.id: one for one in collection.documents()}


# --- the past is what was -----------------------------------------------------------------------


def act(collection: Any, chance: np.random.Generator, done: list[str]) -> None:
    """Do something at random that people do."""
    ids = collection.ids()
    id, other = (str(one) for one in chance.choice(ids, 2, replace=False))
    kind = f"Kind > {chance.integers(12)}"
    what = int(chance.integers(10))
    if what < 3:
        done.append(collection.label({id: kind, other: kind}).operation)
    elif what == 3:
        done.append(collection.reject({id: kind}).operation)
    elif what == 4:
        done.append(collection.new_kind([id]).operation)
    elif what == 5:
        done.append(collection.cannot_tell([id]).operation)
    elif what == 6 and done:
        done.append(collection.undo(done.pop(int(chance.integers(len(done))))).operation)
    elif what == 7:
        automatic = collection.ids(origin="auto")
        done.append(collection.promote(automatic[:2]).operation)
    elif what == 8:
        row = {"id": id, "label": kind}
        done.append(collection.import_labels([row], trusted=bool(chance.integers(2))).operation)
    else:
        add(collection, len(ids), len(ids) + 3)


@pytest.mark.parametrize(
    ("seed", "rule"),
    [(0, {"confidence_threshold": 0.5}), (1, {"target_precision": 0.7})],
)
def test_each_version_is_shown_as_it_was_whatever_was_done_since(
    library: lookalike.Library, seed: int, rule: dict[str, Any]
) -> None:
    chance = np.random.default_rng(seed)
    things, done, kept = filled(library, **rule), list[str](), dict[str, Any]()

    for number in range(6):
        for _ in range(4):
            act(things, chance, done)
        name = f"version {number}"
        things.keep_version(name)
        kept[name] = (state(things), things.report(), list(things.rows()))

    for name, (documents, report, rows) in kept.items():
        past = things.as_of(name)
        assert differing(state(past), documents) == {}
        assert replace(past.report(), waiting=0) == replace(report, waiting=0)
        assert list(past.rows()) == rows
        assert past.ids(order_by="-confidence") == [
            one.id for one in sorted(documents.values(), key=surest)
        ]


def surest(one: Document) -> tuple[float, int]:
    return (2 if one.confidence is None else -one.confidence, int(one.id[1:]))


def differing(past: dict[str, Document], then: dict[str, Document]) -> dict[str, Any]:
    assert past.keys() == then.keys()
    return {id: (past[id], then[id]) for id in then if past[id] != then[id]}


# --- deciding again -----------------------------------------------------------------------------


def decided(collection: Any) -> dict[str, Any]:
    """The machine's decision on each document that is its to decide."""
    return {
        one.id: (one.label, one.confidence, one.margin, one.standing.decision.runner_up, one.reason)
        for one in collection.documents()
        if one.origin in (None, "auto") and one.standing.answer != "new_kind"
    }


def redecided(past: Any) -> dict[str, Any]:
    return {
        id: (one.label, one.confidence, one.margin, one.runner_up, one.reason)
        for id, one in past.decide().decisions.items()
    }


@pytest.mark.parametrize("rule", [{"confidence_threshold": 0.5}, {"target_precision": 0.7}])
def test_a_retired_version_reproduces_its_decisions_to_the_digit(
    library: lookalike.Library, rule: dict[str, Any]
) -> None:
    things = filled(library, count=200, **rule)
    things.reject({"v150": truth(150)})
    things.keep_version("first")
    then = decided(things)
    things.label({f"v{number}": truth(number) for number in range(60, 100)})
    things.run(target_precision=0.9)
    things.retire_version("first")

    past = things.as_of("first")

    assert [one.name for one in things.versions()] == []
    assert len({label for label, *_ in then.values()}) >= 3
    assert decided(things) != then
    assert decided(past) == then
    assert redecided(past) == then


def test_an_old_rule_is_tried_on_what_came_since_and_nothing_is_recorded(
    library: lookalike.Library,
) -> None:
    things = filled(library, confidence_threshold=0.3)
    things.keep_version("first")
    things.label({f"v{number}": "Other" for number in range(60, 70)})
    add(things, COUNT, COUNT + 30)
    before = state(things)

    told = things.as_of("first").decide()

    assert {f"v{number}" for number in range(COUNT, COUNT + 30)} <= told.decisions.keys()
    assert "Other" not in {one.label for one in told.decisions.values()}
    moved = sum(map(sum, (told.labelled.values(), told.relabelled.values())))
    assert moved + sum(told.unlabelled.values()) + told.same == len(
        things.ids(origin="auto")
    ) + len(things.ids(origin=None))
    assert state(things) == before


def test_an_old_policy_decides_again_as_an_operation_that_is_undone(
    library: lookalike.Library,
) -> None:
    things = filled(library, confidence_threshold=0.5)
    things.keep_version("first")
    things.run(target_precision=0.9)
    before = labels_of(things)

    run = things.run(version="first")

    report = things.report()
    assert (report.policy, report.limit) == ("threshold.v1", 0.5)
    assert labels_of(things) == labels_of(things.as_of("first"))
    assert things.document("v60").standing.decision.taxonomy_version == 3
    things.undo(run.operation)
    assert labels_of(things) == before
    with pytest.raises(BadInput, match="either a version or a policy"):
        things.run(version="first", confidence_threshold=0.5)
    with pytest.raises(NotFound, match="no version"):
        things.run(version="second")


# --- which past ---------------------------------------------------------------------------------


def test_a_point_is_a_version_an_operation_an_event_or_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        things = filled(library, confidence_threshold=0.5)
        kept = things.keep_version("first", note="as it began")
        then = state(things)
        seq = things.history("v0")[-1].seq
        changed = things.label({"v0": "Other", "v61": "Other"})
        later = things.history("v0")[-1].seq

        assert (kept.note, kept.actor, kept.taxonomy_version) == ("as it began", "ann", 1)
        for at in ("first", kept.operation, kept.at, kept.at.isoformat(), kept.at.timestamp()):
            assert state(things.as_of(at)) == then, at
        assert labels_of(things.as_of(seq)) == labels_of(things.as_of(str(seq)))
        assert labels_of(things.as_of(seq)) == {id: one.label for id, one in then.items()}
        assert state(things.as_of(changed.operation)) == state(things)
        assert things.as_of(later).document("v0").label == "Other"
        assert things.as_of("first").operation == kept.operation


def labels_of(collection: Any) -> dict[str, str | None]:
    return {one.id: one.label for one in collection.documents()}


def test_what_is_no_point_says_so(library: lookalike.Library) -> None:
    things = filled(library, confidence_threshold=0.5)
    things.keep_version("first")
    other = filled(library, "others", confidence_threshold=0.5)
    foreign = other.label({"v0": "Other"}).operation

    for at, kind, message in (
        ("frist", NotFound, "no version of 'things' is named 'frist'; did you mean 'first'"),
        (foreign, NotFound, "no operation .* in 'things'"),
        (10**9, NotFound, "'things' has no event 1000000000: its last one is"),
        ("2001-01-01", NotFound, "there was nothing of 'things' at 2001-01-01.* first operation"),
        ("2999-01-01T00:00+00:00", BadInput, "is in the future"),
        (1e300, BadInput, "is not a time"),
        (True, BadInput, "True is not a version"),
        (None, BadInput, "None is not a version"),
    ):
        with pytest.raises(kind, match=message):
            things.as_of(at)
    with pytest.raises(NotFound, match="no label field is named 'colour'"):
        things.as_of("first").report(field="colour")
    add(things, COUNT, COUNT + 1)
    with pytest.raises(NotFound, match=f"no document 'v{COUNT}'"):
        things.as_of("first").document(f"v{COUNT}")


@pytest.mark.parametrize("name", ["", " ", "op_1", "12", "2026-01-01", "a/b", "x" * 101, " x", 7])
def test_a_name_that_could_be_another_point_is_refused(
    library: lookalike.Library, name: Any
) -> None:
    things = filled(library, confidence_threshold=0.5)

    with pytest.raises(BadInput, match=r"not a valid name for a version|could be an operation"):
        things.keep_version(name)


def test_a_version_is_kept_once_retired_once_and_not_undone(library: lookalike.Library) -> None:
    things = filled(library, confidence_threshold=0.5)
    kept = things.keep_version("first", op_id="op_asked")
    assert things.keep_version("first", op_id="op_asked") == kept

    with pytest.raises(Conflict, match="already has a version 'first'; choose"):
        things.keep_version("first")
    with pytest.raises(Conflict, match="named a version"):
        things.undo(kept.operation)
    things.retire_version("first")
    with pytest.raises(Conflict, match="is already retired"):
        things.retire_version("first")
    with pytest.raises(Conflict, match=r"'first' \(retired\); choose"):
        things.keep_version("first")
    with pytest.raises(NotFound, match="no version"):
        things.retire_version("second")

    assert things.versions() == []
    (retired,) = things.versions(retired=True)
    assert retired.retired_at is not None
    assert len(state(things.as_of("first"))) == COUNT


# --- what differs -------------------------------------------------------------------------------


def test_two_versions_are_compared(library: lookalike.Library) -> None:
    things = filled(library, confidence_threshold=0.6)
    things.keep_version("first")
    things.label({"v0": "New kind", "v1": None, "v61": truth(61)})
    add(things, COUNT, COUNT + 5)
    things.run(confidence_threshold=0.4)
    before, after = state(things.as_of("first")), state(things)

    told = things.compare_versions("first")

    assert told.labels_added == ("New kind",)
    assert told.relabelled == {"v0": (truth(0), "New kind")}
    assert told.references[truth(1)].removed == ("v1",)
    assert told.references[truth(61)].added == ("v61",)
    assert told.arrived == 5
    assert told.policy == {"confidence_threshold": (0.6, 0.4)}
    assert told.decisions == {
        id: (one.label, after[id].label)
        for id, one in before.items()
        if one.origin in (None, "auto") and after[id].origin in (None, "auto")
        if one.label != after[id].label
    }
    things.keep_version("second")
    same = things.compare_versions("first", "second")
    assert replace(same, after="") == told
    back = things.compare_versions("second", "first")
    assert (back.labels_gone, back.policy) == (("New kind",), {"confidence_threshold": (0.4, 0.6)})


# --- the hard cases -----------------------------------------------------------------------------


def test_in_separate_mode_both_collections_are_as_they_were(library: lookalike.Library) -> None:
    curated = filled(library, "curated", confidence_threshold=0.9)
    stock = library.labeler(
        "stock", extractor="passthrough", reference="curated", confidence_threshold=0.5
    )
    add(stock, 130, 180)
    stock.keep_version("first")
    then = state(stock)
    curated.label({f"v{number}": "Other" for number in range(30)})
    assert state(stock) != then

    assert state(stock.as_of("first")) == then
    assert redecided(stock.as_of("first")) == decided(stock.as_of("first"))
    told = stock.compare_versions("first")
    assert set(told.relabelled) == {f"v{number}" for number in range(30)}


def test_what_was_forgotten_is_in_no_past(library: lookalike.Library) -> None:
    things = filled(library, confidence_threshold=0.5)
    things.label({"v0": "Secret", "v1": "Secret"})
    things.keep_version("first")
    then = state(things)

    things.forget(["v2", "v70"])
    past = state(things.as_of("first"))
    assert past.keys() == then.keys() - {"v2", "v70"}
    assert all(past[id].label == then[id].label for id in past)
    assert all(past[id].confidence == then[id].confidence for id in past)
    assert not {"v2", "v70"} & {m.document_id for one in past.values() for m in one.neighbors}
    things.forget(label="Secret")

    past = state(things.as_of("first"))
    assert not {"v0", "v1"} & past.keys()
    assert "Secret" not in {one.label for one in past.values()}
    assert "Secret" not in repr(things.compare_versions("first"))
    assert "Secret" not in repr(things.as_of("first").decide())


def test_what_an_audit_held_did_not_vote_then(library: lookalike.Library) -> None:
    things = filled(library, confidence_threshold=0.5)
    audit = things.audit(20)
    things.label(dict.fromkeys(audit.waiting[:5], "Found out"))
    things.keep_version("open")
    then = state(things)
    things.close_audit(audit.id)

    assert state(things) != then
    assert state(things.as_of("open")) == then


def test_a_store_older_than_its_log_knows_labels_of_before_and_all_of_since(
    tmp_path: Path,
) -> None:
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        things = filled(library, confidence_threshold=0.5)
        before = things.label({"v60": truth(60)}).operation
        old = labels_of(things)
        with library.runtime.store.write() as txn:
            txn.execute(schema.decided.delete())
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        things = library.collection("things")
        things.label({"v61": truth(61)})
        things.keep_version("since")
        then = list(things.rows())
        things.run(confidence_threshold=0.8)

        assert list(things.as_of("since").rows()) == then
        past = things.as_of(before)
        assert labels_of(past) == old
        assert {one.confidence for one in past.documents()} == {None}


def test_a_run_that_was_undone_and_redone_shows_the_rule_of_each_time(
    library: lookalike.Library,
) -> None:
    things = filled(library, confidence_threshold=0.5)
    points = {things.label({"v60": truth(60)}).operation: 0.5}
    run = things.run(confidence_threshold=0.8)
    points[run.operation] = 0.8
    undone = things.undo(run.operation)
    points[undone.operation] = 0.5
    points[things.undo(undone.operation).operation] = 0.8

    limits = {point: things.as_of(point).report().limit for point in points}

    assert limits == points


def test_a_removed_collection_leaves_neither_versions_nor_decisions(
    library: lookalike.Library,
) -> None:
    filled(library, confidence_threshold=0.5).keep_version("first")

    library.remove_collection("things")

    with library.runtime.store.read() as snapshot:
        assert snapshot.rows(select(schema.version)) == []
        assert snapshot.rows(select(schema.decided)) == []


def test_labels_have_their_old_names_at_old_points(library: lookalike.Library) -> None:
    things = filled(library, count=75, confidence_threshold=0.5)
    before = labels_of(things)
    first = things.keep_version("first").operation
    points = {first: before}
    acts: list[Callable[[], Changed]] = [
        lambda: things.rename_label("Kind > 1", "Sort > One"),
        lambda: things.merge_labels(["Kind > 2"], "Kind > 3"),
        lambda: things.retire_label("Kind > 4"),
        lambda: things.label({"v61": "Kind > 1", "v62": "Kind > 5"}),
        lambda: things.rename_label("Sort > One", "Kind > One"),
    ]
    for act in acts:
        changed = act()
        points[changed.operation] = labels_of(things)
        undone = things.undo(changed.operation)
        points[undone.operation] = labels_of(things)
        redone = things.undo(undone.operation)
        points[redone.operation] = labels_of(things)

    for point, then in points.items():
        assert labels_of(things.as_of(point)) == then, point
    assert redecided(things.as_of(first)) == decided(things.as_of(first))
    assert "Kind > 1" in before.values()
    assert "Kind > 1" not in labels_of(things).values()


# --- the other doors ----------------------------------------------------------------------------


def test_the_command_line_keeps_lists_compares_shows_and_exports(
    library: lookalike.Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOOKALIKE_STORE", str(library.path))
    things = filled(library, confidence_threshold=0.5)

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli, [*words])
        assert (done.exit_code == 0) == (code == 0), done.output
        return done.output if code == 0 else str(done.exception)

    kept = json.loads(run("versions", "keep", "things", "first", "--note", "so far", "--json"))
    before = run("export", "things")
    things.label({"v0": "Other", "v1": None})
    things.run(confidence_threshold=0.6)

    assert (kept["name"], kept["note"]) == ("first", "so far")
    assert "so far" in run("versions", "list", "things")
    assert run("export", "things", "--as-of", "first") == before != run("export", "things")
    told = run("versions", "compare", "things", "first")
    assert "policy: confidence_threshold 0.5 → 0.6" in told and "new label: Other" in told
    assert f"reference v0: {truth(0)} → Other" in told
    assert "documents were added in between" in told
    report = json.loads(run("report", "things", "--as-of", "first", "--json"))
    assert (report["limit"], report["references"]) == (0.5, 60)
    assert "would stay the same" in run("versions", "decide", "things", "first")
    assert "is retired" in run("versions", "retire", "things", "first")
    assert "no version yet" in run("versions", "list", "things")
    assert "(retired)" in run("versions", "list", "things", "--retired")
    assert "no version of 'things'" in run("report", "things", "--as-of", "second", code=1)
    regions = ("export", "things", str(tmp_path / "x.json"), "--format", "coco")
    assert "--as-of is for tables" in run(*regions, "--as-of", "first", code=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = tmp_path_factory.mktemp("versions") / "store"
    with Served(store, environment={"LOOKALIKE_ACTOR": "ann"}) as served:
        yield served


def test_a_client_goes_back_as_the_library_does(server: Served, library: lookalike.Library) -> None:
    with lookalike.connect(server.url) as remote:
        shown = []
        for opened in (remote, library):
            things = filled(opened, confidence_threshold=0.5)
            kept = things.keep_version("first", note="so far")
            things.label({"v0": "Other", "v1": None})
            add(things, COUNT, COUNT + 4)
            past = things.as_of(kept.at)
            told = things.compare_versions("first")
            with pytest.raises(NotFound, match="no version of 'things' is named 'second'"):
                things.as_of("second")
            with pytest.raises(Conflict, match="already"):
                things.keep_version("first")
            things.retire_version("first")
            shown.append(
                {
                    "operation": past.operation == kept.operation,
                    "rows": list(past.rows()),
                    "ids": past.ids(label=None),
                    "one": past.document("v0").standing,
                    "report": past.report(),
                    "curve": past.curve(),
                    "size": (len(past), past.name, past.fields, past.extractor),
                    "decide": past.decide(),
                    "compare": replace(told, before=""),
                    "versions": (
                        things.versions(),
                        [v.note for v in things.versions(retired=True)],
                    ),
                }
            )

        assert shown[0] == shown[1]


def test_the_past_on_a_server_has_the_verbs_that_it_has_here() -> None:
    names = {name for name in dir(Past) if name[0] != "_"}

    assert names == {name for name in dir(RemotePast) if name[0] != "_"}
    assert all(shape(Past, name) == shape(RemotePast, name) for name in names)


def test_the_routes_keep_list_compare_retire_and_show_what_was(server: Served) -> None:
    with lookalike.connect(server.url) as remote:
        things = filled(remote, "routes", confidence_threshold=0.5)
    place = f"{server.url}/v1/collections/routes"
    then = {"as_of": "first"}

    kept = ok(patient.post(f"{place}/versions", json={"name": "first", "note": "so far"}))
    before = ok(patient.get(f"{place}/documents", params={"limit": 50}))
    one = ok(patient.get(f"{place}/documents/v0"))
    report = ok(patient.get(f"{place}/analytics/coverage"))
    with lookalike.connect(server.url) as remote:
        things = remote.collection("routes")
        things.label({"v0": "Other", "v1": None})
        add(things, COUNT, COUNT + 4)

    assert (kept["name"], kept["actor"]) == ("first", "ann")
    assert ok(patient.get(f"{place}/documents", params={"limit": 50, **then})) == before
    assert ok(patient.get(f"{place}/documents/v0", params=then)) == one
    assert ok(patient.get(f"{place}/documents/v0")) != one
    assert ok(patient.get(f"{place}/analytics/coverage", params=then)) == report
    body = {"filters": {"field": "label", "operator": "eq", "value": truth(0)}}
    found = ok(patient.post(f"{place}/documents/list", json=body, params=then))["results"]
    assert "v0" in {each["document_id"] for each in found}
    written = ok(patient.post(f"{place}/export", json={"format": "jsonl"}, params=then))
    assert written["document_count"] == COUNT
    told = ok(patient.get(f"{place}/versions/compare", params={"before": "first"}))
    assert (told["labels_added"], told["arrived"]) == (["Other"], 4)
    decided = ok(patient.get(f"{place}/versions/decide", params=then))
    assert f"v{COUNT}" in decided["decisions"]
    (listed,) = ok(patient.get(f"{place}/versions"))["results"]
    assert listed == kept
    assert ok(patient.post(f"{place}/versions/first/retire"))["retired_at"]
    assert ok(patient.get(f"{place}/versions"))["results"] == []
    assert ok(patient.get(f"{place}/documents/v0", params=then)) == one
    missing = patient.get(f"{place}/documents", params={"as_of": "second"})
    assert refused(missing, 404)["code"] == "not_found"
    assert refused(patient.get(f"{place}/documents/v{COUNT}", params=then), 404)
    assert refused(patient.post(f"{place}/versions", json={"name": "first"}), 409)
    assert refused(patient.post(f"{place}/versions", json={"name": "2026-01-01"}), 422)
