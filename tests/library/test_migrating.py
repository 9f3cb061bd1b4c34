"""Another extractor: compared on the same answers, switched in one step, and back again."""

from __future__ import annotations

import random
import string
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

import lookalike
from folded import assert_folded
from lookalike.catalog.resources import collection_row
from lookalike.content.boxes import OVERLAP, PartRegion, matching_parts, overlap
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.extractors.registry import extractors
from lookalike.ingest.items import Tally
from lookalike.library.collection.collection import Collection
from lookalike.model import Document, Origin, Reason
from lookalike.stores import schema
from lookalike.stores.base import stored_space
from processes import finished
from serving import Served
from sketches import write_plugin

LETTERS = string.ascii_lowercase
KINDS = tuple(LETTERS[place : place + 2] for place in range(0, 24, 2))
"""Each kind of text has two letters of its own."""

TEXTS = 152
LABELLED = 108
LIMIT = 0.7
"""Above it, counts of letters are those of one kind."""

RULES: list[dict[str, Any]] = [{"confidence_threshold": LIMIT}, {"target_precision": 0.95}]

Decided = tuple[str | None, Origin | None, float | None, Reason | None, tuple[str, ...]]


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place on the path where the extractors of `sketches` are installed."""
    write_plugin(tmp_path / "plugins")
    monkeypatch.syspath_prepend(tmp_path / "plugins")
    extractors.cache_clear()
    yield tmp_path / "plugins"
    extractors.cache_clear()


@pytest.fixture
def library(tmp_path: Path, plugins: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


def written(kind: str, seed: int) -> str:
    """A text of a kind: more than half of its letters are of the kind, less of the last ones."""
    chance = random.Random(seed)
    words = []
    for _ in range(12):
        body = [chance.choice(kind if chance.random() < 0.6 else LETTERS) for _ in "1234"]
        words.append("".join(body) + chance.choice(kind if chance.random() < 0.4 else LETTERS))
    return " ".join(words)


def texts(count: int, *, seed: int = 0) -> dict[str, str]:
    """Texts of all kinds in turn, by their ids t0, t1, …"""
    return {f"t{place}": written(KINDS[place % 12], seed + place) for place in range(count)}


def put(collection: Collection, some: Mapping[str, str]) -> None:
    collection.add([text.encode() for text in some.values()], ids=list(some))


def filled(library: lookalike.Library, name: str = "texts", **rule: Any) -> Collection:
    """A collection of texts, half of them labelled, one refused and one of a new kind."""
    rule = rule or {"confidence_threshold": LIMIT}
    collection = library.labeler(name, extractor="letters", **rule)
    put(collection, texts(TEXTS))
    collection.label({f"t{place}": KINDS[place % 12] for place in range(LABELLED)})
    collection.reject({"t120": KINDS[0]})
    collection.new_kind(["t121"])
    return collection


def decided(collection: Collection) -> dict[str, Decided]:
    """What stands of each document and why, by its id."""
    return {one.id: _decided(one) for one in collection.documents()}


def _decided(one: Document) -> Decided:
    said = one.standing
    return said.label, said.origin, said.decision.confidence, said.decision.reason, said.rejected


def said_by_people(collection: Collection) -> dict[str, Decided]:
    """What people said: labels with their origin, and what was refused."""
    return {id: one for id, one in decided(collection).items() if one[1] is Origin.HUMAN or one[4]}


def count(library: lookalike.Library, table: Any) -> int:
    with library.runtime.store.read() as snapshot:
        return int(snapshot.rows(select(func.count().label("n")).select_from(table))[0].n)


def assert_sound(library: lookalike.Library) -> None:
    assert library.check() == []
    with library.runtime.store.read() as snapshot:
        assert_folded(snapshot)


# --- compare --------------------------------------------------------------------------------------


def test_a_preparation_compares_and_changes_nothing(library: lookalike.Library) -> None:
    collection = filled(library)
    before = decided(collection), collection.report(), collection.operations(), library.spaces()
    told: list[tuple[int, int]] = []

    found = library.prepare_migration(
        "texts", extractor="endings", progress=lambda *one: told.append(one)
    )

    after = decided(collection), collection.report(), collection.operations(), library.spaces()
    assert after == before
    assert (found.before, found.after) == (
        library.spaces()["texts"],
        extractors()["endings"]().space.name,
    )
    assert (found.extracted, found.failed, found.new_parts) == (TEXTS, {}, 0)
    assert told[-1] == (TEXTS, TEXTS)
    (field,) = found.fields
    assert (field.references_before, field.references_after) == (LABELLED, LABELLED)
    assert field.accuracy_before is not None and field.accuracy_after is not None
    assert field.accuracy_before == 1.0 > field.accuracy_after
    assert field.same + field.changed + field.appeared + field.gone == TEXTS - LABELLED - 1
    assert str(LIMIT) in field.warning
    again = library.prepare_migration("texts", extractor="endings")
    assert replace(again, seconds=0) == replace(found, seconds=0, extracted=0)


@pytest.mark.parametrize("rule", RULES)
def test_a_switch_does_what_the_comparison_said(
    library: lookalike.Library, rule: dict[str, Any]
) -> None:
    collection = filled(library, **rule)
    before = decided(collection)
    (foretold,) = library.prepare_migration("texts", extractor="endings").fields

    changed = library.migrate("texts", extractor="endings")

    after = decided(collection)
    moved = {id for id in after if after[id][0] != before[id][0]}
    assert sum(changed.labelled.values()) == foretold.appeared
    assert sum(changed.relabelled.values()) == foretold.changed
    assert sum(changed.unlabelled.values()) == foretold.gone
    assert len(moved) == changed.by_itself
    assert {one.id for one in foretold.examples} <= moved
    report = collection.report()
    assert report.coverage == pytest.approx(foretold.coverage_after)
    assert_sound(library)


def test_a_number_holds_for_one_space_and_the_other_gets_its_own(
    library: lookalike.Library,
) -> None:
    collection = filled(library)

    (field,) = library.prepare_migration(
        "texts", extractor="endings", confidence_threshold=0.99
    ).fields
    library.migrate("texts", extractor="endings", confidence_threshold=0.99)

    assert field.warning == ""
    assert field.coverage_after == pytest.approx(collection.report().coverage)
    assert collection.report().limit == 0.99


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_there_and_back_gives_the_same_decisions(
    library: lookalike.Library, tmp_path: Path, rule: dict[str, Any]
) -> None:
    collection = filled(library, **rule)
    before, people = decided(collection), said_by_people(collection)
    log = tmp_path / "log.txt"

    library.migrate("texts", extractor="endings")
    there = said_by_people(collection), library.spaces()["texts"]
    changed = library.migrate("texts", extractor="letters", options={"log": str(log)})

    assert {id: one[:2] + one[4:] for id, one in there[0].items()} == {
        id: one[:2] + one[4:] for id, one in people.items()
    }
    assert there[1].startswith("endings")
    assert not log.exists(), "nothing is extracted again"
    assert decided(collection) == before
    kinds = [one.kind for one in collection.operations()]
    assert kinds.count("migrate") == 2
    assert changed.operation in {one.id for one in collection.operations()}
    assert_sound(library)


def test_one_extractor_becomes_several_and_one_again(library: lookalike.Library) -> None:
    collection = filled(library, target_precision=0.95)
    before = decided(collection)
    options = {"members": ["letters", "endings"]}
    (foretold,) = library.prepare_migration(
        "texts", extractor="combined_extractor", options=options
    ).fields

    library.migrate("texts", extractor="combined_extractor", options=options)

    assert collection.report().coverage == pytest.approx(foretold.coverage_after)
    assert set(collection.why("t130").weights) == {"letters", "endings"}
    library.migrate("texts", extractor="letters")
    assert decided(collection) == before
    assert_sound(library)


def test_back_again_has_the_options_it_had(library: lookalike.Library, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    collection = library.labeler("texts", extractor="letters", log=str(log))
    put(collection, texts(4))
    library.migrate("texts", extractor="endings")
    put(collection, {"new": "one more text"})
    assert len(log.read_text().split()) == 4

    library.migrate("texts", extractor="letters")

    assert len(log.read_text().split()) == 5


def test_what_was_said_before_can_be_taken_back_after(library: lookalike.Library) -> None:
    collection = filled(library)
    said = collection.label({"t130": KINDS[1]})

    migrated = library.migrate("texts", extractor="endings")
    collection.undo(said.operation)

    assert decided(collection)["t130"][1] is not Origin.HUMAN
    with pytest.raises(Conflict, match="migrate back"):
        collection.undo(migrated.operation)
    library.migrate("texts", extractor="letters")
    assert decided(collection)["t130"][1] is not Origin.HUMAN
    assert_sound(library)


def test_checks_of_one_extractor_say_nothing_of_another(library: lookalike.Library) -> None:
    collection = filled(library, target_precision=0.95)
    collection.label({f"t{place}": KINDS[place % 12] for place in range(LABELLED + 2, TEXTS)})
    assert collection.report().checked > 0

    library.migrate("texts", extractor="endings")

    assert (collection.report().checked, collection.report().at_least) == (0, None)


def test_what_is_asked_for_twice_is_done_once(library: lookalike.Library) -> None:
    filled(library)

    first = library.migrate("texts", extractor="endings", op_id="op_once")
    second = library.migrate("texts", extractor="endings", op_id="op_once")

    assert first == second


# --- what comes in between ------------------------------------------------------------------------


def test_what_came_or_changed_since_is_caught_up(library: lookalike.Library) -> None:
    collection = filled(library)
    library.prepare_migration("texts", extractor="endings")
    rocks = written(KINDS[1], 900)
    put(collection, {"late": rocks})
    collection.add([rocks.encode()], ids=["t130"])

    library.migrate("texts", extractor="endings")

    sha256 = {one.id: one.sha256 for one in collection.documents(ids=["late", "t130"])}
    assert sha256["late"] == sha256["t130"]
    vectors = _vectors(library, collection, ["late", "t130"])
    assert np.array_equal(vectors[0], vectors[1])
    assert len(collection) == TEXTS + 1
    assert collection.report().waiting == 0
    assert_sound(library)


def test_what_changed_and_cannot_be_read_any_more_is_not_what_it_was(
    library: lookalike.Library,
) -> None:
    collection = library.labeler("texts", extractor="endings", confidence_threshold=LIMIT)
    put(collection, texts(4))
    library.prepare_migration("texts", extractor="letters")
    put(collection, {"t1": "now with a digit 1"})
    assert collection.report().failed == 1

    found = library.prepare_migration("texts", extractor="letters")
    library.migrate("texts", extractor="letters")

    assert found.extracted == 1
    assert collection.report().failed == 0
    put(collection, {"same": "now with a digit 1"})
    vectors = _vectors(library, collection, ["t1", "same"])
    assert np.array_equal(vectors[0], vectors[1])


def _vectors(library: lookalike.Library, collection: Collection, ids: list[str]) -> Any:
    from lookalike.catalog.fields import space_of
    from lookalike.catalog.reader import pks_of

    with library.runtime.store.read() as snapshot:
        table = schema.resource
        (row,) = snapshot.rows(
            select(table.c.pk).where(table.c.name == collection.name, table.c.kind == "collection")
        )
        pks = pks_of(snapshot, collection_row(snapshot, row.pk), ids)
        return snapshot.vectors(space_of(snapshot, row.pk), np.array(list(pks.values())))


def test_what_cannot_be_read_keeps_its_label_and_does_not_vote(
    library: lookalike.Library,
) -> None:
    collection = library.labeler("texts", extractor="letters", confidence_threshold=LIMIT)
    birds = written(KINDS[0], 100)
    put(collection, {"good": birds, "bad": birds + " 1", "worse": birds + " 2", "new": birds})
    collection.label({"good": KINDS[0], "bad": KINDS[0]})
    assert decided(collection)["worse"][0] == KINDS[0]

    found = library.prepare_migration("texts", extractor="endings")
    library.migrate("texts", extractor="endings")

    assert ["digits" in why for why in found.failed.values()] == [True, True]
    assert found.without_counterpart == 2
    assert found.fields[0].lost == ("bad",)
    now = decided(collection)
    assert now["bad"][:2] == (KINDS[0], Origin.HUMAN)
    assert now["worse"][:4] == (None, None, None, Reason.EXTRACTION_FAILED)
    assert collection.report().failed == 2
    assert [one.id for one in collection.documents(order_by="added")] == [*now]
    assert collection.why("new").standing.label == KINDS[0]
    assert collection.inspect().labels[0].references == 1
    with pytest.raises(Conflict, match="no vector"):
        collection.suggest(ids=["worse"])
    collection.label({"worse": KINDS[1]})
    collection.label({"worse": None})
    put(collection, {"bad": birds})
    assert collection.inspect().labels[0].references == 2
    library.migrate("texts", extractor="letters")
    assert decided(collection)["worse"][:2] == (KINDS[0], Origin.AUTO)
    assert collection.report().failed == 0
    assert_sound(library)


# --- several at once ------------------------------------------------------------------------------


def test_another_process_goes_on_in_the_new_space(
    library: lookalike.Library, tmp_path: Path
) -> None:
    collection = filled(library)
    with lookalike.open(tmp_path / "store", actor="bob") as other:
        theirs = other.collection("texts")
        decided(theirs)
        theirs.label({"t140": KINDS[0]})
        old = other.runtime.target(theirs._row)

        library.migrate("texts", extractor="endings")

        assert decided(theirs) == decided(collection)
        assert theirs.why("t150").standing == collection.why("t150").standing
        assert theirs.suggest(ids=["t151"]) == collection.suggest(ids=["t151"])
        theirs.label({"t142": KINDS[2]})
        put(theirs, {"theirs": written(KINDS[1], 300)})
        assert other.spaces() == library.spaces()
        assert decided(theirs) == decided(collection)
        put(collection, {"ours": written(KINDS[1], 400)})
        _let_wait(library, "ours")
        other.runtime.extraction().run(old, Tally(), "bob", lambda *_: None)
        assert theirs.report().waiting == 1, "whoever extracts as before takes nothing up"
        theirs.extract()
        assert decided(theirs) == decided(collection)
        library.migrate("texts", extractor="letters")
        assert decided(theirs) == decided(collection)
    assert_sound(library)


def test_another_process_forgets_what_it_knew_of_a_space_that_comes_back(
    library: lookalike.Library, tmp_path: Path
) -> None:
    collection = filled(library)
    with lookalike.open(tmp_path / "store", actor="bob") as other:
        theirs = other.collection("texts")
        theirs.label({"t140": KINDS[0]})
        library.migrate("texts", extractor="endings")
        collection.add([written(KINDS[2], 800).encode()], ids=["t130"])
        collection.forget(["t131"])
        library.migrate("texts", extractor="letters")

        theirs.label({"t1": KINDS[2]})

        ids = [one.id for one in collection.documents(origin=Origin.AUTO)]
        assert "t130" in ids
        assert theirs.suggest(ids=ids) == collection.suggest(ids=ids)
        said = decided(collection)
        collection.run()
        assert decided(collection) == said, "all of it is what deciding from scratch gives"
    assert_sound(library)


def test_what_is_being_extracted_goes_on_in_the_new_space(
    library: lookalike.Library, tmp_path: Path
) -> None:
    collection = library.labeler("texts", extractor="letters", confidence_threshold=LIMIT)
    put(collection, texts(12))
    slow = library.labeler("slow", extractor="letters", pause_ms=20)
    put(slow, texts(4, seed=50))
    began = threading.Event()

    def add() -> None:
        more = {f"more{place}": written(KINDS[place % 12], 900 + place) for place in range(200)}
        contents = [text.encode() for text in more.values()]
        slow.add(contents, ids=list(more), progress=lambda *_: began.set())

    with lookalike.open(tmp_path / "store", actor="bob") as other:
        adding = threading.Thread(target=add)
        adding.start()
        assert began.wait(60)
        other.migrate("slow", extractor="endings")
        adding.join()

        assert other.collection("slow").report().waiting == 0
        assert len(other.collection("slow")) == 204
        assert count(library, schema.embedding) >= 204 + 12
        with library.runtime.store.read() as snapshot:
            rows = snapshot.rows(select(schema.space).where(schema.space.c.beside.is_not(True)))
            space = stored_space(next(row for row in rows if row.name.startswith("endings")))
            assert len(snapshot.slots(space)[0]) == 204
    assert_sound(library)


def _let_wait(library: lookalike.Library, id: str) -> None:
    """Let an object wait in its collection again."""
    with library.runtime.store.write() as txn:
        table = schema.document
        (row,) = txn.rows(select(table).where(table.c.id == id))
        values = {"collection_pk": row.collection_pk, "object_pk": row.object_pk}
        txn.insert_one(schema.extraction, **values, status="PENDING")


def test_one_process_at_a_time_extracts_beside(library: lookalike.Library, tmp_path: Path) -> None:
    filled(library)
    began, may_end = threading.Event(), threading.Event()

    def progress(_done: int, _total: int) -> None:
        began.set()
        assert may_end.wait(60)

    with lookalike.open(tmp_path / "store", actor="bob") as other:
        asked: dict[str, Any] = {"extractor": "endings", "progress": progress}
        first = threading.Thread(target=lambda: other.prepare_migration("texts", **asked))
        first.start()
        assert began.wait(60)
        try:
            with pytest.raises(Conflict, match="another process"):
                library.prepare_migration("texts", extractor="endings")
            with pytest.raises(Conflict, match="another process"):
                library.drop_spaces("texts")
        finally:
            may_end.set()
            first.join()
    assert library.prepare_migration("texts", extractor="endings").extracted == 0


def _environment(plugins: Path) -> dict[str, str]:
    here = str(Path(__file__).parents[1])
    source = str(Path(lookalike.__file__).parent.parent)
    return {"PYTHONPATH": f"{plugins}:{here}:{source}", "PATH": "/usr/bin:/bin"}


def _command(store: Path, plugins: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = _environment(plugins)
    command = [sys.executable, "-m", "lookalike", "--store", str(store), "migrate", "texts"]
    return subprocess.Popen(
        [*command, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_killed_while_it_extracts_it_goes_on(
    library: lookalike.Library, tmp_path: Path, plugins: Path
) -> None:
    collection = library.labeler("texts", extractor="letters", confidence_threshold=LIMIT)
    put(collection, texts(40))
    before, log = decided(collection), tmp_path / "log.txt"
    options = ("--option", f"log={log}", "--option", "pause_ms=250")
    process = _command(tmp_path / "store", plugins, "--extractor", "endings", "--dry-run", *options)
    deadline = time.monotonic() + 90
    while count(library, schema.finding) == 0:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)

    process.kill()
    process.communicate()

    done = count(library, schema.finding)
    assert 0 < done < 40
    assert decided(collection) == before
    found = library.prepare_migration("texts", extractor="endings")
    assert found.extracted == 40 - done
    library.migrate("texts", extractor="endings")
    assert_sound(library)


def test_killed_at_any_moment_the_old_space_or_the_new_one_is_in_force(
    library: lookalike.Library, tmp_path: Path, plugins: Path
) -> None:
    collection = filled(library)
    states = {library.spaces()["texts"]: decided(collection)}
    library.migrate("texts", extractor="endings")
    states[library.spaces()["texts"]] = decided(collection)
    chance = random.Random(0)
    wanted = "letters"

    for _ in range(3):
        process = _command(tmp_path / "store", plugins, "--extractor", wanted, "--yes")
        time.sleep(chance.uniform(0.5, 2.5))
        process.kill()
        process.communicate()

        now = library.spaces()["texts"]
        assert {id: one[:2] for id, one in decided(collection).items()} == {
            id: one[:2] for id, one in states[now].items()
        }
        assert_sound(library)
        wanted = "endings" if now.startswith("letters") else "letters"
    library.migrate("texts", extractor=wanted)
    assert decided(collection) == states[library.spaces()["texts"]]


# --- pairs ----------------------------------------------------------------------------------------


def test_a_pair_changes_together(library: lookalike.Library) -> None:
    curated = filled(library, "curated")
    stock = library.labeler(
        "stock", extractor="letters", reference="curated", confidence_threshold=LIMIT
    )
    put(stock, texts(20, seed=7))
    before = decided(stock)

    for alone in ("curated", "stock"):
        with pytest.raises(Conflict, match=r"lookalike migrate (curated stock|stock curated)"):
            library.migrate(alone, extractor="endings")
    found = library.prepare_migration("curated", "stock", extractor="endings")
    library.migrate("curated", "stock", extractor="endings")

    assert {one.collection for one in found.fields} == {"curated", "stock"}
    assert len(set(library.spaces().values())) == 1
    stock.why("t1")
    curated.label({"t133": KINDS[1]})
    library.migrate("stock", "curated", extractor="letters")
    curated.label({"t133": None})
    assert decided(stock) == before
    assert_sound(library)


def test_a_collection_without_documents_changes_with_the_other(
    library: lookalike.Library,
) -> None:
    filled(library, "curated")
    stock = library.labeler(
        "stock", extractor="letters", reference="curated", confidence_threshold=LIMIT
    )

    library.migrate("curated", "stock", extractor="endings")
    put(stock, texts(4, seed=7))

    assert len(set(library.spaces().values())) == 1
    assert stock.report().documents == 4


# --- parts ----------------------------------------------------------------------------------------


@given(
    boxes=st.lists(
        st.tuples(*(st.integers(0, 60),) * 2, *(st.integers(1, 30),) * 2), max_size=6, unique=True
    ),
    shift=st.integers(-3, 3),
    order=st.randoms(use_true_random=False),
)
def test_matching_parts_are_one_to_one_and_overlap(
    boxes: list[tuple[int, int, int, int]], shift: int, order: random.Random
) -> None:
    known = [PartRegion(f"k{place}", {"box": list(box)}) for place, box in enumerate(boxes)]
    moved = [[box[0] + shift, *box[1:]] for box in boxes]
    found = [PartRegion(f"f{place}", {"box": box}) for place, box in enumerate(moved)]
    order.shuffle(found)

    pairs = matching_parts(known, found)

    assert len(set(pairs.values())) == len(pairs)
    for place, there in pairs.items():
        assert overlap(_box(known[there]), _box(found[place])) >= OVERLAP
    if shift == 0:
        names = {found[place].key[1:]: known[there].key[1:] for place, there in pairs.items()}
        assert names == {str(place): str(place) for place in range(len(boxes))}


def _box(part: PartRegion) -> tuple[float, float, float, float]:
    assert part.box is not None
    return part.box


SKETCH = """\
10 10 40 40 aaaa
200 20 40 40 kkkk
100 90 40 40 bbbb
300 300 40 40 pppp
5 200 4 4 zzzz
"""


def _boxes(collection: Collection) -> dict[str, Document]:
    """The documents of the sketch, by the word in the box."""
    words = {10.0: "a", 200.0: "k", 100.0: "b", 300.0: "p", 5.0: "z"}
    near = {round(left, -1): word for left, word in words.items()} | {0: "z"}
    found = collection.documents()
    return {near[round(float(one.attributes["box"][0]), -1)]: one for one in found}


def test_parts_are_recognised_by_their_place(library: lookalike.Library) -> None:
    collection = library.labeler("sketches", extractor="sketched", confidence_threshold=LIMIT)
    collection.add([SKETCH.encode()], ids=["s"])
    collection.label({one.id: word for word, one in _boxes(collection).items()})
    before = _boxes(collection)

    options = {"detector": "columns", "shift": 3, "least": 100}
    found = library.prepare_migration("sketches", extractor="sketched", options=options)
    library.migrate("sketches", extractor="sketched", options=options)

    after = _boxes(collection)
    assert {word: one.id for word, one in after.items()} == {
        word: one.id for word, one in before.items()
    }
    assert {one.standing.label for one in after.values()} == set("akbpz")
    assert {word: one.part for word, one in after.items()} == {
        "a": "box-0",
        "b": "box-1",
        "k": "box-2",
        "p": "box-3",
        "z": "box-3~4" if before["z"].part == "box-3" else before["z"].part,
    }
    assert after["k"].attributes["box"][0] == 203
    assert found.without_counterpart == 1
    assert found.fields[0].lost == (before["z"].id,)
    library.migrate("sketches", extractor="sketched", options={})
    assert _boxes(collection) == before
    assert_sound(library)


def test_parts_of_what_waits_are_recognised_when_it_is_extracted(
    library: lookalike.Library,
) -> None:
    collection = library.labeler("sketches", extractor="sketched", confidence_threshold=LIMIT)
    collection.add([SKETCH.encode()], ids=["s"])
    collection.label({one.id: word for word, one in _boxes(collection).items()})
    before = _boxes(collection)
    _let_wait(library, before["a"].id)

    options = {"detector": "columns", "least": 100}
    library.migrate("sketches", extractor="sketched", options=options)

    after = _boxes(collection)
    assert {word: (one.id, one.label) for word, one in after.items()} == {
        word: (one.id, word) for word, one in before.items()
    }
    assert {word: after[word].part for word in "abkp"} == {
        "a": "box-0",
        "b": "box-1",
        "k": "box-2",
        "p": "box-3",
    }
    assert collection.report().waiting == 0
    assert_sound(library)


def test_parts_that_nobody_spoke_of_go_when_what_waits_is_extracted_without_them(
    library: lookalike.Library,
) -> None:
    collection = library.labeler("sketches", extractor="sketched", confidence_threshold=LIMIT)
    collection.add([SKETCH.encode()], ids=["s"])
    before = _boxes(collection)
    collection.label({before["a"].id: "a", before["k"].id: "k"})
    _let_wait(library, before["a"].id)

    options = {"detector": "columns", "least": 100}
    library.migrate("sketches", extractor="sketched", options=options)

    after = _boxes(collection)
    assert {word: one.id for word, one in after.items()} == {
        word: one.id for word, one in before.items() if word != "z"
    }
    assert [after[word].label for word in "akbp"] == ["a", "k", None, None]
    assert_sound(library)


def test_parts_that_are_new_become_documents_with_the_switch(library: lookalike.Library) -> None:
    options: dict[str, Any] = {"detector": "columns", "least": 100}
    collection = library.labeler("sketches", extractor="sketched", **options)
    collection.add([SKETCH.encode()], ids=["s"])
    before = _boxes(collection)
    assert set(before) == set("akbp")

    found = library.prepare_migration(
        "sketches", extractor="sketched", options={"detector": "rows"}
    )
    assert (len(collection), found.new_parts) == (4, 1)
    library.migrate("sketches", extractor="sketched", options={"detector": "rows"})

    after = _boxes(collection)
    assert set(after) == set("akbpz")
    assert len({one.id for one in after.values()}) == 5
    assert all(after[word].id == before[word].id for word in before)
    assert len({one.part for one in after.values()}) == 5
    library.migrate("sketches", extractor="sketched", options=options)
    back = _boxes(collection)
    assert all(back[word] == before[word] for word in before)
    assert len(back) == 5
    library.migrate("sketches", extractor="sketched", options={"detector": "rows"})
    assert {word: one.id for word, one in _boxes(collection).items()} == {
        word: one.id for word, one in after.items()
    }
    assert_sound(library)


def test_what_is_seen_badly_does_not_vote_and_votes_again(library: lookalike.Library) -> None:
    collection = library.labeler("sketches", extractor="sketched", confidence_threshold=LIMIT)
    collection.add([SKETCH.encode()], ids=["s"])
    collection.label({one.id: word for word, one in _boxes(collection).items()})
    before = {word: one.standing.is_reference for word, one in _boxes(collection).items()}

    options = {"detector": "columns", "poor": 100}
    (foretold,) = library.prepare_migration(
        "sketches", extractor="sketched", options=options
    ).fields
    library.migrate("sketches", extractor="sketched", options=options)

    assert (foretold.references_before, foretold.references_after) == (5, 4)
    after = {word: one.standing.is_reference for word, one in _boxes(collection).items()}
    assert (all(before.values()), after) == (True, {**before, "z": False})
    assert _boxes(collection)["z"].label == "z"
    library.migrate("sketches", extractor="sketched", options={})
    assert {word: one.standing.is_reference for word, one in _boxes(collection).items()} == before


# --- erasing --------------------------------------------------------------------------------------


def test_forgetting_erases_vectors_in_every_space(
    library: lookalike.Library, tmp_path: Path
) -> None:
    collection = filled(library)
    library.migrate("texts", extractor="endings")
    library.prepare_migration("texts", extractor="letters")

    receipt = collection.forget(["t1", "t2"])

    assert (receipt.documents, receipt.vectors) == (2, 4)
    assert count(library, schema.embedding) == 2 * (TEXTS - 2)
    assert count(library, schema.finding) == TEXTS - 2
    files = list((tmp_path / "store" / "vectors").glob("*.f16"))
    rows = [np.frombuffer(file.read_bytes(), np.float16).reshape(-1, 26) for file in files]
    assert [int((~some.any(axis=1)).sum()) for some in rows] == [2, 2]
    library.migrate("texts", extractor="letters")
    assert len(collection) == TEXTS - 2
    assert_sound(library)


def test_the_space_that_is_not_in_force_can_be_dropped(
    library: lookalike.Library, tmp_path: Path
) -> None:
    collection = filled(library)
    old = library.spaces()["texts"]
    library.migrate("texts", extractor="endings")
    before = decided(collection)

    dropped = library.drop_spaces("texts")

    assert dropped.spaces == {"texts": (old,)}
    assert dropped.vectors == TEXTS
    assert dropped.freed_bytes >= TEXTS * 26 * 2
    assert len(list((tmp_path / "store" / "vectors").glob("*.f16"))) == 1
    assert (count(library, schema.finding), count(library, schema.space)) == (0, 1)
    assert decided(collection) == before
    library.migrate("texts", extractor="letters")
    assert_sound(library)


def test_removing_a_collection_removes_all_its_spaces(library: lookalike.Library) -> None:
    filled(library)
    library.prepare_migration("texts", extractor="endings")

    library.remove_collection("texts")

    assert [count(library, table) for table in (schema.space, schema.finding)] == [0, 0]
    assert count(library, schema.embedding) == 0


# --- what cannot be -------------------------------------------------------------------------------


def test_what_cannot_be_is_refused_with_the_cure(library: lookalike.Library) -> None:
    filled(library)
    library.labeler("vectors", extractor="passthrough").add(vectors=np.eye(4))

    refusals: list[tuple[type[Exception], str, tuple[str, ...], str]] = [
        (Conflict, "already", ("texts",), "letters"),
        (NotFound, "nothing", ("texts",), "nothing"),
        (NotFound, "nobody", ("nobody",), "endings"),
        (BadInput, "import the labels", ("vectors",), "endings"),
        (BadInput, "import the labels", ("texts",), "passthrough"),
        (BadInput, "reads image", ("texts",), "image"),
        (BadInput, "give one or more collections", (), "endings"),
    ]

    for kind, words, names, extractor in refusals:
        with pytest.raises(kind, match=words):
            library.migrate(*names, extractor=extractor)
    with pytest.raises(BadInput, match="give the collections whose old spaces"):
        library.drop_spaces()
    assert library.spaces()["texts"].startswith("letters")


# --- over the other doors -------------------------------------------------------------------------


def test_a_server_does_it_as_a_task(tmp_path: Path, plugins: Path) -> None:
    with lookalike.open(tmp_path / "store", actor="ann") as local:
        before = decided(filled(local))
    path = f"{plugins}:{Path(__file__).parents[1]}:{Path(lookalike.__file__).parent.parent}"

    with (
        Served(tmp_path / "store", environment={"PYTHONPATH": path}) as server,
        lookalike.connect(server.url) as library,
    ):
        told: list[tuple[int, int]] = []
        found = library.prepare_migration(
            "texts", extractor="endings", progress=lambda *one: told.append(one)
        )
        changed = library.migrate("texts", extractor="endings", op_id="op_m")
        again = library.migrate("texts", extractor="endings", op_id="op_m")
        there = library.spaces()
        library.migrate("texts", extractor="letters")
        after = {one.id: _decided(one) for one in library.collection("texts").documents()}
        dropped = library.drop_spaces("texts")
        with pytest.raises(Conflict, match="already"):
            library.migrate("texts", extractor="letters")
        with pytest.raises(Conflict, match="another migration"):
            library.migrate("texts", extractor="letters", op_id="op_m")

    assert (found.extracted, found.fields[0].documents) == (TEXTS, TEXTS)
    assert changed == again
    assert there["texts"].startswith("endings")
    assert after == before
    assert dropped.vectors == TEXTS


def test_the_command_compares_asks_and_switches(
    library: lookalike.Library, tmp_path: Path, plugins: Path
) -> None:
    filled(library)
    place = tmp_path / "store"

    def said(*arguments: str) -> tuple[int, str]:
        command = ("--store", str(place), "migrate", "texts", *arguments)
        done = finished(*command, environment=_environment(plugins))
        return done.returncode, done.stdout + done.stderr

    dry, asking, done, dropping, nothing = (
        said("--extractor", "endings", "--dry-run"),
        said("--extractor", "endings"),
        said("--extractor", "endings", "--yes"),
        said("--drop-old", "--yes"),
        said(),
    )

    assert dry[0] == 0
    assert "letters.v1" in dry[1] and "→ endings.v1" in dry[1] and "WARNING" in dry[1]
    assert asking[0] == 1 and "add --yes" in asking[1]
    assert done[0] == 0 and "is kept" in done[1]
    assert dropping[0] == 0 and f"{TEXTS} vectors erased" in dropping[1]
    assert nothing[0] == 1 and "--extractor" in nothing[1]
    assert library.spaces()["texts"].startswith("endings")
