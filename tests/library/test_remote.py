"""The client of a server: the verbs of the library, the same answers, the same errors."""

from __future__ import annotations

import dataclasses
import inspect
import runpy
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from fastapi.routing import APIRoute
from PIL import Image
from test_shape import NOT_LOADED

import lookalike
import patient
from certifying import certificate
from lookalike import Collection, Library, RemoteCollection, RemoteLibrary, errors
from lookalike.catalog.api_keys import Scope
from lookalike.errors import (
    BadInput,
    BadSetting,
    Conflict,
    Forbidden,
    LookalikeError,
    NotFound,
    Stale,
    Unauthorized,
    Unreachable,
)
from lookalike.library.remote import calls
from lookalike.library.remote.verbs import CollectionVerbs
from lookalike.model import Origin
from lookalike.server.routes import client_ingest, tasks, verbs
from lookalike.server.security.rules import needed
from relaying import Relay
from serving import Served

ROOT = Path(__file__).parents[2]
PICTURES = Path(str(files("lookalike.library.samples"))) / "pictures"
FRUIT = ("apple.png", "apple-bw.png", "aiga-bus.png", "aiga-bus1.png", "arrow02-1.png")

AnyLibrary = Library | RemoteLibrary
AnyCollection = Collection | RemoteCollection

LOCAL_ONLY = {
    "Library.access": "keys are made on the machine of the store, never over the network",
    "Library.path": "where a store is concerns nobody who asks a server",
    "Library.place": "where a store is concerns nobody who asks a server",
    "Library.settings": "those of the server are its own",
    "Library.runtime": "the open store itself",
    "Library.workshop": "its name of the first edition",
    "Library.namespace": "the server knows the one that a key implies",
    "Collection.extract(tally)": "a counter of this process; the server counts for itself",
}
"""What a client does not offer, and why."""


# --- the same signatures ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "remote"), [(Library, RemoteLibrary), (Collection, RemoteCollection)]
)
def test_each_public_method_is_there_with_the_same_parameters_and_answer(
    local: type, remote: type
) -> None:
    names = [one for one in dir(local) if one[0] != "_" or one in ("__enter__", "__len__")]

    for name in names:
        if f"{local.__name__}.{name}" not in LOCAL_ONLY:
            assert shape(local, name) == shape(remote, name), name
    extra = {name for name in dir(remote) if name[0] != "_"} - set(names)

    assert len(names) > 15
    assert not extra, "the library has no such verbs"


def shape(owner: type, name: str) -> Any:
    """The parameters of a method with kinds, types and defaults, and the type of its answer."""
    member = inspect.getattr_static(owner, name)
    if isinstance(member, property):
        assert member.fget is not None
        return ("property", inspect.signature(member.fget).return_annotation)
    signature = inspect.signature(member)
    known = [
        (one.name, one.kind, one.annotation, getattr(one.default, "__name__", one.default))
        for one in signature.parameters.values()
        if f"{owner.__name__.removeprefix('Remote')}.{name}({one.name})" not in LOCAL_ONLY
    ]
    answer = str(signature.return_annotation).rpartition(".")[2].removeprefix("Remote")
    return known, answer


# --- made from one declaration ------------------------------------------------------------------


def test_the_clients_verbs_are_those_that_the_library_declares() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "make_client.py"))

    assert made["client"]() == made["TARGET"].read_text("utf-8"), "run: make client"


def test_help_shows_what_a_verb_takes_and_does() -> None:
    for local, remote in ((Library.spaces, RemoteLibrary.spaces), *TOLD_ALIKE):
        assert inspect.getdoc(remote) == inspect.getdoc(local)
    assert inspect.signature(RemoteCollection.label) == inspect.signature(Collection.label)
    assert inspect.signature(RemoteCollection.run) == inspect.signature(Collection.run)


TOLD_ALIKE = (
    (Collection.reject, RemoteCollection.reject),
    (Collection.promote, RemoteCollection.promote),
    (Collection.why, RemoteCollection.why),
)


def test_only_what_is_said_is_sent_so_that_an_older_server_understands() -> None:
    asked = calls.arguments(
        CollectionVerbs.label, None, {"v1": "x"}, new_labels=False, field=None, actor="ann"
    )

    assert asked == {"labels": {"v1": "x"}, "actor": "ann"}


def test_an_argument_that_a_verb_does_not_have_is_refused_before_anything_is_sent(
    both: Both,
) -> None:
    collection: Any = things(both.remote)
    mistakes: tuple[Callable[[], Any], ...] = (
        lambda: collection.label({"v1": "x"}, fields="label"),
        lambda: collection.label(),
        lambda: collection.documents(labels="x"),
        lambda: collection.run(confidence=0.9),
    )

    for mistake in mistakes:
        with pytest.raises(TypeError):
            mistake()


# --- the same answers ---------------------------------------------------------------------------

Step = Callable[[AnyLibrary], Any]
STEPS: dict[str, Step] = {}


def step(function: Step) -> Step:
    STEPS[function.__name__] = function
    return function


def vectors(count: int, *, seed: int = 0) -> Any:
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((4, 32))
    return centres[np.arange(count) % 4] + 0.5 * chance.standard_normal((count, 32))


