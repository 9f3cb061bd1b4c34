"""No acknowledged write is lost: not by kill -9 at any moment, not by several processes at once.

Children do what people do and acknowledge each step on a pipe; the parent knows from that what the
store must hold. Children are forked from a server that has everything imported, so that they live
for their work and not for their start.
"""

from __future__ import annotations

import itertools
import random
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select

import lookalike
from folded import assert_folded
from hunting import times
from lookalike.catalog.fields import space_of
from lookalike.library.collection.collection import Collection
from lookalike.model import Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot
from lookalike.stores.sqlite.store import SqliteStore
from processes import forking

DIMENSION = 24
KINDS = "ABCD"
PICTURES = 24
KILLS = times(12)

Said = tuple[str | None, frozenset[str]]
"""What a person has said of a document: its label, and what it is not."""

States = Mapping[tuple[str, str], Said]
"""What a store must hold, by collection and document."""

NOTHING_SAID: Said = (None, frozenset())


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a child does: documents, each with a label where the verb takes one."""

    verb: str
    collection: str = "vectors"
    documents: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Witness:
    """What the parent knows: the state, the one before, and the step that was under way."""

    states: States
    before: States
    pending: Step | None = None

    def told(self, messages: Iterable[Any]) -> Witness:
        """Return what is known after messages: a step when it begins, "done" when it is."""
        now = self
        for message in messages:
            done = message == "done"
            now = Witness(now.possible()[-1], now.states) if done else replace(now, pending=message)
        return now

    def possible(self) -> list[States]:
        """Return the states that the store may be in: without what was under way, or with it."""
        if self.pending is None:
            return [self.states]
        if self.pending.verb == "undo":
            return [self.states, self.before]
        return [self.states, after(self.states, self.pending)]


def after(states: States, step: Step) -> States:
    """Return what must be in the store when a step is done."""
    states = dict(states)
    for id, label in step.documents.items():
        key = (step.collection, id)
        now, rejected = states.get(key, NOTHING_SAID)
        if step.verb == "add":
            states[key] = (now, rejected)
        elif step.verb == "forget":
            del states[key]
        elif step.verb == "label":
            states[key] = (label, rejected - {label} if label else rejected)
        elif step.verb == "reject" and label is not None:
            states[key] = (None if now == label else now, rejected | {label})
    return states


# --- what children do ---------------------------------------------------------------------------


def vector_of(id: str) -> NDArray[np.float64]:
    """Return the vector of a document, near the centre of the kind that its id begins with."""
    centre = np.random.default_rng(KINDS.index(id[0])).standard_normal(DIMENSION)
    vector = centre + 0.5 * np.random.default_rng(list(id.encode())).standard_normal(DIMENSION)
    return vector / np.linalg.norm(vector)


def perform(place: Path, collection: Collection, step: Step, last: str) -> str:
    """Do a step; return the operation, where there is one."""
    documents = dict(step.documents)
    if step.verb == "add" and collection.name == "pictures":
        files = [place.parent / "files" / f"{id}.png" for id in documents]
        collection.add(files, ids=list(documents))
    elif step.verb == "add":
        collection.add(vectors=np.stack([vector_of(id) for id in documents]), ids=list(documents))
    elif step.verb == "forget":
        collection.forget(documents)
    elif step.verb == "label":
        return collection.label(documents).operation
    elif step.verb == "reject":
        return collection.reject(documents).operation
    elif step.verb == "undo":
        collection.undo(last)
    elif step.verb == "run":
        collection.run()
    return ""


def choose(chance: random.Random, known: dict[str, list[str]], previous: Step | None) -> Step:
    """Choose what to do next; what is undone is always the step before."""
    name = "pictures" if known["pictures"] and chance.random() < 0.25 else "vectors"
    ids = known[name]
    verb = chance.choice(["add", "add", "label", "label", "label", "reject", "undo", "run"])
    if verb == "undo" and previous is not None and previous.verb in ("label", "reject"):
        return Step("undo", previous.collection)
    if name == "vectors" and len(ids) > 80:
        return Step("forget", name, dict.fromkeys(chance.sample(ids, 30)))
    if name == "pictures" and verb == "add" and len(ids) < PICTURES:
        new = chance.sample(sorted({f"p{n}" for n in range(PICTURES)} - set(ids)), 1)
        return Step("add", name, dict.fromkeys(new))
    if verb == "run" and ids:
        return Step("run", name)
    if verb in ("label", "reject") and ids:
        chosen = chance.sample(ids, min(len(ids), chance.randint(1, 4)))
        labels = [label_of(id) if chance.random() < 0.8 else chance.choice(KINDS) for id in chosen]
        taken_back = [None] if verb == "label" and chance.random() < 0.2 else labels
        return Step(verb, name, dict(zip(chosen, taken_back, strict=False)))
    new = [f"{chance.choice(KINDS)}{chance.getrandbits(60)}" for _ in range(chance.randint(1, 12))]
    return Step("add", "vectors", dict.fromkeys(new))


def label_of(id: str) -> str:
    """Return the right label: the kind of a vector, the colour of a picture."""
    return id[0] if id[0] in KINDS else KINDS[int(id[1:]) % len(KINDS)]


def work_until_killed(place: Path, seed: int, pipe: Connection) -> None:
    """Do one step after another, for ever; tell each before it begins and when it is done."""
    with reported(pipe):
        chance = random.Random(seed)
        library = lookalike.open(place, actor="ann")
        collections = {name: library.collection(name) for name in ("vectors", "pictures")}
        known = {name: [d.id for d in one.documents()] for name, one in collections.items()}
        if len(known["pictures"]) < PICTURES and chance.random() < 0.3:
            known["pictures"].append(f"p{len(known['pictures'])}")
            begin = Step("add", "pictures", {known["pictures"][-1]: None})
        else:
            begin = choose(chance, known, None)
        previous, last = None, ""
        step = begin
        while True:
            pipe.send(step)
            last = perform(place, collections[step.collection], step, last)
            pipe.send("done")
            if step.verb == "add":
                known[step.collection] = sorted({*known[step.collection], *step.documents})
            if step.verb == "forget":
                known[step.collection] = sorted({*known[step.collection]} - {*step.documents})
            previous = step
            step = choose(chance, known, previous)


def make_store(place: Path, pipe: Connection) -> None:
    """Open a store that is not there yet, and make collections in it."""
    with reported(pipe):
        pipe.send("begun")
        with lookalike.open(place, actor="ann") as library:
            make_collections(library)
        pipe.send("done")


def work_in_company(place: Path, name: str, steps: int, pipe: Connection) -> None:
    """Add and label as one of several; acknowledge what is done."""
    with reported(pipe):
        chance = random.Random(name)
        with lookalike.open(place, actor=name) as library:
            collection = library.collection("vectors")
            for number in range(steps):
                ids = [f"{chance.choice(KINDS)}-{name}-{number}-{place}" for place in range(3)]
                for step in (
                    Step("add", documents=dict.fromkeys(ids)),
                    Step("label", documents={ids[0]: ids[0][0]}),
                    Step("reject", documents={ids[1]: chance.choice(KINDS)}),
                ):
                    perform(place, collection, step, "")
                    pipe.send(step)
        pipe.send("finished")


def read_in_company(place: Path, pipe: Connection) -> None:
    """Read while others write, until told to stop: all that is seen is sound."""
    with reported(pipe):
        seen, rounds = 0, 0
        with lookalike.open(place) as library:
            collection = library.collection("vectors")
            while not pipe.poll(0.01):
                documents = list(collection.documents())
                report = collection.report()
                assert seen <= len(documents) <= report.documents
                assert all(one.neighbors for one in documents if one.origin == Origin.AUTO)
                assert library.check() == []
                seen, rounds = len(documents), rounds + 1
        pipe.send(rounds)


@contextmanager
def reported(pipe: Connection) -> Iterator[None]:
    """Send what goes wrong to the parent."""
    try:
        yield
    except BaseException:
        pipe.send(RuntimeError(traceback.format_exc()))


# --- what the parent does -----------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return where a store with two collections is, and files for one of them."""
    files = tmp_path / "files"
    files.mkdir()
    for number in range(PICTURES):
        colour = [0, 0, 0]
        colour[number % 3] = 255 - 60 * (number % len(KINDS))
        grey = np.random.default_rng(number).integers(0, 60, (48, 48, 1))
        Image.fromarray(np.asarray(grey + colour, np.uint8) // 2).save(files / f"p{number}.png")
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        make_collections(library)
    return tmp_path / "store"


def make_collections(library: lookalike.Library) -> None:
    """Make a collection of the known rule and one of the policy `precision`."""
    library.labeler(
        "vectors", extractor="passthrough", dimension=DIMENSION, confidence_threshold=0.7
    )
    library.labeler("pictures", extractor="image")


@contextmanager
def child(work: Any, *arguments: Any) -> Iterator[tuple[Any, Connection]]:
    """Start a child that has the other end of a pipe."""
    ours, theirs = forking().Pipe()
    process = forking().Process(target=work, args=(*arguments, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        ours.close()


def received(pipe: Connection) -> Iterator[Any]:
    """Yield what a child has sent until its end."""
    try:
        while True:
            assert pipe.poll(60), "the child says nothing"
            message = pipe.recv()
            if isinstance(message, Exception):
                raise message
            yield message
    except (EOFError, ConnectionResetError):
        return


def states_in(library: lookalike.Library) -> States:
    """Return what the store holds of what a person has said."""
    found: dict[tuple[str, str], Said] = {}
    for name in library.collections():
        for one in library.collection(name).documents():
            label = one.label if one.origin == Origin.HUMAN else None
            found[(name, one.id)] = (label, frozenset(one.standing.rejected))
    return found


@contextmanager
def noted(note: str) -> Iterator[None]:
    """Add to what goes wrong how to see it again."""
    try:
        yield
    except BaseException as error:
        error.add_note(note)
        raise


def states_after_crash(place: Path) -> States:
    """Open a store again, finish what waits, assert that it is sound, and return what it holds."""
    with lookalike.open(place, actor="ann") as library:
        library.collection("pictures").extract()
        assert_sound(place, library)
        return states_in(library)


def assert_sound(place: Path, library: lookalike.Library) -> None:
    """Assert that the store does not contradict itself, and that deciding again changes nothing."""
    assert library.check() == []
    for collection in map(library.collection, library.collections()):
        before = list(collection.rows())
        if not before:
            continue

        changed = collection.run()

        assert changed.by_itself == 0
        assert list(collection.rows()) == before
    store = SqliteStore(place)
    with store.read() as snapshot:
        assert_folded(snapshot)
        assert_vectors(snapshot)
        assert snapshot.rows(select(schema.extraction)) == []
    store.close()


def assert_vectors(snapshot: Snapshot) -> None:
    """Assert that every document has a standing, and the vector that its id tells."""
    table, resource = schema.document, schema.resource
    query = select(table.c.pk, table.c.id, table.c.collection_pk, resource.c.name)
    rows = snapshot.rows(query.join(resource, resource.c.pk == table.c.collection_pk))
    standing = snapshot.rows(select(schema.standing.c.document_pk))
    assert sorted(row.document_pk for row in standing) == sorted(row.pk for row in rows)
    ours = [row for row in rows if row.name == "vectors"]
    if ours:
        space = space_of(snapshot, ours[0].collection_pk)
        stored = snapshot.vectors(space, np.array([row.pk for row in ours]))
        meant = np.stack([vector_of(row.id) for row in ours])
        assert np.abs(stored.astype(np.float64) - meant).max() < 1e-3


def test_nothing_acknowledged_is_lost_by_kill_9(place: Path) -> None:
    """Killed again and again: each time all that was acknowledged is there, and no half."""
    seed = random.SystemRandom().getrandbits(32)
    chance = random.Random(seed)
    witness = Witness({}, {})
    for kill in range(KILLS):
        with child(work_until_killed, place, seed + kill) as (process, pipe):
            messages = received(pipe)
            whole_steps = chance.randint(0, 6)
            witness = witness.told(itertools.islice(messages, 2 * whole_steps + 1))
            time.sleep(chance.uniform(0, 0.08))
            process.kill()
            process.join()
            witness = witness.told(messages)

        with noted(f"seed {seed}, kill {kill}, during {witness.pending}"):
            found = states_after_crash(place)
            assert found in witness.possible()
        witness = Witness(found, found)

    assert len(found) > 20, "the children got to do something"


def test_a_store_killed_while_it_is_made_can_be_made(tmp_path: Path) -> None:
    """However far its making came, the same call makes it, and it is sound."""
    for kill in range(8):
        place = tmp_path / str(kill)
        with child(make_store, place) as (process, pipe):
            assert pipe.recv() == "begun"
            time.sleep(0.01 * kill)
            process.kill()
            process.join()
            list(received(pipe))

        with lookalike.open(place, actor="ann") as library:
            make_collections(library)
            library.collection("vectors").add(vectors=[vector_of("A1")], ids=["A1"])
            library.collection("vectors").label({"A1": "A"})

            assert library.collections() == ["pictures", "vectors"]
            assert library.buckets() == ["pictures", "vectors"]
            assert states_in(library) == {("vectors", "A1"): ("A", frozenset())}
            assert library.check() == []


def test_processes_at_once_lose_nothing_of_each_other(place: Path) -> None:
    """Two that write in one collection and one that reads: all of both is there, and sound."""
    with (
        child(work_in_company, place, "ann", 15) as (_, ann),
        child(work_in_company, place, "bob", 15) as (_, bob),
        child(read_in_company, place) as (_, reader),
    ):
        done = [list(received(pipe)) for pipe in (ann, bob)]
        reader.send("stop")
        (rounds,) = received(reader)

    assert [messages.pop() for messages in done] == ["finished", "finished"]
    expected: States = {}
    for step in (step for messages in done for step in messages):
        expected = after(expected, step)
    with lookalike.open(place, actor="ann") as library:
        assert states_in(library) == expected
        assert len(expected) == 90
        assert rounds > 0
        assert any(library.collection("vectors").documents(origin=Origin.AUTO))
        assert_sound(place, library)
