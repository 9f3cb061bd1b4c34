"""Reviewing at the page: answers by the keyboard, what follows by itself, and what goes wrong."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect

import lookalike
import lookalike.library.samples
from browsing import Visit, barriers, go
from goods import BALLOON, JIGSAW, SEMAPHORE, THRESHOLD, asking, ok, pictures
from serving import Served

Visiting = Callable[..., Visit]

PICTURES = Path(lookalike.library.samples.__file__).parent / "pictures"
ALIKE = [name for name in pictures(BALLOON) if name.startswith("balloon-")]
NAMED = {"Balloon": ALIKE[:3], "Jigsaw": pictures(JIGSAW)[:3]}
LEFT = {"Semaphore": pictures(SEMAPHORE)[:8]}
REST = (*ALIKE[3:10], *pictures(JIGSAW)[3:9])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store where three balloons and three jigsaws are named, and others labelled themselves."""
    store: Path = tmp_path_factory.mktemp("review") / "store"
    names = [name for some in (*NAMED.values(), *LEFT.values(), REST) for name in some]
    with lookalike.open(store, actor="ann") as library:
        shop = library.labeler("shop", extractor="image", confidence_threshold=THRESHOLD)
        shop.add([PICTURES / name for name in names])
        ids = {one.file_name: one.id for one in shop.documents()}
        for label, some in NAMED.items():
            shop.label({ids[name]: label for name in some})
    return store


@pytest.fixture
def server(prepared: Path, tmp_path: Path) -> Iterator[Served]:
    shutil.copytree(prepared, tmp_path / "store")
    with Served(tmp_path / "store") as served:
        yield served


def labels(server: Served) -> dict[str, tuple[str | None, str | None]]:
    """Return label and origin of each document, by its file name."""
    with asking(server.url) as client:
        found = ok(client.get("/v1/collections/shop/documents", params={"limit": 200}))["results"]
    told = {one["file_name"]: one["labels"]["label"] for one in found}
    return {name: (one["label"], one["origin"]) for name, one in told.items()}


def asked(page: Page) -> Locator:
    """Return the tiles of the question that is asked."""
    return page.locator(".strip.here [role=option]")


def names_of(tiles: Locator) -> list[str]:
    expect(tiles.first).to_be_visible()
    script = "all => all.map((one) => one.getAttribute('aria-label').split(',')[0])"
    found: list[str] = tiles.evaluate_all(script)
    return found


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def toast(page: Page, text: str) -> None:
    expect(page.get_by_role("status")).to_contain_text(text)


