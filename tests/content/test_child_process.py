"""Child processes that read untrusted content: limits, crashes and what stays of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from reportlab.pdfgen.canvas import Canvas

import lookalike
from lookalike.content.child_process import ChildFailed, ChildPool, Limits, set_limits
from lookalike.errors import BadContent
from lookalike.settings import read_settings

ODD = "odd_reader"


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    yield
    set_limits(Limits())


@pytest.fixture
def children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChildPool]:
    """ChildPool of a module that does what it is asked for, however odd."""
    (tmp_path / f"{ODD}.py").write_text(
        "import os, time\n"
        "from lookalike.content.child_process import serve\n"
        "from lookalike.errors import BadContent\n"
        "def answer(question, data):\n"
        "    match question['ask']:\n"
        "        case 'sleep': time.sleep(60)\n"
        "        case 'crash': os.abort()\n"
        "        case 'grow': bytearray(2**30)\n"
        "        case 'refuse': raise BadContent('no')\n"
        "    return {'pid': os.getpid()}, data[::-1]\n"
        "serve(answer)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = ChildPool(ODD)
    yield made
    made.end()


def pid(children: ChildPool) -> int:
    with children.borrowed() as child:
        return int(child.ask({"ask": "pid"})[0]["pid"])


def test_a_child_answers_and_stays_for_the_next_content(children: ChildPool) -> None:
    with children.borrowed() as child:
        values, data = child.ask({"ask": "pid"}, b"abc" * 500_000)
    with pytest.raises(BadContent, match="no"), children.borrowed() as child:
        child.ask({"ask": "refuse"})

    assert data == b"cba" * 500_000
    assert values["pid"] == pid(children) != os.getpid()


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ("sleep", "longer than 0.5 s .*READ_SECONDS"),
        ("crash", "crashed, or needs"),
        ("grow", "more than 400 MiB .*READ_MEMORY_MIB"),
    ],
)
def test_what_takes_too_much_is_killed_and_the_next_child_works(
    children: ChildPool, ask: str, said: str
) -> None:
    set_limits(Limits(seconds=0.5, memory_mib=400))

    with pytest.raises(ChildFailed, match=said), children.borrowed() as child:
        before = child._process.pid
        child.ask({"ask": ask})

    set_limits(Limits())
    assert pid(children) != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_a_child_that_died_while_it_waited_is_replaced(children: ChildPool) -> None:
    before = pid(children)
    os.kill(before, signal.SIGKILL)
    while children._idle[0].is_alive:
        time.sleep(0.01)

    assert pid(children) != before


def test_several_threads_have_children_of_their_own(children: ChildPool) -> None:
    meeting, pids = threading.Barrier(3), set[int]()

    def ask() -> None:
        with children.borrowed() as child:
            pids.add(child.ask({"ask": "pid"})[0]["pid"])
            meeting.wait(timeout=60)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 3


def test_children_end_with_a_parent_that_is_killed(children: ChildPool, tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from lookalike.content.child_process import ChildPool\n"
        f"with ChildPool({ODD!r}).borrowed() as child:\n"
        "    print(child.ask({'ask': 'pid'})[0]['pid'], flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()

    until = time.monotonic() + 30
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()


# --- PDF -----------------------------------------------------------------------------------------


def pdf(contents: bytes, filters: str) -> bytes:
    """Return a PDF of one page with this stream."""
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R >>",
        f"<< /Length {len(contents)} /Filter [{filters}] >>\nstream\n".encode()
        + contents
        + b"\nendstream",
    ]
    written, starts = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        starts.append(len(written))
        written += f"{number} 0 obj\n".encode() + part + b"\nendobj\n"
    table = "".join(f"{start:010} 00000 n \n" for start in starts)
    end = f"xref\n0 5\n0000000000 65535 f \n{table}trailer << /Size 5 /Root 1 0 R >>\n"
    return written + f"{end}startxref\n{len(written)}\n%%EOF".encode()


def letter(text: str) -> bytes:
    buffer = BytesIO()
    canvas = Canvas(buffer)
    canvas.drawString(72, 700, text)
    canvas.save()
    return buffer.getvalue()


def test_a_pdf_that_unpacks_to_gigabytes_fails_alone(tmp_path: Path) -> None:
    packed = zlib.compress(zlib.compress(b"0 0 1 1 re f\n" * 20_000_000, 9), 9)
    bomb = pdf(packed, "/FlateDecode /FlateDecode")
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "bomb.pdf").write_bytes(bomb)
    for name in ("bill", "parcel"):
        (folder / f"{name}.pdf").write_bytes(letter(f"This letter is about a {name} of last month"))
    settings = read_settings({"LOOKALIKE_READ_MEMORY_MIB": "700"})

    with lookalike.open(tmp_path / "store", settings=settings) as library:
        collection = library.labeler("letters", extractor="document")
        added = collection.add(folder)
        names = sorted(one.file_name for one in collection.documents())

    assert len(bomb) < 2_000
    assert names == ["bill.pdf", "parcel.pdf"]
    ((failed, reason),) = added.failed.items()
    assert "bomb" in failed
    assert "more than 700 MiB of memory (LOOKALIKE_READ_MEMORY_MIB)" in reason
