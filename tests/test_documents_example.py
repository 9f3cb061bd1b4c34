"""The example of documents runs, and labels papers under the default rule as its page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("how", ["", "--checked"])
def test_the_example_of_documents_labels_papers(tmp_path: Path, how: str) -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "examples" / "documents.py")),
            *([how] if how else []),
            str(tmp_path / "store"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    told = {line.split()[0]: line.split(maxsplit=1)[1] for line in done.stdout.splitlines()}
    assert float(told["coverage"].split("%")[0]) >= 80
    assert float(told["precision"].split("%")[0]) >= 95
    assert int(told["precision"].split("(")[1].split()[0]) >= 60
    assert int(told["by"].split()[1]) <= 60
    assert ("check" in told["by"]) == bool(how)
