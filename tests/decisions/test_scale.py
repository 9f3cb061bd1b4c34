"""What large collections need: work in parts, work that goes on where it was, room to grow."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import lookalike
from lookalike.classifier.graph import arrays as growing
from lookalike.classifier.graph import graph, metric
from lookalike.classifier.graph.arrays import append_growable, empty_growable, to_fixed_point
from lookalike.classifier.graph.graph import attach, build_graph, build_neighbour_graph
from lookalike.classifier.graph.neighbours import Ranked, neighbour_lists
from lookalike.classifier.graph.propagation import Evidence
from lookalike.classifier.scores.evidence import LabelIndex, largest
from lookalike.content.files import write_cache
from lookalike.decisions import queue
from lookalike.decisions.field.classifier import GraphClassifier
from lookalike.errors import StoreCorrupt
from lookalike.stores.vectors import VectorFile

ITEMS, KINDS, DIMENSION = 900, 12, 24


def vectors(count: int = ITEMS, seed: int = 0) -> NDArray[np.float16]:
    """Unit vectors around KINDS centres, which overlap; the n-th is of kind n modulo KINDS."""
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((KINDS, DIMENSION))
    rows = centres[np.arange(count) % KINDS] + chance.standard_normal((count, DIMENSION))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float16)


def references() -> dict[str, NDArray[np.int64]]:
    return {f"Kind {kind:02d}": np.arange(kind, 6 * KINDS, KINDS) for kind in range(8)}


# --- going on where it was ----------------------------------------------------------------------


class Interrupted(Exception):
    """The process ended here."""


class Kept:
    """Keeps progress in memory; from the `last` time on the work is interrupted."""

    def __init__(self, last: int) -> None:
        self.last, self.times, self.found = last, 0, None

    found: tuple[int, Ranked] | None

    def kept(self) -> tuple[int, Ranked] | None:
        return self.found

    def keep(self, done: int, found: Ranked) -> None:
        self.times += 1
        self.found = (done, found.copy())
        if self.times == self.last:
            raise Interrupted


def test_lists_that_were_interrupted_go_on_where_they_were() -> None:
    rows = to_fixed_point(vectors().astype(np.float32))
    whole = Kept(10**9)
    near, cosines = neighbour_lists(rows, 20, exact_items=100, progress=whole, kept_every=500)
    halfway = Kept(5)
    with pytest.raises(Interrupted):
        neighbour_lists(rows, 20, exact_items=100, progress=halfway, kept_every=500)
    halfway.last = 10**9

    again, same = neighbour_lists(rows, 20, exact_items=100, progress=halfway, kept_every=500)

    assert np.array_equal(again, near)
    assert np.array_equal(same, cosines)
    assert halfway.times == whole.times > 5


@pytest.mark.parametrize("damage", ["none", "cut off", "other items", "gone"])
def test_an_interrupted_survey_goes_on_from_its_file_or_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """The file may be damaged, or of other items: then it does not count."""
    every, made = np.arange(ITEMS), vectors()
    _small_limits(monkeypatch)
    memory = tmp_path / "lists.npz"
    expected = build_neighbour_graph(every, made)
    _interrupt(monkeypatch, memory, every, made)
    left = memory.stat().st_size
    if damage == "cut off":
        memory.write_bytes(memory.read_bytes()[: left // 2])
    elif damage == "other items":
        _interrupt(monkeypatch, memory, every, made[::-1].copy(), slots=every[::-1].copy())
    elif damage == "gone":
        memory.unlink()

    classifier = GraphClassifier(memory)
    classifier.set_items(every, every, lambda pks: made[pks], 0)

    for part in ("near", "near_cosines", "near_weights", "whitened"):
        assert np.array_equal(getattr(classifier.neighbour_graph, part), getattr(expected, part)), (
            part
        )
    other = GraphClassifier(memory)
    other.set_items(every, every, lambda pks: made[pks], 0)
    assert np.array_equal(other.neighbour_graph.graph.weights, expected.graph.weights)
    assert np.array_equal(other.neighbour_graph.degrees, expected.degrees)


def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"exact_items": 100, "cells_tried": 16, "progress": None, "kept_every": 500}
    monkeypatch.setattr(neighbour_lists, "__kwdefaults__", small)


def _interrupt(
    monkeypatch: pytest.MonkeyPatch,
    memory: Path,
    every: NDArray[np.int64],
    made: NDArray[np.float16],
    slots: NDArray[np.int64] | None = None,
) -> None:
    """Survey items until something was kept, then stop."""

    def remember_then_stop(
        path: Path, mark: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> None:
        write_cache(path, mark, arrays)
        raise Interrupted

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr("lookalike.decisions.field.classifier.write_cache", remember_then_stop)
        classifier = GraphClassifier(memory)
        classifier.set_items(every, every if slots is None else slots, lambda pks: made[pks], 0)


# --- in parts -----------------------------------------------------------------------------------


def test_a_graph_that_is_joined_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = neighbour_lists(to_fixed_point(vectors().astype(np.float32)), 20)
    whole, degrees = build_graph(*lists)

    monkeypatch.setattr(graph, "_NODES", 64)
    parts, same = build_graph(*lists)

    assert np.array_equal(degrees, same)
    for name in ("starts", "columns", "weights"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name


def test_a_landscape_that_is_made_in_parts_decides_nearly_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is nearest to what is the same; the metric is learned from some of the items."""
    every, made = np.arange(ITEMS), vectors()
    results = []
    for whole in (200_000, 400):
        monkeypatch.setattr(metric, "WHOLE_ITEMS", whole)
        monkeypatch.setattr(metric, "_SPAN_ITEMS", 128)
        classifier = GraphClassifier(tmp_path / f"{whole}.npz")
        classifier.set_items(every, every, lambda pks: made[pks], 0)
        classifier.fit(references(), every, 0.9)
        results.append(
            (classifier.neighbour_graph, classifier.decide(every, lambda name: int(name[-2:])))
        )

    (one, first), (other, second) = results
    assert np.abs(one.frame.mean - other.frame.mean).max() < 1e-6
    assert (one.near == other.near).mean() > 0.99
    assert (first.runner_up == second.runner_up).mean() > 0.9
    assert (first.codes == second.codes).mean() > 0.9


