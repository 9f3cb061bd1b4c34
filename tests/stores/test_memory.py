"""What one process leaves for the next: sooner ready, and never a different decision."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import lookalike
from lookalike.content.files import read_cache, write_cache
from lookalike.library.collection.collection import Collection

VECTORS = np.random.default_rng(5).normal(size=(60, 6))
IDS = [f"d{place:02}" for place in range(len(VECTORS))]


@contextmanager
def opened(place: Path) -> Iterator[Collection]:
    """A process: it opens the store and closes it."""
    with lookalike.open(place, actor="ann") as library:
        yield library.labeler("things", extractor="passthrough", confidence_threshold=0.3)


def memory_of(place: Path) -> Path:
    (memory,) = (place / "cache").glob("field.*.npz")
    return memory


def lists_in(place: Path) -> dict[str, NDArray[np.float32]]:
    """The neighbour lists that the last process left."""
    kept = read_cache(memory_of(place))
    assert kept is not None
    return {name: kept[1][name] for name in ("pks", "near", "similarities")}


def labels_in(place: Path) -> dict[str, tuple[str | None, float | None]]:
    with opened(place) as collection:
        return {one.id: (one.label, one.confidence) for one in collection.documents()}


def is_as_from_scratch(place: Path) -> bool:
    """Whether decisions and lists are those of a process that knows nothing and decides all."""
    with opened(place) as collection:
        collection.label({IDS[50]: "Z"})
    left, shown = lists_in(place), labels_in(place)
    memory_of(place).unlink()
    with opened(place) as collection:
        same = collection.run().by_itself == 0
    return same and shown == labels_in(place) and _equal(left, lists_in(place))


def _equal(one: dict[str, NDArray[np.float32]], other: dict[str, NDArray[np.float32]]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store whose last process left a memory."""
    place = tmp_path / "store"
    with opened(place) as collection:
        collection.add(vectors=VECTORS, ids=IDS)
        collection.label({IDS[one]: "A" if one % 2 else "B" for one in range(8)})
        collection.reject({IDS[20]: "A"})
    assert memory_of(place).exists()
    return place


def test_the_next_process_decides_as_one_that_knows_nothing(place: Path) -> None:
    assert is_as_from_scratch(place)


def test_the_next_process_begins_with_the_memory(place: Path) -> None:
    """Or it would search everything again: here one list says what no search would find."""
    kept = read_cache(memory_of(place))
    assert kept is not None
    mark, arrays = kept
    arrays["similarities"][30, 0] = 0.875
    write_cache(memory_of(place), mark, arrays)

    with opened(place) as collection:
        collection.label({IDS[50]: "Z"})

    assert lists_in(place)["similarities"][30, 0] == 0.875


def test_what_was_written_since_the_memory_is_caught_up_with(place: Path) -> None:
    """A memory is left only now and then: here the one from before many changes is put back."""
    old = place.parent / "old.npz"
    shutil.copy(memory_of(place), old)
    with opened(place) as collection:
        collection.label({IDS[0]: "A", IDS[1]: None, IDS[30]: "C"})
        collection.reject({IDS[21]: "B", IDS[40]: "C"})
        collection.add(vectors=-VECTORS[:2], ids=["new", IDS[2]])
    shutil.copy(old, memory_of(place))

    assert is_as_from_scratch(place)


def test_a_memory_of_another_past_is_not_believed(place: Path) -> None:
    """A store that was put back from a backup has other operations under the same numbers."""
    backup = place.parent / "backup"
    shutil.copytree(place, backup)
    with opened(place) as collection:
        collection.label({IDS[one]: "C" for one in range(30, 40)})
    with opened(backup) as collection:
        collection.label({IDS[one]: "D" for one in range(20, 30)})
    shutil.copy(memory_of(place), memory_of(backup))

    assert is_as_from_scratch(backup)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", None])
def test_a_broken_memory_is_no_loss(place: Path, content: bytes | None) -> None:
    whole = memory_of(place).read_bytes()
    memory_of(place).write_bytes(whole[: len(whole) // 2] if content is None else content)

    assert is_as_from_scratch(place)


def test_what_is_forgotten_is_in_no_memory(place: Path) -> None:
    with opened(place) as collection:
        collection.label({IDS[45]: "Secret"})
        collection.forget([IDS[45]])

        kept = memory_of(place).read_bytes()

    assert b"Secret" not in kept
    assert is_as_from_scratch(place)


def test_a_memory_that_cannot_be_kept_stops_nobody(tmp_path: Path) -> None:
    nowhere = tmp_path / "absent" / "field.npz"

    write_cache(nowhere, {"seen": 1}, {"pks": np.arange(3)})

    assert read_cache(nowhere) is None


def test_a_memory_gives_back_what_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "field.npz"
    write_cache(path, {"seen": 1, "labels": ["ü > ß"]}, {"pks": np.arange(3)})

    kept = read_cache(path)

    assert kept is not None
    assert kept[0] == {"seen": 1, "labels": ["ü > ß"]}
    assert kept[1]["pks"].tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]
