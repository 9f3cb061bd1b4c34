"""The page Map in a real browser: lasso, groups by the keyboard, news."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

import lookalike
import patient
from browsing import Visit, barriers, go
from goods import BALLOON, JIGSAW, SIGNAL, bytes_of, ok, pictures
from serving import Served

Visiting = Callable[..., Visit]

KINDS = (BALLOON, JIGSAW, SIGNAL)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three kinds of pictures, a few of each labelled."""
    root = tmp_path_factory.mktemp("map")
    folder = root / "photos"
    folder.mkdir()
    chosen = {name: kind for kind in KINDS for name in pictures(kind)[:14]}
    for name in chosen:
        (folder / name).write_bytes(bytes_of(name))
    with lookalike.open(root / "store") as library:
        made = library.labeler("shop", extractor="image", field="label", confidence_threshold=0.9)
        made.add(folder)
        known = [one for kind in KINDS for one in pictures(kind)[:2]]
        ids = {one.file_name: one.id for one in made.documents()}
        made.label({ids[name]: chosen[name] for name in known})
    return root / "store"


@pytest.fixture(scope="module")
def server(filled: Path) -> Iterator[Served]:
    with Served(filled) as served:
        yield served


def map_of(visit: Visiting, server: Served, place: str = "", **how: Any) -> Page:
    """Open the map, and wait until its points are there."""
    page: Page = visit(server.url, **how).tab(f"#/map{place}")
    expect(page.get_by_role("status").filter(has_text="points")).to_be_visible(timeout=90_000)
    return page


def lasso_all(page: Page) -> None:
    """Draw a lasso around all points, with the mouse."""
    box = page.locator(".stage").bounding_box()
    assert box is not None
    left, top = box["x"] + 4, box["y"] + 4
    right, bottom = box["x"] + box["width"] - 4, box["y"] + box["height"] - 4
    page.keyboard.down("Shift")
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 9)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")


def by_people(server: Served) -> int:
    """Return how many labels people gave."""
    reply = ok(patient.get(f"{server.url}/v1/collections/shop/analytics/coverage"))
    return int(reply["labelled"]["human"])


def test_a_lasso_leads_to_a_strip_whose_answer_can_be_undone(
    server: Served, visit: Visiting
) -> None:
    page = map_of(visit, server)
    before = by_people(server)

    lasso_all(page)
    strip = page.get_by_role("region", name="Selected")
    expect(strip.get_by_role("heading")).to_have_text("What are these 42?")
    expect(strip.get_by_role("option")).to_have_count(42)
    page.keyboard.press("x")
    expect(strip.get_by_role("heading")).to_have_text("What are these 41?")
    page.keyboard.press("l")
    page.keyboard.type("Everything")
    page.keyboard.press("Shift+Enter")

    expect(strip).to_have_count(0)
    line = page.get_by_role("button", name=re.compile("Everything"))
    expect(line).to_contain_text(re.compile("4[12]"))  # what was left out may follow
    assert by_people(server) >= 41
    page.keyboard.press("z")
    expect(line).to_have_count(0)
    assert by_people(server) == before


def test_a_group_is_found_taken_and_named_by_the_keyboard_alone(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url).tab()

    go(page, "m")
    expect(page.get_by_role("status").filter(has_text="42 points")).to_be_visible(timeout=90_000)
    page.keyboard.press("j")
    told = page.get_by_role("status").filter(has_text="Group 1 of")
    expect(told).to_be_visible()
    size = int(re.findall(r": (\d+),", told.inner_text())[0])
    page.keyboard.press("Enter")
    expect(page.get_by_role("listbox", name="Selected items")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("l")
    page.keyboard.type("Found by keys")
    page.keyboard.press("Shift+Enter")

    expect(page.get_by_role("button", name=re.compile("Found by keys"))).to_be_visible()
    expect(page.locator(".stage")).to_be_focused()
    expect(page.get_by_text(f"{size - 1} by you")).to_be_visible()
    page.keyboard.press("z")
    expect(page.get_by_role("button", name=re.compile("Found by keys"))).to_have_count(0)


def test_the_address_holds_colouring_what_is_shown_and_where_one_looks(
    server: Served, visit: Visiting
) -> None:
    page = map_of(visit, server)

    page.get_by_role("button", name="Who", exact=True).click()
    page.get_by_role("button", name=re.compile("No label")).click()
    page.locator(".stage").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(re.compile(r"by=state&only=null&x=0\.[0-4]\d+&y=0\.5\d*&z=1\.50"))
    page.reload()

    alone = page.get_by_role("button", name=re.compile("No label"))
    expect(alone).to_have_attribute("aria-pressed", "true", timeout=30_000)
    expect(page.get_by_role("button", name="Who", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    page.locator(".stage").focus()
    page.keyboard.press("Home")
    expect(page).not_to_have_url(re.compile("z="))


def test_what_comes_meanwhile_moves_nothing_until_it_is_asked_for(
    server: Served, visit: Visiting
) -> None:
    page = map_of(visit, server)
    page.keyboard.press("j")
    told = page.get_by_role("status").filter(has_text="Group 1 of")
    expect(told).to_be_visible()

    with lookalike.connect(server.url) as library:
        shop = library.collection("shop")
        known = set(shop.ids())
        name = pictures(BALLOON)[14]
        shop.add([{"id": "late", "image": bytes_of(name), "file_name": name}])
        new = sorted(set(shop.ids()) - known)
        expect(page.get_by_role("button", name="New items")).to_be_visible(timeout=90_000)
        expect(told).to_be_visible()
        page.keyboard.press(".")
        expect(page.get_by_role("button", name="New items")).to_have_count(0)
        shop.forget(new)

    assert len(new) == 1


def test_the_pointer_shows_the_document_under_it(server: Served, visit: Visiting) -> None:
    page = map_of(visit, server)

    page.keyboard.press("j")
    expect(page.get_by_role("status").filter(has_text="Group 1 of")).to_be_visible()
    stage = page.locator(".stage")
    box = stage.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    found = ((x + across, y + down) for down in range(-90, 91, 12) for across in range(-90, 91, 12))
    for place in found:
        page.mouse.move(*place)
        if stage.get_attribute("data-over"):
            break

    expect(page.locator(".hovered img")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_map_keeps_nobody_out(server: Served, visit: Visiting, scheme: str) -> None:
    page = map_of(visit, server, color_scheme=scheme, bypass_csp=True)

    assert barriers(page) == []
    page.get_by_role("button", name="Who", exact=True).click()
    lasso_all(page)
    expect(page.get_by_role("region", name="Selected")).to_be_visible()

    assert barriers(page) == []
