"""Extraction on a Ray cluster: partitions of the claimed objects, as jobs of Ray Data.

Actors read, extract and return results; the local process claims and writes. A job has up to three
passes: all tasks; then those whose files a node could not read, with their bytes; then those whose
process died, one object per task, so that a bad object affects only itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import numpy as np

from lookalike.classifier.graph.arrays import FixedPoint
from lookalike.classifier.graph.neighbours import (
    EXACT_ITEMS,
    Cells,
    Lists,
    Places,
    lists_of,
    neighbour_lists,
)
from lookalike.errors import BadSetting, Conflict, StoreUnreachable
from lookalike.ingest.executors import (
    Done,
    Executor,
    ExecutorContext,
    PendingObject,
    Results,
    Task,
    tasks_of,
)
from lookalike.ingest.ray.cluster import Cluster, Stage
from lookalike.ingest.ray.node import ExtractActor, Order, carry, result_of, task_to

_OBJECTS_PER_CPU = 4000
"""Objects per CPU in a partition: minutes of work, a few MB in memory."""

_MAX_OBJECTS = 50_000
_BLOCK_TASKS = 8
_BLOCKS_PER_CPU = 4
_TRIES_ALONE = 2
_MAX_READERS = 4
"""The maximum number of processes that read files on this machine: Ray would start one per block.
"""

_Pending = dict[str, PendingObject]


class ClusterExecutor:
    """Extracts the tasks of `context` on a cluster; failed contents are retried here."""

    def __init__(
        self, cluster: Cluster, context: ExecutorContext, *, carries: bool = False
    ) -> None:
        self._cluster = cluster
        self._context = context
        self._carries = carries
        row, space = context.target.row, context.target.space
        options = dict(row.options)
        if row.extractor == "passthrough":
            options.setdefault("dimension", space.dimension)
        self._order = Order(row.extractor, options, space.name, context.blobs, context.max_pixels)
        self._gpu = cluster.check_nodes((row.extractor, options))
        self._actors = cluster.gpus if self._gpu else cluster.cpus
        self._room = min(_MAX_OBJECTS, _OBJECTS_PER_CPU * self._actors)
        self._waiting: _Pending = {}
        self._retries: deque[Task] = deque()
        self._failed: set[str] = set()
        self._job: Generator[Results] | None = None

    @property
    def has_room(self) -> bool:
        """Return whether the next partition is not full yet."""
        return len(self._waiting) < self._room

    def take(self, tasks: Iterable[Task]) -> None:
        """Add tasks to the next partition; contents that failed for one object are retried here."""
        for task in tasks:
            if any(one.content in self._failed for one in task):
                self._retries.append(task)
            else:
                self._waiting |= {one.content: one for one in task}

    def results(self) -> Results:
        """Wait for results of the running job; start one if none runs."""
        if self._retries:
            return self._context.extract_locally(self._retries.popleft())
        if self._job is None:
            pending, self._waiting = self._waiting, {}
            self._job = self._done(pending)
        results = next(self._job, None)
        if results is None:
            self._job = None
        return results or []

    def drop(self) -> None:
        """End the running job, if any."""
        if self._job is not None:
            self._job.close()
            self._job = None

    def close(self) -> None:
        """End the running job, if any."""
        self.drop()

    def _done(self, pending: _Pending) -> Generator[Results]:
        unread: _Pending = {}
        yield from self._pass(pending, unread, carries=self._carries)
        if unread:
            count = len(unread)
            yield from self._pass(unread, {}, carries=True)
            self._carries = self._carries or count > len(unread)
            pending |= unread
        if pending:
            yield from self._pass(pending, {}, carries=True, alone=True)
        reason = (
            f"the process that extracted it ended before it was done, {_TRIES_ALONE + 1} times: it "
            "may need more memory than a node has, or crash a library; check it, or remove it"
        )
        yield [(content, Done((), reason)) for content in pending]

    def _pass(
        self, pending: _Pending, unread: _Pending, *, carries: bool, alone: bool = False
    ) -> Iterator[Results]:
        """Extract the objects in `pending`; remove those that are done or moved to `unread`."""
        every = list(pending.values())
        tasks = [[one] for one in every] if alone else tasks_of(every)
        rows = [{"task": task_to(task)} for task in tasks]
        blocks = len(rows)
        if not alone:
            blocks = max(len(rows) // _BLOCK_TASKS, _BLOCKS_PER_CPU * self._actors)
        for row in self._cluster.rows(rows, self._stages(carries, alone), blocks=blocks):
            if row["trouble"] is not None:
                kind = StoreUnreachable if row["unread"] else Conflict
                raise kind(f"a node of the cluster cannot extract: {row['trouble']}")
            content = row["content"]
            one = pending.get(content)
            if one is None:
                continue
            del pending[content]
            if row["unread"] and not carries:
                unread[content] = one
                continue
            done, views = result_of(row)
            if done.error is None:
                self._context.keep_views(one, done, views)
            else:
                self._failed.add(content)
            yield [(content, done)]

    def _stages(self, carries: bool, alone: bool) -> list[Stage]:
        remote = {
            "num_cpus": 1,
            "num_gpus": int(self._gpu),
            "max_restarts": -1,
            "max_task_retries": _TRIES_ALONE - 1 if alone else 0,
        }
        ahead = 1 if alone else 2  # a dying actor loses all its objects
        actors = Stage(ExtractActor, (self._order,), (1, self._actors), ahead, remote)
        if not carries:
            return [actors]
        readers = min(_MAX_READERS, self._cluster.cpus)
        return [
            Stage(carry, (self._context.blobs,), None, readers, self._cluster.this_node),
            actors,
        ]


# --- neighbour lists, block by block -------------------------------------------------------------

# All other steps of a decision run locally: they grow with the number of documents, neighbour
# search with its power 1.5. Fixed-point vectors have exact products, so the lists are the same
# wherever they are computed.

_BLOCK_ROWS = 20_000
"""Rows per result of a neighbour search: 5 MB."""

_REMOTE = {"num_cpus": 1, "max_restarts": -1, "max_task_retries": 3}


def lists_on(
    cluster: Cluster, rows: FixedPoint, count: int, *, exact_items: int = EXACT_ITEMS
) -> Lists:
    """Return the result of `neighbour_lists` for `rows` (n, d), computed on a cluster.

    Rows are sent to each node once, and blocks of them are searched in parallel; rows of the same
    cells are in the same block. Raises Conflict if a block failed.
    """
    cluster.check_nodes()
    reference, every = cluster.put(rows), np.arange(len(rows))
    if len(rows) <= exact_items:
        near, cosines = _joined(
            cluster, _NeighbourSearch, (reference, None, count), every, "near", "cosines"
        )
        return near, cosines
    cells = cluster.put(Cells(rows))
    (tried,) = _joined(cluster, _CellSearch, (reference, cells), every, "tried")
    by_cell = np.argsort(tried[:, 0], kind="stable")
    arguments = (reference, cluster.put(tried), count)
    near, cosines = _joined(cluster, _NeighbourSearch, arguments, by_cell, "near", "cosines")
    return near, cosines


class _CellSearch:
    """An actor that returns the cells to compare rows with."""

    def __init__(self, rows: Any, cells: Any) -> None:
        self._rows, self._cells = _from_store(rows, cells)

    def __call__(self, batch: Any) -> Iterator[Any]:
        for number, places in _blocks(batch):
            yield _table(number, {"tried": self._cells.tried(self._rows[places])})


class _NeighbourSearch:
    """An actor that finds the neighbours of rows."""

    def __init__(self, rows: Any, tried: Any, count: int) -> None:
        self._rows, self._tried = _from_store(rows, tried)
        self._count = count

    def __call__(self, batch: Any) -> Iterator[Any]:
        for number, places in _blocks(batch):
            near, cosines = lists_of(places, self._rows, self._count, self._tried)
            yield _table(number, {"near": near, "cosines": cosines})


def _joined(
    cluster: Cluster, work: type, arguments: tuple[Any, ...], order: Places, *names: str
) -> list[Any]:
    """Return arrays (n, …) by `names`; actors compute them for blocks of `order`."""
    pieces = max(_BLOCKS_PER_CPU * cluster.cpus, -(-len(order) // _BLOCK_ROWS))
    blocks = [block for block in np.array_split(order, pieces) if len(block)]
    rows = [{"block": number, "places": block.tobytes()} for number, block in enumerate(blocks)]
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


def _from_store(*references: Any) -> Any:
    import ray

    return [None if reference is None else ray.get(reference) for reference in references]


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


# --- the engine `ray` ----------------------------------------------------------------------------

THREADS, RAY = "threads", "ray"
"""The engines: threads of this process, or a Ray cluster."""


class RayEngine:
    """The engine of a connected cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._is_open = True

    def close(self) -> None:
        """Use the cluster no more; later calls run locally."""
        self._is_open = False

    def neighbour_lists(self, rows: FixedPoint, count: int) -> Lists:
        """Return each row's nearest other rows, as the local search does.

        See `graph.neighbours`.
        """
        search = partial(lists_on, self._cluster) if self._is_open else neighbour_lists
        return search(rows, count)

    def executor(self, context: ExecutorContext) -> Executor:
        """Return an executor for a collection."""
        return ClusterExecutor(self._cluster, context)


@contextmanager
def engine_at(engine: str, address: str | None) -> Iterator[RayEngine | None]:
    """Yield the engine of that name, at an address if it needs one; None for local threads.

    Raises BadSetting for another name, or an address without an engine that needs one;
    MissingExtra; Unreachable.
    """
    if engine not in (THREADS, RAY):
        raise BadSetting(f"there is no engine {engine!r}; give {THREADS!r} or {RAY!r}")
    if engine == THREADS:
        if address is not None:
            raise BadSetting(f"the address {address!r} needs an engine; give engine {RAY!r}, too")
        yield None
        return
    with Cluster(address) as cluster, closing(RayEngine(cluster)) as ray_engine:
        yield ray_engine
