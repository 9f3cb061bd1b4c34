"""A connection to a server: sends requests, repeats unanswered ones, raises the library's errors.

Each request has its own `Idempotency-Key`, which repetitions keep: after a lost answer or a restart
of the server, nothing is executed twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlsplit

import httpx2
from pydantic import TypeAdapter, ValidationError
from ulid import ULID

from lookalike import errors
from lookalike.content import open_sources
from lookalike.errors import BadInput, BadSetting, LookalikeError, NotFound, Unreachable
from lookalike.model import Blob

_AGAIN = frozenset({429, 502, 503, 504})
_ANSWER_S = 600.0
_CONNECT_S = 10.0
_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0

T = TypeVar("T")


class Connection:
    """A server at `url`; an unanswered request is repeated for `patience_s` seconds.

    Raises BadSetting for an invalid address, key or namespace.
    """

    def __init__(self, url: str, key: str | None, namespace: str, patience_s: float) -> None:
        self.url = _address(url)
        if not f"{key or ''}{namespace}".isascii():
            raise BadSetting("key and namespace must consist of letters, digits, '_' and '-'")
        headers = {"content-type": "application/json"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        if namespace != "default":
            headers["x-namespace"] = namespace
        timeout = httpx2.Timeout(_ANSWER_S, connect=_CONNECT_S)
        tls = self.url.startswith("https://")  # for http, do not read certificates (saves 40 ms)
        self._client = httpx2.Client(
            base_url=self.url, headers=headers, timeout=timeout, verify=tls
        )
        self._patience_s = patience_s
        open_sources.register(self)

    def close(self) -> None:
        """Close the connection."""
        open_sources.unregister(self)
        self._client.close()

    def greet(self) -> None:
        """Check, without repetition, that a server answers and accepts the key.

        Raises Unreachable, Unauthorized or Forbidden.
        """
        answer, _ = self._answer("POST", "/v1/verbs/collections", b"{}", "", patience_s=0.0)
        try:
            _read(list[str], answer)
        except NotFound as error:
            raise Unreachable(
                f"{self.url} answers, but not like a server of this version: {error}; check the "
                "address, and the version of the server"
            ) from error

    def ask(
        self,
        path: str,
        reply: type[T],
        body: Mapping[str, Any],
        *,
        once_gone: Callable[[], T | None] | None = None,
    ) -> T:
        """Return the answer to a POST of JSON. Raises the library's errors, or Unreachable.

        If a repeated request finds a resource missing, its lost answer may have removed it: then
        `once_gone` returns the answer, or None if the error stands.
        """
        key = "" if body.get("op_id") else f"op_{ULID()}"
        answer, tries = self._answer("POST", path, _json(body), key)
        try:
            return _read(reply, answer)
        except NotFound:
            gone = once_gone() if once_gone is not None and tries > 1 else None
            if gone is None:
                raise
            return gone

    def get(self, path: str) -> httpx2.Response:
        """Return the answer to a GET. Raises the library's errors, or Unreachable."""
        answer, _ = self._answer("GET", path, b"", "")
        if not answer.is_success:
            raise _error(answer)
        return answer

    def thumbnail(self, blob: Blob, view: str = "") -> bytes:
        """Return the thumbnail of a view of a blob, JPEG, from the server that named its URL."""
        path, query = _blob_path(blob)
        return self.get(f"{path}/thumbnail?{query}&view={quote(view)}").content

    def text(self, blob: Blob) -> str:
        """Return the text of a blob, from the server that named its URL."""
        path, query = _blob_path(blob)
        return self.get(f"{path}?{query}").content.decode("utf-8", "replace")

    def content_of(self, _document_id: str) -> tuple[Blob, str] | None:
        """Return None: a server names blobs with their documents only."""
        return None

    def send(self, path: str, data: bytes) -> None:
        """Send a file to an address that the server gave for it."""
        answer, _ = self._answer("PUT", path, data, "")
        _read(dict[str, Any], answer)

    def _answer(
        self, method: str, path: str, data: bytes, key: str, *, patience_s: float | None = None
    ) -> tuple[httpx2.Response, int]:
        """Return the answer to a request, and the number of tries."""
        headers = {"idempotency-key": key} if key else {}
        pauses = self._pauses(self._patience_s if patience_s is None else patience_s)
        tries = 0
        while True:
            tries += 1
            wanted = 0.0
            try:
                answer = self._client.request(method, path, content=data, headers=headers)
                if answer.status_code not in _AGAIN:
                    return answer, tries
                wanted = _seconds(answer.headers.get("retry-after", ""))
                pause = next(pauses, None)
                if pause is None:
                    return answer, tries
            except httpx2.TransportError as error:
                pause = next(pauses, None)
                if pause is None:
                    raise self._unreachable(error) from error
            time.sleep(max(pause, wanted))

    def _pauses(self, patience_s: float) -> Iterator[float]:
        """Yield the pause in seconds before each further try, for up to `patience_s` seconds."""
        end = time.monotonic() + patience_s if patience_s else None
        pause = _PAUSE_S
        while end is not None and time.monotonic() < end:
            yield pause
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _unreachable(self, error: Exception) -> Unreachable:
        reason = str(error) or type(error).__name__
        return Unreachable(
            f"no answer from {self.url}: {reason}; check the address, and that `lookalike serve` "
            "runs there"
        )