def test_sparse_columns_show_what_dense_ones_would() -> None:
    chance = np.random.default_rng(0)
    dense = np.where(chance.random((200, 5)) < 0.1, chance.random((200, 5)), 0).astype(np.float32)
    columns = [Evidence(np.flatnonzero(one), one[np.flatnonzero(one)]) for one in dense.T]
    said = [np.stack([one.amounts, -one.amounts]) for one in columns]
    both, asked = np.stack([dense, -dense]), chance.integers(0, 200, 120)
    silence, nobody = np.zeros(2, np.float32), LabelIndex([], 200)
    factors = [3.0, 1.0, 2.0, 5.0, 1.0]

    hearing = LabelIndex([one.places for one in columns[:4]] + [np.arange(50)], 200)
    hearing.update(4, columns[4].places)

    assert np.array_equal(hearing.dense(said, np.arange(200), silence), both)
    assert np.array_equal(hearing.dense(said, asked, silence), both[:, asked])
    assert hearing.dense(said, asked[:0], silence).shape == (2, 0, 5)
    assert nobody.dense([], asked, silence).shape == (2, 120, 0)
    most = (dense * np.array(factors, np.float32)).max(axis=1)
    assert np.array_equal(largest(columns, factors, 200), most)


# --- room to grow -------------------------------------------------------------------------------


def test_rows_are_added_without_a_copy_while_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(growing, "ROOM_FROM", 10)
    array = empty_growable(80, 3, np.int16)
    array[:] = 7
    more = np.arange(15, dtype=np.int16).reshape(5, 3)

    once = append_growable(array, more)
    twice = append_growable(once, more)
    beyond = append_growable(twice, more)

    assert np.shares_memory(array, twice)
    assert not np.shares_memory(twice, beyond)
    assert np.array_equal(beyond, np.concatenate([array, more, more, more]))


def test_what_was_imagined_leaves_no_trace_where_room_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "ROOM_FROM", 10)
    every, made = np.arange(ITEMS), np.concatenate([vectors(), vectors(40, 5)])
    classifier = GraphClassifier(tmp_path / "lists.npz")
    classifier.set_items(every[:880], every[:880], lambda pks: made[pks], 0)
    classifier.set_items(every[:890], every[:890], lambda pks: made[pks], 879)
    classifier.fit(references(), every[:890], 0.9)
    imagined = classifier.hypothetical()
    imagined.set_items(np.arange(895), np.arange(895), lambda pks: made[pks + 40], 879)

    classifier.set_items(every, every, lambda pks: made[pks], 879)

    fresh = GraphClassifier(tmp_path / "fresh.npz")
    fresh.set_items(every[:880], every[:880], lambda pks: made[pks], 0)
    fresh.set_items(every, every, lambda pks: made[pks], 879)
    for part in fields(classifier.neighbour_graph):
        found, expected = (getattr(one.neighbour_graph, part.name) for one in (classifier, fresh))
        if isinstance(found, np.ndarray):
            assert np.array_equal(found, expected), part.name


# --- reading ------------------------------------------------------------------------------------


def test_vectors_are_the_same_read_in_a_run_or_picked(tmp_path: Path) -> None:
    made = vectors(3000)
    file = VectorFile(tmp_path / "1.0.f16", tmp_path, DIMENSION)
    file.append(0, made)

    for slots in (np.arange(3000), np.arange(7, 2900), np.arange(3000)[::-1], np.arange(5)):
        assert np.array_equal(file.read(slots), made[slots])
    assert file.read(np.empty(0, np.int64)).shape == (0, DIMENSION)
    with pytest.raises(StoreCorrupt, match="has 3000 vectors, but the database has 3001"):
        file.read(np.arange(3001))


# --- asking -------------------------------------------------------------------------------------


def test_who_asks_does_not_wait_for_a_large_landscape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "QUICK_ITEMS", 100)
    with lookalike.open(tmp_path / "store", actor="pat") as library:
        things = library.labeler("things", extractor="passthrough")
        things.add(vectors=vectors(300), ids=[f"v{number}" for number in range(300)])

        before = things.queue(limit=5)
        waited = list((tmp_path / "store" / "cache").glob("lists.*"))
        things.label({f"v{place}": name for name, few in references().items() for place in few})
        after = things.queue(limit=5)

        assert len(before) == len(after) == 5
        assert not waited
        assert len(list((tmp_path / "store" / "cache").glob("lists.*"))) == 1


def test_leaves_that_are_kept_apart_do_not_overwrite_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(growing, "ROOM_FROM", 10)
    land = attach(
        build_neighbour_graph(np.arange(300), vectors(300)), np.arange(300, 310), vectors(10)
    )
    some, others = vectors(5, seed=7), vectors(5, seed=8)

    first = attach(land, np.arange(310, 315), some, copy=True)
    before = first.centred[310:].copy()
    attach(land, np.arange(310, 315), others, copy=True)

    assert np.array_equal(first.centred[310:], before)
