"""Reviewing in pairs: two side by side, and one key says the same or not the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import lookalike
import lookalike.library.samples
from browsing import Visit, barriers
from goods import BALLOON, JIGSAW, SEMAPHORE, THRESHOLD, asking, ok, pictures
from pictured import BOXES, png, shapes
from serving import Served

Visiting = Callable[..., Visit]

PICTURES = Path(lookalike.library.samples.__file__).parent / "pictures"
BALLOONS = [name for name in pictures(BALLOON) if name.startswith("balloon-")][:7]
JIGSAWS, SEMAPHORES = pictures(JIGSAW)[:6], pictures(SEMAPHORE)[:3]
NAMED = {"Balloon": BALLOONS[:2], "Jigsaw": JIGSAWS[:2]}
TEXTS = {"Card": "my new card has not come yet", "Money": "where is the money that I sent"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve pictures, texts and regions, some of each named; each test undoes its own."""
    store: Path = tmp_path_factory.mktemp("pairs") / "store"
    with lookalike.open(store, actor="ann") as library:
        shop = library.labeler("shop", extractor="image", confidence_threshold=THRESHOLD)
        shop.add([PICTURES / name for name in (*BALLOONS, *JIGSAWS, *SEMAPHORES)])
        ids = {one.file_name: one.id for one in shop.documents()}
        shop.label({ids[name]: label for label, names in NAMED.items() for name in names})
        notes = library.labeler("notes", extractor="text", confidence_threshold=0.6)
        notes.add([{"text": text, "id": label} for label, text in TEXTS.items()])
        notes.add([{"text": "my old card has not come yet", "id": "asked"}])
        notes.label({label: label for label in TEXTS})
        spots = library.labeler("spots", extractor="region", confidence_threshold=0.5)
        regions = [{"id": f"r{number}", "box": list(box)} for number, box in enumerate(BOXES)]
        spots.add([{"content": png(shapes()), "id": "photo", "regions": regions}])
        spots.label({"photo#r0": "Red"})
    with Served(store) as served:
        yield served


def standings(server: Served) -> dict[str, tuple[str | None, str | None]]:
    """Return label and origin of each picture, by its file name."""
    with asking(server.url) as client:
        found = ok(client.get("/v1/collections/shop/documents", params={"limit": 200}))["results"]
    told = {one["file_name"]: one["labels"]["label"] for one in found}
    return {name: (one["label"], one["origin"]) for name, one in told.items()}


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def toast(page: Page, text: str) -> None:
    expect(page.get_by_role("status")).to_contain_text(text)


def asked(page: Page) -> tuple[str, str]:
    """Return the name of the item that is asked about, and the label of what is beside it."""
    expect(page.locator(".pairs h2 b")).to_be_visible()
    names = page.locator("lk-pair figcaption > b")
    return names.nth(0).text_content() or "", names.nth(1).text_content() or ""


def answer(page: Page, *keys: str) -> tuple[str, str]:
    """Answer what is asked, and return it when the next one is there."""
    name, label = asked(page)
    press(page, *keys)
    expect(page.locator("lk-pair figcaption > b").first).not_to_have_text(name)
    return name, label


def test_one_key_says_the_same_or_not_the_same_and_undo_takes_it_back(
    server: Served, visit: Visiting
) -> None:
    before = standings(server)
    page = visit(server.url).tab("#/review?c=shop&tab=unsure")
    expect(page.locator(".strip.here")).to_be_visible()
    press(page, "b")
    expect(page).to_have_url(re.compile("view=pair"))

    same, other = answer(page, "Enter"), answer(page, "d")
    unclear, skipped = answer(page, "u"), answer(page, "s")
    toast(page, "1 by you")
    expect(page.get_by_text("on the way")).to_have_count(0)
    found = standings(server)
    for _ in range(3):
        press(page, "z")
        toast(page, "Taken back")
        page.get_by_label("Close the message").first.click()
    press(page, "Escape")

    expect(page.locator(".strip.here")).to_be_visible()
    assert before[same[0]] == (same[1], "auto")
    assert found[same[0]] == (same[1], "human")
    assert found[other[0]][0] != other[1]
    assert found[skipped[0]] == before[skipped[0]]
    assert unclear[0] not in (same[0], other[0], skipped[0])
    assert standings(server) == before


