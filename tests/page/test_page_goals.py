"""How fast the review page is, against the goals of its design: the one place where tests time.

Each figure may be three times its goal. At full size (100,000 documents) it takes a minute more.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from test_page_grid import listing

import lookalike
import patient
from browsing import Visit
from goals import CLOCK, GOALS_PAGE, Measured
from goods import BALLOON, JIGSAW, SIGNAL, bytes_of, pictures
from lookalike.catalog.embedding_map import Map, MapLabel, packed
from lookalike.stores import schema
from serving import Served

Visiting = Callable[..., Visit]

COUNT = 100_000 if GOALS_PAGE in os.environ else 20_000
KINDS, DIMENSION, NOISE = 12, 192, 0.3
BLOCKS, BLOCK = 7, 40
"""At the beginning lie blocks of look-alikes that have no label yet, each more than a row."""

STRAYS = 1_000
"""So many look like nothing else; a person has labelled them all."""

GRID = "#/review?view=grid&c=many"


@pytest.fixture(scope="module")
def measured() -> Iterator[Measured]:
    found = Measured(words={"items": f"{COUNT:,}"})
    yield found
    found.write()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A collection of ready vectors in which each item has a picture, too."""
    store: Path = tmp_path_factory.mktemp("goals") / "store"
    with lookalike.open(store, actor="ann") as library:
        many = library.labeler("many", extractor="passthrough", confidence_threshold=0.75)
        ids = [f"v{number}" for number in range(COUNT)]
        many.add(vectors=vectors(), ids=ids)
        strays, kinds = np.split(ids[BLOCKS * BLOCK :], [STRAYS])
        many.label(dict.fromkeys(strays.tolist(), "Stray"))
        known = kinds[: 5 * KINDS].tolist()
        many.import_labels(
            [{"id": id, "label": f"Kind {place % KINDS}"} for place, id in enumerate(known)]
        )
        give_pictures(library)
    with Served(store) as served:
        yield served


def vectors() -> np.ndarray:
    """Blocks, strays, and then kinds in turn (COUNT, DIMENSION)."""
    chance = np.random.default_rng(5)
    centres = chance.standard_normal((BLOCKS + KINDS, DIMENSION))
    blocks = np.repeat(np.arange(BLOCKS), BLOCK)
    rest = BLOCKS + np.arange(COUNT - len(blocks) - STRAYS) % KINDS
    noise = chance.standard_normal((COUNT, DIMENSION))
    found = NOISE * noise
    found[: len(blocks)] += centres[blocks]
    found[len(blocks) : len(blocks) + STRAYS] /= NOISE
    found[len(blocks) + STRAYS :] += centres[rest]
    return found.astype(np.float32)


def give_pictures(library: lookalike.Library) -> None:
    """Let every object of the collection have a picture, of some that are there."""
    photos = library.labeler("photos", extractor="image")
    names = [name for kind in (BALLOON, JIGSAW, SIGNAL) for name in pictures(kind)[:12]]
    photos.add([{"image": bytes_of(name), "file_name": name} for name in names])
    blobs = [[asdict(blob) for blob in one.blobs] for one in photos.documents()]
    table = schema.object_
    with library.runtime.store.write() as txn:
        pks = [row.pk for row in txn.rows(table.select().where(table.c.id.startswith("v")))]
        txn.update(
            table, [{"pk": pk, "blobs": blobs[place % len(blobs)]} for place, pk in enumerate(pks)]
        )


def clocked(visit: Visiting, server: Served, place: str) -> Page:
    """Open a place with the clock in it."""
    visited = visit(server.url)
    visited.context.add_init_script(path=CLOCK)
    return visited.tab(place)


def grid(visit: Visiting, server: Served, more: str = "") -> Page:
    """Open the grid, and wait for all that is on screen and the next screen."""
    page = clocked(visit, server, GRID + more)
    expect(page.locator(".scroller .tile img").first).to_be_visible()
    settle(page)
    return page


def settle(page: Page) -> None:
    """Wait until nothing comes any more."""
    page.evaluate("window.clock.settled()")


def timed(page: Page, key: str, way: str) -> float:
    """Return the ms from a key to what it does, painted."""
    page.evaluate("way => window.clock.key(way)", way)
    page.keyboard.press(key)
    took: float = page.evaluate("window.clock.took")
    return took


def slot(page: Page, digit: str) -> str:
    """Return the label that a digit gives."""
    script = "digit => JSON.parse(localStorage.getItem('slots//many/label'))[digit - 1]"
    label: str = page.evaluate(script, int(digit))
    return label


