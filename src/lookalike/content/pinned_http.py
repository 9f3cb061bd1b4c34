"""One HTTP GET or POST over a connection to given, checked IP addresses only.

The host name in the URL is used for the Host header and the certificate; it is not resolved again.
From the environment comes only the path of the certificates: no proxy, no cookie, no password.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

import httpcore2
import httpx2


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A server's response: status, headers by lower-case name, and the body, read as it arrives."""

    status: int
    headers: dict[str, str]
    body: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts in seconds, for a connection and for each read; and the `deadline` for everything, a
    time of the monotonic clock.
    """

    connect_s: float
    read_s: float
    deadline: float

    def for_step(self, max_s: float | None) -> float:
        """Return the timeout of the next step, at most `max_s`. Raises TimeoutError after the
        deadline.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time is up")
        return left if max_s is None else min(left, max_s)


def default_tls() -> ssl.SSLContext:
    """Return the context that verifies certificates: the system's, or that of SSL_CERT_FILE."""
    return httpcore2.default_ssl_context()


@contextmanager
def get(
    url: httpx2.URL, addresses: Sequence[str], tls: ssl.SSLContext, timeouts: Timeouts
) -> Iterator[HttpAnswer]:
    """Request `url`, http or https, from the first of `addresses` that accepts a connection.

    It follows no redirects and decompresses nothing. Raises ConnectionError with the reason if the
    request fails, TimeoutError if it takes too long, both also while the body is read.
    """
    headers = [(b"Accept", b"*/*"), (b"Accept-Encoding", b"identity")]
    with _exchange("GET", url, addresses, tls, timeouts, headers, b"") as answer:
        yield answer


@contextmanager
def post(
    url: httpx2.URL,
    addresses: Sequence[str],
    tls: ssl.SSLContext,
    timeouts: Timeouts,
    headers: Mapping[str, str],
    body: bytes,
) -> Iterator[HttpAnswer]:
    """Post `body` to `url` with `headers`, over the same kind of connection as `get`."""
    encoded = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    encoded.append((b"Content-Length", str(len(body)).encode("ascii")))
    with _exchange("POST", url, addresses, tls, timeouts, encoded, body) as answer:
        yield answer


@contextmanager
def _exchange(
    method: str,
    url: httpx2.URL,
    addresses: Sequence[str],
    tls: ssl.SSLContext,
    timeouts: Timeouts,
    own_headers: Sequence[tuple[bytes, bytes]],
    body: bytes,
) -> Iterator[HttpAnswer]:
    target = httpcore2.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )
    headers = [
        (b"Host", url.netloc),
        *own_headers,
        (b"User-Agent", b"lookalike"),
        (b"Connection", b"close"),
    ]
    limits = {"connect": timeouts.connect_s, "read": timeouts.read_s, "write": timeouts.read_s}
    backend = _PinnedBackend(addresses, timeouts)
    with (
        _translated(),
        httpcore2.HTTPConnection(target.origin, tls, network_backend=backend) as connection,
        connection.stream(
            method, target, headers=headers, content=body or None, extensions={"timeout": limits}
        ) as reply,
    ):
        reply_headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reply.headers
        }
        yield HttpAnswer(reply.status, reply_headers, reply.iter_stream())


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpcore2.TimeoutException as error:
        raise TimeoutError("the time is up") from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        raise ConnectionError(str(error) or type(error).__name__) from error


class _PinnedBackend(httpcore2.NetworkBackend):
    """Connects to the given addresses and ignores the requested host."""

    def __init__(self, addresses: Sequence[str], timeouts: Timeouts) -> None:
        self._addresses = addresses
        self._timeouts = timeouts
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 the addresses are given
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 part of the interface
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002 the same
    ) -> httpcore2.NetworkStream:
        *others, last = self._addresses
        for address in others:
            try:
                return self._connect(address, port, timeout)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return self._connect(last, port, timeout)

    def _connect(self, address: str, port: int, timeout: float | None) -> httpcore2.NetworkStream:
        stream = self._inner.connect_tcp(address, port, self._timeouts.for_step(timeout))
        return _Stream(stream, self._timeouts)


class _Stream(httpcore2.NetworkStream):
    """A stream whose every step ends before the deadline."""

    def __init__(self, inner: httpcore2.NetworkStream, timeouts: Timeouts) -> None:
        self._inner = inner
        self._timeouts = timeouts

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._timeouts.for_step(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._timeouts.for_step(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        left = self._timeouts.for_step(timeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left), self._timeouts)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


# --- public addresses (RFC 6890) -----------------------------------------------------------------

# In IPv6 only global unicast, 2000::/3, is public, except for the blocks that the registry
# reserves. An address that embeds an IPv4 address, for tunnels and translators, counts as that one.

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_SPECIAL: tuple[tuple[str, Sequence[str]], ...] = (
    ("unspecified", ["0.0.0.0/8", "::/128"]),
    ("loopback", ["127.0.0.0/8", "::1/128"]),
    ("link-local", ["169.254.0.0/16", "fe80::/10"]),
    (
        "private",
        [
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "64:ff9b:1::/48",
            "fc00::/7",
            "fec0::/10",
        ],
    ),
    ("carrier-shared", ["100.64.0.0/10"]),
    ("multicast", ["224.0.0.0/4", "ff00::/8"]),
    (
        "reserved",
        [
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "240.0.0.0/4",
            "2001::/23",
            "2001:db8::/32",
            "3fff::/20",
        ],
    ),
)
_KINDS: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), kind) for kind, listed in _SPECIAL for text in listed
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_TRANSLATED = IPv6Network("64:ff9b::/96")


def special_kind(address: Address) -> str | None:
    """Return the kind of an address that is not public, or None if it is public.

    >>> special_kind(IPv4Address("192.168.1.1")), special_kind(IPv4Address("9.9.9.9"))
    ('private', None)
    """
    inner = _inner(address)
    if inner is not None:
        return special_kind(inner)
    for network, kind in _KINDS:
        if address in network:
            return kind
    return None if address.version == 4 or address in _GLOBAL_UNICAST else "reserved"


def is_in_any(address: Address, networks: Sequence[Network]) -> bool:
    """Return whether an address, or the IPv4 address that it embeds, is in one of `networks`."""
    forms = [form for form in (address, _inner(address)) if form is not None]
    return any(form in network for form in forms for network in networks)


def _inner(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that a mapped, translated (NAT64) or tunnelled (6to4) one embeds."""
    if isinstance(address, IPv4Address):
        return None
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