def things(library: AnyLibrary) -> AnyCollection:
    return library.collection("things")


@step
def a_labeler_of_vectors(library: AnyLibrary) -> Any:
    made = library.labeler("things", extractor="passthrough", confidence_threshold=0.5)
    return made.name, made.fields, len(made)


@step
def vectors_with_ids_and_metadata(library: AnyLibrary) -> Any:
    ids, metadata = [f"v{n}" for n in range(80)], [{"row": n} for n in range(80)]
    progress: list[int] = []
    added = things(library).add(
        vectors=vectors(80),
        ids=ids,
        metadata=metadata,
        progress=lambda done, _: progress.append(done),
    )
    return added, progress


@step
def the_same_vectors_again_and_bad_ones(library: AnyLibrary) -> Any:
    rows = vectors(80)[:3]
    rows[1] = np.nan
    return things(library).add(vectors=rows, ids=["v0", "bad", "v2"])


@step
def vectors_without_ids(library: AnyLibrary) -> Any:
    return things(library).add(vectors=vectors(8, seed=3).astype(np.float32))


@step
def first_labels(library: AnyLibrary) -> Any:
    return things(library).label({f"v{n}": f"Kind {n % 4}" for n in range(8)}, actor="bob")


@step
def all_documents(library: AnyLibrary) -> Any:
    return list(things(library).documents())


@step
def documents_by_filters(library: AnyLibrary) -> Any:
    collection = things(library)
    filters: list[Mapping[str, Any]] = [
        {"label": None},
        {"label": "Kind 1", "origin": "auto"},
        {"origin": None, "reason": "below_threshold", "order_by": "-confidence"},
        {"ids": ["v9", "v3"], "order_by": "margin"},
        {"order_by": "confidence", "limit": 5},
        {"ids": []},
    ]
    return [[one.id for one in collection.documents(**one)] for one in filters] + [
        collection.ids(**one) for one in filters
    ]


@step
def not_this(library: AnyLibrary) -> Any:
    collection = things(library)
    changed = collection.reject({"v9": None, "v10": "Kind 3"})
    return changed, collection.document("v9"), collection.document("v10")


@step
def answers_that_are_no_label(library: AnyLibrary) -> Any:
    collection = things(library)
    return collection.new_kind(["v12"]), collection.cannot_tell(["v13"]), collection.report()


@step
def metadata_and_label_by_amend(library: AnyLibrary) -> Any:
    collection = things(library)
    return collection.amend({"v14": {"row": 140, "label": "Kind 9"}}), collection.document("v14")


@step
def regions_drawn_moved_and_taken_away(library: AnyLibrary) -> Any:
    made = library.labeler("regions", extractor="region")
    regions = [{"id": "r1", "box": [1, 1, 20, 20]}, {"id": "r2", "box": [9, 9, 30, 30]}]
    picture = np.zeros((60, 80, 3), np.uint8)
    added = made.add(picture, ids=["photo"], metadata=[{"regions": regions}])
    drawn = made.draw({"photo": {"r1": None, "r2": [5, 5, 10, 10], "r3": [0.5, 0, 8, 9]}})
    listed = [(one.id, one.part, one.attributes) for one in made.documents()]
    return made.extractor, added, drawn, sorted(listed)


@step
def the_queue(library: AnyLibrary) -> Any:
    return things(library).queue(limit=7)


@step
def a_check_sheet_and_its_answer(library: AnyLibrary) -> Any:
    checked = library.labeler("checked", extractor="passthrough")
    chance = np.random.default_rng(2)
    centres = chance.normal(size=(4, 32))
    rows = centres[np.arange(300) % 4] + 0.3 * chance.normal(size=(300, 32))
    checked.add(vectors=rows, ids=[f"c{n}" for n in range(300)])
    none = checked.check()
    checked.label({f"c{n}": f"Kind {n % 4}" for n in range(32)}, asked=True)
    sheet = checked.check(field="label")
    assert none is None
    assert sheet is not None
    shown = zip(sheet.documents, sheet.suggestions, strict=True)
    said: list[dict[str, Any]] = [
        {"id": one.id, "label": label, "shown": label} for one, label in shown
    ]
    said[3]["label"] = None
    changed = checked.import_labels(said, origin=Origin.HUMAN, asked=True)
    return sheet, changed, checked.check(), checked.undo(changed.operation), checked.check()


@step
def why_labelled_and_why_not(library: AnyLibrary) -> Any:
    return things(library).why("v20"), things(library).why("v9", field="label")


@step
def what_may_be_wrong(library: AnyLibrary) -> Any:
    return things(library).inspect()


@step
def people_who_contradict_each_other(library: AnyLibrary) -> Any:
    collection = things(library)
    said = [collection.label({"v50": f"Kind {n}", "v51": "Kind 1"}, actor=f"p{n}") for n in (1, 2)]
    seen = (
        collection.opinions("v50"),
        collection.agreement(),
        collection.queue(limit=10, second_opinion=0.3, actor="p3"),
    )
    return said, seen, [collection.undo(one.operation) for one in said]


