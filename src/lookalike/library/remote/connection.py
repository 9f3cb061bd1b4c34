"""A connection to a server: asks for a verb, asks again when no answer came, and raises our errors.

Every request has an `Idempotency-Key` of its own, the same when it is sent again: an answer that
was lost, or a server that was started again in between, makes nothing happen twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar, cast
from urllib.parse import quote

import httpx2
from pydantic import TypeAdapter, ValidationError
from ulid import ULID

from lookalike import errors
from lookalike.errors import BadInput, BadSetting, LookalikeError, NotFound, Unreachable

_AGAIN = frozenset({429, 502, 503, 504})
_ANSWER_S = 600.0
_CONNECT_S = 10.0
_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0

T = TypeVar("T")


class Connection:
    """A server at `url`; `patience_s` says how long to ask again what it does not answer.

    Raises BadSetting for what cannot be the address of a server, a key or a namespace.
    """

    def __init__(self, url: str, key: str | None, namespace: str, patience_s: float) -> None:
        self.url = _address(url)
        if not f"{key or ''}{namespace}".isascii():
            raise BadSetting("a key and a namespace are of letters, digits, '_' and '-'")
        headers = {"content-type": "application/json"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        if namespace != "default":
            headers["x-namespace"] = namespace
        timeout = httpx2.Timeout(_ANSWER_S, connect=_CONNECT_S)
        tls = self.url.startswith("https://")  # without it no certificates are read, for 40 ms
        self._client = httpx2.Client(
            base_url=self.url, headers=headers, timeout=timeout, verify=tls
        )
        self._patience_s = patience_s

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def greet(self) -> None:
        """Find out at once whether a server is there that lets us in.

        Raises Unreachable, Unauthorized or Forbidden.
        """
        answer, _ = self._answer("POST", "/v1/verbs/collections", b"{}", "", patience_s=0.0)
        try:
            _read(list[str], answer)
        except NotFound as error:
            raise Unreachable(
                f"{self.url} answers, and not as a server of this version: {error}; check the "
                "address, and which version serves there"
            ) from error

    def ask(
        self,
        path: str,
        reply: type[T],
        body: Mapping[str, Any],
        *,
        once_gone: Callable[[], T | None] | None = None,
    ) -> T:
        """Return the answer to a POST of JSON. Raises what the library would raise, or Unreachable.

        What a lost answer may have removed, and is not found when asked for again, `once_gone`
        gives; it returns None where that explains nothing.
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
        """Return the answer to a GET. Raises what the library would raise, or Unreachable."""
        answer, _ = self._answer("GET", path, b"", "")
        if not answer.is_success:
            raise _error(answer)
        return answer

    def send(self, path: str, data: bytes) -> None:
        """Send a file to an address that the server gave for it."""
        answer, _ = self._answer("PUT", path, data, "")
        _read(dict[str, Any], answer)

    def _answer(
        self, method: str, path: str, data: bytes, key: str, *, patience_s: float | None = None
    ) -> tuple[httpx2.Response, int]:
        """Return the answer to a request, and how often it was sent."""
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
        """Yield how long to wait before each further try, while patience lasts."""
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
    """Return the path of a verb, whatever signs the parts have."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _address(url: str) -> str:
    address = url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise BadSetting(f"{url!r} is no address of a server; write http://127.0.0.1:8710")
    return address


def _json(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, ensure_ascii=False, default=_plain).encode()
    except (TypeError, ValueError) as error:
        raise BadInput(f"this cannot be sent as JSON: {error}; use plain values") from error


def _plain(value: Any) -> Any:
    """Return what JSON has for another mapping, a number of NumPy, or what can be iterated."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    raise TypeError(f"a {type(value).__name__} is no JSON")


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdecimal() else 0.0


def _read(reply: type[T], answer: httpx2.Response) -> T:
    """Return what an answer holds. Raises the error that it tells of."""
    if not answer.is_success:
        raise _error(answer)
    try:
        found: T = _adapter(cast("Any", reply)).validate_json(answer.content)
    except ValidationError as error:
        raise Unreachable(
            f"{answer.request.url.host} answers what this version does not understand "
            f"({error.error_count()} differences); install the version that serves there"
        ) from error
    return found


@cache
def _adapter(reply: Any) -> TypeAdapter[Any]:
    return TypeAdapter(reply)


def _error(answer: httpx2.Response) -> LookalikeError:
    try:
        told = answer.json()["error"]
        code, message = str(told["code"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        shown = answer.text[:200].strip() or "nothing"
        return Unreachable(
            f"{answer.request.url.host} answers {answer.status_code} as no server of ours does: "
            f"{shown}; check the address"
        )
    kind, details = _kinds().get(code, LookalikeError), told.get("details")
    return kind(message, details) if issubclass(kind, errors.Stale) else kind(message)


@cache
def _kinds() -> Mapping[str, type[LookalikeError]]:
    """Return the errors by the code that a server tells; a class counts, not those below it."""
    classes = [one for one in vars(errors).values() if isinstance(one, type)]
    ours = [one for one in classes if issubclass(one, LookalikeError)]
    told = {one.code: one for one in ours if "code" in vars(one)}
    refused = dict.fromkeys(("bad_request", "malformed", "too_large"), BadInput)
    return {**refused, **told}
