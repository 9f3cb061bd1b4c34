"""The map of the code: its picture is drawn from the imports, its names exist, its journeys run."""

from __future__ import annotations

import asyncio
import csv
import importlib
import inspect
import re
import runpy
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from test_shape import LAYERS, PACKAGE, SOURCE, Tree, read_tree

import lookalike
from lookalike.server.app import make_app
from patient import WAIT_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PICTURE = ROOT / "docs" / "images" / "packages.svg"
SAMPLES = Path(str(files("lookalike.library.samples")))

NAMES = re.compile(r"`(lookalike(?:\.\w+)+)`")
FILES = re.compile(r"`((?:src|tests|tools)/[\w/.-]+)`")

LABELS = ("Vehicle > Car", "Building > House", "Animal > Bird")
EXAMPLES, WAITING = 4, 4


# --- the picture --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "draw_packages.py"))


def test_the_picture_is_what_the_imports_say(tool: dict[str, Any]) -> None:
    drawn = tool["draw"](read_tree(SOURCE), LAYERS)

    assert PICTURE.read_text("utf-8") == drawn, "run: python tools/draw_packages.py"


def test_an_arrow_that_follows_from_others_is_left_out(tool: dict[str, Any]) -> None:
    sources = {
        "lookalike": "import lookalike.cli\n",
        "lookalike.cli": "import lookalike.library.collection\nimport lookalike.model\n",
        "lookalike.library": "",
        "lookalike.library.collection": "def f():\n    import lookalike.model\n" * 20,
        "lookalike.model": "x = 1\n",
    }

    arrows = tool["arrows_of"](Tree(sources))

    assert arrows == [("cli", "library"), ("library", "model")]


def test_few_more_lines_do_not_change_the_picture(tool: dict[str, Any]) -> None:
    sources = {"lookalike": "", "lookalike.model": "x = 1\n" * 420, "lookalike.cli.one": "\n"}
    longer = sources | {"lookalike.model": "x = 1\n" * 440}

    pictures = [tool["draw"](Tree(one), (("cli",), ("model",))) for one in (sources, longer)]

    assert pictures[0] == pictures[1]
    assert "1 module, 400 lines" in pictures[0]


