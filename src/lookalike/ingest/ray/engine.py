"""The engine `ray`: a cluster on which collections are extracted and decided."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from lookalike.classifier.graph.arrays import Grid
from lookalike.classifier.graph.neighbours import Lists, neighbour_lists
from lookalike.errors import BadSetting
from lookalike.ingest.hands import Bench, Hands
from lookalike.ingest.ray.cluster import Cluster
from lookalike.ingest.ray.decision_jobs import lists_on
from lookalike.ingest.ray.extraction_jobs import ClusterHands

HERE, RAY = "threads", "ray"
"""The engines: threads of this process, and a Ray cluster."""


class RayEngine:
    """A cluster that one is connected to."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._is_open = True

    def close(self) -> None:
        """Ask no more of the cluster: who still has this engine then works here."""
        self._is_open = False

    def neighbour_lists(self, rows: Grid, count: int) -> Lists:
        """Return each row's nearest other rows, the same as found here; see `nearness`."""
        where = partial(lists_on, self._cluster) if self._is_open else neighbour_lists
        return where(rows, count)

    def hands(self, bench: Bench) -> Hands:
        """Return who extracts for a collection."""
        return ClusterHands(self._cluster, bench)


@contextmanager
def engine_at(engine: str, address: str | None) -> Iterator[RayEngine | None]:
    """Give the engine of that name, at an address if it has one; None for threads of this process.

    Raises BadSetting for another name, or an address of what has none; MissingExtra; Unreachable.
    """
    if engine not in (HERE, RAY):
        raise BadSetting(f"there is no engine {engine!r}; give {HERE!r} or {RAY!r}")
    if engine == HERE:
        if address is not None:
            raise BadSetting(f"{address!r} is the address of what? give engine {RAY!r} with it")
        yield None
        return
    with Cluster(address) as cluster, closing(RayEngine(cluster)) as ours:
        yield ours
