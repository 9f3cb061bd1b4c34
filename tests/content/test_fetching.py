"""The guard on URLs and paths that come in requests, against real servers on loopback."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certifying import certificate
from lookalike.content.blobs import Blobs
from lookalike.content.fetch import FetchRules, GuardedFetcher, Resolve
from lookalike.content.pinned_http import special_kind
from lookalike.content.storage import DirectoryStorage
from lookalike.errors import BadContent, BadSetting, FetchRefused
from lookalike.model import Blob
from lookalike.settings import read_settings

PUBLIC = "93.184.215.14"


# --- servers ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Site:
    """A server on loopback: what it answers by path, and what it was asked."""

    port: int
    answers: dict[str, Callable[[Any], None]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


@contextmanager
def serving(address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    site = Site(0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            try:
                site.answers[self.path.partition("?")[0]](self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that hangs up on a bad certificate is no fault of the server."""

    server = Server((address, 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as one:
        one.answers["/cat.png"] = says(b"a cat", headers={"Content-Type": "Image/PNG; q=1"})
        yield one


def says(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers or {})).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def drips(piece: bytes, head: bytes = b"", times: int = 200) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.wfile.write(head)
        for _ in range(times):
            handler.wfile.write(piece)
            time.sleep(0.05)

    return answer


def goes_to(location: str, status: int = 302) -> Callable[[Any], None]:
    return says(b"", status, {"Location": location})


RULES = FetchRules(allow=("127.0.0.1",), max_blob_bytes=100_000)


def fetcher(resolve: Resolve | None = None, **changes: Any) -> GuardedFetcher:
    rules = replace(RULES, **changes)
    return GuardedFetcher(rules) if resolve is None else GuardedFetcher(rules, resolve=resolve)


def always(*addresses: str) -> Resolve:
    return lambda _host: list(addresses)


Watcher = Callable[[str, tuple[Any, ...]], None]
WATCHERS: list[Watcher] = []


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Call `watcher` with every audit event of the interpreter (PEP 578), before it happens."""
    if not hasattr(sys, "_lookalike_watched"):
        sys.addaudithook(lambda event, given: [one(event, given) for one in WATCHERS])
        sys._lookalike_watched = True  # type: ignore[attr-defined] # a hook cannot be taken out
    WATCHERS.append(watcher)
    try:
        yield
    finally:
        WATCHERS.remove(watcher)


@pytest.fixture
def network() -> Iterator[list[tuple[str, Any]]]:
    """What this process connects to and which names it asks the system for."""
    seen: list[tuple[str, Any]] = []

    def note(event: str, given: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            seen.append((event, given[1]))
        elif event == "socket.getaddrinfo":
            seen.append((event, given[0]))

    with watching(note):
        yield seen


# --- which addresses are public -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "carrier-shared"),
        ("100.127.255.255", "carrier-shared"),
        ("127.0.0.1", "loopback"),
        ("127.255.0.1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("192.0.0.9", "reserved"),
        ("192.0.2.1", "reserved"),
        ("192.88.99.1", "reserved"),
        ("198.19.0.1", "reserved"),
        ("198.51.100.1", "reserved"),
        ("203.0.113.1", "reserved"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::7f00:1", "reserved"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::ffff:0:127.0.0.1", "reserved"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::100.64.0.1", "carrier-shared"),
        ("64:ff9b:1::8.8.8.8", "private"),
        ("2002:7f00:1::", "loopback"),
        ("2002:a00:1::1", "private"),
        ("2001:0:7f00:1::", "reserved"),
        ("2001:10::1", "reserved"),
        ("2001:db8::1", "reserved"),
        ("3fff::1", "reserved"),
        ("100::1", "reserved"),
        ("5f00::1", "reserved"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
        ("8.8.8.8", None),
        ("100.63.255.255", None),
        ("100.128.0.0", None),
        ("172.15.255.255", None),
        ("172.32.0.0", None),
        ("192.167.255.255", None),
        ("223.255.255.255", None),
        ("2606:4700::1111", None),
        ("2001:4860:4860::8888", None),
        ("::ffff:8.8.8.8", None),
        ("64:ff9b::8.8.8.8", None),
        ("2002:808:808::", None),
    ],
)
def test_every_special_address_is_known_and_no_public_one_is(text: str, kind: str | None) -> None:
    assert special_kind(ip_address(text)) == kind


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127。0。0。1",
        "LOCALHOST",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[0:0:0:0:0:0:0:1]",
    ],
)
def test_loopback_is_refused_in_every_spelling(host: str) -> None:
    guard = fetcher(allow=())

    for ask in (guard.check, guard.fetch):
        with pytest.raises(FetchRefused, match=r"LOOKALIKE_FETCH_ALLOW|not a URL: Invalid IPv4"):
            ask(f"http://{host}/")


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    guard = fetcher(always(PUBLIC, "2606:4700::1111", "10.20.30.40"))

    with pytest.raises(FetchRefused, match="a private address") as refused:
        guard.check("https://a.example/cat.png")

    assert "https://a.example/cat.png" in str(refused.value)
    assert "10.20.30.40" not in str(refused.value)


def test_public_addresses_pass_the_check_without_a_connection(
    network: list[tuple[str, Any]],
) -> None:
    fetcher(always(PUBLIC, "2606:4700::1111")).check("https://a.example:8443/cat.png")

    assert network == []


@pytest.mark.parametrize(
    "allow",
    [("127.0.0.1/32",), ("127.0.0.0/8",), ("a.example",), ("10.0.0.0/8", "::1", "127.0.0.1")],
)
def test_an_allowed_host_or_network_may_be_fetched(site: Site, allow: tuple[str, ...]) -> None:
    guard = fetcher(always("127.0.0.1"), allow=allow)

    assert guard.fetch(site.url("/cat.png", "a.example")) == (b"a cat", "image/png")
    assert guard.fetch(site.url("/cat.png", "A.example.")) == (b"a cat", "image/png")


def test_an_allowed_network_holds_for_the_mapped_form_too() -> None:
    guard = fetcher(always("::ffff:10.1.2.3"), allow=("10.1.0.0/16",))

    guard.check("http://a.example/")


@pytest.mark.parametrize("allow", [("b.example",), ("example",), ("127.0.0.2",), ("::1",)])
def test_what_is_allowed_is_allowed_exactly(allow: tuple[str, ...]) -> None:
    with pytest.raises(FetchRefused, match="loopback"):
        fetcher(always("127.0.0.1"), allow=allow).check("http://a.example/")


# --- which URLs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("http://ann:secret@a.example/", "name or password"),
        ("http://ann@a.example/", "name or password"),
        ("http://:@a.example/", "name or password"),
        ("http:///cat.png", "no host"),
        ("http:cat.png", "no host"),
        ("http://a.example:0/", "no host and port"),
        ("http://a.example:65536/", "no host and port"),
        ("http://a.example:x/", "not a URL"),
        ("http://a.example/\n", "not a URL"),
        ("http://[::1/", "not a URL"),
        ("http://" + "a" * 70_000, "not a URL"),
        ("ftp://a.example/", "LOOKALIKE_FETCH_SCHEMES"),
        ("gopher://a.example/", "LOOKALIKE_FETCH_SCHEMES"),
        ("s3://bucket/key", "LOOKALIKE_FETCH_SCHEMES"),
        ("memory://x", "LOOKALIKE_FETCH_SCHEMES"),
        ("simplecache::http://127.0.0.1/", "LOOKALIKE_FETCH_SCHEMES"),
        ("blob:" + "0" * 64, "the store's own storage"),
        ("BLOB:x", "the store's own storage"),
        ("javascript:alert(1)", "LOOKALIKE_FETCH_SCHEMES"),
    ],
)
def test_what_is_no_plain_web_address_is_refused(uri: str, says: str) -> None:
    guard = fetcher(always(PUBLIC))

    for ask in (guard.check, guard.fetch):
        with pytest.raises(FetchRefused, match=says) as refused:
            ask(uri)
        assert "secret" not in str(refused.value)
        assert len(str(refused.value)) < 600


def test_object_storage_is_read_only_where_the_setting_names_it_and_never_chained() -> None:
    guard = fetcher(schemes=frozenset({"s3"}))

    guard.check("s3://bucket/key")
    with pytest.raises(FetchRefused, match="chains"):
        guard.check("s3://bucket/key::file:///etc/passwd")
    with pytest.raises(FetchRefused, match="scheme 'http'"):
        guard.check("http://a.example/")


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("data:image/png;base64,aGk=", (b"hi", "image/png")),
        ("data:,a%20b", (b"a b", None)),
        ("DATA:text/plain;charset=utf-8,hi", (b"hi", "text/plain")),
    ],
)
def test_a_data_url_needs_no_network(uri: str, found: Any, network: list[tuple[str, Any]]) -> None:
    fetcher().check(uri)

    assert fetcher().fetch(uri) == found
    assert network == []


def test_a_data_url_has_the_same_limit_as_everything() -> None:
    with pytest.raises(BadContent, match="LOOKALIKE_MAX_BLOB_BYTES"):
        fetcher(max_blob_bytes=3).fetch("data:,hi%20you")


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["", "/", "http://", "https://a.example", "file:", "file:///", "data:"]),
    st.text(),
)
def test_any_text_is_judged_without_another_error(start: str, rest: str) -> None:
    guard = fetcher(always(PUBLIC), roots=(Path("/nowhere-at-all"),))

    try:
        guard.check(start + rest)
    except FetchRefused as refused:
        str(refused).encode()


# --- the connection -----------------------------------------------------------------------------


def test_only_the_address_that_was_judged_is_connected_to(
    site: Site, network: list[tuple[str, Any]]
) -> None:
    asked: list[str] = []

    def changing(host: str) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    guard = fetcher(changing)

    assert guard.fetch(site.url("/cat.png", "a.example"))[0] == b"a cat"
    assert asked == ["a.example"]
    assert [to for event, to in network if event == "socket.connect"] == [("127.0.0.1", site.port)]
    assert {host for event, host in network if event == "socket.getaddrinfo"} <= {"127.0.0.1"}


def test_a_name_that_turns_private_after_the_check_is_refused_when_fetched(
    network: list[tuple[str, Any]],
) -> None:
    answers = iter([[PUBLIC], ["169.254.169.254"]])
    guard = fetcher(lambda _host: next(answers))
    guard.check("http://a.example/latest/meta-data")

    with pytest.raises(FetchRefused, match="link-local"):
        guard.fetch("http://a.example/latest/meta-data")

    assert network == []


def test_the_second_address_is_tried_where_the_first_does_not_answer(site: Site) -> None:
    guard = fetcher(always("127.0.0.2", "127.0.0.1"), allow=("127.0.0.0/8",))

    assert guard.fetch(site.url("/cat.png", "a.example"))[0] == b"a cat"


def test_the_request_is_plain_and_names_its_host(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text("machine a.example login ann password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    site.answers["/first"] = says(
        b"", 302, {"Location": "/second?q=1", "Set-Cookie": "session=1; Path=/"}
    )
    site.answers["/second"] = says(b"here")

    found = fetcher(always("127.0.0.1")).fetch(site.url("/first", "a.example"))

    assert found == (b"here", None)
    assert [path for path, _ in site.requests] == ["/first", "/second?q=1"]
    for _, headers in site.requests:
        assert headers["host"] == f"a.example:{site.port}"
        assert headers["accept-encoding"] == "identity"
        assert not {"cookie", "authorization", "proxy-authorization", "referer"} & headers.keys()


def test_an_address_of_version_6_is_in_brackets_in_the_host_header() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")

    class Six(ThreadingHTTPServer):
        address_family = socket.AF_INET6

    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Host"])
            says(b"six")(self)

        def log_message(self, *_: Any) -> None:
            pass

    try:
        server = Six(("::1", 0), Handler)
    except OSError:
        pytest.skip("this machine has no IPv6")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        port = server.server_address[1]
        assert fetcher(allow=("::1",)).fetch(f"http://[::1]:{port}/")[0] == b"six"
        assert seen == [f"[::1]:{port}"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- redirects ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(site: Site, status: int) -> None:
    site.answers["/old"] = goes_to("cat.png", status)

    assert fetcher().fetch(site.url("/old")) == (b"a cat", "image/png")


def test_a_redirect_to_a_private_address_is_refused_and_never_asked(site: Site) -> None:
    with serving("127.0.0.2") as inner:
        inner.answers["/secret"] = says(b"secret")
        site.answers["/out"] = goes_to(inner.url("/secret", "127.0.0.2"))

        with pytest.raises(FetchRefused, match="loopback") as refused:
            fetcher().fetch(site.url("/out"))

        assert inner.requests == []
        assert "127.0.0.2" not in str(refused.value)
        assert fetcher(allow=("127.0.0.0/8",)).fetch(site.url("/out"))[0] == b"secret"


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("file:///etc/passwd", "scheme 'file'"),
        ("data:,hi", "scheme 'data'"),
        ("ftp://127.0.0.1/", "scheme 'ftp'"),
        ("blob:1", "scheme 'blob'"),
        ("//ann:secret@127.0.0.1/", "name or password"),
        ("http://0x7f.2/", "loopback"),
    ],
)
def test_a_redirect_goes_where_a_request_may_go(site: Site, location: str, says: str) -> None:
    site.answers["/out"] = goes_to(location)

    with pytest.raises(FetchRefused, match=says):
        fetcher().fetch(site.url("/out"))


def test_a_redirect_to_a_scheme_that_is_not_set_is_refused(site: Site) -> None:
    site.answers["/out"] = goes_to("https://a.example/")

    with pytest.raises(FetchRefused, match="scheme 'https'"):
        fetcher(schemes=frozenset({"http"})).fetch(site.url("/out"))


@pytest.mark.parametrize("location", ["", "http://a.example:x/"])
def test_a_redirect_to_nowhere_fails(site: Site, location: str) -> None:
    site.answers["/out"] = goes_to(location)

    with pytest.raises(BadContent, match="redirects to"):
        fetcher().fetch(site.url("/out"))


def test_a_circle_of_redirects_ends_after_five(site: Site) -> None:
    site.answers["/round"] = goes_to("/round")

    with pytest.raises(BadContent, match="more than 5 times"):
        fetcher().fetch(site.url("/round"))

    assert len(site.requests) == 6


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"), "a.example")


@pytest.fixture
def secure(authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Site, list[str]]]:
    """A site with a certificate that is trusted, and the names that were asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    named: list[str] = []
    context.sni_callback = lambda _socket, name, _context: named.append(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with serving(tls=context) as site:
        site.answers["/cat.png"] = says(b"a cat")
        yield site, named


def test_the_certificate_is_verified_for_the_name_on_the_pinned_address(
    secure: tuple[Site, list[str]],
) -> None:
    site, named = secure

    found = fetcher(always("127.0.0.1")).fetch(site.url("/cat.png", "a.example", "https"))

    assert found[0] == b"a cat"
    assert named == ["a.example"]


def test_a_certificate_for_another_name_fails(secure: tuple[Site, list[str]]) -> None:
    site, _ = secure

    with pytest.raises(BadContent, match="certificate"):
        fetcher(always("127.0.0.1")).fetch(site.url("/cat.png", "b.example", "https"))

    assert site.requests == []


def test_an_unknown_authority_fails(
    secure: tuple[Site, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, _ = secure
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)

    with pytest.raises(BadContent, match="certificate"):
        fetcher(always("127.0.0.1")).fetch(site.url("/cat.png", "a.example", "https"))


def test_a_redirect_from_https_to_http_is_refused(
    site: Site, secure: tuple[Site, list[str]]
) -> None:
    safe, _ = secure
    safe.answers["/out"] = goes_to(site.url("/cat.png"))

    with pytest.raises(FetchRefused, match="https to http"):
        fetcher(always("127.0.0.1")).fetch(safe.url("/out", "a.example", "https"))

    assert site.requests == []


# --- how much and how long ----------------------------------------------------------------------


def test_the_limit_of_bytes_is_kept_to_the_byte(site: Site) -> None:
    site.answers["/full"] = says(b"x" * 100_000)
    site.answers["/over"] = says(b"x" * 100_001)

    assert len(fetcher().fetch(site.url("/full"))[0]) == 100_000
    with pytest.raises(BadContent, match="more than 100,000 bytes; raise LOOKALIKE_MAX_BLOB"):
        fetcher().fetch(site.url("/over"))


def test_the_limit_is_kept_to_the_byte_where_no_length_is_claimed(site: Site) -> None:
    site.answers["/full"] = drips(b"", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, times=0)
    site.answers["/over"] = drips(b"", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_001, times=0)

    assert len(fetcher().fetch(site.url("/full"))[0]) == 100_000
    with pytest.raises(BadContent, match="more than 100,000 bytes"):
        fetcher().fetch(site.url("/over"))


@pytest.mark.parametrize("chunked", [False, True])
def test_an_endless_body_ends_at_the_limit(site: Site, chunked: bool) -> None:
    sent = 0

    def endless(handler: Any) -> None:
        nonlocal sent
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        if chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        block = b"x" * 1000
        while True:
            handler.wfile.write(b"3e8\r\n" + block + b"\r\n" if chunked else block)
            sent += 1000

    site.answers["/endless"] = endless

    with pytest.raises(BadContent, match="more than 100,000 bytes"):
        fetcher().fetch(site.url("/endless"))

    assert sent < 20_000_000


def test_a_length_that_is_too_large_is_enough_to_stop(site: Site) -> None:
    site.answers["/big"] = says(b"", headers={"Content-Length": "999999999999"})

    with pytest.raises(BadContent, match="more than 100,000 bytes"):
        fetcher().fetch(site.url("/big"))


def test_a_body_shorter_than_it_claims_fails(site: Site) -> None:
    site.answers["/short"] = says(b"half", headers={"Content-Length": "8"})

    with pytest.raises(BadContent, match="cannot read"):
        fetcher().fetch(site.url("/short"))


def test_a_body_longer_than_it_claims_is_cut_there(site: Site) -> None:
    site.answers["/long"] = says(b"four and more", headers={"Content-Length": "4"})

    assert fetcher().fetch(site.url("/long"))[0] == b"four"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, identity"])
def test_a_packed_body_is_not_unpacked(site: Site, coding: str) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    site.answers["/bomb"] = says(bomb, headers={"Content-Encoding": coding})

    with pytest.raises(BadContent, match="compressed"):
        fetcher(max_blob_bytes=1_000_000).fetch(site.url("/bomb"))


@pytest.mark.parametrize(
    "slow",
    [
        drips(b"x", b"HTTP/1.1 200 OK\r\n\r\n"),
        drips(b"X-More: 1\r\n", b"HTTP/1.1 200 OK\r\n"),
        drips(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        drips(b""),
    ],
    ids=["body", "headers", "no body", "nothing"],
)
def test_a_drip_ends_when_the_time_is_up(site: Site, slow: Callable[[Any], None]) -> None:
    site.answers["/slow"] = slow
    begun = time.monotonic()

    with pytest.raises(BadContent, match=r"within 0\.4 s"):
        fetcher(total_s=0.4).fetch(site.url("/slow"))

    assert time.monotonic() - begun < 2


def test_the_time_is_one_for_all_redirects(site: Site) -> None:
    def round_again(handler: Any) -> None:
        time.sleep(0.2)
        goes_to("/round")(handler)

    site.answers["/round"] = round_again

    with pytest.raises(BadContent, match="too slowly"):
        fetcher(total_s=0.5).fetch(site.url("/round"))


def test_a_server_that_never_ends_its_handshake_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        begun = time.monotonic()

        with pytest.raises(BadContent, match="too slowly"):
            fetcher(connect_s=0.3).fetch(f"https://127.0.0.1:{port}/")

    assert time.monotonic() - begun < 2


def test_a_resolver_that_hangs_is_left() -> None:
    ended = threading.Event()

    def hanging(host: str) -> Sequence[str]:
        ended.wait(5)
        return [PUBLIC]

    guard = fetcher(hanging, connect_s=0.1)

    with pytest.raises(BadContent, match="too long to resolve"):
        guard.fetch("http://a.example/")
    guard.check("http://a.example/")
    ended.set()


@pytest.mark.parametrize(
    ("status", "says_what"),
    [
        (404, "nothing at"),
        (410, "nothing at"),
        (403, "status 403"),
        (500, "status 500"),
        (206, "206"),
    ],
)
def test_an_answer_that_is_no_content_fails(site: Site, status: int, says_what: str) -> None:
    site.answers["/x"] = says(b"an excuse", status)

    with pytest.raises(BadContent, match=says_what):
        fetcher().fetch(site.url("/x"))


def test_what_is_no_http_fails(site: Site) -> None:
    site.answers["/x"] = lambda handler: handler.wfile.write(b"220 mail ready\r\n\r\n")

    with pytest.raises(BadContent, match="cannot read"):
        fetcher().fetch(site.url("/x"))


def test_a_closed_port_and_an_unknown_name_fail_but_pass_the_check() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    guard = fetcher()

    for uri in (f"http://127.0.0.1:{port}/", "http://nowhere.invalid/", "http://a..b/"):
        guard.check(uri)
        with pytest.raises(BadContent, match="cannot read"):
            guard.fetch(uri)


def test_many_threads_use_one_fetcher(site: Site) -> None:
    guard, found = fetcher(), []

    def ask() -> None:
        found.append(guard.fetch(site.url("/cat.png"))[0])

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [b"a cat"] * 16


# --- files --------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a file in a folder; beside it a secret, to which links lead."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "open-secret").mkdir()
    (tmp_path / "open-secret" / "x.txt").write_text("secret")
    folder = tmp_path / "open"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "cat #1.txt").write_text("a cat")
    (folder / "link.txt").symlink_to("in/cat #1.txt")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "up").symlink_to("..")
    (folder / "environ").symlink_to("/proc/self/environ")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize(
    "name", ["in/cat #1.txt", "link.txt", "in/../link.txt", "./in//cat #1.txt"]
)
def test_a_file_below_a_root_is_read_by_path_and_by_url(root: Path, name: str) -> None:
    guard = fetcher(roots=(Path("/nowhere-at-all"), root))
    path = f"{root}/{name}"

    for uri in (path, Path(path).as_uri(), f"file://localhost{path}".replace("#", "%23")):
        guard.check(uri)
        assert guard.fetch(uri) == (b"a cat", None)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.txt",
        "in/../../secret.txt",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "../open-secret/x.txt",
        "out.txt",
        "up/secret.txt",
        "up/open-secret/x.txt",
        "environ",
        "../not-there.txt",
        "up",
    ],
)
def test_nothing_outside_of_a_root_is_read_nor_told_to_be_there(root: Path, name: str) -> None:
    guard = fetcher(roots=(root,))
    uri = f"file://{root}/{name}"

    for ask in (guard.check, guard.fetch):
        with pytest.raises(FetchRefused, match="LOOKALIKE_FETCH_ROOTS") as refused:
            ask(uri)
        assert str(refused.value).removeprefix(repr(uri)) == (
            " is not below a folder that a request may name; "
            "LOOKALIKE_FETCH_ROOTS sets these folders"
        )