def test_every_text_of_the_picture_lies_in_its_box_and_no_boxes_meet(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content(PICTURE.read_text("utf-8"))
    edges = "all => all.map(one => one.getBBox()).map(one => [one.x, one.y, one.width, one.height])"

    boxes, texts = (page.locator(kind).evaluate_all(edges) for kind in (".box", "text"))
    page.close()

    assert len(boxes) > 10
    assert [text for text in texts if sum(_holds(box, text) for box in boxes) != 1] == []
    assert [box for box in boxes if sum(_meet(box, other) for other in boxes) != 1] == []


def _holds(box: list[float], text: list[float]) -> bool:
    (left, top, width, height), (x, y, wide, high) = box, text
    return left < x and top < y and x + wide < left + width and y + high < top + height


def _meet(box: list[float], other: list[float]) -> bool:
    (left, top, width, height), (x, y, wide, high) = box, other
    return left < x + wide and x < left + width and top < y + high and y < top + height


# --- the names ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(NAMES.findall(PAGE))))
def test_a_name_on_the_map_is_where_the_map_says(name: str) -> None:
    home, found = found_at(name)

    place = getattr(found, "__module__", home)
    assert place == home, f"{name} is defined in {place}"


def test_every_file_on_the_map_is_there() -> None:
    named = FILES.findall(PAGE)

    assert len(named) > 5
    assert [one for one in named if not (ROOT / one).exists()] == []


def test_every_package_is_on_the_map() -> None:
    table = section("The packages")
    packages = [name for row in LAYERS for name in row if not name.startswith("_")]

    assert [name for name in packages if f"`{name}`" not in table] == []


def test_the_map_answers_twenty_wishes_and_more() -> None:
    rows = section("I want to change … → look in …").splitlines()

    assert sum(bool(NAMES.search(row) or FILES.search(row)) for row in rows) >= 20


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def found_at(name: str) -> tuple[str, Any]:
    """Return what a dotted name means, and the module it is in."""
    parts = name.split(".")
    found: Any = importlib.import_module(parts[0])
    home = parts[0]
    for place, part in enumerate(parts[1:], 2):
        if isinstance(found, ModuleType) and not hasattr(found, part):
            home = ".".join(parts[:place])
            found = importlib.import_module(home)
        else:
            found = getattr(found, part)
            home = found.__name__ if isinstance(found, ModuleType) else home
    assert home.startswith(PACKAGE), f"{name} has moved to {home}"
    return home, found


# --- the journeys -------------------------------------------------------------------------------


@pytest.fixture
def things(tmp_path: Path) -> Iterator[tuple[lookalike.Library, dict[str, str], list[Path]]]:
    """A library whose collection `things` has a few labelled pictures, and some that wait.

    With the labels by document id of those that wait, and pictures that are not in it yet.
    """
    with (SAMPLES / "truth.csv").open(encoding="utf-8", newline="") as file:
        truth = {row["file_name"]: row["label"] for row in csv.DictReader(file)}
    listed = {label: sorted(n for n, own in truth.items() if own == label) for label in LABELS}
    examples = [name for names in listed.values() for name in names[:EXAMPLES]]
    waiting = [name for names in listed.values() for name in names[EXAMPLES:][:WAITING]]
    new = [SAMPLES / "pictures" / names[EXAMPLES + WAITING] for names in listed.values()]
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        pictures = [SAMPLES / "pictures" / name for name in (*examples, *waiting)]
        collection = library.labeler("things", pictures)
        ids = {Path(one.file_name).name: one.id for one in collection.documents()}
        collection.label({ids[name]: truth[name] for name in examples})
        yield library, {ids[name]: truth[name] for name in waiting}, new


def test_the_journey_of_one_label_runs_as_it_is_told(
    things: tuple[lookalike.Library, dict[str, str], list[Path]],
) -> None:
    library, waiting, _ = things
    document, label = next(iter(waiting.items()))
    app = make_app(library.runtime, host="127.0.0.1")

    async def answer() -> Any:
        local = httpx2.ASGITransport(app=app, client=("127.0.0.1", 1))
        async with httpx2.AsyncClient(
            transport=local, base_url="http://127.0.0.1", timeout=WAIT_S
        ) as page:
            updates = [{"document_id": document, "label": label}]
            said = await page.post("/v1/collections/things/labels", json={"updates": updates})
            since = said.json()["revision"] - 1
            await page.get("/v1/changes", params={"since": since})
            shown = await page.post("/v1/collections/things/documents/list", json={"limit": 100})
            return shown.json()["results"]

    shown = follow("The journey of one label", lambda: asyncio.run(answer()))

    assert [one["labels"] for one in shown if one["document_id"] == document]


def test_the_journey_of_one_picture_runs_as_it_is_told(
    things: tuple[lookalike.Library, dict[str, str], list[Path]],
) -> None:
    library, waiting, new = things
    collection = library.collection("things")

    def bring() -> list[str]:
        collection.add(new[0])
        return [one.file_name for one in collection.documents()]

    shown = follow("The journey of one picture", bring)

    assert len(shown) == len(LABELS) * EXAMPLES + len(waiting) + 1
    assert Path(shown[-1]).name == new[0].name


def follow(title: str, travel: Callable[[], Any]) -> Any:
    """Do something, and check that the functions of a journey are called in the order told."""
    told = NAMES.findall(section(title))
    codes = {name: code_of(name) for name in told}
    names = {code: name for name, code in codes.items()}
    called: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in names:
            called.append(names[frame.f_code])

    with ThreadPoolExecutor(1) as pool:
        threading.setprofile(note)  # for threads that begin from now on: this pool's, and theirs
        try:
            result = pool.submit(travel).result()
        finally:
            threading.setprofile(None)
    assert len(told) > 15
    rest = iter(called)
    for before, name in zip([title, *told], told, strict=False):
        assert name in rest, f"{name} was not called after {before}; called: {called}"
    return result


def code_of(name: str) -> CodeType:
    _, found = found_at(name)
    function = inspect.unwrap(found)
    assert inspect.isfunction(function), f"{name} is no function"
    return function.__code__
