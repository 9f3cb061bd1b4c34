"""The guarded fetch: reads URLs and paths that clients of a server wrote (SSRF protection).

A URL may lead only to public addresses. They are checked after the name is resolved, the connection
goes to the checked addresses, and each redirect is checked again. Any port is allowed. A path must
be below the roots that the operator set, after links are resolved. A refusal names the setting that
would allow the request; no message shows an internal address or folder.
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
from lookalike.content.pinned_http import Address, Network, is_in_any, special_kind
from lookalike.errors import BadContent, FetchRefused
from lookalike.settings import Settings

if TYPE_CHECKING:
    import httpx2

    from lookalike.content.pinned_http import HttpAnswer, Timeouts

Resolve = Callable[[str], Sequence[str]]
"""Returns the IP addresses of a host name, the first to try first; raises OSError."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=:)")
_WEB = frozenset({"http", "https"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_OK = 200
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class FetchRules:
    """What may be fetched, and how much.

    `allow` holds host names or networks that may be private; `roots` are folders. Times are in
    seconds, `total_s` for the whole fetch. `storage_address` is the address in object storage below
    which the server stores its own bytes.
    """

    roots: tuple[Path, ...] = ()
    allow: tuple[str, ...] = ()
    schemes: frozenset[str] = frozenset({"http", "https", "data"})
    max_blob_bytes: int = 536_870_912
    connect_s: float = 5.0
    read_s: float = 15.0
    total_s: float = 120.0
    max_redirects: int = 5
    storage_address: str = ""

    @classmethod
    def of(cls, settings: Settings) -> FetchRules:
        """Return the rules that the settings give."""
        return cls(
            settings.fetch_roots,
            settings.fetch_allow,
            settings.fetch_schemes,
            settings.max_blob_bytes,
            storage_address=settings.blobs if isinstance(settings.blobs, str) else "",
        )


def resolve(host: str) -> list[str]:
    """Return the addresses of a host name from the system's resolver; raises OSError."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class GuardedFetcher:
    """Fetches what the rules allow; safe for threads."""

    def __init__(self, rules: FetchRules, *, resolve: Resolve = resolve) -> None:
        self._rules = rules
        self._resolve = resolve
        self._names = frozenset(entry for entry in rules.allow if _network(entry) is None)
        self._networks = [net for net in map(_network, rules.allow) if net is not None]
        self._tls: ssl.SSLContext | None = None

    def check(self, uri: str) -> None:
        """Raise FetchRefused if `fetch` would refuse `uri` before it connects.

        It resolves names and opens no connection. A name that cannot be resolved and a file that
        does not exist pass: fetching them fails.
        """
        scheme = self._scheme(uri)
        if scheme in _WEB:
            url, timeouts = self._url(uri), self._timeouts()
            try:
                self._addresses(url, uri, timeouts)
            except OSError:
                return
        elif scheme in ("", "file"):
            self._locate(uri)

    def fetch(self, uri: str) -> tuple[bytes, str | None]:
        """Return the bytes at `uri`, and their media type if the server sends one.

        Raises FetchRefused if it is not allowed, BadContent if it fails or is too large,
        MissingExtra for object storage without its package.
        """
        scheme = self._scheme(uri)
        if scheme in _WEB:
            return self._fetch_url(uri)
        if scheme in ("", "file"):
            return self._read_file(uri), None
        if scheme == "data":
            data = inline_bytes(uri)
            media_type = _media_type(uri[len("data:") :].split(",")[0])
            return self._checked_size(data, "a data: URL"), media_type
        data = remote_bytes(uri, self._rules.max_blob_bytes + 1)
        return self._checked_size(data, repr(_shown(uri))), None

    def post(self, uri: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Post `body` to an http or https address; return the status of the response.

        It follows no redirect and does not read the response's body. Raises as `fetch` does.
        """
        from lookalike.content.pinned_http import default_tls, post

        if self._scheme(uri) not in _WEB:
            raise FetchRefused(f"{_shown(uri)!r} is no web address; give one with http or https")
        url, timeouts = self._url(uri), self._timeouts()
        with _translated(uri, self._rules.total_s, "reach", "try again"):
            addresses = [str(address) for address in self._addresses(url, uri, timeouts)]
            self._tls = self._tls or default_tls()
            with post(url, addresses, self._tls, timeouts, headers, body) as answer:
                return answer.status

    def _scheme(self, uri: str) -> str:
        """Return the scheme in lower case, the empty text for a plain path."""
        found = _SCHEME.match(uri)
        scheme = found[0].lower() if found else ""
        if scheme in ("", "file"):
            return scheme
        own = self._rules.storage_address
        is_own = bool(own) and f"{scheme}{uri[len(scheme) :]}/".startswith(f"{own}/")
        if scheme == "blob" or is_own:
            raise FetchRefused(f"{_shown(uri)!r} is in the store's own storage; give the content")
        if scheme not in self._rules.schemes:
            raise FetchRefused(
                f"{_shown(uri)!r} has the scheme {scheme[:20]!r}, which the server does not fetch; "
                f"use {', '.join(sorted(self._rules.schemes))}, or add it to "
                "LOOKALIKE_FETCH_SCHEMES if it is http, https, data, s3 or gs"
            )
        if scheme not in (*_WEB, "data") and "::" in uri:
            raise FetchRefused(f"{_shown(uri)!r} chains two addresses; name one")
        return scheme

    def _checked_size(self, data: bytes, name: str) -> bytes:
        if len(data) > self._rules.max_blob_bytes:
            raise too_large(name, self._rules.max_blob_bytes)
        return data

    # --- the web --------------------------------------------------------------------------------

    def _fetch_url(self, uri: str) -> tuple[bytes, str | None]:
        url, timeouts = self._url(uri), self._timeouts()
        with _translated(uri, self._rules.total_s):
            for _ in range(self._rules.max_redirects + 1):
                with self._response(url, uri, timeouts) as answer:
                    if answer.status not in _REDIRECTS:
                        return self._body(answer, uri), _media_type(
                            answer.headers.get("content-type", "")
                        )
                    url = self._redirect_target(url, answer.headers.get("location", ""), uri)
        raise BadContent(
            f"{_shown(uri)!r} redirects more than {self._rules.max_redirects} times; "
            "give the address where it ends"
        )

    @contextmanager
    def _response(self, url: httpx2.URL, uri: str, timeouts: Timeouts) -> Iterator[HttpAnswer]:
        from lookalike.content.pinned_http import default_tls, get

        addresses = [str(address) for address in self._addresses(url, uri, timeouts)]
        self._tls = self._tls or default_tls()
        with get(url, addresses, self._tls, timeouts) as answer:
            yield answer

    def _timeouts(self) -> Timeouts:
        from lookalike.content.pinned_http import Timeouts

        rules = self._rules
        return Timeouts(rules.connect_s, rules.read_s, time.monotonic() + rules.total_s)

    def _url(self, text: str) -> httpx2.URL:
        import httpx2

        try:
            url = httpx2.URL(text)
            host, port = url.raw_host.decode("ascii"), url.port
        except (httpx2.InvalidURL, ValueError, TypeError) as error:
            raise FetchRefused(
                f"{_shown(text)!r} is not a URL: {error}; check the address"
            ) from error
        if not host or (port is not None and not 0 < port < 1 << 16):
            raise FetchRefused(f"{_shown(text)!r} names no host and port; check the address")
        if url.userinfo:
            raise FetchRefused(
                f"{_shown(text)!r} has a user name or password; give an address without one"
            )
        return url

    def _addresses(self, url: httpx2.URL, uri: str, timeouts: Timeouts) -> list[Address]:
        """Return the checked addresses of the host. Raises FetchRefused or OSError."""
        host = url.raw_host.decode("ascii")
        try:
            left = timeouts.for_step(self._rules.connect_s)
            texts = _with_timeout(left, lambda: self._resolve(host))
        except TimeoutError as error:
            raise OSError("its name took too long to resolve") from error
        except (OSError, UnicodeError) as error:
            raise OSError("its name cannot be resolved") from error
        if not texts:
            raise OSError("its name has no address")
        addresses = [ip_address(text) for text in texts]
        if host.lower().removesuffix(".") not in self._names:
            for address in addresses:
                self._check_address(address, uri)
        return addresses

    def _check_address(self, address: Address, uri: str) -> None:
        kind = special_kind(address)
        if kind is not None and not is_in_any(address, self._networks):
            raise FetchRefused(
                f"{_shown(uri)!r} leads to a {kind} address, which a request may not reach; "
                "to allow it, add its host or network to LOOKALIKE_FETCH_ALLOW"
            )

    def _redirect_target(self, url: httpx2.URL, location: str, uri: str) -> httpx2.URL:
        """Return the URL that a redirect leads to. Raises FetchRefused if its scheme is not
        allowed.
        """
        import httpx2

        try:
            target = str(url.join(location)) if location else ""
        except (httpx2.InvalidURL, ValueError) as error:
            raise BadContent(f"{_shown(uri)!r} redirects to something that is not a URL") from error
        if not target:
            raise BadContent(f"{_shown(uri)!r} redirects to no address; check the URL")
        found = _SCHEME.match(target)
        scheme = found[0].lower() if found else ""
        if scheme not in _WEB & self._rules.schemes:
            raise FetchRefused(
                f"{_shown(uri)!r} redirects to the scheme {scheme[:20]!r}; "
                "the server follows redirects to http and https only"
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
                f"{name} is compressed as {coding[:20]!r}, although the server asked for it "
                "uncompressed; give another address"
            )
        length = answer.headers.get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise too_large(name, limit)
        body = BytesIO()
        for chunk in answer.body:
            if body.tell() + len(chunk) > limit:
                raise too_large(name, limit)
            body.write(chunk)
        return body.getvalue()

    # --- files ----------------------------------------------------------------------------------

    def _locate(self, uri: str) -> tuple[str, tuple[str, ...]]:
        """Return the root that a path is below, and the parts of the path from there, after links
        are resolved. Raises FetchRefused.
        """
        if not self._rules.roots:
            raise FetchRefused(
                f"{_shown(uri)!r} is a file of the server, which a request may not name; send its "
                "bytes, or add its folder to LOOKALIKE_FETCH_ROOTS"
            )
        try:
            path = Path(os.path.realpath(_absolute(uri)))
        except ValueError as error:  # a null byte, a surrogate, or no URL
            raise FetchRefused(f"{_shown(uri)!r} is not a path; check its spelling") from error
        for root in map(os.path.realpath, self._rules.roots):
            if path.is_relative_to(root):
                return root, path.relative_to(root).parts
        raise FetchRefused(
            f"{_shown(uri)!r} is not below a folder that a request may name; "
            "LOOKALIKE_FETCH_ROOTS sets these folders"
        )

    def _read_file(self, uri: str) -> bytes:
        root, parts = self._locate(uri)
        name = repr(_shown(uri))
        try:
            with _open_below(root, parts) as descriptor:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise BadContent(f"{name} is a folder or a device, not a file; name a file")
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    data = file.read(self._rules.max_blob_bytes + 1)
        except OSError as error:
            raise BadContent(f"cannot read {name}: {error.strerror}; check the path") from error
        return self._checked_size(data, name)


def _absolute(uri: str) -> str:
    """Return the absolute path of a URL or plain path. Raises ValueError or FetchRefused."""
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
def _open_below(root: str, parts: Sequence[str]) -> Iterator[int]:
    """Open a path below `root` folder by folder, following no link: a link that someone adds after
    the check cannot lead outside.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for depth, part in enumerate(parts, 1):
            last = depth == len(parts)
            kind = os.O_NONBLOCK | os.O_NOCTTY if last else os.O_DIRECTORY  # a FIFO must not block
            inner = os.open(part, flags | kind, dir_fd=current)
            os.close(current)
            current = inner
        yield current
    finally:
        os.close(current)


@contextmanager
def _translated(
    uri: str, total_s: float, what: str = "read", cure: str = "try again, or send the bytes"
) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise BadContent(
            f"{_shown(uri)!r} responds too slowly, or not within {total_s:g} s; {cure}"
        ) from error
    except OSError as error:
        raise BadContent(f"cannot {what} {_shown(uri)!r}: {error}; check the address") from error


def _with_timeout(seconds: float, work: Callable[[], Sequence[str]]) -> Sequence[str]:
    """Return the result of `work`; raises TimeoutError after `seconds`. A resolver may block."""
    future: Future[Sequence[str]] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # future.result raises it again
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
    """Return a URI for a message: shortened, without a user name and password."""
    shown = re.sub(r"^([^/?#]*//)[^/?#]*@", r"\1…@", uri)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
