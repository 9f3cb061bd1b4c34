"""Laws of exact search: the array functions, and the scan of the vector files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookalike.classifier.graph.search import (
    NO_ID,
    NO_SIMILARITY,
    Floats,
    Ids,
    merge,
    nearest,
    similarities,
    top_k,
)
from lookalike.decisions.field.columns import Columns
from lookalike.errors import StoreCorrupt
from lookalike.stores import vectors
from lookalike.stores import vectors as vectors_module
from lookalike.stores.vectors import VectorFile, int8_dots, quantise
from lookalike.testing.stores import nearest as brute_nearest
from lookalike.testing.stores import similarities as exact_similarities

Vectors = NDArray[np.float16]

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # no disk to wait for

few = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
many = settings(few, max_examples=200)

# A few values only, so that ties are the rule.
values = st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, float(NO_SIMILARITY)])


@st.composite
def matrices(draw: st.DrawFn, rows: int = 4, columns: int = 12) -> Floats:
    """Draw a matrix of similarities, (0…rows, 0…columns)."""
    n, m = draw(st.integers(0, rows)), draw(st.integers(0, columns))
    cells = draw(st.lists(values, min_size=n * m, max_size=n * m))
    return np.array(cells, np.float32).reshape(n, m)


@st.composite
def rising(draw: st.DrawFn, count: int) -> Ids:
    """Draw ids that ascend, with gaps."""
    steps = draw(st.lists(st.integers(1, 1000), min_size=count, max_size=count))
    return np.cumsum(np.array(steps, np.int64))


def sorted_lists(pairs: list[list[tuple[int, float]]], k: int) -> tuple[list[Any], list[Any]]:
    """The k best of each list of (id, similarity), by plain sorting: the documented rule."""
    best = [
        sorted(((i, s) for i, s in row if s > NO_SIMILARITY), key=lambda pair: (-pair[1], pair[0]))
        for row in pairs
    ]
    filled = [(row + [(NO_ID, float(NO_SIMILARITY))] * k)[:k] for row in best]
    return [[i for i, _ in row] for row in filled], [[s for _, s in row] for row in filled]


@many
@given(st.data(), matrices(), st.integers(1, 15))
def test_top_k_is_a_plain_sort_with_ties_to_the_lower_id(
    data: st.DataObject, similarity: Floats, k: int
) -> None:
    ids = data.draw(rising(similarity.shape[1]))

    near, near_similarities = top_k(similarity, ids, k)

    rows = [list(zip(ids.tolist(), row, strict=True)) for row in similarity.tolist()]
    assert (near.tolist(), near_similarities.tolist()) == sorted_lists(rows, k)
    assert (near.dtype, near_similarities.dtype) == (np.dtype(np.int64), np.dtype(np.float32))


@many
@given(st.data(), matrices(columns=16), st.integers(1, 8))
def test_merging_two_lists_is_the_top_of_both_together(
    data: st.DataObject, similarity: Floats, k: int
) -> None:
    """However the columns are split, and whatever places stay empty."""
    columns = similarity.shape[1]
    ids = data.draw(rising(columns))
    here = np.array(data.draw(st.lists(st.booleans(), min_size=columns, max_size=columns)), bool)

    one = top_k(similarity[:, here], ids[here], k)
    other = top_k(similarity[:, ~here], ids[~here], data.draw(st.integers(1, 8)) + k)
    merged = merge(*one, *other)

    whole = top_k(similarity, ids, k)
    assert merged[0].tolist() == whole[0].tolist()
    assert merged[1].tolist() == whole[1].tolist()


def vectors_of(kind: str, count: int, dimension: int, seed: int) -> Vectors:
    """Unit vectors of a kind; every kind is a way for rounding to go wrong."""
    chance = np.random.default_rng(seed)
    rows = chance.standard_normal((count, dimension))
    if kind == "clustered":
        rows = rows[:1] + 0.01 * rows
    elif kind == "flat":  # all components alike: sums of codes are as large as they get
        rows = np.sign(rows) + 0.0
    elif kind == "spiked":  # one component sets the scale, the others fall below half a step
        rows = 0.0039 * np.sign(rows) * chance.uniform(0.9, 1.1, rows.shape)
        rows[np.arange(count), chance.integers(0, dimension, count)] = 1
    elif kind == "lonely":  # one component is all there is
        rows = np.eye(dimension)[chance.integers(0, dimension, count)] * np.sign(rows[:, :1])
    elif kind == "tied":
        rows = rows[chance.integers(0, max(1, count // 4), count)]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(unit, np.float16)


KINDS = ("random", "clustered", "flat", "spiked", "lonely", "tied")
kinds, seeds = st.sampled_from(KINDS), st.integers(0, 2**31)
dimensions = st.one_of(st.integers(1, 70), st.integers(71, 1300))


@few
@given(kinds, seeds, dimensions, st.integers(0, 30), st.integers(0, 6), st.integers(1, 12))
def test_nearest_is_a_plain_sort_of_exact_similarities(
    kind: str, seed: int, dimension: int, count: int, queries: int, k: int
) -> None:
    rows = vectors_of(kind, count + queries, dimension, seed)
    ids = np.arange(count) * 3 + 1

    found = nearest(rows[count:], rows[:count], ids, k)

    expected = brute_nearest(rows[count:], rows[:count], ids, k)
    assert found[0].tolist() == expected[0].tolist()
    assert found[1].tolist() == expected[1].tolist()


@settings(few, max_examples=40)
@given(kinds, seeds, st.integers(1, 600), st.integers(1, 12), st.booleans())
def test_nearest_of_many_is_a_plain_sort_too(
    kind: str, seed: int, dimension: int, k: int, some_hidden: bool
) -> None:
    """There a product in single precision tells who may be among the nearest, and no more."""
    rows = vectors_of(kind, 600, dimension, seed)
    queries, ids = rows[:80], np.arange(600) * 2
    hidden = np.random.default_rng(seed).random((80, 600)) < 0.99 if some_hidden else None

    found = nearest(queries, rows, ids, k, query_ids=ids[:80], hidden=hidden)

    exact = similarities(queries, rows)
    exact[np.arange(80), np.arange(80)] = NO_SIMILARITY
    if hidden is not None:
        exact[hidden] = NO_SIMILARITY
    expected = top_k(exact, ids, k)
    assert found[0].tolist() == expected[0].tolist()
    assert found[1].tolist() == expected[1].tolist()


@few
@given(kinds, seeds, st.integers(1, 40), st.integers(1, 20), st.integers(1, 6))
def test_nobody_is_its_own_neighbour(
    kind: str, seed: int, dimension: int, count: int, k: int
) -> None:
    """With `query_ids` the answer is the search among the others; strangers lose nobody."""
    rows = vectors_of(kind, count, dimension, seed)
    ids = np.arange(count) * 2
    query_ids = np.where(np.arange(count) % 3 == 0, ids + 1, ids)

    found = nearest(rows, rows, ids, k, query_ids=query_ids)

    for place, query in enumerate(query_ids):
        others = ids != query
        expected = brute_nearest(rows[place : place + 1], rows[others], ids[others], k)
        assert found[0][place].tolist() == expected[0][0].tolist()
        assert found[1][place].tolist() == expected[1][0].tolist()


@few
@given(kinds, seeds, dimensions, st.integers(2, 20))
def test_a_similarity_does_not_depend_on_the_route(
    kind: str, seed: int, dimension: int, count: int
) -> None:
    """One at a time, all at once, transposed or padded: the same bits."""
    rows = vectors_of(kind, count, dimension, seed)

    whole = similarities(rows, rows)

    assert whole.dtype == np.float32
    assert np.array_equal(whole, whole.T)
    assert np.array_equal(whole, np.stack([exact_similarities(row, rows) for row in rows]))
    assert np.array_equal(whole[1:, :1], similarities(rows[1:], rows[:1]))


@contextmanager
def stored(rows: Vectors) -> Iterator[tuple[VectorFile, Path]]:
    """A vector file that holds rows, and its directory."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as place:
        folder = Path(place)
        (folder / "vectors").mkdir()
        file = opened(folder, rows.shape[1])
        file.append(0, rows)
        yield file, folder


