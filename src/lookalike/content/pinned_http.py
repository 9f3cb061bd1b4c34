"""One HTTP GET or POST over a connection to addresses that have been checked, and to no others.

The name in the URL is for the Host header and the certificate only: it is not resolved again.
Nothing comes from the environment but where certificates lie: no proxy, no cookie, no password.
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
    """What a server answers: its status, its headers by lower-case name, and its body to come."""

    status: int
    headers: dict[str, str]
    body: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds: for a connection, for each read, and until `deadline`, which is
    a time of the monotonic clock.
    """

    connect_s: float
    read_s: float
    deadline: float

    def left(self, most_s: float | None) -> float:
        """Return how long one step may take. Raises TimeoutError when the time is up."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time is up")
        return left if most_s is None else min(left, most_s)


def default_tls() -> ssl.SSLContext:
    """Return what certificates are verified with: the system's, or those of SSL_CERT_FILE."""
    return httpcore2.default_ssl_context()


@contextmanager
def get(
    url: httpx2.URL, addresses: Sequence[str], tls: ssl.SSLContext, patience: Patience
) -> Iterator[HttpAnswer]:
    """Ask for `url`, http or https, at the first of `addresses` that answers the call.

    Redirects are not followed and nothing is unpacked. Raises ConnectionError with the reason when
    the exchange fails, TimeoutError when it takes too long, both also while the body is read.
    """
    headers = [(b"Accept", b"*/*"), (b"Accept-Encoding", b"identity")]
    with _exchange("GET", url, addresses, tls, patience, headers, b"") as answer:
        yield answer


@contextmanager
def post(
    url: httpx2.URL,
    addresses: Sequence[str],
    tls: ssl.SSLContext,
    patience: Patience,
    headers: Mapping[str, str],
    body: bytes,
) -> Iterator[HttpAnswer]:
    """Send `body` to `url` as `get` asks for it; `headers` say what it is."""
    told = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    told.append((b"Content-Length", str(len(body)).encode("ascii")))
    with _exchange("POST", url, addresses, tls, patience, told, body) as answer:
        yield answer


@contextmanager
def _exchange(
    method: str,
    url: httpx2.URL,
    addresses: Sequence[str],
    tls: ssl.SSLContext,
    patience: Patience,
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
    waits = {"connect": patience.connect_s, "read": patience.read_s, "write": patience.read_s}
    line = _Line(addresses, patience)
    with (
        _translated(),
        httpcore2.HTTPConnection(target.origin, tls, network_backend=line) as connection,
        connection.stream(
            method, target, headers=headers, content=body or None, extensions={"timeout": waits}
        ) as reply,
    ):
        found = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reply.headers
        }
        yield HttpAnswer(reply.status, found, reply.iter_stream())


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpcore2.TimeoutException as error:
        raise TimeoutError("the time is up") from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        raise ConnectionError(str(error) or type(error).__name__) from error


class _Line(httpcore2.NetworkBackend):
    """Connects to the given addresses, whatever host it is asked for."""

    def __init__(self, addresses: Sequence[str], patience: Patience) -> None:
        self._addresses = addresses
        self._patience = patience
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 what is connected to was settled before
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
        stream = self._inner.connect_tcp(address, port, self._patience.left(timeout))
        return _Stream(stream, self._patience)


class _Stream(httpcore2.NetworkStream):
    """A stream on which every step ends before the deadline."""

    def __init__(self, inner: httpcore2.NetworkStream, patience: Patience) -> None:
        self._inner = inner
        self._patience = patience

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._patience.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._patience.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        left = self._patience.left(timeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left), self._patience)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


# --- public addresses (RFC 6890) -----------------------------------------------------------------

# Of IPv6 only global unicast, 2000::/3, is public, without what the registry takes out of it. An
# address that carries an IPv4 address, as tunnels and translators use it, is judged by that one.

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
    """Return why an address is not public, in a word, or None where it is public.

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


def lies_in(address: Address, networks: Sequence[Network]) -> bool:
    """Return whether an address, or the IPv4 address that it carries, lies in one of `networks`."""
    forms = [form for form in (address, _inner(address)) if form is not None]
    return any(form in network for form in forms for network in networks)


def _inner(address: Address) -> IPv4Address | None:
    """Return the IPv4 address in one that is mapped, translated (NAT64) or tunnelled (6to4)."""
    if isinstance(address, IPv4Address):
        return None
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
