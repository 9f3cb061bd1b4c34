"""The example notebooks, run from the first cell to the last as a person runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from plausible import meets

EXAMPLES = Path(__file__).parents[2] / "examples"

PICTURES = {"documents": 12, "people": 12, "products": 12, "vectors": 0}
"""How many pictures the largest answer has at least."""

RIGHT = re.compile(r"(\d+) of (\d+)\b")


RUN = """
import sys
import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

source, target, place, socket = sys.argv[1:]
book = nbformat.read(source, as_version=4)
kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=socket)
NotebookClient(book, timeout=300, km=kernel, resources={"metadata": {"path": place}}).execute()
nbformat.write(book, target)
"""
"""A process of its own: the client of the kernel leaves sockets to the garbage collector."""


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_runs_and_shows_pictures(name: str, tmp_path: Path) -> None:
    source, target = EXAMPLES / f"{name}.ipynb", tmp_path / "run.ipynb"
    book = nbformat.read(source, as_version=4)  # type: ignore[no-untyped-call]
    assert all(not cell.get("outputs") for cell in book.cells), "outputs are not committed"

    given = [source, target, EXAMPLES, tmp_path / "kernel"]
    ended = subprocess.run([sys.executable, "-c", RUN, *map(str, given)], check=False)
    assert ended.returncode == 0
    book = nbformat.read(target, as_version=4)  # type: ignore[no-untyped-call]

    outputs = [one for cell in book.cells for one in cell.get("outputs", [])]
    pages = [one.data.get("text/html", "") for one in outputs if "data" in one]
    said = "".join(one.data.get("text/plain", "") for one in outputs if "data" in one)
    assert max(page.count("<img") for page in pages) >= PICTURES[name]
    if name != "people":
        counts = [(int(right), int(of)) for right, of in RIGHT.findall(said)]
        assert counts
        assert all(meets(right, of) for right, of in counts)
