"""Keys: what they allow, when they end, and that nothing of them is kept; signed addresses."""

from __future__ import annotations

import hmac
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.catalog.api_keys import (
    Access,
    Caller,
    Scope,
    Signer,
    check_bind,
    is_loopback,
    signing_secret,
)
from lookalike.errors import BadInput, BadSetting, Forbidden, NotFound, Unauthorized
from lookalike.settings import SETTINGS, Settings, read_settings
from lookalike.stores.sqlite.store import SqliteStore

NOW = 1_700_000_000.0
CONFIGURED = "a-key-of-the-setting"


def settings(**values: str) -> Settings:
    return read_settings({f"LOOKALIKE_{name.upper()}": value for name, value in values.items()})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def access(store: SqliteStore) -> Access:
    return Access(store, settings(), lambda: NOW)


def bearer(key: str) -> str:
    return f"Bearer {key}"


# --- keys ---------------------------------------------------------------------------------------


def test_a_scope_covers_itself_and_what_is_below() -> None:
    covered = {(one, other) for one in Scope for other in Scope if one.covers(other)}

    read, label, admin = Scope.READ, Scope.LABEL, Scope.ADMIN
    assert covered == {
        (read, read),
        (label, read),
        (label, label),
        (admin, read),
        (admin, label),
        (admin, admin),
    }


@pytest.mark.parametrize("loopback", [True, False])
def test_a_key_names_its_holder_with_scope_and_namespace(access: Access, loopback: bool) -> None:
    text = access.create("ann", "label", "shop")
    id = access.listed()[0].id

    caller = access.caller(bearer(text), loopback=loopback)

    assert caller == Caller("ann", Scope.LABEL, "shop", id)
    assert re.fullmatch(rf"lk_{id}_[A-Za-z0-9_-]{{43}}", text)


def test_the_secret_is_nowhere_in_the_store(access: Access, store: SqliteStore) -> None:
    text = access.create("ann", "read")
    secret = text.split("_", 2)[2].encode()
    store.tidy()

    files = [path for path in store.path.rglob("*") if path.is_file()]
    kept = b"".join(path.read_bytes() for path in files)

    assert text.split("_", 2)[1].encode() in kept
    assert secret not in kept
    assert secret.decode() not in repr(access.listed())


def test_a_revoked_key_is_refused_from_the_next_request_on(
    access: Access, store: SqliteStore
) -> None:
    text = access.create("ann", "admin")
    id = access.caller(bearer(text), loopback=False).key_id
    assert id is not None
    other = SqliteStore(store.path)

    revoked = Access(other, settings(), lambda: NOW + 1).revoke(id)
    other.close()

    assert revoked.revoked_at == NOW + 1
    with pytest.raises(Unauthorized, match="revoked"):
        access.caller(bearer(text), loopback=False)
    with pytest.raises(Unauthorized):
        access.caller(bearer(text), loopback=True)
    assert access.revoke(id).revoked_at == NOW + 1, "it ended once"
    assert not access.has_keys()


def test_revoking_what_is_not_there_names_the_ids_that_are(access: Access) -> None:
    access.create("ann", "read")
    known = access.listed()[0].id

    with pytest.raises(NotFound, match=known):
        access.revoke("nobody")


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer lk_", "Bearer lk_x_y", "Bearer \xe9\xff"],
)
def test_who_comes_from_outside_needs_a_key_that_holds(access: Access, header: str | None) -> None:
    access.create("ann", "read")

    with pytest.raises(Unauthorized):
        access.caller(header, loopback=False)


def test_the_right_id_with_another_secret_is_refused(access: Access) -> None:
    first, second = access.create("ann", "read"), access.create("ben", "admin")
    mixed = first[: first.index("_", 3)] + "_" + second.split("_", 2)[2]

    for wrong in (mixed, first[:-1], first + "x"):
        with pytest.raises(Unauthorized):
            access.caller(bearer(wrong), loopback=False)


