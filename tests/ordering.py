"""In which order files of tests are handed out, where several run side by side."""

from __future__ import annotations

from collections import Counter

import pytest

LONGEST = (
    "test_docs",
    "test_ray",
    "test_remote",
    "test_openapi",
    "test_cli",
    "test_migrating",
    "test_crash",
    "test_properties",
    "test_object_storage",
    "test_calibration",
    "test_page_goals",
    "test_postgres_servers",
    "test_durability",
    "test_combined",
    "test_annotating",
    "test_page_first_run",
    "test_postgres_workers",
    "test_demo",
    "test_trials",
    "test_selecting",
)
"""The files that take longest, which begin. The order of the others hardly matters."""


def longest_first(items: list[pytest.Item]) -> None:
    """Put the longest files first, then those of the most tests; what is in a file stays so."""
    count = Counter(item.path for item in items)

    def place(item: pytest.Item) -> tuple[int, int]:
        named = item.path.stem in LONGEST
        return LONGEST.index(item.path.stem) if named else len(LONGEST), -count[item.path]

    items.sort(key=place)
