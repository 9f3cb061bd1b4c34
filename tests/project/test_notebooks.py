"""The example notebooks, run from the first cell to the last as a person runs them."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"

PICTURES = {"documents": 12, "people": 12, "products": 12, "vectors": 0}
"""How many pictures the largest answer has at least."""

RIGHT = re.compile(r"(\d+) of (\d+)|([\d.]+)% of them right")


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_runs_and_shows_pictures(name: str, tmp_path: Path) -> None:
    text = (EXAMPLES / f"{name}.ipynb").read_text("utf-8")
    book = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    assert all(not cell.get("outputs") for cell in book.cells), "outputs are not committed"
    kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=str(tmp_path / "kernel"))

    place = {"metadata": {"path": str(EXAMPLES)}}
    NotebookClient(book, timeout=300, km=kernel, resources=place).execute()

    outputs = [one for cell in book.cells for one in cell.get("outputs", [])]
    pages = [one.data.get("text/html", "") for one in outputs if "data" in one]
    said = "".join(one.data.get("text/plain", "") for one in outputs if "data" in one)
    assert max(page.count("<img") for page in pages) >= PICTURES[name]
    if name != "people":
        shares = [
            float(share) / 100 if share else int(right) / int(of)
            for right, of, share in RIGHT.findall(said)
        ]
        assert shares
        assert min(shares) >= 0.95