@step
def what_limits_cost(library: AnyLibrary) -> Any:
    many = library.labeler("many", extractor="passthrough", target_precision=0.9)
    chance = np.random.default_rng(2)
    centres = chance.normal(size=(30, 32))
    rows = centres[np.arange(300) % 30] + 0.3 * chance.normal(size=(300, 32))
    many.add(vectors=rows, ids=[f"m{n}" for n in range(300)])
    many.label({f"m{n}": f"Kind {n % 30}" for n in range(200)})
    return many.cost(50), many.cost(wrong_costs=2, field="label")


@step
def how_it_does_and_an_alarm(library: AnyLibrary) -> Any:
    collection = things(library)
    alarm = collection.watch(coverage=(0.1, None), error_rate=(None, 0.05), actor="bob")
    told = collection.monitor(days=2)
    return alarm, told.history[-1].arrived, told.precision, told.forecast.queue, told.breaches


@step
def no_alarm_any_more(library: AnyLibrary) -> Any:
    return things(library).unwatch(field="label"), things(library).unwatch()


@step
def suggestions(library: AnyLibrary) -> Any:
    collection = things(library)
    rows = vectors(3, seed=5)
    return (
        collection.suggest(vectors=rows, top_k=2),
        collection.suggest(vectors=rows[0]),
        collection.suggest(ids=["v9"]),
    )


@step
def another_policy_and_back(library: AnyLibrary) -> Any:
    collection = things(library)
    changed = collection.run(confidence_threshold=0.9)
    return changed, collection.report(), collection.undo(changed.operation), collection.report()


@step
def a_promotion(library: AnyLibrary) -> Any:
    return things(library).promote(label="Kind 2", min_confidence=0.6)


@step
def a_promotion_by_id(library: AnyLibrary) -> Any:
    return things(library).promote(["v21", "v0"])


@step
def ids_that_are_no_list(library: AnyLibrary) -> Any:
    collection = things(library)
    said = (
        collection.new_kind(one for one in ("v60", "v61")),
        collection.cannot_tell({"v62": "a key"}.keys()),
        collection.label(MappingProxyType({"v63": "Kind 1"}), revisions=None),
    )
    return said, [collection.undo(one.operation) for one in said]


@step
def undo_of_labels(library: AnyLibrary) -> Any:
    collection = things(library)
    changed = collection.label({"v30": "Kind 8"})
    return changed, collection.undo(changed.operation), collection.document("v30")


@step
def an_audit(library: AnyLibrary) -> Any:
    collection = things(library)
    drawn = collection.audit(6, strata=2, op_id="drawn")
    told = collection.answer_audit("drawn", {drawn.waiting[0]: "Kind 7"}, wrong=drawn.waiting[1:3])
    closed = collection.close_audit("drawn", keep=True)
    return drawn, told, closed, collection.audits(), collection.undo(closed.operation)


@step
def labels_described_renamed_merged_split_and_retired(library: AnyLibrary) -> Any:
    collection = things(library)
    described = collection.describe_label(
        "Kind 1", description="Ones.", examples=["v1"], aliases=["One"], actor="bob"
    )
    seen = collection.rename_label("Kind 1", "Kinds > 1", preview=True)
    renamed = collection.rename_label("Kind 1", "Kinds > 1", field="label", op_id="renamed")
    landed = collection.label({"v41": "One"})
    merged = collection.merge_labels(["Kind 3"], "Kinds > 1", actor="bob")
    parts = {"X": ["v0", "v4"], "Y": collection.ids(label="Kind 0", origin="human")[2:]}
    split = collection.split_label("Kind 0", parts)
    retired = collection.retire_label("Kinds")
    tree = collection.label_tree(field="label")
    done = (retired, split, merged, landed, renamed, described)
    undone = [collection.undo(one.operation) for one in done]
    return described, seen, landed, merged, split, retired, tree, undone, collection.label_tree()


@step
def a_trial(library: AnyLibrary) -> Any:
    collection = things(library)
    begun = collection.try_policy(confidence_threshold=0.9, wrong_costs=3, op_id="tried")
    asked = collection.disagreements("tried", limit=4)
    told = collection.answer_trial("tried", {asked[0]: "Kind 1"}, cannot_tell=asked[1:2])
    adopted = collection.adopt_trial("tried")
    undone = collection.undo(adopted.operation)
    again = collection.try_policy(target_precision=0.9)
    dropped = collection.drop_trial(again.id, keep=False)
    return begun, begun.verdict, asked, told, adopted, undone, dropped, collection.trial("tried")


@step
def what_would_flip(library: AnyLibrary) -> Any:
    collection = things(library)
    return collection.flips(at=0.9, limit=3), collection.flips(at=0.1, offset=1)


@step
def what_happened(library: AnyLibrary) -> Any:
    collection = things(library)
    return collection.operations(limit=8), collection.history("v9"), collection.history("v30")


@step
def export_and_import_elsewhere(library: AnyLibrary) -> Any:
    rows = list(things(library).rows())
    other = library.labeler("others", extractor="passthrough", confidence_threshold=0.5)
    other.add(vectors=vectors(80), ids=[f"v{n}" for n in range(80)])
    return rows, other.import_labels(rows), list(other.rows())