def middle(some: list[float]) -> float:
    return float(np.median(some))


def test_keys_show_what_they_do_at_once(
    server: Served, visit: Visiting, measured: Measured
) -> None:
    page = grid(visit, server)
    keys = ["ArrowRight", "ArrowDown", "x", "ArrowLeft", "x", "ArrowUp"] * 8
    measured.words["keys"] = f"{len(keys)} keys"

    def measure() -> dict[str, float]:
        took = [timed(page, key, "changed") for key in keys]
        return {"key p50": middle(took), "key p95": float(np.percentile(took, 95))}

    measured.take(measure)


def test_the_next_screen_and_any_other_come_with_all_thumbnails(
    server: Served, visit: Visiting, measured: Measured
) -> None:
    page = grid(visit, server)
    measured.words["tiles"] = str(page.evaluate("window.clock.tiles()"))
    places = iter(np.random.default_rng(2).permutation(97) / 97)

    def next_screen() -> dict[str, float]:
        took = []
        for _ in range(5):
            took.append(timed(page, "PageDown", "screen"))
            settle(page)
        return {"next screen": middle(took)}

    def jump() -> dict[str, float]:
        took = []
        for _ in range(7):
            took.append(page.evaluate("share => window.clock.jump(share)", float(next(places))))
            settle(page)
        return {"jump": middle(took)}

    measured.take(next_screen)
    measured.take(jump)


def test_a_thousand_are_labelled_at_once(
    server: Served, visit: Visiting, measured: Measured
) -> None:
    page = grid(visit, server, "&tab=people")
    digits = iter("123456789")

    def measure() -> dict[str, float]:
        took = []
        page.evaluate("performance.clearResourceTimings()")
        for _ in range(3):
            expect(page.locator(".scroller .wash")).to_have_count(0)
            page.keyboard.press("Control+a")
            page.keyboard.press("Control+a")
            expect(page.get_by_text("1,000 selected")).to_be_visible()
            digit = next(digits)
            page.evaluate("label => (window.clock.label = label)", slot(page, digit))
            took.append(timed(page, digit, "labelled"))
            expect(page.get_by_text("on the way")).to_have_count(0, timeout=60_000)
        written: list[float] = page.evaluate("window.clock.sent('/labels')")
        assert len(written) == 3
        return {"label many": middle(took), "write many": middle(written)}

    measured.take(measure)


def test_one_label_is_acknowledged_and_ripples(
    server: Served, visit: Visiting, measured: Measured
) -> None:
    page = grid(visit, server)
    page.keyboard.press("Home")
    blocks = iter(range(BLOCKS))

    def measure() -> dict[str, float]:
        took = []
        page.evaluate("performance.clearResourceTimings()")
        for block in (next(blocks), next(blocks)):
            page.evaluate("place => document.querySelector('lk-grid').at = place", block * BLOCK)
            page.keyboard.press("ArrowRight")
            settle(page)
            took.append(timed(page, "1", "ripple"))
            expect(page.get_by_text("on the way")).to_have_count(0)
        written: list[float] = page.evaluate("window.clock.sent('/labels')")
        assert len(written) == 2
        return {"ripple": middle(took), "write one": middle(written)}

    measured.take(measure)


def test_why_is_told_at_once(server: Served, visit: Visiting, measured: Measured) -> None:
    page = grid(visit, server)
    page.keyboard.press("End")
    settle(page)

    def measure() -> dict[str, float]:
        took = []
        for _ in range(5):
            page.keyboard.press("ArrowLeft")
            took.append(timed(page, "w", "why"))
            page.keyboard.press("w")
            expect(page.locator(".drawer")).to_have_count(0)
        return {"why": middle(took)}

    measured.take(measure)


def test_the_limit_follows_the_pointer(server: Served, visit: Visiting, measured: Measured) -> None:
    page = clocked(visit, server, "#/thresholds?c=many")
    handle = page.get_by_role("slider", name="Limit")
    expect(handle).to_be_visible()

    def measure() -> dict[str, float]:
        box, whole = handle.bounding_box(), page.locator("lk-limit").bounding_box()
        assert box and whole
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
        page.mouse.down()
        page.evaluate("window.clock.frames = []; window.clock.follow(true)")
        for share in np.concatenate([np.linspace(0.7, 0.3, 60), np.linspace(0.3, 0.7, 60)]):
            page.mouse.move(whole["x"] + float(share) * whole["width"], whole["y"] + 80)
        page.evaluate("window.clock.follow(false)")
        page.mouse.up()
        frames: list[float] = page.evaluate("window.clock.frames")
        assert len(frames) > 20
        return {"drag": float(np.percentile(frames, 95))}

    measured.take(measure)