@pytest.mark.parametrize("header", [None, "Bearer sk_of_another_client", "Basic YTpi"])
def test_on_loopback_anybody_local_is_admin_without_a_key(
    access: Access, store: SqliteStore, header: str | None
) -> None:
    named = Access(store, settings(actor="ann"), lambda: NOW)

    assert access.caller(header, loopback=True) == Caller("local", Scope.ADMIN)
    assert named.caller(header, loopback=True) == Caller("ann", Scope.ADMIN)


def test_on_loopback_one_of_our_keys_must_hold_all_the_same(access: Access) -> None:
    with pytest.raises(Unauthorized):
        access.caller("Bearer lk_unknown_secret", loopback=True)


@pytest.mark.parametrize("loopback", [True, False])
def test_with_the_key_of_the_setting_everybody_needs_one(
    store: SqliteStore, loopback: bool
) -> None:
    access = Access(store, settings(api_key=CONFIGURED), lambda: NOW)
    made = access.create("ann", "read")

    caller = access.caller(bearer(CONFIGURED), loopback=loopback)

    assert caller == Caller("admin", Scope.ADMIN, key_id="LOOKALIKE_API_KEY")
    assert access.caller(bearer(made), loopback=loopback).name == "ann"
    for wrong in (None, bearer(CONFIGURED + "x"), bearer(CONFIGURED[:-1]), "Bearer sk_other"):
        with pytest.raises(Unauthorized):
            access.caller(wrong, loopback=loopback)


def test_an_unknown_id_costs_the_same_work_as_a_wrong_secret(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = access.create("ann", "read")
    known = right[: right.index("_", 3)]
    compared: list[int] = []
    real = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.extend((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counting)

    work = []
    for token in (f"{known}_wrong", "lk_unknown_wrong", "lk_", "x" * 1000):
        compared.clear()
        with pytest.raises(Unauthorized):
            access.caller(bearer(token), loopback=False)
        work.append(list(compared))

    assert work == [[32, 32]] * 4


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (("ann", "owner"), "read, label, admin"),
        (("", "read"), "name for a key"),
        (("a\nb", "read"), "name for a key"),
        (("ann", "read", "a/b"), "namespace"),
        (("ann", "read", ""), "namespace"),
    ],
)
def test_a_key_that_cannot_be_is_refused(
    access: Access, values: tuple[str, ...], named: str
) -> None:
    with pytest.raises(BadInput, match=named):
        access.create(*values)

    assert access.listed() == []


# --- where a server listens ---------------------------------------------------------------------


def test_only_addresses_of_this_machine_are_loopback() -> None:
    inside = ["127.0.0.1", "127.8.0.1", "localhost", "LOCALHOST", "::1", "[::1]"]
    outside = ["0.0.0.0", "::", "", "10.0.0.1", "example.org", "127.0.0.1.example.org", "128.0.0.1"]

    assert [host for host in inside + outside if is_loopback(host)] == inside


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "shop.example"])
def test_a_server_that_others_reach_does_not_start_without_a_key(host: str) -> None:
    with pytest.raises(BadSetting, match=r"keys create.*LOOKALIKE_API_KEY.*127\.0\.0\.1"):
        check_bind(host, settings(), has_keys=False)

    check_bind(host, settings(), has_keys=True)
    check_bind(host, settings(api_key=CONFIGURED), has_keys=False)
    check_bind("127.0.0.1", settings(), has_keys=False)


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "65536"),
        ("port", "http"),
        ("api_key", "too-short"),
        ("api_key", "with a blank inside it"),
        ("rate_per_s", "-1"),
        ("rate_per_s", "inf"),
        ("rate_per_s", "nan"),
        ("cors_origins", "*"),
        ("cors_origins", "labels.example.org"),
        ("cors_origins", "https://a.example/path"),
        ("max_json_bytes", "0"),
    ],
)
def test_an_impossible_setting_is_refused(name: str, text: str) -> None:
    with pytest.raises(BadSetting, match=f"LOOKALIKE_{name.upper()}"):
        settings(**{name: text})


