"""The grid of the review page over more items than anybody will ever bring in for a test."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import FloatRect, Locator, Page, Route, expect

import lookalike
from browsing import Visit
from serving import Served

MOST_NODES = 2_500
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9aw"
    "AAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store: Path = tmp_path_factory.mktemp("grid") / "store"
    with lookalike.open(store, actor="ann") as library:
        library.labeler("notes", extractor="text").add([{"text": "one note"}])
    with Served(store) as served:
        yield served


def listing(count: int) -> Callable[[Route], None]:
    """Answer like the API of a collection with `count` documents, each named by its place."""

    def answer(route: Route) -> None:
        asked = {name: one[0] for name, one in parse_qs(urlsplit(route.request.url).query).items()}
        size = int(asked["page_size"])
        start = (int(asked["page"]) - 1) * size
        results = [
            {
                "document_id": f"doc_{place}",
                "collection_id": "col_notes",
                "file_name": f"item {place}",
                "metadata": {},
                "attributes": {},
                "labels": {"label": {"label": None, "origin": None, "revision": 1}},
                "document_blobs": [],
                "thumbnail_url": PIXEL,
            }
            for place in range(start, min(start + size, count))
        ]
        route.fulfill(json={"results": results, "total_count": count})

    return answer


@pytest.mark.parametrize("count", [1_000_000, 4_000_000])
def test_the_first_the_last_and_the_middle_of_millions_are_a_key_away(
    server: Served, visit: Callable[..., Visit], count: int
) -> None:
    page = visit(server.url).tab()
    page.route("**/documents/list*", listing(count))
    page.goto(f"{server.url}/#/review?view=grid")
    tiles = page.get_by_role("listbox", name="Items")
    here = tiles.locator(".tile.here")

    expect(tiles.get_by_label("item 0", exact=True)).to_be_visible()
    page.keyboard.press("End")
    expect(here).to_have_attribute("aria-label", f"item {count - 1}")
    expect(here).to_be_in_viewport()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("PageUp")
    expect(here).to_be_in_viewport()
    page.keyboard.press("Home")
    expect(here).to_have_attribute("aria-label", "item 0")
    expect(here).to_be_in_viewport()
    tiles.evaluate("one => { one.scrollTop = (one.scrollHeight - one.clientHeight) / 2 }")

    middle = tiles.get_by_label(re.compile("^item ")).first
    expect(middle).not_to_have_attribute("aria-label", "item 0")
    place = int((middle.get_attribute("aria-label") or "").split()[1])
    assert abs(place - count / 2) < 200
    assert page.locator("*").count() <= MOST_NODES
    told = json.loads(middle.evaluate("one => JSON.stringify([one.ariaSetSize, one.ariaPosInSet])"))
    assert told == [str(count), str(place + 1)]


@pytest.fixture
def grid(server: Served, visit: Callable[..., Visit]) -> Page:
    """Open a grid of a million items."""
    page = visit(server.url).tab()
    page.route("**/documents/list*", listing(1_000_000))
    page.goto(f"{server.url}/#/review?view=grid")
    expect(page.get_by_text("It only suggests so far")).to_be_visible()
    expect(option(page, 0)).to_be_visible()
    return page


def option(page: Page, place: int) -> Locator:
    tiles = page.get_by_role("listbox", name="Items")
    return tiles.get_by_label(f"item {place}", exact=True)


def selected(page: Page) -> list[int]:
    """Return the places on screen that are selected."""
    script = "all => all.map((one) => Number(one.getAttribute('aria-label').split(' ')[1]))"
    found: list[int] = page.locator(".scroller [aria-selected=true]").evaluate_all(script)
    return sorted(found)


def box(page: Page, place: int) -> FloatRect:
    found = option(page, place).bounding_box()
    assert found
    return found


def columns(page: Page) -> int:
    tops = [box(page, place)["y"] for place in range(20)]
    return tops.count(tops[0])


def sent(page: Page, path: str) -> list[dict[str, Any]]:
    """Answer what is posted to a route, and return what comes."""
    bodies: list[dict[str, Any]] = []
    changed = {"by_person": 1, "refused": {}}

    def answer(route: Route) -> None:
        bodies.append(route.request.post_data_json or {})
        told = {"operation_id": f"op_{len(bodies)}", "revision": 1, "ripple": 0, "changed": changed}
        route.fulfill(json=told)

    page.route(f"**/notes/{path}", answer)
    return bodies


def drag(page: Page, start: tuple[float, float], *to: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    for place in to:
        page.mouse.move(*place, steps=4)


def test_a_rubber_band_selects_what_it_touches_shift_adds_and_escape_takes_it_back(
    grid: Page,
) -> None:
    across = columns(grid)
    first, last = box(grid, 1), box(grid, across + 2)
    gap = (first["x"] - 3, first["y"] + 20)

    drag(grid, gap, (last["x"] + 20, last["y"] + 20))
    assert grid.locator(".band").is_visible()
    grid.mouse.up()
    block = [1, 2, across + 1, across + 2]
    assert selected(grid) == block
    grid.keyboard.down("Shift")
    drag(grid, (last["x"] + 200, last["y"] + 20), (last["x"] + 210, last["y"] + 30))
    grid.mouse.up()
    grid.keyboard.up("Shift")
    more = selected(grid)
    assert len(more) == len(block) + 1
    drag(grid, gap, (last["x"] + 500, last["y"] + 200))
    grid.keyboard.press("Escape")
    grid.mouse.up()

    assert selected(grid) == more
    expect(grid.locator(".band")).to_have_count(0)
    expect(grid.get_by_text(f"{len(more)} selected")).to_be_visible()
    drag(grid, gap, (last["x"] + 20, last["y"] + 20))
    grid.mouse.up()
    assert selected(grid) == block
    assert option(grid, 0).bounding_box() == box(grid, 0)


def test_a_rubber_band_that_is_held_at_the_edge_goes_on_beyond_the_screen(grid: Page) -> None:
    bodies = sent(grid, "labels")
    start, scroller = box(grid, 0), grid.locator(".scroller").bounding_box()
    assert scroller
    bottom = scroller["y"] + scroller["height"]

    drag(grid, (start["x"] + 5, start["y"] + 5), (scroller["x"] + 900, bottom - 2))
    expect(option(grid, 0)).to_have_count(0)
    expect(option(grid, 400)).to_be_visible()
    grid.mouse.move(scroller["x"] + 900, bottom - 200)
    grid.mouse.up()
    count = int((grid.locator(".gridbar b").text_content() or "").split()[0].replace(",", ""))
    assert count > 300
    grid.keyboard.press("l")
    grid.keyboard.type("Far")
    grid.keyboard.press("Enter")

    expect(grid.get_by_role("status")).to_contain_text("1 by you")
    ids = {one["document_id"] for one in bodies[0]["updates"]}
    assert len(ids) == count
    assert {"doc_0", "doc_320"} <= ids


def test_a_click_after_a_band_is_a_click_again(grid: Page) -> None:
    first, second = box(grid, 0), box(grid, 1)
    drag(grid, (first["x"] + 5, first["y"] + 5), (second["x"] + 5, second["y"] + 15))
    grid.mouse.up()

    option(grid, 5).click()

    assert selected(grid) == [0, 1, 5]


def test_all_is_first_what_is_on_screen_then_all_there_is_but_what_is_taken_out(
    grid: Page,
) -> None:
    bodies = sent(grid, "rejections/cannot-tell")
    bar = grid.locator(".gridbar")
    grid.keyboard.press("Control+a")
    some = selected(grid)
    expect(bar).to_contain_text(f"{len(some)} selected")
    grid.keyboard.press("Control+a")
    expect(bar).to_contain_text("All 1,000,000 selected")
    grid.keyboard.press("End")
    expect(option(grid, 999_999)).to_have_attribute("aria-selected", "true")
    grid.keyboard.press("x")
    expect(bar).to_contain_text("All but 1 selected")
    grid.keyboard.press("u")

    toast = grid.get_by_role("status")
    expect(toast).to_contain_text("999,999 are selected; something can be said of 100,000 at once")
    assert bodies == []
    grid.route("**/documents/list*", listing(90_000))
    grid.keyboard.press(".")
    expect(bar).to_contain_text("90,000 items")
    for key in ("Control+a", "Control+a", "x", "u"):
        grid.keyboard.press(key)
    expect(toast).to_contain_text("1 by you")
    others = {"field": "document_id", "operator": "nin", "value": ["doc_0"]}
    assert bodies[0]["filters"] == {"AND": [others]}
    assert len(some) > 20


def test_what_was_never_on_screen_is_asked_for_when_it_is_answered(grid: Page) -> None:
    bodies = sent(grid, "labels")
    for key in ("x", *["Shift+ArrowDown"] * 3, "PageDown", "PageDown", *["Shift+ArrowDown"] * 120):
        grid.keyboard.press(key)
    count = int((grid.locator(".gridbar b").text_content() or "").split()[0].replace(",", ""))

    grid.keyboard.press("l")
    grid.keyboard.type("Long")
    grid.keyboard.press("Enter")

    expect(grid.get_by_role("status")).to_contain_text("1 by you")
    assert len({one["document_id"] for one in bodies[0]["updates"]}) == count > 900
