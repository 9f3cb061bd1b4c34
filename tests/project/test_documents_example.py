"""The example of documents reaches automatic labels from nothing labelled, over a check sheet."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "documents.py"
EACH, SCANNED = 20, 0.05


def test_the_queue_leads_to_papers_that_label_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(EXAMPLE))["main"]

    main(str(tmp_path / "store"), EACH, SCANNED, checked=True)

    shown = capsys.readouterr().out
    told = {line.split()[0]: line.split(maxsplit=1)[1] for line in shown.splitlines()}
    assert float(told["coverage"].split("%")[0]) >= 80
    assert float(told["precision"].split("%")[0]) >= 95
    assert int(told["precision"].split("(")[1].split()[0]) >= 20
    assert int(told["by"].split()[1]) <= 40
    assert "check" in told["by"]