@pytest.mark.parametrize("uri", ["/etc/passwd", "/proc/self/environ", "file:///dev/zero", "/"])
def test_without_roots_no_file_may_be_named(uri: str) -> None:
    for ask in (fetcher().check, fetcher().fetch):
        with pytest.raises(FetchRefused, match="LOOKALIKE_FETCH_ROOTS"):
            ask(uri)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("file://elsewhere/share/x", "another machine"),
        ("file:cat.png", "no absolute path"),
        ("cat.png", "absolute path"),
        ("", "absolute path"),
        ("/x\0y", "not a path"),
        ("file:///x%00y", "not a path"),
        ("/\ud800", "not a path"),
        ("file://[", "not a path"),
    ],
)
def test_what_is_no_absolute_path_is_refused(root: Path, uri: str, says: str) -> None:
    with pytest.raises(FetchRefused, match=says):
        fetcher(roots=(root,)).fetch(uri)


@pytest.mark.parametrize("name", ["pipe", "in", "", "not-there.txt", "link.txt/x", "loop"])
def test_what_is_no_file_fails_at_once(root: Path, name: str) -> None:
    guard = fetcher(roots=(root,))
    begun = time.monotonic()
    guard.check(f"{root}/{name}")

    with pytest.raises(BadContent):
        guard.fetch(f"{root}/{name}")

    assert time.monotonic() - begun < 1


