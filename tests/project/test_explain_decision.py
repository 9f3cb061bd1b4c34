"""The page that follows one decision, against the pipeline run again."""

import re
import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "explain_decision.py"))
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def test_the_figures_of_the_page_are_what_the_pipeline_says() -> None:
    page = TOOL["PAGE"].read_text("utf-8")

    again = TOOL["filled"](page, TOOL["read_story"]())

    # Processors differ in the last digits of a vector.
    assert NUMBER.sub("#", again) == NUMBER.sub("#", page), "run: python tools/explain_decision.py"
    shown, measured = ([float(one) for one in NUMBER.findall(text)] for text in (page, again))
    assert measured == pytest.approx(shown, rel=0.03, abs=0.01)
