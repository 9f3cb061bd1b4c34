"""Several threads on one library: nothing is lost, nothing contradicts, and nobody starves."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import lookalike
from folded import assert_folded
from lookalike.catalog.objects import held_in
from lookalike.catalog.reader import fields_of
from lookalike.content.blobs import Blobs
from lookalike.content.storage import DirectoryStorage
from lookalike.decisions.decider import Decider
from lookalike.errors import NotFound, StoreClosed
from lookalike.extractors.registry import extractors
from lookalike.labels import Codes
from lookalike.library.collection.collection import Collection
from lookalike.model import Blob
from lookalike.stores.base import Snapshot
from lookalike.stores.locks import FairLock, OncePerKey
from lookalike.testing.fakes import write_plugin

KINDS = 12
ROUNDS = 6
PAUSE_S = 0.02
"""What a client takes between two requests, at least."""
PATIENCE_S = 100.0
"""Far more than all rounds take, also on a busy machine."""

Round = Callable[[int], object]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


def world(count: int, *, seed: int = 0) -> tuple[NDArray[np.float64], list[str]]:
    """Vectors (count, 24) of well separated kinds, and the label of each."""
    chance = np.random.default_rng(seed)
    kinds = chance.integers(0, KINDS, count)
    centres = chance.standard_normal((KINDS, 24))
    vectors = centres[kinds] + 0.5 * chance.standard_normal((count, 24))
    return vectors, [f"Kind {kind}" for kind in kinds.tolist()]


def filled(library: lookalike.Library, name: str, **rule: Any) -> tuple[Collection, list[str]]:
    """A collection of 1,300 documents, 200 of them labelled, and the true label of each."""
    vectors, kinds = world(1300)
    collection = library.labeler(name, extractor="passthrough", **rule)
    collection.add(vectors=vectors, ids=[f"v{place}" for place in range(1300)])
    collection.label({f"v{place}": kinds[place] for place in range(200)})
    return collection, kinds


def field_of(collection: Collection) -> int:
    with collection._runtime.store.read() as snapshot:
        return fields_of(snapshot, collection._row.pk)[0].pk


def decider_of(collection: Collection) -> Decider:
    """The decider of a collection, as who asks gets it."""
    consulted = collection._runtime.operations.deciders.consulted
    with consulted(field_of(collection), lambda decider, _: decider) as (_, decider):
        return decider


@contextmanager
def consulting(collection: Collection) -> Iterator[None]:
    """Another thread asks the decider of a collection, and goes on asking."""
    begun, enough = threading.Event(), threading.Event()

    def ask(_: Decider, __: Snapshot) -> None:
        begun.set()
        assert enough.wait(60)

    def run() -> None:
        with collection._runtime.operations.deciders.consulted(field_of(collection), ask):
            pass

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(run)
        try:
            assert begun.wait(60)
            yield
        finally:
            enough.set()
            asking.result()


def at_once(works: dict[str, Round]) -> dict[str, list[float]]:
    """Do all works at once, each in a thread, until each was done ROUNDS times.

    Return how long each round took, in seconds. Who is left out keeps all others going until
    PATIENCE_S.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    until = time.monotonic() + PATIENCE_S

    def repeat(name: str) -> None:
        while min(map(len, taken.values())) < ROUNDS and (begun := time.monotonic()) < until:
            works[name](len(taken[name]))
            taken[name].append(time.monotonic() - begun)
            time.sleep(PAUSE_S)

    with ThreadPoolExecutor(len(works)) as pool:
        list(pool.map(repeat, works))
    return taken


