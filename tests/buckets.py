"""Object storage on loopback with the API of S3, and a gate before it that can make it fail."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

import fsspec
import pytest
from ulid import ULID

SECRET = "a-secret-that-nobody-may-read"
_DENIED_XML = "<Error><Code>{code}</Code><Message>{code}</Message></Error>"

Fault = Callable[["Request"], None]


@cache
def server() -> str:
    """Return the URL of a server, started at the first call; it ends with Python."""
    from moto.server import ThreadedMotoServer

    started = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    return f"http://{host}:{port}"


def environment(endpoint: str = "") -> dict[str, str]:
    """Return what tells a client of S3 where the server is and who asks."""
    return {
        "AWS_ENDPOINT_URL": endpoint or server(),
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }


def client() -> Any:
    """Return a client of the server that knows it without any environment."""
    import boto3  # type: ignore[import-untyped]

    known = {"aws_access_key_id": "somebody", "aws_secret_access_key": SECRET}
    return boto3.client("s3", endpoint_url=server(), region_name="us-east-1", **known)


def new_bucket(name: str = "") -> str:
    """Make a bucket, and return its name."""
    name = name or f"bucket-{ULID()}".lower()
    client().create_bucket(Bucket=name)
    return name


def contents(bucket: str) -> dict[str, bytes]:
    """Return everything in a bucket, by its key."""
    there = client()
    listed = there.list_objects_v2(Bucket=bucket).get("Contents", ())
    return {
        one["Key"]: there.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed
    }


@contextmanager
def environs(endpoint: str = "") -> Iterator[None]:
    """Let the clients of this process know the server."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(endpoint).items():
            patch.setenv(name, value)
        clients = fsspec.get_filesystem_class("s3")
        clients.clear_instance_cache()  # one that was made for another address is still there
        yield
        clients.clear_instance_cache()


class Request(BaseHTTPRequestHandler):
    """One connection to the gate."""

    protocol_version = "HTTP/1.1"
    gate: Gate

    def do_DELETE(self) -> None:
        self.gate.answer(self)

    def do_GET(self) -> None:
        self.gate.answer(self)

    def do_HEAD(self) -> None:
        self.gate.answer(self)

    def do_POST(self) -> None:
        self.gate.answer(self)

    def do_PUT(self) -> None:
        self.gate.answer(self)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Gate:
    """Passes requests on to the server, but for those with a fault. Use it in a `with` block."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self._faults: list[tuple[str, int, Fault]] = []
        handler = type("GateRequest", (Request,), {"gate": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
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

    def fail(self, fault: Fault, method: str = "", *, times: int = 1000) -> None:
        """Let the next requests go wrong: all, or those of a method but for listings."""
        self._faults = [(method, times, fault)]

    def heal(self) -> None:
        """Let everything pass again."""
        self._faults = []

    def answer(self, request: Request) -> None:
        self.methods.append(request.command)
        listing = "list-type=" in request.path
        for method, times, fault in self._faults:
            fits = not method or (method == request.command and not listing)
            if fits and times > 0:
                self._faults = [(method, times - 1, fault)]
                fault(request)
                return
        self.pass_on(request)

    def pass_on(self, request: Request, *, most: int | None = None) -> None:
        """Answer as the server does, or only with the first bytes of what it answers."""
        length = int(request.headers.get("content-length") or 0)
        body = request.rfile.read(length)
        there = http.client.HTTPConnection(urlsplit(server()).netloc)
        headers = {name: value for name, value in request.headers.items() if name != "Expect"}
        there.request(request.command, request.path, body, headers)
        answer = there.getresponse()
        data = answer.read()
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "connection", "date", "server"):
                request.send_header(name, value)
        size = answer.getheader("content-length") or "0" if request.command == "HEAD" else len(data)
        request.send_header("content-length", str(size))
        request.end_headers()
        request.wfile.write(data[:most])
        there.close()
        if most is not None:
            request.close_connection = True


def refusal(status: int, code: str) -> Fault:
    """Return what answers with an error of S3."""

    def fault(request: Request) -> None:
        request.rfile.read(int(request.headers.get("content-length") or 0))
        said = b"" if request.command == "HEAD" else _DENIED_XML.format(code=code).encode()
        request.send_response(status)
        request.send_header("content-type", "application/xml")
        request.send_header("content-length", str(len(said)))
        request.end_headers()
        request.wfile.write(said)

    return fault


def cut_off(request: Request) -> None:
    """Take half of what comes, and close the connection."""
    request.rfile.read(int(request.headers.get("content-length") or 0) // 2)
    request.close_connection = True


def half_an_answer(request: Request) -> None:
    """Answer with the first bytes, and close the connection."""
    type(request).gate.pass_on(request, most=100)


def silence(request: Request) -> None:
    """Take what comes, and answer too late."""
    request.rfile.read(int(request.headers.get("content-length") or 0))
    time.sleep(1.5)
    request.close_connection = True