@step
def a_data_frame(library: AnyLibrary) -> Any:
    pytest.importorskip("pandas")
    return things(library).to_pandas().to_dict("records")


@step
def separate_mode_with_enrichment(library: AnyLibrary) -> Any:
    curated = library.labeler("curated", extractor="passthrough", field="kind")
    curated.add(vectors=vectors(8), ids=[f"c{n}" for n in range(8)], metadata={"maker": "ACME"})
    curated.label({f"c{n}": f"Kind {n % 4}" for n in range(8)})
    stock = library.labeler(
        "stock",
        extractor="passthrough",
        field="kind",
        reference="curated",
        confidence_threshold=0.5,
        enrich=("maker",),
    )
    added = stock.add(vectors=vectors(20, seed=7), ids=[f"s{n}" for n in range(20)])
    return added, list(stock.documents()), stock.promote(min_confidence=0.5), len(curated)


@step
def a_second_field(library: AnyLibrary) -> Any:
    library.add_taxonomy("others", "colour", target_precision=0.9, targets={"red": 0.8})
    collection = library.collection("others")
    collection.label({"v0": "red"}, field="colour")
    seen = collection.report(field="colour"), collection.curve(field="colour")
    return collection.fields, *seen, collection.document("v0")


@step
def pictures_of_all_kinds(library: AnyLibrary) -> Any:
    pictures = library.labeler("pictures", confidence_threshold=0.8)
    array = np.zeros((32, 32, 3), np.uint8)
    array[8:24, 8:24] = (200, 30, 30)
    sources = [
        PICTURES / FRUIT[0],
        str(PICTURES / FRUIT[1]),
        (PICTURES / FRUIT[2]).read_bytes(),
        Image.open(PICTURES / FRUIT[3]),
        array,
        {"image": PICTURES / FRUIT[4], "file_name": "an arrow", "shop": "Bonn"},
    ]
    ids = [f"p{n}" for n in range(len(sources))]
    added = pictures.add(sources, ids=ids, metadata={"day": 3})
    again = pictures.add(PICTURES / FRUIT[0], ids=["p0"])
    return added, again, list(pictures.documents())


@step
def pictures_labelled_and_suggested(library: AnyLibrary) -> Any:
    pictures = library.collection("pictures")
    changed = pictures.label({"p0": "fruit", "p2": "bus"})
    return changed, pictures.suggest(PICTURES / FRUIT[3]), pictures.report()


@step
def what_is_no_picture_fails_alone(library: AnyLibrary) -> Any:
    sources = [b"not a picture", PICTURES / FRUIT[0], Path("nowhere.png")]
    added = library.collection("pictures").add(sources, ids=["x", "p0", "y"])
    return added.added, added.documents, added.unchanged, len(added.failed)


@step
def texts_in_a_table(library: AnyLibrary) -> Any:
    notes = library.labeler("notes", extractor="text", confidence_threshold=0.3)
    rows = [{"id": f"n{n}", "text": text, "length": len(text)} for n, text in enumerate(TEXTS)]
    pandas = pytest.importorskip("pandas")
    added = notes.add(pandas.DataFrame(rows))
    notes.label(pandas.DataFrame({"id": ["n0", "n1"], "label": ["invoice", None]}))
    notes.import_labels(pandas.DataFrame({"id": ["n2"], "label": ["weather"]}))
    return added, list(notes.documents()), notes.suggest(text="an invoice to be paid")


TEXTS = (
    "Invoice 17: please pay 20 euros",
    "Invoice 18: please pay 30 euros",
    "It will rain tomorrow",
    "Sunny in the south, rain later",
)


@step
def the_full_form(library: AnyLibrary) -> Any:
    library.create_bucket("shop", {"vector": "vector"})
    made = library.create_collection("bare", bucket="things", extractor="passthrough")
    library.add_taxonomy("bare", "kind", confidence_threshold=0.4)
    return made.name, made.fields, len(made), library.buckets(), library.collections()


@step
def forgotten_documents(library: AnyLibrary) -> Any:
    collection = library.collection("others")
    return collection.forget(["v0", "v1"]), len(collection), collection.ids(limit=3)


@step
def forgotten_parts(library: AnyLibrary) -> Any:
    collection = library.collection("others")
    collection.label({"v2": "gone", "v3": "stays"})
    one = collection.forget(["v3"], only_parts=True)
    return one, collection.forget(label="gone", op_id="forget-gone"), collection.ids(limit=3)


@step
def forgotten_objects(library: AnyLibrary) -> Any:
    receipt = library.forget_objects("pictures", ["p4", "x"])
    return receipt, library.collection("pictures").ids()


@step
def removed_collections_and_buckets(library: AnyLibrary) -> Any:
    first = library.remove_collection("stock", "curated")
    second = library.remove_bucket("notes", cascade=True)
    return first, second, library.collections(), library.buckets()


@step
def a_sound_store(library: AnyLibrary) -> Any:
    return library.check(), library.engine_version(), sorted(library.spaces())