def test_the_first_visit_is_quick(
    server: Served, browser: Browser, visit: Visiting, measured: Measured
) -> None:
    grid(visit, server)  # the server has answered before

    def first_visit() -> tuple[float, float]:
        visited = Visit(browser, server.url, "")
        visited.context.add_init_script(path=CLOCK)
        page = visited.tab(GRID)
        expect(page.locator(".scroller .tile img").first).to_be_visible()
        script = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        painted, usable = page.evaluate(script), page.evaluate("window.clock.usable")
        visited.end()
        return painted, usable

    def measure() -> dict[str, float]:
        found = np.median([first_visit() for _ in range(5)], axis=0).tolist()
        return {"first paint": found[0], "usable grid": found[1]}

    measured.take(measure)
    html = patient.get(server.url).text
    modules = set(re.findall(r'="(/static/[^"]+\.js)"', html))
    sizes = [int(patient.get(server.url + one).headers["content-length"]) for one in modules]
    measured.take(lambda: {"script": sum(sizes) / 1000})


def test_a_million_items_are_few_elements(
    server: Served, visit: Visiting, measured: Measured
) -> None:
    visited = visit(server.url)
    visited.context.route("**/documents/list*", listing(1_000_000))
    page = visited.tab(GRID)
    expect(page.get_by_label("item 0", exact=True)).to_be_visible()
    page.keyboard.press("End")
    expect(page.get_by_label("item 999999", exact=True)).to_be_visible()

    measured.take(lambda: {"nodes": page.locator("*").count()})


def million(count: int = 1_000_000) -> bytes:
    """Return the map of a million documents in two hundred groups, a third of them labelled."""
    chance = np.random.default_rng(0)
    centres = chance.uniform(4_000, 61_000, (200, 2))
    own = chance.integers(0, 200, count)
    places = np.clip(centres[own] + chance.normal(0, 900, (count, 2)), 0, 65_535)
    label = np.where(chance.random(count) < 0.33, own, 255).astype(np.uint8)
    return packed(
        Map(
            collection="many",
            field="label",
            ids=(),
            x=places[:, 0].astype(np.uint16),
            y=places[:, 1].astype(np.uint16),
            label=label,
            state=np.where(label == 255, 0, 2).astype(np.uint8),
            score=chance.integers(0, 255, count).astype(np.uint8),
            labels=tuple(MapLabel(f"kind {n}", int((label == n).sum())) for n in range(200)),
            snapshot="million",
            made_of=count,
            outgrown=False,
        )
    )


def test_a_million_points_are_drawn_moved_and_chosen_in_time(
    server: Served, visit: Visiting, measured: Measured
) -> None:
    data, asked = million(), list[int]()

    def points(route: Route) -> None:
        route.fulfill(body=data, content_type="application/octet-stream")

    def documents(route: Route) -> None:
        asked.append(len(json.loads(route.request.post_data or "{}")["rows"]))
        route.fulfill(json={"document_ids": [], "results": []})

    def measure() -> dict[str, float]:
        visited = visit(server.url)
        visited.context.route(re.compile("/map[?]"), points)
        visited.context.route(re.compile("/map/documents"), documents)
        page = visited.tab("#/map?c=many")
        told = page.get_by_role("status").filter(has_text="1,000,000 points")
        expect(told).to_be_visible(timeout=30_000)
        move_about(page)
        took = {name: middle(times(page, f"map-{name}")) for name in ("first", "pan", "lasso")}
        return {f"map {name}": one for name, one in took.items()}

    measured.take(measure)
    assert len([many for many in asked if many > 1000]) % 3 == 0


def move_about(page: Page) -> None:
    """Drag the map, and draw three lassos on it."""
    box = page.locator(".stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(40):
        page.mouse.move(x + 5 * step, y + 3 * step)
    page.mouse.up()
    for turn in range(3):
        page.keyboard.down("Shift")
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 90 + turn, y + 10, steps=20)
        page.mouse.move(x + 60, y + 80, steps=20)
        page.mouse.up()
        page.keyboard.up("Shift")
        expect(page.get_by_role("region", name="Selected")).to_be_visible()
        page.keyboard.press("Escape")


def times(page: Page, name: str) -> list[float]:
    """Return what the page measured under a name, in milliseconds."""
    found: list[float] = page.evaluate(
        "name => performance.getEntriesByName(name).map((one) => one.duration)", name
    )
    assert found, f"nothing was measured as {name}"
    return found