def test_the_nearest_reference_of_another_label_is_a_key_away_and_enter_gives_its_label(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/review?c=shop&tab=unsure&view=pair")
    name, first = asked(page)
    press(page, "ArrowRight")
    expect(page.locator(".pairs h2 b")).not_to_have_text(first)
    second = asked(page)[1]
    press(page, "ArrowLeft")
    expect(page.locator(".pairs h2 b")).to_have_text(first)

    press(page, "ArrowRight", "Enter")

    toast(page, "1 by you")
    assert standings(server)[name] == (second, "human")
    press(page, "z")
    toast(page, "Taken back")


def test_what_chance_may_have_drawn_is_not_shown_beside_what_the_machine_thinks(
    server: Served, visit: Visiting
) -> None:
    labels = standings(server)
    page = visit(server.url).tab("#/review?c=shop&view=pair")
    seen: list[str] = []
    while page.locator("lk-pair figcaption > b").count() or not seen:
        seen.append(asked(page)[0])
        press(page, "s")
        expect(page.get_by_role("main")).not_to_contain_text(seen[-1])

    assert {labels[name][0] for name in seen} == {None}


def test_two_that_are_selected_are_compared_and_the_page_goes_back_to_where_they_were(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/review?c=shop&view=grid")
    tiles = page.get_by_role("listbox", name="Items")
    tiles.get_by_label(re.compile(BALLOONS[0])).click()
    tiles.get_by_label(re.compile(SEMAPHORES[0])).click()

    press(page, "b")
    assert asked(page) == (SEMAPHORES[0], "Balloon")
    press(page, " ", "ArrowRight")
    expect(page.get_by_role("dialog")).to_contain_text(BALLOONS[0])
    press(page, "ArrowRight")
    expect(page.get_by_role("dialog")).to_contain_text(SEMAPHORES[0])
    press(page, "Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    press(page, "Enter")
    toast(page, "1 by you")
    press(page, "Escape")

    expect(tiles).to_be_visible()
    assert standings(server)[SEMAPHORES[0]] == ("Balloon", "human")
    press(page, "z")
    toast(page, "Taken back")


def test_two_without_a_label_that_are_the_same_get_one_together(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/review?c=shop&view=grid&tab=null")
    tiles = page.get_by_role("listbox", name="Items").get_by_role("option")
    for place in (0, 1):
        tiles.nth(place).click()
    press(page, "b")
    expect(page.get_by_role("heading", name="Are these two the same?")).to_be_visible()

    press(page, "Enter", *"Flag", "Enter")

    toast(page, "2 by you")
    assert list(standings(server).values()).count(("Flag", "human")) == 2
    press(page, "z")
    toast(page, "Taken back")


def test_a_wrong_reference_goes_and_what_it_labelled_is_compared_anew(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/review?c=shop&tab=unsure&view=pair")
    _, label = asked(page)
    beside = page.locator("lk-pair img").nth(1)
    wrong = beside.get_attribute("alt") or ""

    press(page, "Shift+R")

    toast(page, "1 by you")
    expect(beside).not_to_have_attribute("alt", wrong)
    assert wrong in NAMED[label]
    assert standings(server)[wrong][0] != label
    press(page, "z")
    toast(page, "Taken back")


def test_texts_show_the_words_that_only_one_of_them_has(server: Served, visit: Visiting) -> None:
    page = visit(server.url).tab("#/review?c=notes&view=pair&of=asked")

    expect(page.locator("lk-pair mark")).to_have_text(["old", "new"])


def test_a_region_is_shown_alone_or_in_its_picture(server: Served, visit: Visiting) -> None:
    page = visit(server.url).tab("#/review?c=spots&view=pair&of=photo%23r2")
    asked(page)
    expect(page.locator("lk-pair .frame")).to_have_count(0)

    press(page, "c")

    frame, picture = page.locator("lk-pair .frame").first, page.locator("lk-pair img").first
    expect(frame).to_have_attribute("style", re.compile("left"))
    box, whole = frame.bounding_box(), picture.bounding_box()
    assert box and whole
    assert box["x"] - whole["x"] == pytest.approx(whole["width"] * BOXES[2][0] / 320, abs=6)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pairs_keep_nobody_out(server: Served, visit: Visiting, scheme: str) -> None:
    page = visit(server.url, color_scheme=scheme, bypass_csp=True).tab()
    found = {}
    for name, place in (
        ("pictures", "#/review?c=shop&tab=unsure&view=pair"),
        ("texts", "#/review?c=notes&view=pair&of=asked"),
        ("regions", "#/review?c=spots&view=pair&of=photo%23r2"),
    ):
        page.goto(f"{server.url}/{place}")
        asked(page)
        found[name] = barriers(page)

    assert {name: one for name, one in found.items() if one} == {}
