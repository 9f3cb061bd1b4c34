"""A connection to a Ray cluster, and jobs of Ray Data on it.

Ray's output is reduced: no usage statistics, no progress bars, no logs of other processes. An
existing connection of this process is used and kept open.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import socket
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from lookalike import __version__
from lookalike.errors import BadSetting, Conflict, MissingExtra, Unreachable
from lookalike.ingest.ray.node import about

_ANSWER_S = 5.0
_FREE_S = 120.0
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.-]+):(?P<port>\d{1,5})")
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "CRITICAL",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else Ray prints a deprecation warning
}
_HTTP_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
_SETTINGS = 4
"""RFC 9113: the connection preface of a client, and the frame type of the server's answer."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a job: `work` is a class; each actor creates an instance with `arguments`.

    An actor has up to `ahead` blocks at once. If `work` is a function, that number of processes
    runs it. `remote` holds Ray options of the actors or tasks.
    """

    work: Any
    arguments: tuple[Any, ...] = ()
    actors: tuple[int, int] | None = None
    ahead: int = 2
    remote: Mapping[str, Any] | None = None


class Cluster:
    """A Ray cluster. As a context manager: connected inside.

    `address` is HOST:PORT, "auto" for the cluster of this machine, "local" for a new one in this
    process, or None for what `ray.init` finds.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._is_ours = False

    def __enter__(self) -> Self:
        ray = _ray()
        if not ray.is_initialized():
            _check_address(self._address)
            _connect(ray, self._address)
            self._is_ours = True
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_ours:
            _ray().shutdown()
            self._is_ours = False

    @property
    def cpus(self) -> int:
        """Return the total number of CPUs of the nodes, at least 1."""
        return max(1, int(_ray().cluster_resources().get("CPU", 1)))

    @property
    def gpus(self) -> int:
        """Return the total number of GPUs of the nodes."""
        return int(_ray().cluster_resources().get("GPU", 0))

    def put(self, value: Any) -> Any:
        """Put a value into Ray's object store once, and return its reference."""
        return _ray().put(value)

    def check_nodes(self, extractor: tuple[str, Mapping[str, Any]] | None = None) -> bool:
        """Check that nodes can run our code; return whether they have a free GPU for the extractor.

        Raises Unreachable if they have another version of Lookalike or none, Conflict if no
        resources are free.
        """
        found = self._ask({"num_cpus": 1}, None)
        if found["version"] != __version__:
            raise Unreachable(
                f"the nodes of the cluster have Lookalike {found['version']}, this is "
                f"{__version__}: install the same on all, pip install 'lookalike=={__version__}'"
            )
        if extractor is None or not self.gpus:
            return False
        try:
            return bool(self._ask({"num_cpus": 1, "num_gpus": 1}, extractor)["gpu"])
        except Conflict:  # other jobs use all GPUs
            return False

    def rows(
        self, rows: Sequence[Mapping[str, Any]], stages: Sequence[Stage], *, blocks: int
    ) -> Iterator[dict[str, Any]]:
        """Run a job of Ray Data over rows, in `blocks` blocks, and yield the resulting rows.

        They come in the order in which they finish; the work done ahead is limited to Ray's memory.
        A block whose process dies is left out. Closing the iterator ends the job.
        """
        try:
            yield from self._rows(rows, stages, blocks)
        finally:
            gc.collect()  # reference cycles keep a dead actor alive, which keeps its GPU

    def _rows(
        self, rows: Sequence[Mapping[str, Any]], stages: Sequence[Stage], blocks: int
    ) -> Iterator[dict[str, Any]]:
        import ray.data

        with _quiet_context():
            data = ray.data.from_items(list(rows), override_num_blocks=min(blocks, len(rows)))
            with warnings.catch_warnings():
                # Ray 2.64 changes how retries of actors are set; the extra requires an earlier
                # version.
                warnings.filterwarnings("ignore", message="`ray_remote_args`")
                for stage in stages:
                    data = _with_stage(data, stage)
            batches = data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
            for batch in batches:
                yield from batch.to_pylist()

    @property
    def this_node(self) -> Mapping[str, Any]:
        """Return Ray options that place tasks on this machine."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        node = _ray().get_runtime_context().get_node_id()
        return {
            "num_cpus": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
        }

    def _ask(
        self, needs: Mapping[str, float], extractor: tuple[str, Mapping[str, Any]] | None
    ) -> Mapping[str, Any]:
        ray = _ray()
        reference = ray.remote(about).options(**needs).remote(extractor)
        ready, _ = ray.wait([reference], timeout=_FREE_S)
        if not ready:
            ray.cancel(reference, force=True)
            raise Conflict(
                f"the cluster did not have {_described(needs)} free for {_FREE_S:.0f} s (it has "
                f"{_described(ray.cluster_resources())}, free are "
                f"{_described(ray.available_resources())}): "
                "wait for other jobs to end, or add nodes"
            )
        try:
            found: Mapping[str, Any] = ray.get(reference)
        except ray.exceptions.RayError as error:
            raise Unreachable(
                f"the nodes of the cluster cannot run Lookalike: {_last_line(error)}; install it "
                f"on all of them, pip install 'lookalike[ray]=={__version__}'"
            ) from error
        return found


def _ray() -> Any:
    """Return the package. Raises MissingExtra."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import pandas as pandas
        import pyarrow as pyarrow
        import ray
    except ImportError as error:
        raise MissingExtra.named("the engine 'ray'", "ray") from error
    return ray


