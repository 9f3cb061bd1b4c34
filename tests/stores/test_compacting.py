"""Compaction gives room back, and nobody can tell otherwise that there was one."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import lookalike
from lookalike.content.files import read_cache, write_cache
from lookalike.library.collection.collection import Collection
from lookalike.library.library import Library
from lookalike.library.maintenance import Compacted, compact

COUNT, KINDS = 2600, 12
_chance = np.random.default_rng(3)
_KIND = _chance.integers(0, KINDS, COUNT)
VECTORS = _chance.normal(size=(KINDS, 16))[_KIND] + 0.4 * _chance.normal(size=(COUNT, 16))
IDS = [f"d{place:04}" for place in range(COUNT)]
LABELLED = 120
GONE = IDS[LABELLED:COUNT:4]


@contextmanager
def opened(place: Path) -> Iterator[tuple[Library, Collection]]:
    """A process: it opens the store and closes it."""
    with lookalike.open(place, actor="ann") as library:
        yield library, library.collection("things")


def compacted(place: Path) -> Compacted:
    with lookalike.open(place, actor="ann") as library:
        return compact(library.runtime)


def shown(collection: Collection) -> list[tuple[object, ...]]:
    """What there is to see of each document."""
    return [
        (one.id, one.label, one.confidence, one.standing.decision.margin)
        for one in collection.documents()
    ]


def laid_out(collection: Collection) -> dict[str, tuple[int, int]]:
    """Where each document lies on the map."""
    told = collection.map()
    return dict(zip(told.ids, zip(told.x.tolist(), told.y.tolist(), strict=True), strict=True))


def planted(file: Path, name: str) -> None:
    """Let a file that was left for the next process hold what nobody would find: 0.875."""
    kept = read_cache(file)
    assert kept is not None
    mark, arrays = kept
    arrays[name][40, 0] = 0.875
    write_cache(file, mark, arrays)


def is_planted(file: Path, name: str) -> bool:
    kept = read_cache(file)
    return kept is not None and bool(kept[1][name][40, 0] == np.float32(0.875))


@pytest.fixture(scope="module", params=["threshold", "precision"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that labels itself, has a map, and lost a quarter of its documents."""
    place: Path = tmp_path_factory.mktemp("compacting") / "store"
    limit = 0.4 if request.param == "threshold" else None
    with lookalike.open(place, actor="ann") as library:
        things = library.labeler("things", extractor="passthrough", confidence_threshold=limit)
        things.add(vectors=VECTORS, ids=IDS)
        things.label({id: f"kind {_KIND[at]}" for at, id in enumerate(IDS[:LABELLED])})
        things.map()
        things.forget(GONE)
        things.run()
    return place


@pytest.fixture
def place(filled: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "store"
    subprocess.run(["cp", "-r", str(filled), str(copy)], check=True)
    return copy


def test_documents_decisions_and_map_are_as_before(place: Path) -> None:
    with opened(place) as (library, things):
        before = shown(things), laid_out(things)
        assert sum(label is not None for _, label, *_ in before[0]) > 1.2 * LABELLED

        done = compact(library.runtime)

        assert done.spaces == 1
        assert done.bytes_after < done.bytes_before
        assert library.check() == []
        assert before == (shown(things), laid_out(things))
        assert things.run().by_itself == 0
    (vectors,) = (place / "vectors").iterdir()
    assert vectors.stat().st_size == 2 * 16 * (COUNT - len(GONE))


def test_the_next_process_finds_nothing_again(place: Path) -> None:
    """Its memory, and the neighbours of all, follow the vectors to where they are now."""
    memory = [(file, "similarities") for file in (place / "cache").glob("field.*.npz")]
    memory += [(file, "cosines") for file in (place / "cache").glob("lists.*.npz")]
    for file, name in memory:
        planted(file, name)

    assert compacted(place).spaces == 1
    with opened(place) as (_, things):
        things.label({IDS[LABELLED + 1]: "kind 0"})
        things.label({IDS[LABELLED + 2]: "kind 0"})

    assert memory and all(is_planted(file, name) for file, name in memory)


def test_who_has_the_store_open_goes_on_as_if_nothing_had_been(place: Path) -> None:
    with opened(place) as (library, things):
        things.label({IDS[LABELLED + 1]: "kind 0"})

        assert compacted(place).spaces == 1

        things.label({IDS[LABELLED + 2]: "kind 0"})
        things.add(vectors=-VECTORS[:3], ids=["new", "newer", IDS[4]])
        things.forget([IDS[7]])
        assert things.run().by_itself == 0
        assert library.check() == []
    assert compacted(place).spaces == 1
    assert compacted(place).spaces == 0


def test_a_store_without_gaps_stays_as_it_is(place: Path) -> None:
    compacted(place)
    before = {file.name: file.stat().st_mtime_ns for file in (place / "vectors").iterdir()}

    assert compacted(place).spaces == 0

    assert before == {f.name: f.stat().st_mtime_ns for f in (place / "vectors").iterdir()}


def test_of_an_emptied_collection_nothing_stays(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        things = library.labeler("things", extractor="passthrough", confidence_threshold=0.4)
        things.add(vectors=VECTORS[:50], ids=IDS[:50])
        things.forget(IDS[:50])

        assert compact(library.runtime).spaces == 1

        assert list((tmp_path / "store" / "vectors").iterdir()) == []
        things.add(vectors=VECTORS[:5], ids=IDS[:5])
        things.label({IDS[0]: "a", IDS[1]: "b"})
        assert len(things) == 5 and library.check() == []


DYING = """
import os, signal, sys
import lookalike
from lookalike.library.maintenance import compact

def die(*_): os.kill(os.getpid(), signal.SIGKILL)

library = lookalike.open(sys.argv[1])
if sys.argv[2] == "once vectors are written":
    compact(library.runtime, progress=die)
library.runtime.operations.deciders.close()
library.runtime.store.compact(lambda *_: None)
die()
"""


@pytest.mark.parametrize("moment", ["once vectors are written", "before what is derived follows"])
def test_one_that_is_killed_loses_nothing(place: Path, moment: str) -> None:
    """The store is as it was or packed, and the next compaction clears up."""
    with opened(place) as (_, things):
        before = shown(things)

    died = subprocess.run([sys.executable, "-c", DYING, str(place), moment], timeout=120)

    assert died.returncode == -signal.SIGKILL
    with opened(place) as (library, things):
        assert shown(things) == before
        assert library.check() == []
        things.label({IDS[LABELLED + 1]: "kind 0"})
        assert things.run().by_itself == 0
    compacted(place)
    assert len(list((place / "vectors").iterdir())) == 1


def test_the_command_tells_what_it_gave_back(place: Path) -> None:
    command = [sys.executable, "-m", "lookalike", "--store", str(place), "compact"]

    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    assert re.fullmatch(r"[\d.]+ MB → [\d.]+ MB: [\d.]+ MB freed\n", told)
