"""Take the pictures of the review page that `docs/` shows, light and dark: `make pictures`.

The store is the demo's: the shipped pictures, a few of them labelled by their truth.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import lookalike
import lookalike.library.samples
from lookalike.library.demo import COLLECTION, run_demo

SAMPLES = Path(lookalike.library.samples.__file__).parent
IMAGES = Path(__file__).parent.parent / "docs" / "images"

SHOTS: dict[str, tuple[str, Sequence[str]]] = {
    "start": ("#/start", ()),
    "review": ("#/review", ()),
    "unsure": ("#/review?tab=unsure", ("w",)),
    "history": ("#/review?tab=kinds", ("h",)),
    "grid": ("#/review?view=grid", ()),
    "pairs": ("#/review?tab=unsure&view=pair", ()),
    "map": ("#/map", ("j", "j", "j", "Enter")),
    "audit": ("#/audit", ()),
    "thresholds": ("#/thresholds?at=0.8", ()),
    "references": ("#/references?label=Sign > Hazard", ("Enter", *["ArrowRight"] * 7)),
}
"""Where each picture is taken, and the keys that are pressed before."""

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTH, HEIGHT = 1280, 800
SETTLES_MS = 1500


@contextmanager
def served(store: Path) -> Iterator[str]:
    """Give the address of a server over a store."""
    command = [sys.executable, "-m", "lookalike", "--store", str(store), "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        found = re.search(r"http://\S+", server.stderr.readline())
        assert found, "the server does not say where it is"
        yield found[0]
        server.terminate()


def audit(library: lookalike.Library) -> None:
    """Draw an audit, and answer most of it by the truth; two slips make two labels wrong."""
    collection = library.labeler(COLLECTION, extractor="image", field="label")
    with (SAMPLES / "truth.csv").open(encoding="utf-8", newline="") as file:
        truth = {row["file_name"]: row["label"] for row in csv.DictReader(file)}
    drawn = collection.audit(60)
    names = {one.id: one.file_name for one in collection.documents()}
    said = {id: truth[names[id]] for id in drawn.waiting[:45]}
    slips = dict.fromkeys(drawn.waiting[:2], "Plant > Tree")
    collection.answer_audit(drawn.id, said | slips)


def settle(page: Page) -> None:
    """Wait until nothing has come for a while."""
    before = -1
    while (now := page.evaluate("performance.getEntriesByType('resource').length")) != before:
        before = now
        page.wait_for_timeout(SETTLES_MS)


def take(browser: Browser, url: str, scheme: Literal["light", "dark"]) -> None:
    """Take every picture in one colour scheme."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
    for name, (place, keys) in SHOTS.items():
        page.goto("about:blank")
        page.goto(f"{url}/{place}")
        settle(page)
        for key in keys:
            page.keyboard.press(key)
        settle(page)
        picture = Image.open(io.BytesIO(page.screenshot()))
        picture.save(IMAGES / f"{name}-{scheme}.webp", quality=80, method=6)
        print(f"took {name}-{scheme}.webp")
    page.close()


def main() -> None:
    """Take all pictures."""
    path = shutil.which("chromium")
    assert path, "Chromium is needed: apt-get install chromium"
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        store = Path(place) / "drawings"
        with lookalike.open(store, actor="ann") as library:
            run_demo(library, progress=lambda *_: None)
            audit(library)
        with served(store) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            for scheme in SCHEMES:
                take(browser, url, scheme)
            browser.close()


if __name__ == "__main__":
    main()
