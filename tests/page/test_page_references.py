"""The page References: a bad reference found through its victims, and the shape of the labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

import lookalike
import lookalike.library.samples
from browsing import Visit, barriers, go
from goods import BALLOON, JIGSAW, THRESHOLD, asking, ok, pictures
from serving import Served

Visiting = Callable[..., Visit]

PICTURES = Path(lookalike.library.samples.__file__).parent / "pictures"
BALLOONS, JIGSAWS = pictures(BALLOON)[:14], pictures(JIGSAW)[:12]
BAD = JIGSAWS[4]
"""A jigsaw that somebody called a balloon."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve two kinds of pictures, a few named rightly, one wrongly; each test undoes its own."""
    store: Path = tmp_path_factory.mktemp("wall") / "store"
    with lookalike.open(store, actor="ann") as library:
        shop = library.labeler("shop", extractor="image", confidence_threshold=THRESHOLD)
        shop.add([PICTURES / name for name in (*BALLOONS, *JIGSAWS)])
        ids = {one.file_name: one.id for one in shop.documents()}
        known = dict.fromkeys(BALLOONS[:5], BALLOON) | dict.fromkeys(JIGSAWS[:4], JIGSAW)
        shop.label({ids[name]: label for name, label in known.items()})
        shop.label({ids[BAD]: BALLOON})
    with Served(store) as served:
        yield served


def labels(server: Served) -> dict[str, str | None]:
    """Return the label of each document, by its file name."""
    with asking(server.url) as client:
        found = ok(client.get("/v1/collections/shop/documents", params={"limit": 200}))["results"]
    return {one["file_name"]: one["labels"]["label"]["label"] for one in found}


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def label_named(page: Page, name: str) -> Locator:
    return page.get_by_role("tree", name="Labels").get_by_role("treeitem").filter(has_text=name)


def toast(page: Page, text: str) -> None:
    expect(page.get_by_role("status")).to_contain_text(text)


def test_a_bad_reference_is_found_through_its_victims_demoted_and_that_is_undone(
    server: Served, visit: Visiting
) -> None:
    before = labels(server)
    page = visit(server.url).tab()
    go(page, "f")
    doubtful = page.get_by_role("listbox", name="References that may be wrong")
    bad = doubtful.get_by_role("option", name=re.compile(BAD))
    expect(bad).to_contain_text("like Jigsaw?")
    about = page.get_by_role("complementary", name="The reference")
    expect(about).to_contain_text(f"It looks like {JIGSAW}, not {BALLOON}")
    victims = about.get_by_role("listitem")
    expect(victims).to_have_text(["⟲ Balloon", "⟲ Balloon"])

    press(page, "Shift+R")
    toast(page, "1 by you, 3 automatic")
    expect(victims).to_have_text(["⟲ Jigsaw", "⟲ Jigsaw"])
    expect(bad).to_have_attribute("aria-label", re.compile("left out"))
    after = labels(server)
    press(page, "z")
    toast(page, "Taken back")
    expect(victims).to_have_text(["⟲ Balloon", "⟲ Balloon"])
    expect(bad).not_to_have_attribute("aria-label", re.compile("left out"))

    changed = {name for name in before if before[name] != after[name]}
    assert BAD in changed
    assert {after[name] for name in changed} == {JIGSAW}
    assert {before[name] for name in changed} == {BALLOON}
    assert labels(server) == before


def test_a_label_is_renamed_and_merged_seen_before_and_undone(
    server: Served, visit: Visiting
) -> None:
    before = labels(server)
    page = visit(server.url).tab("#/references")
    expect(label_named(page, "May be wrong")).to_have_attribute("aria-selected", "true")
    page.get_by_role("tree", name="Labels").focus()
    press(page, "ArrowDown", "ArrowDown")
    expect(label_named(page, "Jigsaw")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("listbox", name=f"References of {JIGSAW}")).to_be_visible()

    press(page, "e", *"Puzzle", "Enter")
    preview = page.get_by_role("dialog", name=f"{JIGSAW} → Game > Puzzle")
    expect(preview).to_contain_text(
        re.compile(r"4 labels by people and \d by itself would read Game > Puzzle")
    )
    assert labels(server) == before
    press(page, "Enter")
    expect(page.get_by_role("heading", name="Game > Puzzle")).to_be_visible()
    toast(page, "4 by people")
    renamed = labels(server)
    press(page, "z")
    expect(page.get_by_role("heading", name=JIGSAW)).to_be_visible()
    assert labels(server) == before

    press(page, "m", *"ball", "Enter")
    expect(page.get_by_role("dialog", name=f"Merge {JIGSAW} into {BALLOON}")).to_be_visible()
    press(page, "Enter")
    expect(page.get_by_role("heading", name=BALLOON, exact=True)).to_be_visible()
    expect(label_named(page, "Jigsaw")).to_have_count(0)
    merged = labels(server)
    press(page, "z")
    expect(label_named(page, "Jigsaw")).to_be_visible()

    assert labels(server) == before
    assert {name for name in before if before[name] == JIGSAW} == {
        name for name in renamed if renamed[name] == "Game > Puzzle"
    }
    assert set(merged.values()) <= {BALLOON, None}


