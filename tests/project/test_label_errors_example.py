"""The example that looks for wrong labels beside cleanlab runs, and finds them as its page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example_of_label_errors_finds_what_cleanlab_finds() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "label_errors.py")],
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    summary, table, pictures = done.stdout.split("\n\n")
    assert summary == "533 pictures of 25 kinds, 27 labels wrong"
    rows = [line.rsplit(maxsplit=4) for line in table.splitlines()[1:4]]
    found = {way.split(",")[0]: [int(part.rstrip("%")) for part in row] for way, *row in rows}
    assert list(found) == ["Lookalike: inspect", "cleanlab"]
    assert found["Lookalike: inspect"][2] >= 60  # precision
    assert found["Lookalike: inspect"][3] >= 80  # recall
    assert [int(row[4].rstrip("%")) >= 65 for row in rows] == [True] * 3
    assert int(table.splitlines()[-1].split()[-1]) >= 13  # that all three found
    assert len(pictures.splitlines()) == 9