@pytest.mark.parametrize(
    "rule", [{"confidence_threshold": 0.6}, {"target_precision": 0.9}], ids=["limit", "learned"]
)
def test_eight_threads_do_everything_at_once(library: lookalike.Library, rule: Any) -> None:
    """All that is acknowledged is there, decided as from scratch, and nobody waits for long."""
    collection, kinds = filled(library, "things", **rule)
    more, _ = world(4000, seed=1)
    said: dict[str, str] = {}

    def label(turn: int) -> None:
        id = f"v{200 + turn % 300}"
        collection.label({id: (given := f"Kind {turn % KINDS}" if turn % 7 == 0 else kinds[turn])})
        said[id] = given

    def reject_and_undo(turn: int) -> None:
        changed = collection.reject({f"v{500 + turn % 200}": f"Kind {turn % KINDS}"})
        if turn % 2:
            collection.undo(changed.operation)

    def add_and_forget(turn: int) -> None:
        ids = [f"more{place}" for place in range(turn * 8, turn * 8 + 8)]
        collection.add(vectors=more[turn * 8 % 3992 :][:8], ids=ids)
        if turn % 3 == 0:
            collection.forget(ids[:4])

    works: dict[str, Round] = {
        "label": label,
        "reject and undo": reject_and_undo,
        "add and forget": add_and_forget,
        "document": lambda turn: collection.document(f"v{turn % 1300}"),
        "documents": lambda turn: list(collection.documents(origin="auto", limit=50 + turn % 9)),
        "why": lambda turn: collection.why(f"v{700 + turn % 500}"),
        "queue": lambda _: (collection.queue(limit=10), collection.inspect()),
        "report": lambda _: (collection.report(), collection.operations(), len(collection)),
    }

    taken = at_once(works)

    assert {name: len(times) for name, times in taken.items() if len(times) < ROUNDS} == {}
    assert max(taken["document"]) < max(taken["label"]), "who only reads waits for no lock"
    assert {id: collection.document(id).label for id in said} == said
    assert library.check() == []
    with collection._runtime.store.read() as snapshot:
        assert_folded(snapshot)
    now = list(collection.rows())
    assert collection.run().by_itself == 0
    assert list(collection.rows()) == now


def test_who_asks_about_one_collection_holds_up_no_other(library: lookalike.Library) -> None:
    one, _ = filled(library, "one", confidence_threshold=0.6)
    other, kinds = filled(library, "other", confidence_threshold=0.6)
    other.queue()

    with ThreadPoolExecutor(1) as pool, consulting(one):
        waiting = pool.submit(one.label, {"v900": kinds[900]})
        time.sleep(0.2)
        changed = other.label({"v900": kinds[900]})
        asked = other.queue(limit=3)
        why = other.why("v901")
        shown = one.document("v5"), len(list(one.documents(limit=20))), one.report().documents

        assert not waiting.done()
    assert waiting.result().by_person == 1
    assert changed.by_person == 1
    assert len(asked) == 3
    assert why.document.id == "v901"
    assert shown == (one.document("v5"), 20, 1300)


def test_who_asks_sees_nothing_of_a_label_that_waits_for_it(library: lookalike.Library) -> None:
    collection, kinds = filled(library, "things", confidence_threshold=0.6)

    with ThreadPoolExecutor(2) as pool:
        with consulting(collection):
            label = pool.submit(collection.label, {"v901": kinds[901]})
            why = pool.submit(collection.why, "v901")
            time.sleep(0.3)
            ended = label.done() or why.done()
            shown = collection.document("v901")
        changed, said = label.result(), why.result()

    assert not ended
    assert shown.origin != "human"
    assert changed.by_person == 1
    assert said.document in (shown, collection.document("v901"))


def test_what_fails_before_it_decides_costs_nobody_the_decider(library: lookalike.Library) -> None:
    collection, _ = filled(library, "things", confidence_threshold=0.6)
    before = decider_of(collection)

    with pytest.raises(NotFound):
        collection.label({"nobody": "Kind 1"})
    with pytest.raises(NotFound):
        collection.why("nobody")

    assert decider_of(collection) is before


