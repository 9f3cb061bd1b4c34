"""Running the server: it listens, says where, and ends in order when it is told to."""

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
_LAST_S = 2
"""What ends after the requests and the worker takes no time to speak of."""


def run_server(
    library: Library,
    *,
    host: str,
    port: int,
    works: bool,
    say: Callable[[str], None],
    show: Callable[[str], object] | None = None,
) -> None:
    """Serve until a signal ends it. Raises BadSetting for an address that cannot be listened on.

    Any address but loopback needs a key. `show` gets the address once it is listened on.
    """
    runtime = library.runtime
    access = Access(runtime.store, runtime.settings, runtime.clock)
    check_bind(host, runtime.settings, has_keys=access.has_keys())
    listener = _listening(host, port)
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
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}"
    say(f"Lookalike serves {library.place} at {address}")
    if show is not None:
        threading.Thread(target=show, args=(address,), daemon=True).start()
    _set_what_is_here_aside()
    with listener:
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that ends in order, with exit code 0, when it is told to, and at once the next time.

    First it goes on for `drain_s` while its readiness says that it leaves; then it listens no more,
    lets streams end, and waits for requests and for the worker, for no longer than the setting.
    """

    def __init__(self, config: uvicorn.Config, ending: Ending, *, drain_s: int) -> None:
        super().__init__(config)
        self._ending = ending
        self._drain_s = drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._ending.on_signal(sig, frame)
        grace_s = self.config.timeout_graceful_shutdown or 0
        end_after(self._drain_s + 2 * grace_s + _LAST_S)

    async def on_tick(self, counter: int) -> bool:
        if self._ending.lasts(self._drain_s):
            self.should_exit = True
        return await super().on_tick(counter)


def _set_what_is_here_aside() -> None:
    """Let Python look for reference cycles less often, and never among what lasts till the end.

    A request for thousands of objects makes hundreds of thousands, hardly any in a cycle: looking
    took up to a third of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, so that asyncio knows it and sends what is ready without delay.
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
