"""What a notebook shows of results, and the bar of long calls."""

from __future__ import annotations

import base64
import io
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image

import lookalike
from lookalike.library.collection.notebook import html
from lookalike.model import Origin
from pictured import BOXES, png, shapes
from serving import Served

PICTURES = Path(str(files("lookalike.library.samples") / "pictures"))
FRUIT = ("an-apple-01.png", "1989-chevrolet-celebrit-01.png", "analog-clock-jonathan-di-01.png")
ATTACK = "<script src='x'"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


def things_in(library: lookalike.Library) -> lookalike.Collection:
    things = library.labeler("things", extractor="image", confidence_threshold=0.2)
    things.add([PICTURES / name for name in FRUIT], ids=["apple", "car", "clock"])
    things.label({"apple": ATTACK})
    return things


def shown(result: object) -> str:
    """Return the HTML that a notebook asks for, after what must hold of each."""
    text: str = getattr(result, "_repr_html_")()  # noqa: B009 as notebooks do
    assert "<script" not in text
    assert re.findall(r'src="(?!data:image/jpeg;base64,)', text) == []
    assert text.count("<div") == text.count("</div>")
    return text


def pictures_in(text: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in found]


def test_results_show_their_pictures_and_what_they_say(library: lookalike.Library) -> None:
    things = things_in(library)
    documents = list(things.documents())
    automatic = [one for one in documents if one.origin is Origin.AUTO]

    document, report, collection = shown(documents[0]), shown(things.report()), shown(things)
    question, why = shown(things.queue(limit=1)[0]), shown(things.why(automatic[0].id))

    assert "&lt;script src" in document
    assert "by ann" in document
    assert [one.format for one in pictures_in(document)] == ["JPEG"]
    assert "100% of 3 documents labelled" in report
    assert "100% of 3 documents labelled" in collection
    assert len(pictures_in(collection)) == 3
    assert "settles about" in question
    assert len(pictures_in(question)) >= 1
    assert "similarity" in why
    assert len(pictures_in(why)) == 2, "the document and the reference"


def test_a_region_is_shown_alone(library: lookalike.Library) -> None:
    shop = library.labeler("shop", extractor="region")
    regions = [{"id": f"r{number}", "box": list(box)} for number, box in enumerate(BOXES)]
    shop.add([{"image": png(shapes()), "regions": regions}])

    (red, *_) = [pictures_in(shown(one))[0] for one in shop.documents()]

    assert red.getpixel((red.width // 2, red.height // 2)) == pytest.approx((254, 0, 0), abs=3)
    assert red.width < 120


def test_a_text_is_shown_as_its_beginning(library: lookalike.Library) -> None:
    notes = library.labeler("notes", extractor="text")
    notes.add([{"id": "n", "text": f"{ATTACK} {'many words ' * 100}"}])

    text = shown(notes.document("n"))

    assert "&lt;script src=&#x27;x&#x27; many words" in text
    assert len(text) < 900


def test_vectors_are_shown_by_name(library: lookalike.Library) -> None:
    points = library.labeler("points", extractor="passthrough", confidence_threshold=0.9)
    points.add(vectors=[[1, 0], [1, 0.1]], ids=["a", "b"])
    points.label({"a": "x"})

    assert "automatic, 1.00" in shown(points.document("b"))
    assert pictures_in(shown(points.why("b"))) == []


def test_a_collection_without_a_label_field_and_a_closed_store_say_so(
    library: lookalike.Library,
) -> None:
    things = things_in(library)
    document = things.document("apple")
    library.create_bucket("plain", {"image": "image"})

    bare = library.create_collection("bare", bucket="plain", extractor="image")

    assert "<Collection 'bare'>" in repr(bare)
    assert "no label field" in shown(bare)
    library.close()
    assert "closed" in shown(things)
    assert pictures_in(shown(document)) == []
    with pytest.raises(TypeError, match="a int has no HTML"):
        html(7)


def test_a_server_shows_the_same(library: lookalike.Library, tmp_path: Path) -> None:
    local = [shown(one) for one in things_in(library).documents()]
    library.close()

    with Served(tmp_path / "store") as served, lookalike.connect(served.url) as there:
        things = there.collection("things")
        remote = [shown(one) for one in things.documents()]
        everything = shown(things)

    assert remote == local
    assert len(pictures_in(everything)) == 3


# --- the bar of long calls -----------------------------------------------------------------------

BAR = """
from lookalike import progress_bar
with progress_bar("reading") as show:
    for done in range(4):
        show(done, 3)
"""


def test_the_bar_is_shown_on_a_terminal_and_nowhere_else() -> None:
    piped = subprocess.run([sys.executable, "-c", BAR], capture_output=True, check=True)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    subprocess.run([sys.executable, "-c", BAR], stderr=theirs, stdout=theirs, check=True)
    os.close(theirs)
    seen = b"".join(read_all(ours)).decode("utf-8")
    os.close(ours)

    assert piped.stdout + piped.stderr == b""
    assert "reading: 100%" in seen
    assert "3/3" in seen


def read_all(terminal: int) -> Iterator[bytes]:
    """Yield what was written to a terminal until its other end was closed."""
    with suppress(OSError):
        while part := os.read(terminal, 10_000):
            yield part