@dataclasses.dataclass(frozen=True, slots=True)
class Both:
    """What every step gave, on a directory and on a server, and both libraries after it."""

    local: Library
    remote: RemoteLibrary
    answers: dict[str, tuple[Any, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("remote")
    with Served(place / "store", environment={"LOOKALIKE_ACTOR": "ann"}) as served:
        yield served


@pytest.fixture(scope="module")
def both(server: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    place = tmp_path_factory.mktemp("local") / "store"
    with lookalike.open(place, actor="ann") as local, lookalike.connect(server.url) as remote:
        answers = {name: (taken(one, local), taken(one, remote)) for name, one in STEPS.items()}
        yield Both(local, remote, answers)


def taken(one: Step, library: AnyLibrary) -> Any:
    try:
        return comparable(one(library), {})
    except (LookalikeError, TypeError) as error:
        return error


def comparable(value: Any, operations: dict[str, str]) -> Any:
    """A value without what two stores cannot have in common: times, paths, names of operations.

    How often a store was written to before is no more in common: work in the background is written
    in as many steps as it takes.
    """
    if dataclasses.is_dataclass(value):
        shown = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        unlike = {"uri", "revision", "seq"} & shown.keys()
        left = {name: one for name, one in shown.items() if name not in unlike}
        return type(value).__name__, comparable(left, operations)
    if isinstance(value, Mapping):
        return {
            name: comparable(one, operations) for name, one in value.items() if name != "revision"
        }
    if isinstance(value, list | tuple):
        return [comparable(one, operations) for one in value]
    if isinstance(value, datetime):
        return "a time" if value.tzinfo else "a time without a zone"
    if isinstance(value, str) and value.startswith("op_"):
        return operations.setdefault(value, f"operation {len(operations)}")
    if isinstance(value, float) and value != value:
        return "nan"
    return value


@pytest.mark.parametrize("name", STEPS)
def test_a_step_gives_the_same_on_a_directory_and_on_a_server(both: Both, name: str) -> None:
    local, remote = both.answers[name]

    assert not isinstance(local, Exception), repr(local)
    assert remote == local


def test_answers_of_a_server_are_the_same_kinds_of_things(both: Both) -> None:
    pairs = [
        (things(both.local).document("v20"), things(both.remote).document("v20")),
        (things(both.local).report(), things(both.remote).report()),
        (things(both.local).operations()[0], things(both.remote).operations()[0]),
    ]

    created_at = things(both.remote).document("v20").created_at
    assert [type(local) for local, _ in pairs] == [type(remote) for _, remote in pairs]
    assert created_at is not None
    assert created_at.utcoffset() == timedelta(0)


def test_a_server_tells_addresses_of_contents_and_not_its_paths(both: Both, server: Served) -> None:
    shown = list(both.remote.collection("pictures").documents())

    uris = [blob.uri for one in shown for blob in one.blobs]
    uris += [blob.uri for blob in both.remote.collection("pictures").why("p0").document.blobs]
    why = patient.get(f"{server.url}/v1/collections/pictures/documents/p0/why").json()
    uris += [blob["uri"] for blob in why["document"]["blobs"]]

    assert len(uris) >= 4
    assert all(uri.startswith(f"{server.url}/v1/blobs/") for uri in uris)


# --- the same errors ----------------------------------------------------------------------------

FAULTS: dict[str, Step] = {
    "an unknown collection": lambda library: library.collection("thigns"),
    "an unknown label field": lambda library: things(library).report(field="colour"),
    "an unknown document": lambda library: things(library).document("v999"),
    "an unknown id to label": lambda library: things(library).label({"v999": "x"}),
    "a label that is none": lambda library: things(library).label({"v1": " "}),
    "a stale revision": lambda library: things(library).label(
        {"v1": "x"}, revisions={"v1": 0}, actor="eve"
    ),
    "a revision of another document": lambda library: things(library).label(
        {"v1": "x"}, revisions={"v2": 7}
    ),
    "a wrong dimension": lambda library: things(library).suggest(vectors=np.ones((1, 7))),
    "vectors of a wrong shape": lambda library: things(library).add(vectors=np.ones(7)),
    "fewer ids than vectors": lambda library: things(library).add(
        vectors=np.ones((2, 32)), ids=["a"]
    ),
    "nothing to add": lambda library: things(library).add(),
    "a path that is not there": lambda library: library.collection("pictures").add("no/where"),
    "an unknown order": lambda library: list(things(library).documents(order_by="size")),
    "an unknown origin": lambda library: list(things(library).documents(origin="someone")),
    "an unknown reason": lambda library: list(things(library).documents(reason="because")),
    "nothing to promote": lambda library: things(library).promote(),
    "an unknown operation": lambda library: things(library).undo("op_nothing"),
    "another extractor": lambda library: library.labeler("things", extractor="text"),
    "an unknown extractor": lambda library: library.labeler("sounds", extractor="sound"),
    "an option that is none": lambda library: library.labeler("sounds", extractor="text", loud=1),
    "a name that is taken": lambda library: library.create_bucket("things"),
    "a field that is there": lambda library: library.add_taxonomy("things", "label"),
    "a bucket in use": lambda library: library.remove_bucket("things"),
    "nothing to remove": lambda library: library.remove_collection(),
    "an unknown bucket": lambda library: library.remove_bucket("thingies"),
    "a removal of what others need": lambda library: library.forget_objects("things", ["nobody"]),
    "nothing to forget": lambda library: things(library).forget(),
    "a label that nothing has": lambda library: things(library).forget(label="nothing has this"),
    "an operation of no name": lambda library: things(library).label({"v1": "a"}, op_id="ü"),
    "an operation of another name": lambda library: [
        things(library).label({"v1": name}, op_id="once") for name in ("a", "b")
    ],
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_the_same_error_with_the_same_message(both: Both, name: str) -> None:
    told = []
    for library in (both.local, both.remote):
        with pytest.raises(LookalikeError) as caught:
            FAULTS[name](library)
        told.append((type(caught.value), str(caught.value)))

    assert told[0] == told[1]


def test_every_error_that_a_server_tells_has_a_code_of_its_own() -> None:
    ours = [one for one in vars(errors).values() if inspect.isclass(one)]
    told = [one.code for one in ours if issubclass(one, LookalikeError) and "code" in vars(one)]

    assert len(told) == len(set(told)) > 12


def test_what_a_key_may_not_is_forbidden_and_a_wrong_one_is_not_let_in(
    both: Both, server: Served
) -> None:
    with lookalike.open(server.store) as store:
        reader = store.access().create("eve", "read")
        labeller = store.access().create("eve", "label")

    with lookalike.connect(server.url, reader) as library:
        assert len(things(library)) == len(things(both.local))
        with pytest.raises(Forbidden, match="read"):
            things(library).label({"v1": "x"})
    with lookalike.connect(server.url, labeller) as library:
        changed = things(library).label({"v40": "Kind 0"})
        assert things(library).document("v40").standing.actor == "eve"
        things(library).undo(changed.operation)
        with pytest.raises(Forbidden, match="cannot act as"):
            things(library).label({"v40": "x"}, actor="ann")
        with pytest.raises(Forbidden):
            library.remove_collection("things")
    with pytest.raises(Unauthorized):
        lookalike.connect(server.url, "lk_wrong_key")


READS = (
    "agreement arrived as_of audits buckets check_sheet collections compare_versions cost curve "
    "curve_as_of decide_as_of diagnose document document_as_of documents documents_as_of "
    "engine_version "
    "extractor extractor_as_of fields fields_as_of flips history ids ids_as_of inspect label_tree "
    "migration monitor name operations opinions queue report report_as_of size size_as_of spaces "
    "suggest trial trials versions waiting why"
)
LABELS = (
    "add add_vectors amend answer_audit answer_trial audit cannot_tell close_audit disagreements "
    "draw drop_trial keep_version label new_kind promote reject retire_version try_policy undo "
    "upload"
)
ADMINISTERS = (
    "add_taxonomy check create_bucket create_collection drop_spaces forget forget_objects "
    "import_labels labeler migrate prepare_migration remove_bucket remove_collection run "
    "unwatch watch describe_label merge_labels rename_label retire_label split_label "
    "adopt_trial"
)


def test_each_verb_needs_the_scope_that_its_effect_asks_for() -> None:
    known = {Scope.READ: READS, Scope.LABEL: LABELS, Scope.ADMIN: ADMINISTERS}
    wanted = {verb: scope for scope, names in known.items() for verb in names.split()}
    routers = (verbs.router, client_ingest.router, tasks.migrations_router)
    routes = [one for router in routers for one in router.routes]
    paths = [one.path for one in routes if isinstance(one, APIRoute)]

    scopes = {path.rpartition("/")[2]: needed("POST", path) for path in paths}

    assert scopes == wanted


def test_a_namespace_is_a_world_of_its_own(both: Both, server: Served) -> None:
    with lookalike.connect(server.url + "/v1/", namespace="elsewhere") as library:
        library.labeler("things", extractor="passthrough")

        assert library.collections() == ["things"]
        assert len(library.collection("things")) == 0
    assert len(things(both.remote)) > 80


def test_a_url_is_read_by_the_server_under_its_guard(both: Both, server: Served) -> None:
    kept = both.remote.collection("pictures").document("p0").sha256
    add = f"{server.url}/v1/collections/pictures/verbs/add"
    told = []

    for uri in ("file:///etc/hostname", f"blob:{kept}", "/etc/hostname"):
        answer = patient.post(add, json={"items": [{"key": "k", "name": "n", "uri": uri}]})
        told.append((answer.status_code, answer.json()["error"]["code"]))

    assert told == [(422, "fetch_refused")] * 3
    with pytest.raises(errors.FetchRefused):
        both.remote.collection("pictures").add(f"{server.url}/v1/health")


def test_who_is_no_server_of_ours_is_said_to_be_none() -> None:
    with pytest.raises(Unreachable, match="no answer from"):
        lookalike.connect("http://127.0.0.1:9", patience_s=0)
    with pytest.raises(BadSetting, match="is not the address"):
        lookalike.connect("shop")
    with pytest.raises(BadSetting, match="namespace"):
        lookalike.connect("http://127.0.0.1:9", namespace="Käse")


@pytest.mark.parametrize("trusted", [False, True])
def test_a_key_is_sent_only_to_a_server_that_somebody_vouches_for(
    trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vouched = certificate(tmp_path, "localhost")
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(vouched))
    tls, heard = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    tls.load_cert_chain(vouched)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with suppress(OSError), tls.wrap_socket(server.accept()[0], True) as client:
                for part in iter(lambda: client.recv(1000), b""):
                    heard.append(part)
                    if part.endswith(b"{}"):  # all of it: else what is unread resets the connection
                        break
                client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(
            Unreachable, match="not like a Lookalike server" if trusted else "certif"
        ):
            lookalike.connect(f"https://localhost:{server.getsockname()[1]}", "ann's key")
        thread.join()

    assert (b"ann's key" in b"".join(heard)) == trusted


# --- large things -------------------------------------------------------------------------------


def test_a_large_file_is_sent_to_an_address_of_its_own(both: Both, tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    noise = chance.integers(0, 255, (1000, 1000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size > 2_500_000

    added = both.remote.collection("pictures").add(tmp_path / "noise.png", ids=["noise"])

    assert (added.added, added.documents) == (1, 1)
    again = both.remote.collection("pictures").add(tmp_path / "noise.png")
    assert (again.added, again.unchanged) == (0, 1)


def test_a_file_that_was_uploaded_becomes_an_object(both: Both, server: Served) -> None:
    data = (PICTURES / FRUIT[0]).read_bytes()
    begin = {"filename": "big.png", "blob_property": "content"}
    uploads = f"{server.url}/v1/buckets/pictures/uploads"

    begun = patient.post(uploads, json=begin).json()
    sent = patient.put(begun["presigned_url"], content=data)
    confirmed = patient.post(f"{uploads}/{begun['upload_id']}/confirm")

    assert len(data) > 4096, "few bytes are kept in another way"
    assert (sent.status_code, confirmed.status_code) == (200, 200), confirmed.text
    assert confirmed.json()["object_id"]


def test_more_than_a_page_is_yielded_whole_and_in_order(both: Both) -> None:
    many = both.remote.labeler("many", extractor="passthrough", confidence_threshold=0.5)
    ids = [f"m{n}" for n in range(2300)]
    added = many.add(vectors=vectors(2300), ids=ids)

    found = [one.id for one in many.documents()]

    assert added.documents == 2300
    assert found == ids
    assert [one.id for one in many.documents(limit=1500)] == ids[:1500]
    assert [one.id for one in many.documents(ids=reversed(ids))] == ids


def test_what_is_forgotten_meanwhile_is_not_yielded_any_more(both: Both) -> None:
    many = both.remote.collection("many")
    stream = many.documents()
    first = next(stream)

    many.forget(["m1500"])
    rest = [one.id for one in stream]

    assert first.id == "m0"
    assert len(rest) == 2298
    assert "m1500" not in rest


def test_a_folder_is_sent_with_what_fits_and_the_rest_is_named(both: Both, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in FRUIT[:3]:
        (tmp_path / name).write_bytes((PICTURES / name).read_bytes())
    (tmp_path / "in" / "notes.txt").write_text("no picture", "utf-8")
    told: list[tuple[int, int]] = []

    local = both.local.labeler("folder").add(tmp_path)
    remote = both.remote.labeler("folder").add(
        tmp_path, progress=lambda done, total: told.append((done, total))
    )

    assert remote == local
    assert remote.skipped == ("in/notes.txt",)
    assert told[-1] == (3, 3)


# --- answers that are lost ----------------------------------------------------------------------


@pytest.fixture
def relay(server: Served) -> Iterator[Relay]:
    with Relay(server.url) as one:
        yield one


@pytest.fixture
def far(relay: Relay, both: Both) -> Iterator[RemoteLibrary]:
    """A library behind a relay, with a collection `lossy` that is new."""
    if "lossy" in both.remote.collections():
        both.remote.remove_bucket("lossy", cascade=True)
    made = both.remote.labeler("lossy", extractor="passthrough", confidence_threshold=0.5)
    made.add(vectors=vectors(40), ids=[f"v{n}" for n in range(40)])
    made.label({"v0": "Kind 0", "v1": "Kind 1"})
    with lookalike.connect(relay.url) as library:
        yield library


def nothing() -> None:
    """Lose the answer, and do no more."""


WRITES: dict[str, Step] = {
    "label": lambda library: library.collection("lossy").label({"v2": "Kind 2"}),
    "amend": lambda library: library.collection("lossy").amend({"v3": {"label": "Kind 3"}}),
    "reject": lambda library: library.collection("lossy").reject({"v4": "Kind 0"}),
    "new_kind": lambda library: library.collection("lossy").new_kind(["v5"]),
    "cannot_tell": lambda library: library.collection("lossy").cannot_tell(["v6"]),
    "import_labels": lambda library: library.collection("lossy").import_labels(
        [{"id": "v7", "label": "Kind 3"}]
    ),
    "promote": lambda library: library.collection("lossy").promote(min_confidence=0.5),
    "run": lambda library: library.collection("lossy").run(confidence_threshold=0.6),
    "undo": lambda library: library.collection("lossy").undo(
        library.collection("lossy").operations(limit=1)[0].id
    ),
    "forget": lambda library: library.collection("lossy").forget(["v8"]),
    "forget_objects": lambda library: library.forget_objects("lossy", ["v9"]),
    "add_taxonomy": lambda library: library.add_taxonomy("lossy", "colour"),
    "add_vectors": lambda library: library.collection("lossy").add(
        vectors=vectors(3, seed=8), ids=["w0", "w1", "w2"]
    ),
}


@pytest.mark.parametrize("verb", WRITES)
def test_a_verb_whose_answer_is_lost_is_done_once(
    far: RemoteLibrary, relay: Relay, verb: str
) -> None:
    before = far.collection("lossy").operations()
    relay.lose(verb, nothing)

    answer = WRITES[verb](far)

    asked = [path for path in relay.paths if path.endswith(f"/{verb}")]
    after = far.collection("lossy").operations()
    assert len(asked) == 2
    if verb != "add_vectors":  # the same vectors again are an operation that changes nothing
        assert len(after) == len(before) + 1
    if hasattr(answer, "operation"):
        assert answer.operation == after[0].id


def test_a_receipt_that_is_lost_is_told_again(far: RemoteLibrary, relay: Relay) -> None:
    relay.lose("forget", nothing)

    receipt = far.collection("lossy").forget(["v8", "v10"])

    assert (receipt.objects, receipt.documents, receipt.vectors) == (2, 2, 2)
    with pytest.raises(NotFound):
        far.collection("lossy").forget(["v8"])


def test_what_is_made_or_removed_when_the_answer_is_lost_is_there_or_gone(
    far: RemoteLibrary, relay: Relay
) -> None:
    relay.lose("create_bucket", nothing)
    far.create_bucket("lost_bucket", {"a": "text"})
    relay.lose("create_collection", nothing)
    far.create_collection("lost", bucket="lost_bucket", extractor="text")
    relay.lose("labeler", nothing)
    far.labeler("lost_labeler", extractor="text")
    made = far.collections(), far.buckets()
    relay.lose("remove_collection", nothing)
    removed = far.remove_collection("lost", "lost_labeler")
    relay.lose("remove_bucket", nothing)
    emptied = far.remove_bucket("lost_bucket")

    assert {"lost", "lost_labeler"} <= set(made[0])
    assert removed.collections == ("lost", "lost_labeler")
    assert emptied.buckets == ("lost_bucket",)
    assert not {"lost", "lost_labeler"} & set(far.collections())
    with pytest.raises(Conflict):
        far.create_bucket("lossy", {"a": "text"})
    with pytest.raises(NotFound):
        far.remove_collection("lost")


def dies(server: Served) -> Callable[[], None]:
    """Kill the server at once, and start it again beside."""

    def end() -> None:
        server.kill()
        threading.Thread(target=server.start).start()

    return end


def test_a_server_killed_before_it_answers_has_written_once(
    far: RemoteLibrary, relay: Relay, server: Served
) -> None:
    before = len(far.collection("lossy").operations())
    relay.lose("label", dies(server))

    changed = far.collection("lossy").label({"v2": "Kind 2", "v3": "Kind 3"})

    lossy = far.collection("lossy")
    assert changed.by_person == 2
    assert len(lossy.operations()) == before + 1
    assert [one.kind.value for one in lossy.history("v2")] == ["labelled"]
    assert lossy.document("v3").label == "Kind 3"
    assert far.check() == []


def test_a_server_killed_while_pictures_come_in_has_each_once(
    both: Both, relay: Relay, server: Served
) -> None:
    names = [PICTURES / name for name in FRUIT]
    with lookalike.connect(relay.url) as library:
        pictures = library.labeler("killed")
        relay.lose("add", dies(server))

        added = pictures.add(names, ids=list(FRUIT))

        assert sorted(pictures.ids()) == sorted(FRUIT)
        assert len(pictures.operations()) >= 1
        assert added.added + added.unchanged == len(FRUIT)
        assert added.failed == {}
        assert library.check() == []


# --- light --------------------------------------------------------------------------------------


def test_connecting_and_asking_loads_nothing_heavy(server: Served) -> None:
    code = (
        "import sys, lookalike\n"
        f"library = lookalike.connect({server.url!r})\n"
        "library.collections(), library.buckets(), library.spaces()\n"
        f"print([name for name in {NOT_LOADED!r} if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "[]"


def test_what_cannot_be_sent_says_so(both: Both) -> None:
    with pytest.raises(BadInput, match="JSON"):
        things(both.remote).label({"v1": object()})  # type: ignore[dict-item]


def test_a_stale_answer_tells_what_stands(both: Both) -> None:
    answers = []
    for library in (both.local, both.remote):
        with pytest.raises(Stale) as error:
            things(library).label({"v1": "x"}, revisions={"v1": 0}, actor="eve")
        answers.append(error.value.now["answers"])
        assert error.value.now["revisions"] == {
            "v1": things(library).document("v1").standing.revision
        }

    assert answers[0] == answers[1]
    assert answers[0]["v1"]["kind"] == "labelled"