def opened(folder: Path, dimension: int) -> VectorFile:
    return VectorFile(folder / "vectors" / "1.0.f16", folder / "cache", dimension)


def assert_finds(file: VectorFile, rows: Vectors, query: Vectors, floors: Floats) -> None:
    """Assert that a scan finds just the rows at or above their floor, with their similarity."""
    slots, found = file.above(query, floors)

    exact = exact_similarities(query, rows)
    expected = np.flatnonzero(exact >= floors)
    assert slots.tolist() == expected.tolist()
    assert found.tolist() == exact[expected].tolist()


@many
@given(kinds, kinds, seeds, dimensions, st.booleans())
def test_a_scan_never_loses_a_row_that_reaches_its_floor(
    kind: str, query_kind: str, seed: int, dimension: int, native: bool
) -> None:
    """The int8 bound holds: floors that are just the exact similarity are reached, others not."""
    rows = vectors_of(kind, 24, dimension, seed)
    queries = np.concatenate([vectors_of(query_kind, 3, dimension, seed + 1), rows[:3], -rows[:1]])

    with stored(rows) as (file, _), dots(native=native):
        for query in queries:
            exact = exact_similarities(query, rows)
            assert_finds(file, rows, query, exact)
            assert_finds(file, rows, query, np.nextafter(exact, np.float32(9)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dimension", [1, 2, 17, 64, 512, 1280, 1300])
def test_a_scan_finds_what_brute_force_finds(kind: str, dimension: int) -> None:
    """For each kind of vectors at the dimensions of real models, with floors of every height."""
    rows = vectors_of(kind, 120, dimension, 5)
    with stored(rows) as (file, _):
        for query in rows[:4]:
            exact = exact_similarities(query, rows)
            for floor in np.quantile(exact, [0, 0.3, 0.9, 1]).astype(np.float32):
                assert_finds(file, rows, query, np.full(120, floor))
            assert_finds(file, rows, query, exact)


@few
@given(seeds, dimensions)
def test_the_bound_holds_where_rounding_is_worst(seed: int, dimension: int) -> None:
    """Rows and queries whose components all lie next to half a step of their scale."""
    chance = np.random.default_rng(seed)
    steps = chance.integers(0, 4, (24, dimension)) + 0.5 + chance.choice([-0.02, 0.02], (24, 1))
    steps *= chance.choice([-1, 1], dimension)
    steps[:, 0] = 127
    rows = np.asarray(steps / np.linalg.norm(steps, axis=1, keepdims=True), np.float16)

    with stored(rows) as (file, _):
        for query in rows[:8]:
            assert_finds(file, rows, query, exact_similarities(query, rows))


@contextmanager
def dots(*, native: bool) -> Iterator[None]:
    """Inside, int8 sums come from simsimd, or from NumPy as where simsimd does not work."""
    with pytest.MonkeyPatch.context() as patch:
        if not native:
            patch.setattr(vectors_module, "_native_dots_work", lambda: False)
        yield


@few
@given(seeds, st.integers(1, 2600), st.booleans())
def test_both_ways_to_sum_int8_codes_are_exact(seed: int, dimension: int, extreme: bool) -> None:
    """The native kernels, the fallback and whole numbers agree to the digit."""
    chance = np.random.default_rng(seed)
    codes = chance.integers(-127, 128, (9, dimension)).astype(np.int8)
    if extreme:
        codes = np.where(codes < 0, -127, 127).astype(np.int8)
        codes[1] = codes[0]

    with dots(native=True):
        one = int8_dots(codes, codes[0])
    with dots(native=False):
        other = int8_dots(codes, codes[0])

    whole = codes.astype(np.int64) @ codes[0].astype(np.int64)
    assert one.tolist() == other.tolist() == whole.astype(np.float32).tolist()


def test_the_native_kernels_are_in_use_here() -> None:
    """Else the tests above compare the fallback with itself."""
    assert vectors._native_dots_work()


@few
@given(kinds, seeds, dimensions)
def test_codes_differ_from_their_vector_by_no_more_than_they_say(
    kind: str, seed: int, dimension: int
) -> None:
    rows = vectors_of(kind, 12, dimension, seed)

    codes, bounds = quantise(rows)

    meant = codes.astype(np.float64) * bounds[:, :1].astype(np.float64)
    lost = np.linalg.norm(rows.astype(np.float64) - meant, axis=1)
    assert (lost <= bounds[:, 1].astype(np.float64) + 1e-7).all()
    assert np.abs(codes.astype(int)).max() <= 127


def test_a_scan_works_across_its_blocks() -> None:
    """More rows than one block of a scan, all found and none twice."""
    rows = vectors_of("random", 70_000, 8, 0)
    query = rows[69_999]
    exact = (rows.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)

    with stored(rows) as (file, _):
        slots, found = file.above(query, np.full(70_000, 0.9, np.float32))

    assert slots.tolist() == np.flatnonzero(exact >= np.float32(0.9)).tolist()
    assert found.tolist() == exact[slots].tolist()


@few
@given(
    seeds, st.lists(st.sampled_from(["append", "delete", "codes", "bounds", "scan"]), max_size=9)
)
def test_the_sidecar_may_be_deleted_at_any_time(seed: int, steps: list[str]) -> None:
    """Whatever is deleted between appends and scans, no row is lost; a second reader agrees."""
    rows = vectors_of("random", 200, 24, seed)
    count = 7
    with stored(rows[:count]) as (file, folder):
        gone = {"delete": "*", "codes": "*.i8", "bounds": "*.bounds"}
        for step in steps:
            if step == "append":
                file.append(count, rows[count : count + 5])
                count += 5
            elif step == "scan":
                file.above(rows[0], np.zeros(count, np.float32))
            else:
                for path in (folder / "cache").glob(gone[step]):
                    path.unlink()
                if step == "delete" and (folder / "cache").exists():
                    (folder / "cache").rmdir()

        for reader in (file, opened(folder, 24)):
            for query in rows[[0, count - 1]]:
                floors = exact_similarities(query, rows[:count])
                assert_finds(reader, rows[:count], query, floors)


def test_a_cut_sidecar_comes_back() -> None:
    """A sidecar that ends in the middle of a row is completed from there."""
    rows = vectors_of("random", 50, 24, 0)
    with stored(rows) as (_, folder):
        for name, size in (("1.0.i8", 24 * 20 + 5), ("1.0.bounds", 8 * 33 + 3)):
            with (folder / "cache" / name).open("r+b") as file:
                file.truncate(size)

        assert_finds(opened(folder, 24), rows, rows[0], exact_similarities(rows[0], rows))


def test_leftovers_of_a_crash_are_overwritten() -> None:
    """Rows that were appended and never named give way to those appended in their place."""
    rows = vectors_of("random", 40, 24, 0)
    with stored(rows[:10]) as (file, _):
        file.append(10, rows[20:35])
        file.append(10, rows[10:20])

        assert np.array_equal(file.rows(20), rows[:20])
        assert_finds(file, rows[:20], rows[12], exact_similarities(rows[12], rows[:20]))


def test_a_gap_in_the_vectors_is_refused() -> None:
    """After rows were lost, appending behind them would make zeros of them: it is an error."""
    rows = vectors_of("random", 20, 24, 0)
    with stored(rows[:10]) as (file, folder):
        (folder / "vectors" / "1.0.f16").unlink()

        with pytest.raises(StoreCorrupt, match=r"1\.0\.f16 has 0 vectors"):
            file.append(10, rows[10:])
        with pytest.raises(StoreCorrupt, match="restore"):
            file.rows(10)


def test_erased_rows_are_zero_in_both_files() -> None:
    """Nothing of an erased vector is left, and its neighbours are as they were."""
    rows = vectors_of("random", 20, 24, 0)
    with stored(rows) as (file, folder):
        file.erase(np.array([0, 7, 19]))

        left = np.delete(np.arange(20), [0, 7, 19])
        codes = np.fromfile(folder / "cache" / "1.0.i8", np.int8).reshape(20, 24)
        assert not file.rows(20)[[0, 7, 19]].any()
        assert not codes[[0, 7, 19]].any()
        assert np.array_equal(file.rows(20)[left], rows[left])
        assert file.remains(np.arange(25)).tolist() == left.tolist()
        floors = np.full(20, np.inf, np.float32)
        floors[left] = exact_similarities(rows[1], rows[left])
        assert file.above(rows[1], floors)[0].tolist() == left.tolist()


# --- columns ------------------------------------------------------------------------------------


@many
@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 30), max_size=6)), max_size=8))
def test_columns_are_a_mapping_from_documents_to_values(
    steps: list[tuple[bool, set[int]]],
) -> None:
    """Placed in any order, removed and placed again, each document keeps its own row."""
    columns = Columns({"value": np.array(-1, np.int64), "pair": np.array([7, 8], np.int32)})
    expected: dict[int, int] = {}
    for step, (remove, pks) in enumerate(steps):
        chosen = np.array(list(pks), np.int64)
        if remove:
            columns.remove(chosen)
            expected = {pk: value for pk, value in expected.items() if pk not in pks}
            continue
        rows = columns.place(chosen)
        assert columns.pks[rows].tolist() == chosen.tolist()
        for row, pk in zip(rows.tolist(), chosen.tolist(), strict=True):
            assert columns["value"][row] == expected.get(pk, -1)
            assert columns["pair"][row].tolist() == [7, 8]
        columns["value"][rows] = expected_now = 100 * step + chosen
        expected |= dict(zip(chosen.tolist(), expected_now.tolist(), strict=True))

    asked = np.arange(31)
    found = columns.rows_of(asked)
    assert columns.pks.tolist() == sorted(expected)
    assert dict(zip(columns.pks[found].tolist(), columns["value"][found], strict=True)) == expected
