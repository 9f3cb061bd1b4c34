"""Check sheets at the review page: met, marked, confirmed, taken back."""

from __future__ import annotations

import csv
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

import lookalike
import lookalike.library.samples
from browsing import Visit, barriers, go
from goods import BALLOON, JIGSAW, SEMAPHORE, SIGNAL, asking, bytes_of, ok, pictures
from serving import Served
from topics import TOPICS, rows

Visiting = Callable[..., Visit]

SAMPLES = Path(lookalike.library.samples.__file__).parent
LABELS = (BALLOON, JIGSAW, SEMAPHORE, SIGNAL, "Symbol > Smiley")
MOST_QUESTIONS = 15
SETTLES_MS = 300
READ_MS = 180_000
TOUCH_PX = 44
TARGET = 0.95
WRONG = {JIGSAW: BALLOON, SEMAPHORE: JIGSAW}
"""What one of each is called by mistake."""


def truth() -> dict[str, str]:
    with (SAMPLES / "truth.csv").open(encoding="utf-8") as table:
        return {row["file_name"]: row["label"] for row in csv.DictReader(table)}


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the pictures of five labels, of which nobody has said anything."""
    store: Path = tmp_path_factory.mktemp("check") / "store"
    with lookalike.open(store, actor="ann") as library:
        shop = library.labeler("shop", extractor="image")
        shop.add([SAMPLES / "pictures" / name for label in LABELS for name in pictures(label)])
    return store


@pytest.fixture(scope="module")
def checked(unlabelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store where groups were named until a check is the next question."""
    store: Path = tmp_path_factory.mktemp("checked") / "store"
    shutil.copytree(unlabelled, store)
    known = truth()
    with lookalike.open(store, actor="ann") as library:
        shop = library.collection("shop")
        for _ in range(MOST_QUESTIONS):
            (question,) = shop.queue(limit=1)
            if question.kind == "check":
                break
            names = {one.id: known[one.file_name] for one in question.documents}
            label, _ = Counter(names.values()).most_common(1)[0]
            shop.label({id: label for id, one in names.items() if one == label}, asked=True)
    return store


@pytest.fixture
def served(checked: Path, tmp_path: Path) -> Iterator[Served]:
    shutil.copytree(checked, tmp_path / "store")
    with Served(tmp_path / "store") as server:
        yield server


@pytest.fixture
def mistaken(unlabelled: Path, tmp_path: Path) -> Iterator[Served]:
    """A server where all is labelled, two of it wrongly."""
    shutil.copytree(unlabelled, tmp_path / "store")
    known = truth()
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        shop = library.collection("shop")
        given = {one.id: known[one.file_name] for one in shop.documents()}
        for label, other in WRONG.items():
            given[next(id for id, said in given.items() if said == label)] = other
        shop.label(given)
        assert {one.kind for one in shop.queue(limit=20)} == {"suspect"}
    with Served(tmp_path / "store") as server:
        yield server


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path / "store") as server:
        yield server


def standings(server: Served) -> dict[str, dict[str, object]]:
    """Return how each document stands, by its file name."""
    with asking(server.url) as client:
        found = ok(client.get("/v1/collections/shop/documents", params={"limit": 1000}))["results"]
    return {one["file_name"]: one["labels"]["label"] for one in found}


def labels(server: Served) -> dict[str, tuple[object, object]]:
    return {name: (one["label"], one["origin"]) for name, one in standings(server).items()}


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def tiles(page: Page) -> Locator:
    return page.locator(".strip.here [role=option]")


def names_on(page: Page) -> list[str]:
    script = "all => all.map((one) => one.getAttribute('aria-label').split(',')[0])"
    found: list[str] = tiles(page).evaluate_all(script)
    return found


def sheet(page: Page) -> Locator:
    found = page.get_by_role("listbox", name="Are these labels right?")
    expect(found).to_be_visible()
    return found