def test_a_label_is_described_retired_and_split_by_the_keyboard(
    server: Served, visit: Visiting
) -> None:
    before = labels(server)
    page = visit(server.url).tab(f"#/references?label={BALLOON}")
    wall = page.get_by_role("listbox", name=f"References of {BALLOON}")
    expect(wall.get_by_role("option")).to_have_count(6)

    press(page, "i", *"Anything that floats", "Enter")
    expect(page.get_by_text("Anything that floats 6 by people")).to_be_visible()
    page.get_by_role("tree", name="Labels").focus()
    press(page, "t")
    expect(page.get_by_role("dialog", name=f"Retire {BALLOON}")).to_contain_text(
        "6 labels by people would vote no more"
    )
    press(page, "Enter")
    expect(label_named(page, "Balloon (retired)")).to_be_visible()
    press(page, "z")
    expect(label_named(page, "Balloon (retired)")).to_have_count(0)

    expect(wall.get_by_role("option")).to_have_count(6)
    page.get_by_role("tree", name="Labels").focus()
    press(page, "Enter")
    expect(wall).to_be_focused()
    press(page, "x", "p", *"Odd", "Enter")
    expect(page.get_by_role("dialog", name="The other 5 are")).to_be_visible()
    press(page, *"Even", "Enter")
    expect(page.get_by_role("dialog", name=f"Split {BALLOON}")).to_contain_text("Odd or Even")
    press(page, "Enter")
    expect(page.get_by_role("heading", name="Odd")).to_be_visible()
    found = labels(server)
    press(page, "z")
    expect(label_named(page, "Balloon")).to_be_visible()

    assert found[BAD] == "Odd"
    assert {found[name] for name in BALLOONS[:5]} == {"Even"}
    assert labels(server) == before


def test_a_version_is_kept_and_compared_with_now(server: Served, visit: Visiting) -> None:
    page = visit(server.url).tab("#/references")

    expect(label_named(page, "Balloon")).to_be_visible()
    press(page, "v", *"first", "Enter")
    kept = page.get_by_role("button", name=re.compile("^first"))
    expect(kept).to_be_visible()
    press(page, "Shift+R")
    toast(page, "1 by you")
    kept.click()

    expect(page.get_by_text("Since then 0 references came and 1 went")).to_be_visible()
    press(page, "z")
    toast(page, "Taken back")
    page.get_by_role("button", name="Offer it no more").click()
    toast(page, "first is offered no more")
    expect(kept).to_have_count(0)


def test_a_doubtful_reference_is_shown_beside_what_it_may_be_instead(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/references")
    expect(page.get_by_role("listbox", name="References that may be wrong")).to_be_visible()

    press(page, "Enter", "b")

    expect(page.get_by_role("figure", name="The item")).to_contain_text(BAD)
    expect(page.get_by_role("figure", name="What it may be like")).to_contain_text(JIGSAW)
    press(page, "Escape")
    expect(page.get_by_role("tree", name="Labels")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_references_keep_nobody_out(server: Served, visit: Visiting, scheme: str) -> None:
    page = visit(server.url, color_scheme=scheme, bypass_csp=True).tab("#/references")

    expect(page.get_by_role("complementary", name="The reference")).to_be_visible()
    assert barriers(page) == []
    press(page, "j", "j", "t")
    expect(page.get_by_role("dialog", name=f"Retire {JIGSAW}")).to_be_visible()

    assert barriers(page) == []
