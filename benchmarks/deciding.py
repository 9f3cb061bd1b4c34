"""What deciding costs: everything for the first time, one label more, one taken back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

import lookalike
from lookalike.catalog.reader import fields_of
from lookalike.decisions.decider import Decider
from lookalike.library.collection.collection import Collection
from lookalike.stores import schema
from lookalike.stores.base import Snapshot
from made_vectors import first, labels
from measuring import Cost, Figure, cost, least, median, peak_mib

REFERENCES = 800
_LABELS = 40
_RETRACTIONS = 15
_LEARNED = 20
_LEARNED_GOAL_MS = 200
_GOAL, _GOAL_FROM = 1.0, 1_000_000
"""Of fewer documents, what every operation costs is more than the product."""


def first_decision(folder: Path, count: int) -> list[Figure]:
    """Label the references in one step, then decide everything again from scratch."""
    given = _chosen(count)[:REFERENCES]
    with lookalike.open(folder / f"store-{count}", actor="benchmark") as library:
        collection = library.collection("things")
        batch = cost(lambda: collection.label(_said(count, given)))
        whole = cost(collection.run)
    name = f"{count:,} documents, {REFERENCES} references"
    return [
        Figure(f"{name}: label the references in one step, in a cold process", seconds(batch)),
        Figure(f"{name}: decide everything from scratch (`run`)", seconds(whole)),
        Figure(f"{name}: peak memory of both", f"{peak_mib():.0f} MiB"),
    ]


def opening(folder: Path, count: int) -> list[Figure]:
    """Open the store in a cold process and label one document."""
    with lookalike.open(folder / f"store-{count}", actor="benchmark") as library:
        collection = library.collection("things")
        read = cost(lambda: next(collection.documents(limit=1)))
        one = _chosen(count)[REFERENCES : REFERENCES + 1]
        label = cost(lambda: collection.label(_said(count, one)))
    name = f"{count:,} documents, cold process"
    return [
        Figure(f"{name}: first document read", seconds(read)),
        Figure(f"{name}: first label", seconds(label)),
        Figure(f"{name}: peak memory", f"{peak_mib():.0f} MiB"),
    ]


def one_label(folder: Path, count: int) -> list[Figure]:
    """Label and take back one document at a time, beside a matrix–vector product."""
    ready, places = first(count), _chosen(count)[REFERENCES + 1 :]
    said = [_said(count, [place]) for place in places]
    given: list[Cost] = []
    products: list[Cost] = []
    store = folder / f"store-{count}"
    with lookalike.open(store, actor="benchmark") as library:
        collection = library.collection("things")
        collection.label(said[0])
        for one in said[1 : _LABELS + 1]:
            given.append(_label(collection, one))
            products.append(cost(lambda: ready @ ready[0]))
        back = [dict.fromkeys(one) for one in said[1 : _RETRACTIONS + 1]]
        taken = [_label(collection, one) for one in back]
        before = digests(collection)
        collection.run()
        different = int((before != digests(collection)).any(axis=1).sum())
    return _figures(count, given, taken, least(products), different)


def learned(folder: Path, count: int) -> list[Figure]:
    """Let the same store decide by `precision`, then label one document at a time."""
    said = [_said(count, [place]) for place in _chosen(count)]
    with lookalike.open(folder / f"store-{count}", actor="benchmark") as library:
        collection = library.collection("things")
        first = cost(lambda: collection.run(target_precision=0.95))
        back = [dict.fromkeys(one) for one in said[:_LEARNED]]
        taken = [_label(collection, one) for one in back]
        given = [_label(collection, one) for one in said[:_LEARNED]]
        before = digests(collection)
        collection.run()
        after = digests(collection)
    label, retraction = median(given), median(taken)
    name = f"{count:,} documents, {REFERENCES} references, policy `precision`"
    different = int((before != after).any(axis=1).sum())
    return [
        Figure(f"{name}: decide everything for the first time, graph included", seconds(first)),
        Figure(
            f"{name}: one label with all that it changes, stored, median of {_LEARNED}",
            milliseconds(label),
            f"≤ {_LEARNED_GOAL_MS} ms",
            label.cpu_s <= _LEARNED_GOAL_MS / 1000,
        ),
        Figure(f"{name}: one label taken back, median of {_LEARNED}", milliseconds(retraction)),
        Figure(
            f"{name}: rows that differ from a full recompute", str(different), "0", different == 0
        ),
        Figure(f"{name}: peak memory", f"{peak_mib():.0f} MiB"),
    ]


def _figures(
    count: int, given: list[Cost], taken: list[Cost], product: Cost, different: int
) -> list[Figure]:
    label, retraction = median(given), median(taken)
    ratio = label.cpu_s / product.cpu_s
    name = f"{count:,} documents, {REFERENCES} references"
    return [
        Figure(f"{name}: NumPy float32 matrix–vector product", milliseconds(product)),
        Figure(
            f"{name}: one label over that product, processor time, median of {_LABELS}",
            f"{ratio:.2f}× ({milliseconds(label)})",
            *((f"≤ {_GOAL}×", ratio <= _GOAL) if count >= _GOAL_FROM else ()),
        ),
        Figure(f"{name}: the quickest label", milliseconds(least(given))),
        Figure(f"{name}: one label taken back, median of {_RETRACTIONS}", milliseconds(retraction)),
        Figure(
            f"{name}: rows that differ from a full recompute after all these",
            str(different),
            "0",
            different == 0,
        ),
    ]


def _label(collection: Collection, said: Mapping[str, str | None]) -> Cost:
    return cost(lambda: collection.label(said))


def _chosen(count: int) -> list[int]:
    """Return documents in an order that is the same each time."""
    order = np.random.default_rng(11).permutation(count)
    return [int(place) for place in order[: REFERENCES + _LABELS + 2]]


def _said(count: int, places: list[int]) -> dict[str, str]:
    shows = _shown(count)
    return {f"v{place}": shows[place] for place in places}


@cache
def _shown(count: int) -> list[str]:
    return labels(count)


def digests(collection: Collection) -> NDArray[np.int64]:
    """Return a digest of the decision, and the list in memory, of each document, by rising pk."""
    runtime, table = collection._runtime, schema.standing.c
    columns = (table.document_pk, table.label, table.origin, table.votes, table.suggestion)
    more = (table.confidence, table.margin, table.runner_up, table.reason, table.source_pk)
    with runtime.store.read() as snapshot:
        rows = snapshot.tuples(select(*columns, *more).order_by(table.document_pk))
        (field,) = fields_of(snapshot, collection._row.pk)
    decided = np.array([(row[0], hash(row)) for row in rows], np.int64)

    def lists(decider: Decider, _: Snapshot) -> NDArray[np.int32]:
        kept = decider.state.neighbour_lists
        return np.concatenate([kept.near, kept.similarities.view(np.int32)], axis=1)

    with runtime.operations.deciders.consulted(field.pk, lists) as (_, found):
        return np.concatenate([decided, found], axis=1)


def seconds(spent: Cost) -> str:
    """Write what some work cost in seconds."""
    return f"{spent.cpu_s:.2f} s of processor time, {spent.wall_s:.2f} s of wall time"


def milliseconds(spent: Cost) -> str:
    """Write what some work cost in milliseconds."""
    return f"{1000 * spent.cpu_s:.0f} ms of processor time, {1000 * spent.wall_s:.0f} ms"