def test_a_file_has_the_same_limit_as_everything(root: Path) -> None:
    (root / "big").write_bytes(b"x" * 100_001)

    with pytest.raises(BadContent, match="LOOKALIKE_MAX_BLOB_BYTES"):
        fetcher(roots=(root,)).fetch(f"{root}/big")


@pytest.mark.parametrize("swapped", ["now", "now/cat.txt"])
def test_a_link_that_is_slipped_in_after_the_judgement_never_leads_out(
    root: Path, swapped: str
) -> None:
    for folder, text in ((root.parent / "outside", "secret"), (root, "a cat")):
        (folder / "now").mkdir(parents=True)
        (folder / "now" / "cat.txt").write_text(text)
    swaps: list[str] = []

    def swap(event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and str(given[0]).startswith(str(root)) and not swaps:
            swaps.append(swapped)
            (root / swapped).rename(root / "aside")
            (root / swapped).symlink_to(root.parent / "outside" / swapped)

    with watching(swap), pytest.raises(BadContent, match="cannot read"):
        fetcher(roots=(root,)).fetch(f"{root}/now/cat.txt")

    assert swaps == [swapped]
    assert (root / "now" / "cat.txt").read_text() == "secret"


def test_a_root_may_be_a_link_itself(root: Path) -> None:
    alias = root.parent / "alias"
    alias.symlink_to(root)

    assert fetcher(roots=(alias,)).fetch(f"{alias}/link.txt")[0] == b"a cat"
    assert fetcher(roots=(alias,)).fetch(f"{root}/link.txt")[0] == b"a cat"


# --- where it is used ---------------------------------------------------------------------------


def blob_of(uri: str, data: bytes) -> Blob:
    return Blob("content", "image/png", uri, hashlib.sha256(data).hexdigest(), len(data))


def test_blobs_with_a_guard_read_what_is_named_through_it(root: Path, site: Site) -> None:
    guarded = Blobs(DirectoryStorage(root / "blobs"), max_bytes=1000, guarded=fetcher().fetch)

    assert guarded.fetch(site.url("/cat.png")) == b"a cat"
    for uri in (f"{root}/link.txt", (root / "link.txt").as_uri(), "http://[::1]/", "blob:00"):
        with pytest.raises(FetchRefused):
            guarded.fetch(uri)


def test_blobs_with_a_guard_still_read_what_the_store_knows(root: Path, site: Site) -> None:
    guarded = Blobs(DirectoryStorage(root / "blobs"), max_bytes=100_000, guarded=fetcher().fetch)
    large = b"x" * 50_000

    for uri, data in (
        ((root / "link.txt").as_uri(), b"a cat"),
        (guarded.keep(large), large),
        (guarded.keep(b"small"), b"small"),
        (site.url("/cat.png"), b"a cat"),
    ):
        assert guarded.read(blob_of(uri, data)) == data


def test_a_known_url_that_turned_private_is_content_that_cannot_be_read(tmp_path: Path) -> None:
    guard = fetcher(always("10.0.0.1"))
    guarded = Blobs(DirectoryStorage(tmp_path), max_bytes=1000, guarded=guard.fetch)

    with pytest.raises(BadContent, match="private address"):
        guarded.read(blob_of("http://a.example/cat.png", b"a cat"))


def test_the_settings_give_the_rules() -> None:
    given_settings = read_settings(
        {
            "LOOKALIKE_FETCH_ROOTS": "/srv/a:/srv/b",
            "LOOKALIKE_FETCH_ALLOW": "Photos.internal., 10.1.2.3/16, fd00::/8",
            "LOOKALIKE_FETCH_SCHEMES": "https, S3",
            "LOOKALIKE_MAX_BLOB_BYTES": "1000",
        }
    )

    rules = FetchRules.of(given_settings)

    assert rules.roots == (Path("/srv/a"), Path("/srv/b"))
    assert rules.allow == ("photos.internal", "10.1.0.0/16", "fd00::/8")
    assert rules.schemes == {"https", "s3"}
    assert rules.max_blob_bytes == 1000
    assert FetchRules.of(read_settings({})) == FetchRules()


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("LOOKALIKE_FETCH_ROOTS", "/srv/a:/", "every file of the machine"),
        ("LOOKALIKE_FETCH_ROOTS", "/srv/../", "every file of the machine"),
        ("LOOKALIKE_FETCH_ALLOW", "10.0.0.0/33", "10.0.0.0/33"),
        ("LOOKALIKE_FETCH_ALLOW", "10.0.0", "neither a host name nor a network"),
        ("LOOKALIKE_FETCH_ALLOW", "http://a.example", "neither a host name"),
        ("LOOKALIKE_FETCH_ALLOW", "*", "neither a host name"),
        ("LOOKALIKE_FETCH_SCHEMES", "http,file", "'file' is none of data, gs, http, https, s3"),
    ],
)
def test_an_impossible_setting_is_named(variable: str, value: str, says: str) -> None:
    with pytest.raises(BadSetting, match=says) as bad:
        read_settings({variable: value})

    assert variable in str(bad.value)
