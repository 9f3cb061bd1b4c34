"""The whole rule, graph included, as collections and their labels grow.

`whole_rule` takes one large store of overlapping kinds from its first decision to its reopening;
`upkeep` looks at it, forgets some of it and compacts it; `growth` makes small ones of many sizes.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import lookalike
from deciding import digests, milliseconds, seconds
from lookalike.catalog.reader import fields_of
from lookalike.classifier.graph.graph import NeighbourGraph
from lookalike.classifier.graph.neighbours import neighbours
from lookalike.classifier.graph.propagation import NEIGHBOURS
from lookalike.decisions.decider import Decider
from lookalike.library.collection.collection import Collection
from lookalike.library.maintenance import compact
from lookalike.stores.base import Snapshot
from made_vectors import DIMENSION, NAMED, kinds_of, names
from measuring import Cost, Figure, OwnMemory, cost, median, peak_mib, size_bytes

_EACH, _MORE = 10, 2
_FORGOTTEN = 100
_LABELS, _RETRACTIONS = 20, 10
_FIRST_GOAL_S, _LABEL_GOAL_MS, _MEMORY_GOAL_MIB, _DISK_GOAL = 900, 1000, 4096, 2500
_GOALS_FROM = 1_000_000
_CHECKED, _RECALL_GOAL = 400, 0.95
_CLASSES, _DOCUMENTS_EACH = (10, 100, 1000), 10
_HIDDEN, _APART, _NOISE = 32, np.float32(1.2), np.float32(0.5)

Said = dict[str, str | None]


def whole_rule(folder: Path, count: int) -> list[Figure]:
    """Decide for the first time, label and take back, and compare with deciding everything."""
    store, kinds = folder / f"kinds-{count}", kinds_of(count)
    given, more = _chosen(kinds, NAMED)
    with OwnMemory() as own, lookalike.open(store, actor="benchmark") as library:
        collection = library.collection("things")
        first = cost(lambda: collection.label(_said(kinds, given)))
        labels = [_one(collection, _said(kinds, [place])) for place in more[:_LABELS]]
        back = [_one(collection, {f"v{place}": None}) for place in more[:_RETRACTIONS]]
        queue = cost(lambda: collection.queue(limit=20))
        found = _recall(_neighbour_graph(collection))
        peak = peak_mib()
        before = digests(collection)
        collection.run()
        different = int((before != digests(collection)).any(axis=1).sum())
    size = sum(map(size_bytes, (store / "lookalike.db", store / "vectors", store / "cache")))
    above = size / count - 1.5 * 2 * DIMENSION
    name, large = f"{count:,} documents, {len(given)} references, whole rule", count >= _GOALS_FROM

    def goal(text: str, met: bool) -> tuple[str, bool] | tuple[()]:
        return (text, met) if large else ()

    label = median(labels)
    return [
        Figure(
            f"{name}: first decision, graph included",
            seconds(first),
            *goal(f"≤ {_FIRST_GOAL_S} s", first.cpu_s <= _FIRST_GOAL_S),
        ),
        Figure(
            f"{name}: one label with all that it changes, stored, median of {_LABELS}",
            milliseconds(label),
            *goal(f"≤ {_LABEL_GOAL_MS} ms", label.cpu_s <= _LABEL_GOAL_MS / 1000),
        ),
        Figure(
            f"{name}: one label taken back, median of {_RETRACTIONS}", milliseconds(median(back))
        ),
        Figure(f"{name}: the first 20 questions of the queue", seconds(queue)),
        Figure(
            f"{name}: rows that differ from a full recompute", str(different), "0", different == 0
        ),
        Figure(
            f"{name}: share of the true neighbours in the graph's lists",
            f"{found:.3f}",
            f"≥ {_RECALL_GOAL}",
            found >= _RECALL_GOAL,
        ),
        Figure(
            f"{name}: peak memory without pages of mapped files",
            f"{own.peak_mib:.0f} MiB",
            *goal(f"≤ {_MEMORY_GOAL_MIB} MiB", own.peak_mib <= _MEMORY_GOAL_MIB),
        ),
        Figure(f"{name}: peak memory with them", f"{peak:.0f} MiB"),
        Figure(
            f"{name}: disk above 1.5 × the vectors, bytes a document",
            f"{above:,.0f}",
            *goal(f"≤ {_DISK_GOAL:,}", above <= _DISK_GOAL),
        ),
        Figure(f"{name}: share that labels itself", f"{_automatic(store) / count:.0%}"),
    ]


def reopening(folder: Path, count: int) -> list[Figure]:
    """Open that store in a cold process and label one document."""
    kinds = kinds_of(count)
    place = _chosen(kinds, NAMED)[1][-1]
    with lookalike.open(folder / f"kinds-{count}", actor="benchmark") as library:
        collection = library.collection("things")
        label = _one(collection, _said(kinds, [place]))
    name = f"{count:,} documents, whole rule, cold process"
    return [
        Figure(f"{name}: first label", seconds(label)),
        Figure(f"{name}: peak memory", f"{peak_mib():.0f} MiB"),
    ]


def upkeep(folder: Path, count: int) -> list[Figure]:
    """Take that store through what comes up later: look at it, forget some of it, compact it."""
    kinds, store = kinds_of(count), folder / f"kinds-{count}"
    doomed = np.random.default_rng(12).choice(count, count // _FORGOTTEN, replace=False)
    said = _said(kinds, _chosen(kinds, NAMED)[1][-2:-1])
    with OwnMemory() as own, lookalike.open(store, actor="benchmark") as library:
        collection = library.collection("things")
        _one(collection, said)
        told = cost(collection.report)
        rows = cost(lambda: sum(1 for _ in collection.rows()))
        laid = cost(collection.map)
        again = cost(collection.map)
        gone = cost(lambda: collection.forget([f"v{place}" for place in sorted(doomed)]))
        before = digests(collection)
        packed = cost(lambda: compact(library.runtime))
        different = int((before != digests(collection)).any(axis=1).sum())
        sound = len(library.check())
    name = f"{count:,} documents, whole rule"
    return [
        Figure(f"{name}: the report", seconds(told)),
        Figure(f"{name}: all rows of an export", seconds(rows)),
        Figure(f"{name}: the map, laid out for the first time", seconds(laid)),
        Figure(f"{name}: the map again", seconds(again)),
        Figure(
            f"{name}: forget {len(doomed):,} documents, with a new graph and all decided again",
            seconds(gone),
        ),
        Figure(f"{name}: compaction", seconds(packed)),
        Figure(
            f"{name}: rows that differ after it, contradictions in the store",
            f"{different}, {sound}",
            "0, 0",
            different == sound == 0,
        ),
        Figure(f"{name}: peak memory of all this", f"{own.peak_mib:.0f} MiB"),
    ]


def growth(folder: Path, count: int) -> list[Figure]:
    """Decide for the first time, and label, with ever more classes that have enough documents."""
    affordable = [classes for classes in _CLASSES if count >= _DOCUMENTS_EACH * classes]
    return [figure for classes in affordable for figure in _grown(folder, count, classes)]


def _grown(folder: Path, count: int, classes: int) -> Iterator[Figure]:
    kinds, vectors = _made(count, classes)
    given, more = _chosen(kinds, classes)
    store = folder / "growth"
    shutil.rmtree(store, ignore_errors=True)
    with lookalike.open(store, actor="benchmark") as library:
        collection = library.labeler("things", extractor="passthrough", target_precision=0.95)
        collection.add(vectors=vectors, ids=names(0, count))
        first = cost(lambda: collection.label(_said(kinds, given)))
        label = median([_one(collection, _said(kinds, [place])) for place in more[:_LABELS]])
    name = f"{count:,} documents, {classes:,} classes, {len(given):,} references"
    yield Figure(
        f"{name}: first decision; one label, median of {_LABELS}",
        f"{first.cpu_s:.1f} s; {1000 * label.cpu_s:.0f} ms of processor time",
    )
    yield Figure(f"{name}: peak memory so far", f"{peak_mib():.0f} MiB")
    shutil.rmtree(store)


def _made(count: int, classes: int) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """Return the kinds of documents, half as many again as classes, and their vectors."""
    chance = np.random.default_rng([count, classes])
    kinds = np.arange(count) % (classes + classes // 2)
    centres = _APART * chance.standard_normal((classes + classes // 2, _HIDDEN), np.float32)
    hidden = centres[kinds] + chance.standard_normal((count, _HIDDEN), np.float32)
    vectors = hidden @ chance.standard_normal((_HIDDEN, DIMENSION), np.float32)
    vectors += _NOISE * chance.standard_normal(vectors.shape, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return kinds, vectors.astype(np.float16)


def _chosen(kinds: NDArray[np.int64], named: int) -> tuple[list[int], list[int]]:
    """Return references of each of the first kinds, and more of them for later, kind by kind.

    Where a kind has few documents it has fewer references.
    """
    chance, given, more = np.random.default_rng(11), [], []
    for kind in range(named):
        own = chance.permutation(np.flatnonzero(kinds == kind))
        each = min(_EACH, len(own) // 2)
        given += own[:each].tolist()
        more += own[each : each + _MORE].tolist()
    return given, chance.permutation(more).tolist()


def _said(kinds: NDArray[np.int64], places: list[int]) -> Said:
    return {f"v{place}": f"Kind {kinds[place]:04d}" for place in places}


def _one(collection: Collection, said: Said) -> Cost:
    return cost(lambda: collection.label(said))


def _neighbour_graph(collection: Collection) -> NeighbourGraph:
    """Return the neighbour graph that a collection is decided by."""
    runtime = collection._runtime
    with runtime.store.read() as snapshot:
        (field,) = fields_of(snapshot, collection._row.pk)

    def graph_of(decider: Decider, snapshot: Snapshot) -> NeighbourGraph:
        return decider.classifier_and_scores(snapshot)[0].neighbour_graph

    with runtime.operations.deciders.consulted(field.pk, graph_of) as (_, found):
        return found


def _automatic(store: Path) -> int:
    """Return how many documents labelled themselves."""
    with sqlite3.connect(f"file:{store / 'lookalike.db'}?mode=ro", uri=True) as database:
        ((count,),) = database.execute("SELECT count(*) FROM standing WHERE origin = 'auto'")
    return int(count)


def _recall(land: NeighbourGraph) -> float:
    """Return how many entries of some lists are those of the exact lists."""
    checked = np.linspace(0, land.nodes - 1, _CHECKED).astype(np.int64)
    exact, _ = neighbours(land.centred[checked], land.centred[: land.nodes], NEIGHBOURS + 1)
    found = [
        len(np.intersect1d(one, other[other != place][:NEIGHBOURS])) / NEIGHBOURS
        for place, one, other in zip(checked, land.near[checked], exact, strict=True)
    ]
    return float(np.mean(found))
