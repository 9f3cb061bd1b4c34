"""The page Thresholds: a limit dragged, its flips seen, tried in shadow, adopted and undone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Locator, Page, Route, expect
from test_audits import fill, truth

import lookalike
from browsing import Visit, barriers
from goods import asking, ok
from serving import Served

Visiting = Callable[..., Visit]
THINGS = "/v1/collections/things"
LIMIT = 0.5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = tmp_path_factory.mktemp("tried") / "store"
    with lookalike.open(store, actor="ann") as library:
        fill(library, confidence_threshold=LIMIT)
    with Served(store) as served:
        yield served


@pytest.fixture
def client(server: Served) -> Iterator[httpx2.Client]:
    with asking(server.url) as opened:
        yield opened
        for one in get(opened, "trials")["results"]:
            if one["state"] == "open":
                ok(opened.post(f"{THINGS}/trials/{one['trial_id']}/drop", json={"keep": False}))


def get(client: httpx2.Client, path: str, **query: Any) -> dict[str, Any]:
    return ok(client.get(f"{THINGS}/{path}", params=query))


def slider(page: Page) -> Locator:
    return page.get_by_role("slider", name="Limit")


def drag(page: Page, to: float) -> None:
    """Drag the limit to a place with the pointer."""
    box = page.locator("lk-limit").bounding_box()
    handle = slider(page).bounding_box()
    assert box and handle
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + 60)
    page.mouse.down()
    for share in (0.5, 1.0):
        start = handle["x"] + handle["width"] / 2
        page.mouse.move(start + share * (box["x"] + to * box["width"] - start), box["y"] + 80)
    page.mouse.up()


def answer_disagreements(page: Page, count: int) -> None:
    """Name what is asked about, as who knows the truth."""
    shown = page.get_by_role("list", name="Labels by number").get_by_role("listitem")
    expect(shown).to_have_count(3)
    digits = {text[2:].strip(): text[0] for text in shown.all_inner_texts()}
    for _ in range(count):
        asked = page.locator("lk-question .file")
        before = asked.inner_text()
        page.keyboard.press(digits[truth(before)])
        expect(asked).not_to_have_text(before)


@pytest.mark.parametrize("rule", [{"target_precision": 0.9}, {"confidence_threshold": LIMIT}])
def test_the_curve_and_the_flips_tell_the_same(tmp_path: Path, rule: dict[str, Any]) -> None:
    with lookalike.open(tmp_path / "store") as library:
        things = fill(library, **rule)
        now = things.report().labelled["auto"]

        for point in things.curve()[::10]:
            flips = things.flips(at=point.limit, limit=0)
            assert point.labelled == now + flips.appear - flips.vanish


def test_a_limit_is_dragged_its_flips_seen_tried_adopted_and_undone(
    server: Served, client: httpx2.Client, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/thresholds")
    expect(slider(page)).to_have_attribute("aria-valuenow", str(LIMIT))

    drag(page, 0.3)
    expect(slider(page)).to_have_attribute("aria-valuenow", "0.3")
    flips = get(client, "analytics/flips", at=0.3)
    assert flips["appear"] > 0
    appearing = page.get_by_role("heading", name=f"{flips['appear']} would get a label")
    expect(appearing).to_be_visible()
    expect(page.get_by_role("option")).to_have_count(min(flips["appear"], 24))
    expect(page).to_have_url(re.compile("at=0.3"))

    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="A challenger in shadow")).to_be_visible()
    expect(page.locator(".verdict")).to_contain_text("Cannot tell yet")
    answer_disagreements(page, 3)
    expect(page.locator(".verdict")).to_contain_text("from 2 answers")
    assert get(client, "analytics/coverage")["limit"] == LIMIT, "a trial labels nothing"

    page.keyboard.press("Shift+A")
    expect(page.get_by_text("The limit in force is 0.30")).to_be_visible()
    expect(page.get_by_role("region", name="Earlier trials")).to_contain_text("adopted")
    assert get(client, "analytics/coverage")["limit"] == 0.3
    page.keyboard.press("z")
    expect(page.get_by_text("Taken back: adopting the challenger")).to_be_visible()
    expect(page.get_by_text("The limit in force is 0.50")).to_be_visible()
    assert get(client, "analytics/coverage")["limit"] == LIMIT


def test_counts_are_near_where_a_label_above_may_be_given_instead(
    server: Served, client: httpx2.Client, visit: Visiting
) -> None:
    """But where the limit is as it is, what there is was counted, labels above included."""
    page = visit(server.url).tab()
    given = get(client, "analytics/coverage")["labelled"]["auto"]

    def by_probability(route: Route) -> None:
        told = route.fetch().json()
        points = [{**one, "labelled": max(one["labelled"] - 1, 0)} for one in told["points"]]
        learned = {"policy": "precision.v1", "limit": told["limit"] + 3e-5}
        route.fulfill(json={**told, **learned, "points": points})

    page.route("**/analytics/curve*", by_probability)
    with page.expect_request("**/analytics/flips*") as asked:
        page.goto(f"{server.url}/#/thresholds")
    assert f"at={LIMIT + 3e-5}" in asked.value.url, "the limit in force is asked about as it is"
    gives = page.get_by_label("What it gives")
    expect(gives).to_contain_text(f"{given} labelled by itself, as now")
    slider(page).press("PageUp")

    expect(gives).to_contain_text(
        re.compile(r"about [\d,]+ labelled by itself, about [\d,]+ fewer than now")
    )


def test_a_limit_is_moved_by_keys_and_a_challenger_dropped(
    server: Served, client: httpx2.Client, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/thresholds")
    expect(slider(page)).to_have_attribute("aria-valuenow", str(LIMIT))

    for key, value in [
        ("ArrowRight", "0.51"),
        ("PageUp", "0.56"),
        ("ArrowLeft", "0.55"),
        ("Home", "0"),
        ("End", "1"),
        ("i", "0.5"),
        ("PageUp", "0.55"),
    ]:
        page.keyboard.press(key)
        expect(slider(page)).to_have_attribute("aria-valuenow", value)
    vanish = get(client, "analytics/flips", at=0.55)["vanish"]
    words = f"{vanish} would lose their label"
    expect(page.get_by_role("heading", name=words)).to_be_visible()
    expect(slider(page)).to_have_attribute("aria-valuetext", re.compile("0.55: .* labelled"))

    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="A challenger in shadow")).to_be_visible()
    page.keyboard.press("Shift+D")
    expect(page.get_by_text("The limit in force is 0.50")).to_be_visible()
    expect(page.get_by_role("heading", name="A challenger in shadow")).to_have_count(0)
    assert get(client, "trials")["results"][0]["state"] == "dropped"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_keeps_nobody_out(
    server: Served, client: httpx2.Client, visit: Visiting, scheme: str
) -> None:
    page = visit(server.url, color_scheme=scheme, bypass_csp=True).tab("#/thresholds?at=0.4")
    expect(page.get_by_role("option").first).to_be_visible()
    assert barriers(page) == []

    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="A challenger in shadow")).to_be_visible()
    expect(page.get_by_role("heading", name="What is this?")).to_be_visible()
    assert barriers(page) == []
