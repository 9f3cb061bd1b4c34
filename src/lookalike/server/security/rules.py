"""How much one caller may send: bytes in a body, requests in a second."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import Message, Receive

from lookalike.server.security.refusal import Refusal

_CALLERS = 10_000


class RateLimit:
    """A bucket of tokens for each caller: one a request, `rate_per_s` flow in, up to `burst`.

    The callers seen last are remembered; who is forgotten begins with a full bucket.
    """

    def __init__(self, rate_per_s: float, timer: Callable[[], float]) -> None:
        self._rate_per_s = rate_per_s
        self._burst = max(1.0, 2 * rate_per_s)
        self._timer = timer
        self._buckets: OrderedDict[str, tuple[float, float, bool]] = OrderedDict()

    def take(self, who: str) -> None:
        """Take a token. Raises a Refusal that says how long to wait where there is none."""
        if not self._rate_per_s:
            return
        now = self._timer()
        tokens, since, was_refused = self._buckets.pop(who, (self._burst, now, False))
        tokens = min(self._burst, tokens + (now - since) * self._rate_per_s)
        has_one = tokens >= 1
        self._buckets[who] = (tokens - has_one, now, not has_one)
        if len(self._buckets) > _CALLERS:
            self._buckets.popitem(last=False)
        if not has_one:
            wait_s = (1 - tokens) / self._rate_per_s
            raise _too_many(self._rate_per_s, wait_s, is_noted=not was_refused)


class CountedBody:
    """The body of a request, counted as it comes; past `most_bytes` the sender is cut off.

    To the application it then looks as if the client had gone away in the middle.
    """

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._seen_bytes = 0

    @property
    def is_too_large(self) -> bool:
        """Tell whether more has come than may."""
        return self._seen_bytes > self._most_bytes

    async def receive(self) -> Message:
        """Return the next part, as an ASGI message."""
        if self.is_too_large:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._seen_bytes += len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.is_too_large else message

    def check_declared(self, content_length: str | None) -> None:
        """Raise a Refusal when the client says that more will come than may."""
        declared = content_length or ""
        if declared.isdecimal() and int(declared) > self._most_bytes:
            raise self.refusal()

    def refusal(self) -> Refusal:
        """Return the refusal of a body that is too large."""
        return Refusal(
            413,
            "too_large",
            f"the body is larger than {self._most_bytes} bytes; send it in parts",
            details={"most_bytes": self._most_bytes},
        )


def _too_many(rate_per_s: float, wait_s: float, *, is_noted: bool) -> Refusal:
    return Refusal(
        429,
        "rate_limited",
        f"more than {rate_per_s:g} requests a second; wait {wait_s:.3f} s, or set "
        "LOOKALIKE_RATE_PER_S",
        details={"retryable": True, "retry_after_seconds": round(wait_s, 3)},
        headers={"retry-after": str(max(1, math.ceil(wait_s)))},
        is_noted=is_noted,
    )