def place(*parts: str) -> str:
    """Return the path of a verb, with quoted parts."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _address(url: str) -> str:
    address = url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise BadSetting(f"{url!r} is not the address of a server; write http://127.0.0.1:8710")
    return address


def _json(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, ensure_ascii=False, default=_plain).encode()
    except (TypeError, ValueError) as error:
        raise BadInput(f"this cannot be sent as JSON: {error}; use plain values") from error


def _plain(value: Any) -> Any:
    """Return the JSON form of a mapping, NumPy value or iterable that `json` does not know."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdecimal() else 0.0


def _read(reply: type[T], answer: httpx2.Response) -> T:
    """Return the value of an answer. Raises the error that it reports."""
    if not answer.is_success:
        raise _error(answer)
    try:
        value: T = _adapter(cast("Any", reply)).validate_json(answer.content)
    except ValidationError as error:
        raise Unreachable(
            f"this version does not understand the answer of {answer.request.url.host} "
            f"({error.error_count()} differences); install the version of the server"
        ) from error
    return value


def _blob_path(blob: Blob) -> tuple[str, str]:
    """Return the path and query of a blob on a server. Raises NotFound for another address."""
    url = urlsplit(blob.uri)
    if not url.path.startswith("/v1/blobs/"):
        raise NotFound(f"{blob.uri[:80]!r} is not on a server")
    return url.path, url.query


@cache
def _adapter(reply: Any) -> TypeAdapter[Any]:
    return TypeAdapter(reply)


def _error(answer: httpx2.Response) -> LookalikeError:
    try:
        report = answer.json()["error"]
        code, message = str(report["code"]), str(report["message"])
    except (ValueError, KeyError, TypeError):
        shown = answer.text[:200].strip() or "nothing"
        return Unreachable(
            f"{answer.request.url.host} answers {answer.status_code}, but not like a Lookalike "
            f"server: {shown}; check the address"
        )
    error_class, details = _error_classes().get(code, LookalikeError), report.get("details")
    if issubclass(error_class, errors.Stale):
        return error_class(message, details)
    return error_class(message)


@cache
def _error_classes() -> Mapping[str, type[LookalikeError]]:
    """Return the error classes by the code that a server sends; only those with their own code."""
    classes = [one for one in vars(errors).values() if isinstance(one, type)]
    ours = [one for one in classes if issubclass(one, LookalikeError)]
    by_code = {one.code: one for one in ours if "code" in vars(one)}
    refused = dict.fromkeys(("bad_request", "malformed", "too_large"), BadInput)
    return {**refused, **by_code}
