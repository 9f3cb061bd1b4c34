"""The page Audit: from a sample to an error rate by the keyboard alone; what can be taken back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect
from test_audits import fill, truth

import lookalike
from browsing import Visit, barriers, go
from goods import asking, ok
from serving import Served

Visiting = Callable[..., Visit]
THINGS = "/v1/collections/things"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = tmp_path_factory.mktemp("audited") / "store"
    with lookalike.open(store, actor="ann") as library:
        fill(library)
    with Served(store) as served:
        yield served


@pytest.fixture
def client(server: Served) -> Iterator[httpx2.Client]:
    with asking(server.url) as opened:
        yield opened
        for one in ok(opened.get(f"{THINGS}/audits"))["results"]:
            if one["closed_at"] is None:
                ok(opened.post(f"{THINGS}/audits/{one['audit_id']}/close", json={}))


def asked(page: Page) -> str:
    """The item that the page asks about."""
    return page.locator("lk-question .file").inner_text()


def slots(page: Page) -> dict[str, str]:
    """The digit of each label."""
    shown = page.get_by_role("list", name="Labels by number").get_by_role("listitem")
    expect(shown).to_have_count(3)
    return {text[2:].strip(): text[0] for text in shown.all_inner_texts()}


def answer(page: Page, key: str) -> None:
    """Answer what is asked, and wait for what comes next."""
    before = asked(page)
    page.keyboard.press(key)
    expect(
        page.locator("lk-question .file").or_(page.get_by_text("recorded in a moment"))
    ).not_to_have_text(before)


def newest(client: httpx2.Client) -> dict[str, Any]:
    """The audit that was drawn last."""
    name = ok(client.get(f"{THINGS}/audits"))["results"][0]["audit_id"]
    return ok(client.get(f"{THINGS}/audits/{name}", params={"limit": 100}))


def humans(client: httpx2.Client) -> int:
    """How many labels people gave."""
    found: int = ok(client.get(f"{THINGS}/analytics/coverage"))["labelled"]["human"]
    return found


def test_an_audit_leads_to_an_error_rate_by_the_keyboard_alone(
    server: Served, client: httpx2.Client, visit: Visiting
) -> None:
    page, before = visit(server.url).tab(), humans(client)

    go(page, "a")
    expect(page.get_by_role("button", name="Draw the sample")).to_be_visible()
    for key in ("Tab", "Enter", "Tab", "ArrowUp", "Tab", "Tab", "Tab", "Enter"):
        page.keyboard.press(key)  # past the header to "Check", 25, and on to the button
    digits = slots(page)
    for _ in range(25):
        answer(page, digits[truth(asked(page))])
    expect(page.get_by_role("button", name="Close, keep the answers")).to_be_visible()

    told = newest(client)["estimate"]
    assert told["checked"] == 25 and told["wrong"] > 0, "some of the labels are wrong"
    rate = f"{told['wrong']} of 25 wrong: {100 * told['rate']:.0f} %"
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(rf"^{rate} \(.+–.+ %\)$"))
    expect(page.get_by_text("from 25 checked of 288 labels")).to_be_visible()
    expect(page.get_by_text("with 95 % confidence")).to_be_visible()
    expect(page.get_by_role("table").get_by_role("row")).to_have_count(4)
    assert page.locator(".wrong li").count() == told["wrong"]

    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("by you.*to undo"))).to_be_visible()
    assert humans(client) == before + 25
    page.keyboard.press("z")
    expect(page.get_by_text("Taken back: closing the audit, its answers kept")).to_be_visible()
    assert humans(client) == before


def test_the_label_is_hidden_unless_asked_for_and_then_called_right_or_wrong(
    server: Served, client: httpx2.Client, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/audit")
    page.get_by_role("button", name="Draw the sample").click()
    expect(page.get_by_role("heading", name="What is this?")).to_be_visible()
    audit = newest(client)
    assert not any("label" in one for one in audit["next"])

    page.keyboard.press("b")
    expect(page.get_by_role("heading", name=re.compile("Is this Kind > .?"))).to_be_visible()
    expect(page.get_by_text("A label that is shown persuades")).to_be_visible()
    answer(page, "Enter")
    answer(page, "d")
    answer(page, "u")
    page.keyboard.press("b")
    expect(page.get_by_role("heading", name="What is this?")).to_be_visible()

    expect(page.get_by_text("1 can't be told")).to_be_visible()
    drawn = f"{THINGS}/audits/{audit['audit_id']}"
    shown = ok(client.get(drawn, params={"labels": True, "limit": 100}))
    assert shown["estimate"]["checked"] == 2 and shown["estimate"]["wrong"] == 1
    assert all(one["label"].startswith("Kind > ") for one in shown["next"])


def test_the_latest_answer_can_be_taken_back_until_the_next_one(
    server: Served, client: httpx2.Client, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/audit")
    page.get_by_role("button", name="Draw the sample").click()
    first = asked(page)

    answer(page, "u")
    page.keyboard.press("z")
    expect(page.locator("lk-question .file")).to_have_text(first)
    assert newest(client)["answered"] == []
    answer(page, "1")
    answer(page, "s")
    answer(page, "1")
    go(page, "s")

    expect(page).to_have_url(re.compile("#/start"))
    expect(page.get_by_text("on the way")).to_have_count(0)
    assert len(newest(client)["answered"]) == 2, "leaving the page records what was held"


def test_a_wrong_label_leads_to_the_reference_that_caused_it(
    server: Served, client: httpx2.Client, visit: Visiting
) -> None:
    audit = ok(client.post(f"{THINGS}/audits", json={"size": 3}))
    waiting = ok(client.get(f"{THINGS}/audits/{audit['audit_id']}", params={"limit": 3}))["next"]
    ids = [one["document_id"] for one in waiting]
    ok(client.post(f"{THINGS}/audits/{audit['audit_id']}/answers", json={"wrong": ids}))
    page = visit(server.url).tab(f"#/audit?audit={audit['audit_id']}")

    expect(page.locator(".wrong li")).to_have_count(3)
    page.get_by_role("button", name=re.compile("^Because of")).first.click()

    expect(page.get_by_role("complementary", name="Why")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_keeps_nobody_out(
    server: Served, client: httpx2.Client, visit: Visiting, scheme: str
) -> None:
    page = visit(server.url, color_scheme=scheme, bypass_csp=True).tab("#/audit")
    expect(page.get_by_role("button", name="Draw the sample")).to_be_visible()
    assert barriers(page) == []

    page.keyboard.press("Enter")
    answer(page, "2")
    answer(page, "1")
    page.keyboard.press("b")
    expect(page.get_by_text("A label that is shown persuades")).to_be_visible()
    expect(page.get_by_role("table")).to_be_visible()
    assert barriers(page) == []