def test_an_operation_that_fails_late_leaves_no_trace_in_memory(library: lookalike.Library) -> None:
    """What was decided in a transaction that did not commit is not believed by who asks next."""
    collection, _ = filled(library, "things", confidence_threshold=0.6)
    before, runtime = list(collection.rows()), collection._runtime

    with (
        pytest.raises(ZeroDivisionError),
        runtime.operations.operate(collection._row.pk, "run", "ann") as running,
    ):
        running.decider(field_of(collection)).state.columns["codes"][:] = 0
        raise ZeroDivisionError

    assert list(collection.rows()) == before
    assert collection.run().by_itself == 0


COUNTED = '''
"""An extractor that notes whenever it is built, and is slow at it."""
import time
from lookalike.extractors.hookspecs import hookimpl
from lookalike.testing.fakes import word_lengths

BUILT = []

def counted():
    BUILT.append(1)
    time.sleep(0.2)
    return word_lengths()

@hookimpl
def register_extractors(register):
    register("counted", counted)
'''


def test_an_extractor_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "plugins" / "counted-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counted\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[lookalike]\ncounted = counted_extractor\n")
    (tmp_path / "plugins" / "counted_extractor.py").write_text(COUNTED)
    monkeypatch.syspath_prepend(tmp_path / "plugins")
    extractors.cache_clear()
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        library.labeler("texts", extractor="counted")
    from counted_extractor import BUILT  # type: ignore[import-not-found]

    BUILT.clear()
    with lookalike.open(tmp_path / "store", actor="ann") as library, ThreadPoolExecutor(8) as pool:
        collection = library.collection("texts")
        texts = [{"id": f"t{place}", "content": "a bc " * place} for place in range(1, 9)]
        list(pool.map(lambda row: collection.add([row]), texts))

        assert len(BUILT) == 1
        assert len(collection) == 8
    extractors.cache_clear()


def test_who_adds_what_another_is_at_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(tmp_path / "plugins")
    monkeypatch.syspath_prepend(tmp_path / "plugins")
    extractors.cache_clear()
    text = {"id": "t", "content": "one three"}
    with lookalike.open(tmp_path / "store", actor="ann") as library, ThreadPoolExecutor(1) as pool:
        collection = library.labeler("texts", extractor="word_lengths", pause_ms=1500)
        first = pool.submit(collection.add, [text])
        is_held = False
        while not is_held:
            with library.runtime.store.read() as snapshot:
                is_held = bool(held_in(snapshot, collection._row.pk))

        second = collection.add([text])

        assert (second.unchanged, collection.document("t").id) == (1, "t")
        assert first.result().documents == 1
    extractors.cache_clear()


def test_closing_lets_a_write_end_and_refuses_what_comes_later(library: lookalike.Library) -> None:
    collection, kinds = filled(library, "things", confidence_threshold=0.6)
    begun = threading.Barrier(5)
    said: dict[str, str] = {}

    def label_until_closed(first: int) -> None:
        begun.wait()
        for place in range(first, 1300, 4):
            collection.label({f"v{place}": kinds[place]})
            said[f"v{place}"] = kinds[place]

    def read_until_closed(_: int) -> None:
        begun.wait()
        while True:
            list(collection.documents(limit=30))
            collection.queue(limit=3)

    with ThreadPoolExecutor(5) as pool:
        works = [label_until_closed] * 3 + [read_until_closed]
        running = [pool.submit(work, 200 + place) for place, work in enumerate(works)]
        shown = collection.documents()
        next(shown)
        begun.wait()
        time.sleep(0.5)
        library.close()
        errors = [future.exception() for future in running]

    assert [type(error) for error in errors] == [StoreClosed] * 4
    assert "open it again" in str(errors[0])
    assert len(list(shown)) == 1299, "what was begun before can be read to its end"
    for ask in (collection.report, collection.queue, lambda: collection.label({"v0": "Kind 0"})):
        with pytest.raises(StoreClosed):
            ask()
    library.close()
    with lookalike.open(library.path, actor="ann") as again:
        reopened = again.collection("things")
        assert {one.id: one.label for one in reopened.documents(ids=said)} == said
        assert again.check() == []