def test_an_unsure_label_is_accepted_corrected_rejected_and_passed_over(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/review?tab=unsure")
    answered, proposed = [], []
    for keys in (["Enter"], ["l", *"Semaph", "Enter"], ["d"], ["u"], ["n"], ["s"]):
        (name,) = names_of(asked(page))
        answered.append(name)
        proposed.append(page.locator(".strip.here h2 b").text_content())
        press(page, *keys)
        expect(asked(page).first).not_to_have_attribute("aria-label", re.compile(f"^{name}"))

    expect(page.get_by_text("on the way")).to_have_count(0)
    toast(page, "1 by you")
    found = labels(server)
    accepted, corrected, rejected, unclear, new, skipped = (found[name] for name in answered)
    assert accepted == (proposed[0], "human")
    assert corrected == ("Semaph", "human")
    assert rejected[0] != proposed[2]
    assert new[0] is None
    assert unclear[1] == skipped[1] == "auto"


def test_what_is_named_labels_what_looks_like_it_and_undo_takes_both_back(
    server: Served, visit: Visiting
) -> None:
    before = labels(server)
    page = visit(server.url).tab("#/review?tab=kinds")
    names = names_of(asked(page))
    assert set(names) <= set(LEFT["Semaphore"])

    press(page, "ArrowLeft", "x", "Home", "x", "l", *"Flag", "Enter")
    toast(page, f"{len(names) - 2} by you, ")
    after = labels(server)
    mine = {name for name, one in after.items() if one == ("Flag", "human")}
    followed = {name for name, one in after.items() if one == ("Flag", "auto")}
    press(page, "z")
    toast(page, "Taken back")
    undone = labels(server)
    press(page, "Shift+Z")
    toast(page, f"{len(names) - 2} by you, ")

    assert mine == set(names[1:-1])
    assert followed >= {names[0]}
    assert undone == before
    assert labels(server) == after


def test_what_followed_can_be_seen_and_taken_back_in_the_history(
    server: Served, visit: Visiting
) -> None:
    before = labels(server)
    page = visit(server.url).tab("#/review?tab=kinds")
    names_of(asked(page))

    press(page, "x", "l", *"Flag", "Enter")
    page.get_by_role("button", name="See them").click()
    expect(page.get_by_role("listbox", name="Items")).to_contain_text("⟲ Flag")
    press(page, "h")
    page.get_by_role("button", name="Take back").first.click()

    expect(page.get_by_role("complementary", name="History")).to_contain_text("taken back")
    assert labels(server) == before


def test_why_shows_who_caused_a_label_and_a_wrong_reference_goes(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/review?tab=unsure")
    names_of(asked(page))
    press(page, "w")
    why = page.get_by_role("complementary", name="Why")
    expect(why).to_contain_text("labelled by ann")
    expect(why).to_contain_text("Without ")
    wrong = why.get_by_role("button", name="is a wrong reference").first
    name = (wrong.get_attribute("aria-label") or "").split(" is a wrong")[0]

    press(page, "Shift+R")

    toast(page, "1 by you")
    assert labels(server)[name] != ("Balloon", "human")
    assert labels(server)[name] != ("Jigsaw", "human")


def test_many_are_selected_in_the_grid_and_labelled_at_once(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/review?view=grid&tab=null")
    tiles = page.get_by_role("listbox", name="Items").get_by_role("option")
    expect(tiles).to_have_count(len(LEFT["Semaphore"]))

    press(page, "Control+a", "l", *"Flag", "Enter")

    toast(page, f"{len(LEFT['Semaphore'])} by you")
    found = labels(server)
    assert {found[name] for name in LEFT["Semaphore"]} == {("Flag", "human")}


def test_all_is_first_the_strip_and_then_all_that_the_tab_is_about(
    server: Served, visit: Visiting
) -> None:
    automatic = sum(one[1] == "auto" for one in labels(server).values())
    page = visit(server.url).tab("#/review?tab=kinds")
    count = len(names_of(asked(page)))
    press(page, "x", "Control+a")
    toast(page, f"All {count} of this group")
    expect(page.locator(".strip.here .out")).to_have_count(0)

    page.goto(f"{server.url}/#/review?tab=unsure")
    expect(page.locator(".strip.here h2 b")).to_be_visible()
    press(page, "Control+a", "Control+a")

    bar = page.locator(".gridbar")
    expect(bar).to_contain_text(f"All {automatic} selected")
    press(page, "d")
    toast(page, f"{automatic} by you")
    assert all(one[1] != "auto" for one in labels(server).values())


def test_a_rubber_band_leaves_out_what_it_touches_in_a_strip(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/review?tab=kinds")
    names = names_of(asked(page))
    first, second = asked(page).nth(0).bounding_box(), asked(page).nth(1).bounding_box()
    assert first and second

    page.mouse.move(first["x"] + 10, first["y"] + 10)
    page.mouse.down()
    page.mouse.move(second["x"] + 10, second["y"] + 20, steps=3)
    page.mouse.up()

    expect(page.locator(".strip.here .out")).to_have_count(2)
    expect(page.locator(".strip.here")).to_contain_text(f"{len(names) - 2} of {len(names)}")


def test_an_item_is_let_vote_and_a_wrong_reference_is_let_vote_no_more(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/review?tab=unsure")
    (name,) = names_of(asked(page))
    press(page, "Shift+R")
    toast(page, "None of these is a reference")

    press(page, "r")
    toast(page, "1 by you")
    assert labels(server)[name][1] == "promoted"
    page.goto(f"{server.url}/#/review?tab=unsure&view=grid")
    tiles = page.get_by_role("listbox", name="Items").get_by_role("option")
    expect(tiles.first).to_be_visible()
    (second,) = names_of(tiles.first)
    press(page, "r")
    expect(tiles.filter(has_text="↑")).to_have_count(1)
    assert labels(server)[second][1] == "promoted"
    page.goto(f"{server.url}/#/review?view=grid")
    voting = page.get_by_role("listbox", name="Items").get_by_label(re.compile(name))
    voting.click()
    expect(voting).to_contain_text("↑")
    press(page, "Shift+R")

    expect(voting).not_to_contain_text("↑")
    assert labels(server)[name][1] != "promoted"


def test_what_is_too_much_to_be_told_is_read_again(server: Served, visit: Visiting) -> None:
    def too_much(route: Route) -> None:
        told = route.fetch().json()
        route.fulfill(json={**told, "documents": [], "operations": [], "more": True})

    page = visit(server.url).tab("#/review?view=grid")
    tiles = page.get_by_role("listbox", name="Items")
    first, *rest = LEFT["Semaphore"]
    expect(tiles.get_by_label(first)).to_be_visible()
    page.route("**/v1/changes*", too_much)
    with asking(server.url) as client:
        found = ok(client.get("/v1/collections/shop/documents", params={"limit": 200}))["results"]
        ids = {one["file_name"]: one["document_id"] for one in found}
        said = [{"document_id": ids[name], "label": "Flag"} for name in (first, rest[0])]
        ok(client.post("/v1/collections/shop/labels", json={"updates": said}))

    expect(tiles.get_by_label(f"{first}, ✓ Flag")).to_be_visible()
    page.unroute("**/v1/changes*")


def by_bob(said: dict[str, str]) -> dict[str, object]:
    """What Bob says of documents, by id, as the body of a verb."""
    return {"labels": said, "actor": "bob"}


def test_what_the_machine_decides_meanwhile_refuses_no_answer(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url, expected="ERR_FAILED").tab("#/review?tab=unsure")
    (name,) = names_of(asked(page))
    page.route("**/v1/changes*", lambda route: route.abort())  # its moves are not known here
    with asking(server.url) as client:
        found = ok(client.get("/v1/collections/shop/documents", params={"limit": 200}))["results"]
        mine = [one for one in found if one["labels"]["label"]["origin"] == "human"]
        said = {one["document_id"]: "Lamp" for one in mine}
        ok(client.post("/v1/collections/shop/verbs/label", json=by_bob(said)))
        now = ok(client.get("/v1/collections/shop/documents", params={"limit": 200}))["results"]

    with page.expect_response("**/v1/collections/shop/labels") as answered:
        press(page, "l", *"Torch", "Enter")

    revisions = {one["file_name"]: one["revision"] for one in found}
    assert {one["file_name"]: one["revision"] for one in now}[name] > revisions[name]
    assert answered.value.status == 200, "sent once, and taken"
    toast(page, "1 by you")


def test_what_another_person_says_meanwhile_stays_and_is_told(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url, expected="409|ERR_FAILED").tab("#/review?tab=unsure")
    (name,) = names_of(asked(page))
    page.route("**/v1/changes*", lambda route: route.abort())  # news do not come in time
    with asking(server.url) as client:
        found = ok(client.get("/v1/collections/shop/documents", params={"limit": 200}))["results"]
        (id,) = [one["document_id"] for one in found if one["file_name"] == name]
        ok(client.post("/v1/collections/shop/verbs/label", json=by_bob({id: "Lamp"})))

    press(page, "Enter")

    toast(page, "bob answered it meanwhile: Lamp")
    assert names_of(asked(page)) != [name], "where one is, one stays"
    assert labels(server)[name] == ("Lamp", "human")
    page.get_by_role("button", name="Show it").click()
    assert names_of(asked(page)) == [name]
    press(page, "l", *"Torch", "Enter")
    toast(page, "1 by you")
    assert labels(server)[name] == ("Torch", "human")


def test_where_another_person_answered_some_of_a_group_the_answer_holds_for_the_others(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url, expected="409|ERR_FAILED").tab("#/review?tab=kinds")
    first, *others = names_of(asked(page))
    page.route("**/v1/changes*", lambda route: route.abort())
    with asking(server.url) as client:
        found = ok(client.get("/v1/collections/shop/documents", params={"limit": 200}))["results"]
        ids = {one["file_name"]: one["document_id"] for one in found}
        ok(client.post("/v1/collections/shop/verbs/label", json=by_bob({ids[first]: "Lamp"})))

    press(page, "l", *"Flag", "Enter")

    toast(page, "bob answered 1 of them meanwhile: Lamp. That stays so")
    toast(page, f"your answer holds for the other {len(others)}")
    toast(page, f"{len(others)} by you")
    found_now = labels(server)
    assert found_now[first] == ("Lamp", "human")
    assert {found_now[name] for name in others} == {("Flag", "human")}


def test_a_server_that_fails_is_said_and_nothing_else_is_lost(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url, expected="500").tab("#/review?tab=unsure")
    (first,) = names_of(asked(page))
    fails = True

    def answer(route: Route) -> None:
        if fails:
            route.fulfill(status=500, body="{}")
        else:
            route.continue_()

    page.route("**/v1/collections/shop/labels", answer)
    press(page, "Enter")
    (second,) = names_of(asked(page))
    toast(page, "was not recorded")
    assert names_of(asked(page)) == [second], "an answer on its way moves nobody"
    fails = False
    page.get_by_role("button", name="Show it").click()
    assert names_of(asked(page)) == [first]
    press(page, "Enter")

    toast(page, "1 by you")
    assert labels(server)[first][1] == "human"


def test_a_label_box_that_is_opened_at_once_again_has_its_keys(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/review?tab=unsure")
    (first,) = names_of(asked(page))
    press(page, "l", *"Flag")
    at_once = """() => {
        for (const key of ["Enter", "l"]) {
            const press = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
            document.activeElement.dispatchEvent(press);
        }
    }"""

    page.evaluate(at_once)
    (second,) = names_of(asked(page))
    expect(page.get_by_role("combobox")).to_be_focused()
    toast(page, "1 by you")
    press(page, *"Lamp", "Enter")

    expect(page.get_by_role("combobox")).to_have_count(0)
    expect(page.get_by_text("on the way")).to_have_count(0)
    toast(page, "1 by you")
    found = labels(server)
    assert (found[first], found[second]) == (("Flag", "human"), ("Lamp", "human"))


def test_a_new_name_is_not_taken_for_a_label_that_has_its_letters(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/review?tab=unsure")
    (first,) = names_of(asked(page))
    rows = page.get_by_role("dialog", name="What is it?").get_by_role("option")
    press(page, "l", *"all")
    expect(rows).to_have_text([re.compile("New label: all Enter"), re.compile("Balloon")])
    expect(rows.first).to_have_attribute("aria-selected", "true")
    press(page, "ArrowDown")
    expect(rows.last).to_have_attribute("aria-selected", "true")
    expect(rows.last).to_contain_text("Enter")
    press(page, "ArrowUp", "Enter")
    (second,) = names_of(asked(page))
    press(page, "l", *"ball")
    expect(rows).to_have_text(
        [re.compile("Balloon.*Enter"), re.compile(r"New label: ball.*Shift\+Enter")]
    )
    press(page, "Enter")

    expect(page.get_by_text("on the way")).to_have_count(0)
    found = labels(server)
    assert (found[first], found[second]) == (("all", "human"), ("Balloon", "human"))


def test_who_is_quicker_than_the_queue_waits_and_is_not_told_that_it_is_over(
    server: Served, visit: Visiting
) -> None:
    """Two questions come, and the rest of that queue is empty: the page asks for a new one."""
    page = visit(server.url).tab()
    late: list[Route] = []

    def few(route: Route) -> None:
        if "snapshot=" in route.request.url:
            late.append(route)
        elif late:
            route.continue_()
        else:
            told = route.fetch().json()
            route.fulfill(json={**told, "results": told["results"][:2], "next_offset": 2})

    page.route("**/v1/collections/shop/queue*", few)
    page.goto(f"{server.url}/#/review?tab=unsure")
    names_of(asked(page))
    press(page, "Enter", "Enter")
    expect(page.get_by_text("Looking for the next questions…")).to_be_visible()
    expect(page.get_by_text("That is all")).to_have_count(0)
    expect(page.get_by_text("on the way")).to_have_count(0)
    late[0].fulfill(json={**late[0].fetch().json(), "results": [], "next_offset": None})

    names_of(asked(page))


def test_answers_wait_for_a_lost_connection_and_survive_a_reload(
    server: Served, visit: Visiting
) -> None:
    visited = visit(server.url, expected="ERR_INTERNET_DISCONNECTED|ERR_FAILED|refetch")
    page = visited.tab("#/review?tab=unsure")
    names = []
    names_of(asked(page))
    page.route("**/v1/collections/shop/labels", lambda route: route.abort())
    for _ in range(3):
        (name,) = names_of(asked(page))
        names.append(name)
        press(page, "Enter")
        expect(asked(page).first).not_to_have_attribute("aria-label", re.compile(f"^{name}"))
    toast(page, "No connection. What you answer is kept here")
    expect(page.get_by_text("3 on the way")).to_be_visible()
    page.on("dialog", lambda dialog: dialog.accept())
    page.unroute("**/v1/collections/shop/labels")
    page.reload()

    expect(page.get_by_text("on the way")).to_have_count(0)
    expect(page.locator(".counters dd").first).to_have_text("9")
    assert {labels(server)[name][1] for name in names} == {"human"}


def test_seven_tabs_hear_what_one_of_them_says(server: Served, visit: Visiting) -> None:
    visited = visit(server.url)
    tabs = [visited.tab("#/review?tab=unsure") for _ in range(7)]
    for tab in tabs:
        names_of(asked(tab))

    press(tabs[6], "Enter")

    for tab in tabs:
        expect(tab.locator(".counters dd").first).to_have_text("7")


def test_the_labels_by_number_stand_in_a_row(server: Served, visit: Visiting) -> None:
    """The styles of another page do not reach this one."""
    page = visit(server.url).tab("#/review")
    numbered = page.get_by_role("group", name="Labels by number").get_by_role("button")
    expect(numbered).to_have_count(len(NAMED))

    places = [one.bounding_box() for one in numbered.all()]

    assert len({place["y"] for place in places if place}) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_review_keeps_nobody_out(server: Served, visit: Visiting, scheme: str) -> None:
    page = visit(server.url, color_scheme=scheme, bypass_csp=True).tab("#/review")
    names_of(asked(page))
    found = {"strips": barriers(page)}
    press(page, "x", "w")
    expect(page.get_by_role("complementary", name="Why")).to_contain_text("reference")
    found["why"] = barriers(page)
    press(page, "h")
    expect(page.get_by_role("complementary", name="History")).to_contain_text("3 labelled")
    found["history"] = barriers(page)
    press(page, "Escape", "l")
    expect(page.get_by_role("combobox")).to_be_focused()
    found["label"] = barriers(page)
    press(page, "Escape", " ")
    expect(page.get_by_role("dialog")).to_be_visible()
    found["view"] = barriers(page)
    press(page, "Escape", "Escape")
    page.get_by_role("link", name="As a grid").click()
    expect(page.get_by_role("listbox", name="Items").get_by_role("option").first).to_be_visible()
    found["grid"] = barriers(page)
    go(page, "s")
    expect(page.get_by_role("heading", name="Coverage")).to_be_visible()
    found["start"] = barriers(page)

    assert {name: one for name, one in found.items() if one} == {}
