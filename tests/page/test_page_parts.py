"""Reviewing what is a part of something: faces, regions of pictures, pages and their passages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from test_quoting import BOILER, HEATING

import lookalike
from browsing import Visit, barriers
from goods import asking, ok
from papers import INVOICE, LETTER, POEM, pdf_of
from pictured import png, shapes
from portraits import COLLINS, HOPPER, encoded, portrait, taken_again, together
from serving import Served

Visiting = Callable[..., Visit]

WIDE = (1500, 150)
"""A picture so wide that it leaves room above and below."""

BOXES = ((20.0, 30.0, 80.0, 60.0), (700.0, 40.0, 90.0, 90.0), (1300.0, 30.0, 70.0, 80.0))
COLOURS = ("Red", "Green", "Blue")
NEAR_PX = 4.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A store of photos of two people, of pictures with three shapes, and of letters."""
    root: Path = tmp_path_factory.mktemp("parts")
    with lookalike.open(root / "store", actor="ann") as library:
        fill_faces(library, root)
        fill_shapes(library)
        fill_papers(library, root)
    with Served(root / "store") as served:
        yield served


def written(folder: Path, files: Mapping[str, bytes]) -> str:
    """Write files into a folder, and return its address."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return str(folder)


def fill_faces(library: lookalike.Library, root: Path) -> None:
    people = library.labeler(
        "people", extractor="faces", field="person", confidence_threshold=0.93, side=800
    )
    both = together([portrait(HOPPER), portrait(COLLINS)])
    photos = {"together.jpg": both, "again.jpg": taken_again(both, 2)}
    people.add(written(root / "album", {name: encoded(one) for name, one in photos.items()}))
    first = {one.part: one.id for one in people.documents() if one.file_name == "together.jpg"}
    people.label({first["face-0"]: "Grace"})


def fill_shapes(library: lookalike.Library) -> None:
    things = library.labeler("things", extractor="region", field="colour", confidence_threshold=0.9)
    given = [{"id": colour, "box": list(box)} for colour, box in zip(COLOURS, BOXES, strict=True)]
    for number in range(2):
        moved = [(left, top + number, *size) for left, top, *size in BOXES]
        content = png(shapes(moved, WIDE))  # type: ignore[arg-type]
        things.add([{"content": content, "id": f"photo-{number}", "regions": given}])
    ids = {one.part: one.id for one in things.documents() if one.object_id == "photo-0"}
    things.label({ids["Red"]: "Red"})


def fill_papers(library: lookalike.Library, root: Path) -> None:
    papers = library.labeler("papers", extractor="documents", confidence_threshold=0.2)
    contents = {
        "reference.pdf": pdf_of(POEM * 5, HEATING * 4),
        "other.pdf": pdf_of(INVOICE * 4),
        "question.pdf": pdf_of(LETTER * 4, LETTER * 4, BOILER * 4),
    }
    papers.add(written(root / "post", contents))
    ids = {one.file_name: one.id for one in papers.documents()}
    papers.label({ids["reference.pdf"]: "Heating", ids["other.pdf"]: "Invoice"})


def documents(server: Served, collection: str) -> dict[tuple[str, str], dict[str, str | None]]:
    """Return label and origin of each part, by the name of its file or object and its own."""
    with asking(server.url) as client:
        found = ok(client.get(f"/v1/collections/{collection}/documents"))["results"]
    return {
        (one["file_name"] or one["object_id"], one["part"]): next(iter(one["labels"].values()))
        for one in found
    }


def asked(page: Page) -> Locator:
    return page.locator(".strip.here [role=option]")


def view(page: Page) -> Locator:
    """Open the big view, and return it once its picture is there."""
    page.keyboard.press("Space")
    opened = page.get_by_role("dialog", name="Big view")
    expect(opened).to_be_visible()
    expect(opened.locator("img")).to_have_js_property("complete", True)
    return opened


def framed(opened: Locator, size: Sequence[float]) -> list[float]:
    """Return the box that is framed, in pixels of the picture of that size."""
    image = opened.locator("img").bounding_box()
    frame = opened.locator(".frame").bounding_box()
    assert image and frame
    scale = min(image["width"] / size[0], image["height"] / size[1])
    left = image["x"] + (image["width"] - scale * size[0]) / 2
    top = image["y"] + (image["height"] - scale * size[1]) / 2
    found = (frame["x"] - left, frame["y"] - top, frame["width"], frame["height"])
    return [one / scale for one in found]


def test_a_face_is_shown_as_a_crop_and_in_its_photo_and_named_by_keys(
    server: Served, visit: Visiting
) -> None:
    before = documents(server, "people")
    assert before["again.jpg", "face-0"]["label"] == "Grace", "it labelled itself"
    page = visit(server.url).tab("#/review?c=people&view=grid")
    tiles = page.get_by_role("listbox", name="Items").get_by_role("option")
    expect(tiles).to_have_count(4)
    crops = tiles.locator("img").evaluate_all("all => all.map((one) => one.src)")
    assert len(set(crops)) == 4 and all("view=b" in one for one in crops)

    page.keyboard.press("Home")
    opened = view(page)
    size = taken_again(together([portrait(HOPPER), portrait(COLLINS)]), 2).size
    left, top, width, _ = framed(opened, size)
    assert 0 < left < left + width < size[0] / 2 and top > 0
    page.keyboard.press("ArrowRight")
    expect(opened.locator("img")).to_have_js_property("complete", True)
    right, *_ = framed(opened, size)
    assert right > size[0] / 2, "the frame goes on to the other face of the photo"
    page.keyboard.press("c")
    expect(opened.locator(".frame")).to_have_count(0)
    expect(opened.locator("img")).to_have_attribute("src", re.compile("thumbnail.*view=b"))
    page.keyboard.press("c")
    expect(opened.locator(".frame")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(opened).to_be_hidden()

    page.keyboard.press("l")
    page.keyboard.type("Eileen")
    page.keyboard.press("Shift+Enter")
    expect(page.get_by_text(re.compile("1 by you, 1 automatic"))).to_be_visible()
    after = documents(server, "people")
    said = {place: (one["label"], one["origin"]) for place, one in after.items()}
    assert said["again.jpg", "face-1"] == ("Eileen", "human")
    assert said["together.jpg", "face-1"] == ("Eileen", "auto")
    assert said["together.jpg", "face-0"] == ("Grace", "human")


def test_a_region_is_reviewed_with_its_box_on_the_picture(server: Served, visit: Visiting) -> None:
    page = visit(server.url, expected="409").tab("#/review?c=things&view=grid")
    tiles = page.get_by_role("listbox", name="Items").get_by_role("option")
    expect(tiles).to_have_count(2 * len(BOXES))

    page.keyboard.press("Home")
    for number in range(2 * len(BOXES)):
        expect(tiles.nth(number)).to_have_class(re.compile("here"))
        opened = view(page)
        box = framed(opened, WIDE)
        place = min(range(len(BOXES)), key=lambda one: abs(BOXES[one][0] - box[0]))
        assert all(abs(a - b) < NEAR_PX for a, b in zip(box, BOXES[place], strict=True)), box
        page.keyboard.press("Escape")
        expect(opened).to_be_hidden()
        page.keyboard.press("l")
        page.keyboard.type(COLOURS[place])
        page.keyboard.press("Shift+Enter")

    expect(page.get_by_text("on the way")).to_have_count(0)
    found = documents(server, "things")
    assert len(found) == 2 * len(BOXES)
    assert all(one["label"] == part for (_, part), one in found.items())


def test_a_document_shows_its_page_and_the_words_that_mattered(
    server: Served, visit: Visiting
) -> None:
    page = visit(server.url).tab("#/review?c=papers&tab=unsure")
    expect(asked(page).locator("img")).to_have_js_property("complete", True)
    expect(asked(page)).to_have_attribute("aria-label", re.compile("^question.pdf"))

    opened = view(page)
    shown = opened.locator("img")
    expect(shown).to_have_attribute("src", re.compile("thumbnail"))
    assert shown.evaluate("one => one.naturalHeight > one.naturalWidth > 0"), (
        "a page stands upright"
    )
    page.keyboard.press("Escape")
    page.keyboard.press("w")
    why = page.get_by_role("complementary", name="Why")
    quotes = why.get_by_role("blockquote")
    expect(quotes).to_have_count(2)
    expect(quotes.first).to_contain_text("boiler")
    expect(quotes.last).to_contain_text(re.compile("heating|radiator|boiler", re.IGNORECASE))
    page.keyboard.press("Enter")

    expect(page.get_by_text("1 by you")).to_be_visible()
    standing = documents(server, "papers")["question.pdf", ""]
    assert (standing["label"], standing["origin"]) == ("Heating", "human")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("collection", ["people", "papers"])
def test_the_big_view_keeps_nobody_out(
    server: Served, visit: Visiting, scheme: str, collection: str
) -> None:
    visited = visit(server.url, color_scheme=scheme, bypass_csp=True)
    page = visited.tab(f"#/review?view=grid&c={collection}")
    expect(page.get_by_role("listbox", name="Items").get_by_role("option").first).to_be_visible()

    view(page)

    assert barriers(page) == []