def test_more_readers_than_connections_take_turns(library: lookalike.Library) -> None:
    collection, _ = filled(library, "things", confidence_threshold=0.6)
    ready = threading.Barrier(100)

    def read(place: int) -> str:
        ready.wait()
        return collection.document(f"v{place}").id

    with ThreadPoolExecutor(100) as pool:
        assert list(pool.map(read, range(100))) == [f"v{place}" for place in range(100)]


def test_an_older_snapshot_is_read_as_it_was_then(library: lookalike.Library) -> None:
    """Who reads slowly sees labels and matches of when it began, whatever is said meanwhile."""
    collection, kinds = filled(library, "things", confidence_threshold=0.6)
    whole = list(collection.documents())
    slow = collection.documents()
    shown = [next(slow) for _ in range(3)]

    collection.label({f"v{place}": kinds[place] for place in range(600, 900)})
    collection.document("v1000")

    assert [*shown, *slow] == whole


def test_turns_are_given_in_the_order_of_asking_to_the_first_first() -> None:
    turns, order = FairLock(), []

    def take(name: str, first: bool) -> None:
        with turns.taken(first=first):
            order.append(name)

    with ThreadPoolExecutor(4) as pool, turns.taken():
        for name, first in (("a", False), ("b", False), ("c", True), ("d", True)):
            pool.submit(take, name, first)
            time.sleep(0.05)

    assert order == ["c", "d", "a", "b"]


def test_a_turn_is_not_taken_by_who_has_it() -> None:
    turns = FairLock()

    with (
        turns.taken(),
        pytest.raises(AssertionError, match="would wait for itself"),
        turns.taken(),
    ):
        raise NotImplementedError

    with turns.taken():
        assert True


def test_who_gives_a_turn_back_at_once_keeps_nobody_waiting() -> None:
    turns, stop, taken = FairLock(), threading.Event(), 0

    def greedy() -> None:
        while not stop.is_set():
            with turns.taken():
                time.sleep(0.002)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(greedy)
        begun = time.monotonic()
        for _ in range(50):
            with turns.taken():
                taken += 1
        waited = time.monotonic() - begun
        stop.set()

    assert taken == 50
    assert waited < 2


def test_what_could_not_be_made_is_made_by_the_next() -> None:
    made: OncePerKey[str, int] = OncePerKey()

    with pytest.raises(ZeroDivisionError):
        made.get("a", lambda: 1 // 0)

    assert made.get("a", lambda: 5) == 5
    assert made.get("a", lambda: 6) == 5


def test_labels_have_one_code_however_many_threads_meet_them() -> None:
    codes, ready = Codes(), threading.Barrier(8)
    names = [f"Kind {number}" for number in range(3000)]

    def meet(_: int) -> list[int]:
        ready.wait()
        return [codes.code(name) for name in names]

    with ThreadPoolExecutor(8) as pool:
        met = list(pool.map(meet, range(8)))

    assert all(one == met[0] for one in met)
    assert sorted(codes.names) == sorted(names)
    assert [codes.name(code) for code in met[0]] == names


def test_the_same_bytes_are_kept_once_by_many_threads(tmp_path: Path) -> None:
    blobs, ready, data = (
        Blobs(DirectoryStorage(tmp_path), max_bytes=10**7),
        threading.Barrier(8),
        bytes(3_000_000),
    )

    def keep(_: int) -> str:
        ready.wait()
        return blobs.keep(data)

    with ThreadPoolExecutor(8) as pool:
        uris = set(pool.map(keep, range(8)))

    (uri,) = uris
    assert blobs.read(Blob("content", "x/y", uri, uri.removeprefix("blob:"), len(data))) == data
    assert len([one for one in tmp_path.rglob("*") if one.is_file()]) == 1