def name_groups(page: Page, *, until: str) -> int:
    """Name what is asked as it is, until something is on the page; return how many were named."""
    known = truth()
    for turn in range(MOST_QUESTIONS):
        expect(tiles(page).first).to_be_visible()
        if page.locator(until).count():
            return turn
        names = names_on(page)
        label = Counter(known[name] for name in names).most_common(1)[0][0]
        for at, name in enumerate(names):
            if known[name] != label:
                press(page, "Home", *["ArrowRight"] * at, "x")
        first = tiles(page).first.get_attribute("id")
        press(page, "l", *label.split(" > ")[-1], "Enter")
        expect(page.locator(f".strip.here #{first}")).to_have_count(0)
        expect(page.locator(".link")).to_have_text("Live")
        page.wait_for_timeout(SETTLES_MS)
    raise AssertionError(f"not on the page after {MOST_QUESTIONS} questions: {until}")


def toast(page: Page, text: str) -> None:
    expect(page.get_by_role("status")).to_contain_text(text)


def test_from_an_empty_page_and_a_dropped_folder_to_automatic_labels(
    empty: Served, tmp_path: Path, visit: Visiting
) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    names = [name for label in LABELS for name in pictures(label)]
    for name in names:
        (folder / name).write_bytes(bytes_of(name))
    page = visit(empty.url).tab()
    page.locator("input.folder").set_input_files(folder)
    expect(page.get_by_role("heading", name=f"{len(names)} pictures")).to_be_visible()
    press(page, "Enter")
    expect(page.locator(".counters")).to_contain_text(f"to review{len(names)}", timeout=READ_MS)
    go(page, "r")
    press(page, ".")  # all of it is there: what comes is the same on any machine
    questions = name_groups(page, until=".checks")
    assert questions + 1 <= MOST_QUESTIONS
    names = names_on(sheet(page).page)
    told = f"{len(names) - 2} confirmed, 1 corrected, 1 dropped."
    press(page, "ArrowRight", "x", "ArrowRight", "l", *"Odd", "Enter")
    expect(page.get_by_text(told)).to_be_visible()
    expect(page.locator(".pill.wait")).to_have_count(0, timeout=READ_MS)  # all answers are stored
    before = labels(empty)
    press(page, "Enter")
    toast(page, f"{len(names)} by you")
    marked, dropped = labels(empty), standings(empty)[names[1]]
    press(page, "z")
    toast(page, "Taken back")
    undone = labels(empty)
    expect(page.get_by_text(told)).to_be_visible()
    press(page, "Control+a")
    expect(page.locator(".promise")).to_contain_text(re.compile(r"about \d+ more get their label"))
    press(page, "Enter")
    toast(page, f"{len(names)} by you, ")
    after = labels(empty)

    assert [marked[name][1] == "human" for name in names] == [at != 1 for at in range(len(names))]
    assert marked[names[2]] == ("Odd", "human")
    assert dropped["rejected"]
    assert undone == before
    automatic = {name: label for name, (label, origin) in after.items() if origin == "auto"}
    right = [str(label).split(" > ")[-1] in truth()[name] for name, label in automatic.items()]
    assert len(right) > len(names)
    assert np.mean(right) >= TARGET


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_sheet_keeps_nobody_out_and_nothing_of_it_is_cut_off(
    served: Served, visit: Visiting, scheme: str
) -> None:
    page = visit(served.url, color_scheme=scheme, bypass_csp=True).tab("#/review")
    page.set_viewport_size({"width": 1440, "height": 900})
    sheet(page)
    press(page, "x", "ArrowRight", "l", *"Odd", "Enter")

    assert barriers(page) == []
    assert page.evaluate(
        "document.querySelector('main').scrollHeight <= document.querySelector('main').clientHeight"
    )


