"""The long comparisons of a full decision on a Ray cluster: who is near whom, block by block.

All else of a decision is done where it is written: it grows with the documents, this with their
power 1.5. Vectors on the grid have exact products, so lists are the same wherever they are found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lookalike.classifier.graph.arrays import Grid
from lookalike.classifier.graph.neighbours import EXACT_ITEMS, Cells, Lists, Places, lists_of
from lookalike.errors import Conflict
from lookalike.ingest.ray.cluster import Cluster, Stage

_BLOCKS_EACH = 4
_BLOCK_ROWS = 20_000
"""What is found of so many rows comes back at once: 5 MB."""

_REMOTE = {"num_cpus": 1, "max_restarts": -1, "max_task_retries": 3}


def lists_on(cluster: Cluster, rows: Grid, count: int, *, exact_items: int = EXACT_ITEMS) -> Lists:
    """Return what `neighbour_lists` returns of `rows` (n, d), found by the nodes of a cluster.

    Rows go to each node once, and blocks of them are looked for side by side; those of the same
    cells together. Raises Conflict where a block could not be done.
    """
    cluster.look()
    kept, every = cluster.keep(rows), np.arange(len(rows))
    if len(rows) <= exact_items:
        near, cosines = _joined(cluster, _Finding, (kept, None, count), every, "near", "cosines")
        return near, cosines
    cells = cluster.keep(Cells(rows))
    (tried,) = _joined(cluster, _Trying, (kept, cells), every, "tried")
    together = np.argsort(tried[:, 0], kind="stable")
    arguments = (kept, cluster.keep(tried), count)
    near, cosines = _joined(cluster, _Finding, arguments, together, "near", "cosines")
    return near, cosines


class _Trying:
    """An actor that says which cells rows are compared with."""

    def __init__(self, rows: Any, cells: Any) -> None:
        self._rows, self._cells = _got(rows, cells)

    def __call__(self, batch: Any) -> Iterator[Any]:
        for number, some in _blocks(batch):
            yield _table(number, {"tried": self._cells.tried(self._rows[some])})


class _Finding:
    """An actor that finds the neighbours of rows."""

    def __init__(self, rows: Any, tried: Any, count: int) -> None:
        self._rows, self._tried = _got(rows, tried)
        self._count = count

    def __call__(self, batch: Any) -> Iterator[Any]:
        for number, some in _blocks(batch):
            near, cosines = lists_of(some, self._rows, self._count, self._tried)
            yield _table(number, {"near": near, "cosines": cosines})


def _joined(
    cluster: Cluster, work: type, arguments: tuple[Any, ...], order: Places, *names: str
) -> list[Any]:
    """Return arrays (n, …) by `names`, of which an actor makes the rows of blocks of `order`."""
    pieces = max(_BLOCKS_EACH * cluster.cpus, -(-len(order) // _BLOCK_ROWS))
    blocks = [block for block in np.array_split(order, pieces) if len(block)]
    rows = [{"block": number, "places": one.tobytes()} for number, one in enumerate(blocks)]
    stage = Stage(work, arguments, (1, min(cluster.cpus, len(blocks))), remote=_REMOTE)
    made: dict[str, Any] = {}
    left = set(range(len(blocks)))
    for row in cluster.rows(rows, [stage], blocks=len(blocks)):
        places = blocks[row["block"]]
        for name in names:
            found = _array(row[name], row[f"{name}_type"]).reshape(len(places), -1)
            if name not in made:
                made[name] = np.empty((len(order), found.shape[1]), found.dtype)
            made[name][places] = found
        left.discard(row["block"])
    if left:
        raise Conflict(
            f"{len(left)} of {len(blocks)} blocks of rows could not be compared on the cluster: "
            "their processes ended before; the rows, twice, must fit into the memory of a node"
        )
    return [made[name] for name in names]


def _got(*references: Any) -> Any:
    import ray

    return [None if one is None else ray.get(one) for one in references]


def _blocks(batch: Any) -> Iterator[tuple[int, Places]]:
    for row in batch.to_pylist():
        yield row["block"], np.frombuffer(row["places"], np.int64)


def _array(data: bytes, kind: str) -> Any:
    return np.frombuffer(data, kind)


def _table(number: int, arrays: Mapping[str, Any]) -> Any:
    import pyarrow

    columns: dict[str, Any] = {"block": pyarrow.array([number])}
    for name, array in arrays.items():
        columns[name] = pyarrow.array([array.tobytes()], pyarrow.large_binary())
        columns[f"{name}_type"] = pyarrow.array([array.dtype.str])
    return pyarrow.table(columns)
