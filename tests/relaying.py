"""A relay on loopback between a client and a server, which can lose an answer on the way back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import httpx2

import patient

_PASSED = ("authorization", "content-type", "idempotency-key", "x-namespace")


class Relay:
    """Passes requests on to `target`. Use it in a `with` block."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.paths: list[str] = []
        self._losing: tuple[str, Callable[[], None]] | None = None
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                relay.pass_on(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def lose(self, verb: str, then: Callable[[], None]) -> None:
        """Lose the next answer to a verb, once the server has given it, and do something then."""
        self._losing = (verb, then)

    def pass_on(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request as the server does, or close the connection without a word."""
        self.paths.append(request.path)
        data = request.rfile.read(int(request.headers["content-length"]))
        headers = {name: request.headers[name] for name in _PASSED if name in request.headers}
        try:
            answer = patient.post(self.target + request.path, content=data, headers=headers)
        except httpx2.TransportError:
            request.close_connection = True
            return
        if self._losing is not None and request.path.partition("?")[0].endswith(self._losing[0]):
            _, then = self._losing
            self._losing = None
            then()
            request.close_connection = True
            return
        request.send_response(answer.status_code)
        for name in ("content-type", "retry-after"):
            if name in answer.headers:
                request.send_header(name, answer.headers[name])
        request.send_header("content-length", str(len(answer.content)))
        request.end_headers()
        request.wfile.write(answer.content)
