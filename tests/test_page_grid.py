"""The grid of the review page over more items than anybody will ever bring in for a test."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Route, expect

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
