"""The guard on what a request makes the server read: URLs that other people wrote.

A URL may lead only to public addresses, judged after its name is resolved; the connection goes to
the addresses that were judged, and each redirect is judged anew. Any port may be named. A path may
lead only below the roots that the operator named, links followed. What is not allowed is refused
with the setting that would allow it, and no message tells an address or a folder of the inside.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from ipaddress import ip_address, ip_network
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from lookalike.content.blobs import inline_bytes, too_large
from lookalike.content.object_storage import remote_bytes
from lookalike.content.pinned_http import Address, Network, lies_in, special_kind
from lookalike.errors import BadContent, FetchRefused
from lookalike.settings import Settings

if TYPE_CHECKING:
    import httpx2

    from lookalike.content.pinned_http import HttpAnswer, Patience

Resolve = Callable[[str], Sequence[str]]
"""Returns the IP addresses of a host name, the one to try first in front; raises OSError."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=:)")
_WEB = frozenset({"http", "https"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_OK = 200
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class FetchRules:
    """What may be fetched, and how much: `allow` are host names or networks that are exempt from
    the judgement of addresses; `roots` are folders; times are in seconds, `total_s` all in all.
    `kept` is the address in object storage below which the server itself keeps bytes.
    """

    roots: tuple[Path, ...] = ()
    allow: tuple[str, ...] = ()
    schemes: frozenset[str] = frozenset({"http", "https", "data"})
    max_blob_bytes: int = 536_870_912
    connect_s: float = 5.0
    read_s: float = 15.0
    total_s: float = 120.0
    max_redirects: int = 5
    kept: str = ""

    @classmethod
    def of(cls, settings: Settings) -> FetchRules:
        """Return the rules that the settings give."""
        return cls(
            settings.fetch_roots,
            settings.fetch_allow,
            settings.fetch_schemes,
            settings.max_blob_bytes,
            kept=settings.blobs if isinstance(settings.blobs, str) else "",
        )


def resolve(host: str) -> list[str]:
    """Return the addresses that the system's resolver gives for a name; raises OSError."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class GuardedFetcher:
    """Fetches what the rules allow. One fetcher may be used by many threads."""

    def __init__(self, rules: FetchRules, *, resolve: Resolve = resolve) -> None:
        self._rules = rules
        self._resolve = resolve
        self._names = frozenset(entry for entry in rules.allow if _network(entry) is None)
        self._networks = [net for net in map(_network, rules.allow) if net is not None]
        self._tls: ssl.SSLContext | None = None

    def check(self, uri: str) -> None:
        """Raise FetchRefused where `fetch` would refuse `uri` before it connects.

        Names are resolved, nothing is connected to. A name that cannot be resolved and a file that
        is not there pass: fetching them fails.
        """
        scheme = self._scheme(uri)
        if scheme in _WEB:
            url, until = self._url(uri), self._patience()
            try:
                self._addresses(url, uri, until)
            except OSError:
                return
        elif scheme in ("", "file"):
            self._place(uri)

    def fetch(self, uri: str) -> tuple[bytes, str | None]:
        """Return the bytes at `uri`, and their media type where it is told.

        Raises FetchRefused for what is not allowed, BadContent for what fails or is too large,
        MissingExtra for object storage without its package.
        """
        scheme = self._scheme(uri)
        if scheme in _WEB:
            return self._web(uri)
        if scheme in ("", "file"):
            return self._file(uri), None
        if scheme == "data":
            data = inline_bytes(uri)
            return self._sized(data, "a data: URL"), _media_type(uri[len("data:") :].split(",")[0])
        data = remote_bytes(uri, self._rules.max_blob_bytes + 1)
        return self._sized(data, repr(_shown(uri))), None

    def post(self, uri: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send `body` to an http or https address; return the status of the answer.

        No redirect is followed, and the answer's body is not read. Raises as `fetch` does.
        """
        from lookalike.content.pinned_http import default_tls, post

        if self._scheme(uri) not in _WEB:
            raise FetchRefused(f"{_shown(uri)!r} is no web address; give one with http or https")
        url, until = self._url(uri), self._patience()
        with _failures(uri, self._rules.total_s, "reach", "try again"):
            addresses = [str(one) for one in self._addresses(url, uri, until)]
            self._tls = self._tls or default_tls()
            with post(url, addresses, self._tls, until, headers, body) as answer:
                return answer.status

    def _scheme(self, uri: str) -> str:
        """Return the scheme in lower case, the empty text for a plain path."""
        found = _SCHEME.match(uri)
        scheme = found[0].lower() if found else ""
        if scheme in ("", "file"):
            return scheme
        kept = self._rules.kept
        is_kept = bool(kept) and f"{scheme}{uri[len(scheme) :]}/".startswith(f"{kept}/")
        if scheme == "blob" or is_kept:
            raise FetchRefused(f"{_shown(uri)!r} names what the store keeps; give the content")
        if scheme not in self._rules.schemes:
            raise FetchRefused(
                f"{_shown(uri)!r} has the scheme {scheme[:20]!r}, which is not fetched; "
                f"use {', '.join(sorted(self._rules.schemes))}, or add it to "
                "LOOKALIKE_FETCH_SCHEMES if it is http, https, data, s3 or gs"
            )
        if scheme not in (*_WEB, "data") and "::" in uri:
            raise FetchRefused(f"{_shown(uri)!r} chains two addresses; name one")
        return scheme

    def _sized(self, data: bytes, name: str) -> bytes:
        if len(data) > self._rules.max_blob_bytes:
            raise too_large(name, self._rules.max_blob_bytes)
        return data

    # --- the web --------------------------------------------------------------------------------

    def _web(self, uri: str) -> tuple[bytes, str | None]:
        url, until = self._url(uri), self._patience()
        with _failures(uri, self._rules.total_s):
            for _ in range(self._rules.max_redirects + 1):
                with self._asked(url, uri, until) as answer:
                    if answer.status not in _REDIRECTS:
                        return self._body(answer, uri), _media_type(
                            answer.headers.get("content-type", "")
                        )
                    url = self._next(url, answer.headers.get("location", ""), uri)
        raise BadContent(
            f"{_shown(uri)!r} redirects more than {self._rules.max_redirects} times; "
            "give the address where it ends"
        )

    @contextmanager
    def _asked(self, url: httpx2.URL, uri: str, until: Patience) -> Iterator[HttpAnswer]:
        from lookalike.content.pinned_http import default_tls, get

        addresses = self._addresses(url, uri, until)
        self._tls = self._tls or default_tls()
        with get(url, [str(one) for one in addresses], self._tls, until) as answer:
            yield answer

    def _patience(self) -> Patience:
        from lookalike.content.pinned_http import Patience

        rules = self._rules
        return Patience(rules.connect_s, rules.read_s, time.monotonic() + rules.total_s)

    def _url(self, text: str) -> httpx2.URL:
        import httpx2

        try:
            url = httpx2.URL(text)
            host, port = url.raw_host.decode("ascii"), url.port
        except (httpx2.InvalidURL, ValueError, TypeError) as error:
            raise FetchRefused(f"{_shown(text)!r} is no URL: {error}; check the address") from error
        if not host or (port is not None and not 0 < port < 1 << 16):
            raise FetchRefused(f"{_shown(text)!r} names no host and port; check the address")
        if url.userinfo:
            raise FetchRefused(
                f"{_shown(text)!r} carries a name or password; give an address without one"
            )
        return url

    def _addresses(self, url: httpx2.URL, uri: str, until: Patience) -> list[Address]:
        """Return the addresses of the host, each of which may be connected to; raises OSError."""
        host = url.raw_host.decode("ascii")
        try:
            texts = _within(until.left(self._rules.connect_s), lambda: self._resolve(host))
        except TimeoutError as error:
            raise OSError("its name took too long to resolve") from error
        except (OSError, UnicodeError) as error:
            raise OSError("its name cannot be resolved") from error
        if not texts:
            raise OSError("its name has no address")
        addresses = [ip_address(text) for text in texts]
        if host.lower().removesuffix(".") not in self._names:
            for address in addresses:
                self._judge(address, uri)
        return addresses

    def _judge(self, address: Address, uri: str) -> None:
        kind = special_kind(address)
        if kind is not None and not lies_in(address, self._networks):
            raise FetchRefused(
                f"{_shown(uri)!r} leads to a {kind} address, which a request may not reach; "
                "name its host or network in LOOKALIKE_FETCH_ALLOW if that is meant"
            )

    def _next(self, url: httpx2.URL, location: str, uri: str) -> httpx2.URL:
        """Return where a redirect leads, if one may go there."""
        import httpx2

        try:
            target = str(url.join(location)) if location else ""
        except (httpx2.InvalidURL, ValueError) as error:
            raise BadContent(f"{_shown(uri)!r} redirects to what is no URL") from error
        if not target:
            raise BadContent(f"{_shown(uri)!r} redirects to nowhere; check the address")
        found = _SCHEME.match(target)
        scheme = found[0].lower() if found else ""
        if scheme not in _WEB & self._rules.schemes:
            raise FetchRefused(
                f"{_shown(uri)!r} redirects to the scheme {scheme[:20]!r}; "
                "a redirect is followed to http and https only"
            )
        if url.scheme == "https" and scheme == "http":
            raise FetchRefused(
                f"{_shown(uri)!r} redirects from https to http; give the address where it ends"
            )
        return self._url(target)

    def _body(self, answer: HttpAnswer, uri: str) -> bytes:
        name, limit = repr(_shown(uri)), self._rules.max_blob_bytes
        if answer.status in _GONE:
            raise BadContent(f"there is nothing at {name}; check the address")
        if answer.status != _OK:
            raise BadContent(
                f"{name} answers with status {answer.status}; check address and access"
            )
        coding = answer.headers.get("content-encoding", "").strip().lower()
        if coding not in ("", "identity"):
            raise BadContent(
                f"{name} comes packed as {coding[:20]!r}, which was not asked for; "
                "give an address that answers plainly"
            )
        claimed = answer.headers.get("content-length", "")
        if claimed.isdecimal() and int(claimed) > limit:
            raise too_large(name, limit)
        body = BytesIO()
        for chunk in answer.body:
            if body.tell() + len(chunk) > limit:
                raise too_large(name, limit)
            body.write(chunk)
        return body.getvalue()

    # --- files ----------------------------------------------------------------------------------

    def _place(self, uri: str) -> tuple[str, tuple[str, ...]]:
        """Return the root that a path lies below, without links, and the way from there."""
        if not self._rules.roots:
            raise FetchRefused(
                f"{_shown(uri)!r} is a file of the server, which a request may not name; send its "
                "bytes, or name its folder in LOOKALIKE_FETCH_ROOTS"
            )
        try:
            path = Path(os.path.realpath(_absolute(uri)))
        except ValueError as error:  # a null byte, half a character, or no URL
            raise FetchRefused(f"{_shown(uri)!r} is no path; check its spelling") from error
        for root in map(os.path.realpath, self._rules.roots):
            if path.is_relative_to(root):
                return root, path.relative_to(root).parts
        raise FetchRefused(
            f"{_shown(uri)!r} is not below a folder that a request may name; the folders are set "
            "by LOOKALIKE_FETCH_ROOTS"
        )

    def _file(self, uri: str) -> bytes:
        root, parts = self._place(uri)
        name = repr(_shown(uri))
        try:
            with _opened(root, parts) as descriptor:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise BadContent(f"{name} is no file, but a folder or a device; name a file")
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    data = file.read(self._rules.max_blob_bytes + 1)
        except OSError as error:
            raise BadContent(f"cannot read {name}: {error.strerror}; check the path") from error
        return self._sized(data, name)


def _absolute(uri: str) -> str:
    """Return the path that a file: URL or a plain path names. Raises ValueError for no path."""
    if uri.startswith("/"):
        return uri
    if not _SCHEME.match(uri):
        raise FetchRefused(f"{_shown(uri)!r} is neither a URL nor an absolute path; give one")
    parts = urlsplit(uri)
    if parts.netloc.lower() not in ("", "localhost"):
        raise FetchRefused(f"{_shown(uri)!r} names another machine; a file: URL has three slashes")
    path = unquote(parts.path)
    if not path.startswith("/"):
        raise FetchRefused(f"{_shown(uri)!r} has no absolute path; write file:///…")
    return path


@contextmanager
def _opened(root: str, parts: Sequence[str]) -> Iterator[int]:
    """Open what lies below `root`, step by step and through no link, so that none can slip in."""
    step = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for place, part in enumerate(parts, 1):
            last = place == len(parts)
            kind = os.O_NONBLOCK | os.O_NOCTTY if last else os.O_DIRECTORY  # a FIFO must not block
            inner = os.open(part, step | kind, dir_fd=here)
            os.close(here)
            here = inner
        yield here
    finally:
        os.close(here)


@contextmanager
def _failures(
    uri: str, total_s: float, what: str = "read", cure: str = "try again, or send the bytes"
) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise BadContent(
            f"{_shown(uri)!r} answers too slowly, or not within {total_s:g} s; {cure}"
        ) from error
    except OSError as error:
        raise BadContent(f"cannot {what} {_shown(uri)!r}: {error}; check the address") from error


def _within(seconds: float, work: Callable[[], Sequence[str]]) -> Sequence[str]:
    """Return what `work` returns; raises TimeoutError where it takes longer, as resolvers may."""
    future: Future[Sequence[str]] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # it is raised where the result is waited for
            future.set_exception(error)

    Thread(target=run, daemon=True, name="resolve").start()
    return future.result(timeout=seconds)


def _network(entry: str) -> Network | None:
    try:
        return ip_network(entry, strict=False)
    except ValueError:
        return None


def _media_type(header: str) -> str | None:
    return header.partition(";")[0].strip().lower() or None


def _shown(uri: str) -> str:
    """Return a URI for a message: short, without what stands before an @ in its host."""
    shown = re.sub(r"^([^/?#]*//)[^/?#]*@", r"\1…@", uri)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