def _check_address(address: str | None) -> None:
    """Raise BadSetting for an invalid address, Unreachable if no cluster answers.

    Without this check Ray would end the whole process after a minute or more.
    """
    if address is None or address in ("auto", "local"):
        return
    if address.startswith("ray://"):
        raise BadSetting(
            f"{address!r} is for Ray's client, which Ray Data does not support; run this on a "
            "machine of the cluster, or as a job of it, with --address auto"
        )
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        raise BadSetting(
            f"{address!r} is not the address of a Ray cluster; give HOST:PORT, as 10.0.0.5:6379, "
            "'auto' for the one that this machine belongs to, or 'local' for a new one"
        )
    host, port = parts["host"].strip("[]"), int(parts["port"])
    try:
        with socket.create_connection((host, port), timeout=_ANSWER_S) as connection:
            connection.sendall(_HTTP_2)
            answer = connection.recv(9, socket.MSG_WAITALL)
    except (OSError, OverflowError) as error:
        raise Unreachable(
            f"no Ray cluster answers at {address}: {error}; `ray status` on its head shows the "
            "address, `ray start --head --port=6379` starts one"
        ) from error
    if len(answer) < 9 or answer[3] != _SETTINGS:
        raise Unreachable(
            f"the server at {address} is not the head of a Ray cluster; give the head's port "
            "(default 6379), not that of the dashboard (8265) or client (10001)"
        )


def _connect(ray: Any, address: str | None) -> None:
    try:
        ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR, namespace="lookalike"
        )
    except ConnectionError as error:
        raise Unreachable(
            f"there is no Ray cluster at {address or 'RAY_ADDRESS'!r}: {error}; give the address "
            "of one, `ray start --head` to start it, or 'local' for one in this process"
        ) from error
    except RuntimeError as error:
        raise Unreachable(
            f"the Ray cluster refuses the connection: {error}; use its versions of Ray and Python"
        ) from error
    except ValueError as error:
        raise BadSetting(f"Ray cannot use the address {address!r}: {error}") from error


@contextmanager
def _quiet_context() -> Iterator[None]:
    """Turn off Ray Data's progress bars, and let a failing block not end the job."""
    from ray.data import DataContext

    context = DataContext.get_current()
    before = (context.enable_progress_bars, context.max_errored_blocks)
    context.enable_progress_bars, context.max_errored_blocks = False, -1
    try:
        yield
    finally:
        context.enable_progress_bars, context.max_errored_blocks = before


def _with_stage(data: Any, stage: Stage) -> Any:
    from ray.data import ActorPoolStrategy, TaskPoolStrategy

    options = {"batch_size": 1, "batch_format": "pyarrow", **(stage.remote or {})}
    step = partial(data.map_batches, stage.work, **options)
    if stage.actors is None:
        return step(fn_args=stage.arguments, compute=TaskPoolStrategy(size=stage.ahead))
    least, most = stage.actors
    pool = ActorPoolStrategy(
        min_size=least, max_size=most, max_tasks_in_flight_per_actor=stage.ahead
    )
    return step(fn_constructor_args=stage.arguments, compute=pool)


def _described(resources: Mapping[str, float]) -> str:
    names = {"CPU": "CPU", "GPU": "GPU", "num_cpus": "CPU", "num_gpus": "GPU"}
    parts = [f"{resources[key]:g} {name}" for key, name in names.items() if key in resources]
    return " and ".join(parts) or "nothing"


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
