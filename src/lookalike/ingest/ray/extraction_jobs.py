"""Extraction on a Ray cluster: partitions of what was claimed, as jobs of Ray Data.

Actors read, extract and give back; who claims and writes is the process that began, as ever. A job
has up to three passes: all tasks; then those whose files a node could not read, with their bytes;
then those whose process died, each object alone, so that a bad one spoils only itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator

from lookalike.errors import Conflict, StoreUnreachable
from lookalike.ingest.executors import Done, Waiting, tasks_of
from lookalike.ingest.hands import Bench, Results, Task
from lookalike.ingest.ray.cluster import Cluster, Stage
from lookalike.ingest.ray.node import Extracting, Order, carry, found_in, task_to

_OBJECTS_EACH = 4000
"""So many objects for each processor make a partition: minutes of work, a few MB to remember."""

_MOST_OBJECTS = 50_000
_BLOCK_TASKS = 8
_BLOCKS_EACH = 4
_TRIES_ALONE = 2
_MOST_CARRY = 4
"""So many processes carry files from this machine: Ray would start one for each block of a job."""

_Asked = dict[str, Waiting]


class ClusterHands:
    """Extracts on a cluster what `bench` gives; what failed before is tried again here."""

    def __init__(self, cluster: Cluster, bench: Bench, *, carries: bool = False) -> None:
        self._cluster = cluster
        self._bench = bench
        self._carries = carries
        row, space = bench.target.row, bench.target.space
        options = dict(row.options)
        if row.extractor == "passthrough":
            options.setdefault("dimension", space.dimension)
        self._order = Order(row.extractor, options, space.name, bench.blobs, bench.max_pixels)
        self._gpu = cluster.look((row.extractor, options))
        self._actors = cluster.gpus if self._gpu else cluster.cpus
        self._room = min(_MOST_OBJECTS, _OBJECTS_EACH * self._actors)
        self._waiting: _Asked = {}
        self._again: deque[Task] = deque()
        self._failed: set[str] = set()
        self._job: Generator[Results] | None = None

    @property
    def has_room(self) -> bool:
        """Return whether the next partition is not full yet."""
        return len(self._waiting) < self._room

    def take(self, tasks: Iterable[Task]) -> None:
        """Take tasks into the next partition; what failed for one object is tried here."""
        for task in tasks:
            if any(one.content in self._failed for one in task):
                self._again.append(task)
            else:
                self._waiting |= {one.content: one for one in task}

    def results(self) -> Results:
        """Wait for results of the job that runs; one begins where none does."""
        if self._again:
            return self._bench.here(self._again.popleft())
        if self._job is None:
            asked, self._waiting = self._waiting, {}
            self._job = self._done(asked)
        results = next(self._job, None)
        if results is None:
            self._job = None
        return results or []

    def drop(self) -> None:
        """End the job that runs, if any."""
        if self._job is not None:
            self._job.close()
            self._job = None

    def close(self) -> None:
        """End the job that runs, if any."""
        self.drop()

    def _done(self, asked: _Asked) -> Generator[Results]:
        unread: _Asked = {}
        yield from self._pass(asked, unread, carries=self._carries)
        if unread:
            count = len(unread)
            yield from self._pass(unread, {}, carries=True)
            self._carries = self._carries or count > len(unread)
            asked |= unread
        if asked:
            yield from self._pass(asked, {}, carries=True, alone=True)
        reason = (
            f"the process that extracted it ended before it was done, {_TRIES_ALONE + 1} times: it "
            "may need more memory than a node has, or make a library fail; look at it, or remove it"
        )
        yield [(content, Done((), reason)) for content in asked]

    def _pass(
        self, asked: _Asked, unread: _Asked, *, carries: bool, alone: bool = False
    ) -> Iterator[Results]:
        """Extract what is `asked`, and take out of it what is done or goes to `unread`."""
        every = list(asked.values())
        tasks = [[one] for one in every] if alone else tasks_of(every)
        rows = [{"task": task_to(task)} for task in tasks]
        blocks = len(rows)
        if not alone:
            blocks = max(len(rows) // _BLOCK_TASKS, _BLOCKS_EACH * self._actors)
        for row in self._cluster.rows(rows, self._stages(carries, alone), blocks=blocks):
            if row["trouble"] is not None:
                kind = StoreUnreachable if row["unread"] else Conflict
                raise kind(f"a node of the cluster cannot extract: {row['trouble']}")
            content = row["content"]
            one = asked.get(content)
            if one is None:
                continue
            del asked[content]
            if row["unread"] and not carries:
                unread[content] = one
                continue
            done, views = found_in(row)
            if done.error is None:
                self._bench.keep(one, done, views)
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
        ahead = 1 if alone else 2  # who is given more than one object takes the others with it
        actors = Stage(Extracting, (self._order,), (1, self._actors), ahead, remote)
        if not carries:
            return [actors]
        here = min(_MOST_CARRY, self._cluster.cpus)
        return [Stage(carry, (self._bench.blobs,), None, here, self._cluster.here), actors]