def test_a_sheet_is_answered_on_a_phone(served: Served, visit: Visiting) -> None:
    page = visit(served.url, has_touch=True, is_mobile=True).tab("#/review")
    page.set_viewport_size({"width": 390, "height": 844})
    names = names_on(sheet(page).page)
    tiles(page).nth(1).tap()
    tiles(page).last.tap()
    tiles(page).last.tap()
    confirm = page.get_by_role("button", name=f"Confirm the other {len(names) - 1}")
    expect(confirm).to_be_in_viewport()
    sizes = page.locator(".checks button").evaluate_all("all => all.map((one) => one.offsetHeight)")
    confirm.tap()
    toast(page, f"{len(names)} by you")

    found = labels(served)
    assert min(sizes) >= TOUCH_PX
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert [found[name][1] == "human" for name in names] == [at != 1 for at in range(len(names))]


def test_a_sheet_on_which_all_is_wrong_or_that_is_skipped_goes_on(
    served: Served, visit: Visiting
) -> None:
    page = visit(served.url).tab("#/review")
    names = names_on(sheet(page).page)
    for _ in names:
        press(page, "x", "ArrowRight")
    expect(page.get_by_role("button", name="None is right")).to_be_visible()
    press(page, "Control+a", "n", "ArrowRight", "u", "s")
    expect(page.locator(".before")).to_have_text("Skipped")
    expect(page.locator(".checks")).to_have_count(0)

    assert all(origin != "human" for _, origin in (labels(served)[name] for name in names))


def test_labels_that_look_wrong_are_kept_or_corrected(mistaken: Served, visit: Visiting) -> None:
    known = truth()
    page = visit(mistaken.url).tab("#/review")
    heading = page.get_by_role("heading", name="These labels look wrong. Keep or correct them")
    expect(heading).to_be_visible()
    corrected, kept = names_on(page)
    press(page, "l", *known[corrected].split(" > ")[-1], "Enter", "Enter")
    toast(page, "2 by you")
    found = labels(mistaken)
    assert found[corrected] == (known[corrected], "human")
    assert found[kept] == (WRONG[known[kept]], "human")
    with asking(mistaken.url) as client:
        asked = ok(client.get("/v1/collections/shop/queue"))
    assert "suspect" not in asked["kinds"]


def test_the_page_asks_once_whether_these_are_all_labels(served: Served, visit: Visiting) -> None:
    page = visit(served.url, bypass_csp=True).tab("#/review")
    sheet(page)
    press(page, "Enter")
    toast(page, "by you")
    question = page.get_by_role("group", name="Are these all the labels?")
    expect(question).to_contain_text("Balloon, Jigsaw, Semaphore, Signal, Smiley")
    assert barriers(page) == []
    press(page, "y")
    toast(page, "These are all the labels now.")

    expect(question).to_have_count(0)
    with asking(served.url) as client:
        (field,) = ok(client.get("/v1/collections/shop"))["fields"]
    assert field["closed_set"]


@pytest.fixture
def topical(tmp_path: Path) -> Iterator[Served]:
    """A server with texts of four declared labels, of which nobody has said anything."""
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        shop = library.labeler("shop", extractor="text", labels=list(TOPICS))
        shop.add(rows())
    with Served(tmp_path / "store") as server:
        yield server


def test_what_the_names_of_labels_suggest_is_confirmed_at_once(
    topical: Served, visit: Visiting
) -> None:
    page = visit(topical.url).tab("#/review")
    shown = page.get_by_role("listbox", name="By the names of your labels: are these right?")
    expect(shown).to_be_visible()
    assert set(shown.locator(".of b").all_inner_texts()) == set(TOPICS)
    assert not barriers(page)
    press(page, "Enter")
    toast(page, f"{len(TOPICS)} by you")
    with asking(topical.url) as client:
        found = ok(client.get("/v1/collections/shop/documents", params={"limit": 1000}))["results"]
    said = [one["labels"]["label"] for one in found]
    assert {one["label"] for one in said if one["origin"] == "human"} == set(TOPICS)
    assert sum(one["origin"] == "human" for one in said) == len(TOPICS)