def test_a_refused_secret_is_not_repeated() -> None:
    secrets = {one.name for one in SETTINGS if one.secret}

    with pytest.raises(BadSetting) as caught:
        settings(api_key="too-short")

    assert secrets == {"api_key", "blobs", "store", "webhook_secret"}, "places may be addresses"
    assert "too-short" not in str(caught.value)


def test_lists_in_settings_are_split_at_commas() -> None:
    read = settings(cors_origins="https://A.example, http://b.example:8080", allowed_hosts="a, B")

    assert read.cors_origins == ("https://a.example", "http://b.example:8080")
    assert read.allowed_hosts == ("a", "b")


# --- signed addresses ---------------------------------------------------------------------------

SIGNER = Signer(b"x" * 32)


@given(st.text(), st.dictionaries(st.text(min_size=1), st.text()))
def test_what_was_signed_is_accepted_until_it_expires(path: str, params: dict[str, str]) -> None:
    params = {name: value for name, value in params.items() if name not in ("expires", "signature")}
    try:
        query = SIGNER.sign(path, params, NOW)
    except UnicodeEncodeError:
        return  # a lone surrogate cannot be in an address

    SIGNER.check(path, query, NOW - 1)
    with pytest.raises(Forbidden, match="expired"):
        SIGNER.check(path, query, NOW)


def test_the_order_of_parameters_does_not_matter() -> None:
    query = SIGNER.sign("/v1/blobs/a", {"b": "2", "a": "1"}, NOW)

    SIGNER.check("/v1/blobs/a", urlencode(parse_qsl(query)[::-1]), NOW - 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("w=1", "w=2"),
        ("w=1", "w=1&w=1"),
        ("w=1", "w=1&more="),
        ("w=1&", ""),
        ("expires=1700000000", "expires=1700000001"),
        ("expires=1700000000", "expires="),
        ("signature=", "signature=0"),
        ("signature=", "signature=é"),
    ],
)
def test_a_changed_address_is_refused(old: str, new: str) -> None:
    query = SIGNER.sign("/v1/blobs/a", {"w": "1"}, NOW)
    assert old in query

    with pytest.raises(Forbidden, match="changed"):
        SIGNER.check("/v1/blobs/a", query.replace(old, new), NOW - 1)


def test_another_path_another_secret_and_no_signature_are_refused() -> None:
    query = SIGNER.sign("/v1/blobs/a", {}, NOW)

    with pytest.raises(Forbidden, match="changed"):
        SIGNER.check("/v1/blobs/b", query, NOW - 1)
    with pytest.raises(Forbidden, match="changed"):
        Signer(b"y" * 32).check("/v1/blobs/a", query, NOW - 1)
    for none in ("", "expires=1", "signature=a", f"{query}&{query}"):
        with pytest.raises(Forbidden, match="has one"):
            SIGNER.check("/v1/blobs/a", none, NOW - 1)


def test_a_parameter_of_the_signature_itself_cannot_be_signed() -> None:
    with pytest.raises(BadInput, match="expires"):
        SIGNER.sign("/v1/blobs/a", {"expires": "9"}, NOW)


def test_processes_that_ask_at_once_get_one_secret(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "store").close()
    code = (
        "import sys; from pathlib import Path; "
        "from lookalike.catalog.api_keys import signing_secret; "
        "from lookalike.stores.sqlite.store import SqliteStore; "
        "store = SqliteStore(Path(sys.argv[1])); "
        "print(flush=True); input(); print(signing_secret(store).hex())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "store")]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()

    secrets = {process.communicate("\n", timeout=60)[0].strip() for process in running}

    assert len(secrets) == 1
    store = SqliteStore(tmp_path / "store")
    assert signing_secret(store).hex() in secrets
    store.close()
