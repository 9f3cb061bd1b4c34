"""The example of people runs, and names faces as its page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example_of_people_names_faces_and_forgets_one_person(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "people.py"), str(tmp_path / "store")],
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert done.returncode == 0, done.stderr
    told = {line.split()[0]: line.split(maxsplit=1)[1] for line in done.stdout.splitlines()}
    assert float(told["precision"].split("%")[0]) >= 95
    assert int(told["labelled"].split(", ")[1].split()[0]) >= 15
    assert int(told["faces"].split(", ")[1].split()[0]) >= 1
    assert told["kept"].endswith("0 of Grace")
