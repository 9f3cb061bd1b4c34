"""The frame of the review page: how it is served, its keys, palette, overlay and key of access."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import expect

import patient
from browsing import Visit, barriers, go
from patient import WAIT_S
from serving import Served

Visiting = Callable[..., Visit]

MOST_BYTES = 150_000
"""So much of modules may go over the network, packed."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("shell") / "store") as served:
        yield served


def test_the_page_may_run_its_own_modules_and_nothing_else(server: Served) -> None:
    page = patient.get(server.url)

    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy and "require-trusted-types-for 'script'" in policy
    assert "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert page.headers["cross-origin-opener-policy"] == "same-origin"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]*src=)| style=| on[a-z]+=", page.text)


def test_every_file_that_the_page_names_is_there_and_stays(server: Served) -> None:
    page = patient.get(server.url).text
    with httpx2.Client(base_url=server.url, timeout=WAIT_S) as asked:
        files = {name: asked.get(name) for name in re.findall(r'="(/static/[^"]+)"', page)}

    assert len(files) > 15
    assert {one.status_code for one in files.values()} == {200}
    assert all("immutable" in one.headers["cache-control"] for one in files.values())
    modules = {name: one for name, one in files.items() if name.endswith(".js")}
    sizes = {name: int(one.headers["content-length"]) for name, one in modules.items()}
    assert sum(sizes.values()) <= MOST_BYTES, sizes


def test_the_frame_is_painted_before_any_module_has_come(server: Served, visit: Visiting) -> None:
    early = visit(server.url, expected="ERR_FAILED")
    early.context.route("**/*.js", lambda route: route.abort())
    links = "all => all.map((one) => [one.textContent, one.getAttribute('href')])"

    at_once = early.context.new_page()
    at_once.goto(server.url, wait_until="commit")
    shown = at_once.get_by_role("navigation", name="Pages").get_by_role("link")
    expect(shown).to_have_count(6)
    later = visit(server.url).tab().get_by_role("navigation", name="Pages").get_by_role("link")
    expect(later.first).to_have_attribute("aria-current", "page")

    assert shown.evaluate_all(links) == later.evaluate_all(links)


def test_what_the_page_begins_with_is_asked_for_first(server: Served) -> None:
    page = patient.get(server.url).text
    found = re.findall(r'modulepreload" href="/static/\w+/([^"]+)"( fetchpriority="low")?', page)

    hurried = [name for name, low in found if not low]
    assert hurried == [name for name, _ in found][: len(hurried)]
    assert hurried[0] == "first.js"
    assert {"api.js", "vendor/lit.js", "grid.js", "queue.js"} <= set(hurried)
    assert {"map.js", "raster.js", "audit.js", "references.js"} <= {
        one for one, low in found if low
    }
    assert len(found) == len(dict(found)), "each module is named once"


def test_a_file_comes_unpacked_to_who_cannot_unpack_it(server: Served) -> None:
    (name,) = re.findall(r'src="([^"]+/app.js)"', patient.get(server.url).text)

    packed = patient.get(server.url + name)
    plain = patient.get(server.url + name, headers={"accept-encoding": "identity"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert plain.text == packed.text


def test_a_file_of_another_version_is_not_there(server: Served) -> None:
    gone = patient.get(f"{server.url}/static/0000000000000000/app.js")
    outside = patient.get(f"{server.url}/static/0000000000000000/..%2f..%2fpage.py")

    assert (gone.status_code, outside.status_code) == (404, 404)
    assert "reload the page" in gone.text


def test_keys_lead_to_pages_overlay_and_palette(server: Served, visit: Visiting) -> None:
    page = visit(server.url).tab()

    go(page, "r")
    expect(page).to_have_url(re.compile("#/review"))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("can't tell")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("start")
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile("#/start"))
    expect(page).to_have_title("Start · Lookalike")


def test_single_letters_can_be_switched_off(server: Served, visit: Visiting) -> None:
    page = visit(server.url).tab()

    page.keyboard.press("?")
    page.get_by_label("Single letters are keys").uncheck()
    page.keyboard.press("Escape")
    go(page, "r")
    page.reload()
    go(page, "r")
    page.keyboard.press("?")

    expect(page.get_by_label("Single letters are keys")).not_to_be_checked()
    assert "review" not in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_frame_keeps_nobody_out(server: Served, visit: Visiting, scheme: str) -> None:
    page = visit(server.url, color_scheme=scheme, bypass_csp=True).tab()

    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()

    assert barriers(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Do anything by name")).to_be_focused()
    assert barriers(page) == []


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Served]:
    environment = {"LOOKALIKE_API_KEY": "open-sesame-and-more"}
    with Served(tmp_path / "store", environment=environment) as served:
        yield served


def test_a_server_with_keys_shows_the_page_and_asks_for_one(
    locked: Served, visit: Visiting
) -> None:
    page = visit(locked.url, expected="401").tab()

    page.get_by_label("Key", exact=True).fill("open-sesame-and-more")
    page.keyboard.press("Enter")

    expect(page.get_by_text("This server needs a key")).to_have_count(0)
    expect(page.get_by_text("Live")).to_be_visible()
