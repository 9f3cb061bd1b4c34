"""Run the server: listen, print the address, and shut down gracefully on a signal."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from lookalike.catalog.api_keys import Access, check_bind
from lookalike.errors import BadSetting
from lookalike.library.health import Ending, end_after, end_at_once
from lookalike.library.library import Library
from lookalike.server.app import make_app

_BACKLOG = 2048
_CLEANUP_S = 2
"""Time for what ends after the requests and the worker, which is quick."""


def run_server(
    library: Library,
    *,
    host: str,
    port: int,
    works: bool,
    say: Callable[[str], None],
    show: Callable[[str], object] | None = None,
) -> None:
    """Serve until a signal arrives. Raises BadSetting for an address that cannot be bound.

    Any address but loopback needs a key. `show` gets the URL once the server listens.
    """
    runtime = library.runtime
    access = Access(runtime.store, runtime.settings, runtime.clock)
    check_bind(host, runtime.settings, has_keys=access.has_keys())
    listener = _listen(host, port)
    ending = Ending(at_once=end_at_once)
    app = make_app(
        runtime,
        host=host,
        works=works,
        is_leaving=lambda: ending.has_begun,
        is_ending=lambda: server.should_exit,
    )
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=runtime.settings.grace_s,
        lifespan="on",
    )
    server = _Server(config, ending, drain_s=runtime.settings.drain_s)
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listener.getsockname()[1]}"
    say(f"Lookalike serves {library.place} at {address}")
    if show is not None:
        threading.Thread(target=show, args=(address,), daemon=True).start()
    _tune_garbage_collector()
    with listener:
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that shuts down gracefully at the first signal (exit code 0), at once at the second.

    It first keeps serving for `drain_s` while its readiness check fails. Then it stops listening,
    ends event streams, and waits for requests and the worker, at most `grace_s` each.
    """

    def __init__(self, config: uvicorn.Config, ending: Ending, *, drain_s: int) -> None:
        super().__init__(config)
        self._ending = ending
        self._drain_s = drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._ending.on_signal(sig, frame)
        grace_s = self.config.timeout_graceful_shutdown or 0
        end_after(self._drain_s + 2 * grace_s + _CLEANUP_S)

    async def on_tick(self, counter: int) -> bool:
        if self._ending.lasts(self._drain_s):
            self.should_exit = True
        return await super().on_tick(counter)


def _tune_garbage_collector() -> None:
    """Search for reference cycles less often, and never among the objects that exist now.

    A request for thousands of items creates hundreds of thousands of Python objects, hardly any
    in a cycle: the search took up to a third of the request's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol given, asyncio recognises TCP and sets TCP_NODELAY.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise BadSetting(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --host or --port"
        ) from error
    return listener
