"""In which order files of tests are handed out, where several run side by side."""

from __future__ import annotations

from collections import Counter

import pytest

LONGEST = (
    "test_docs",
    "test_crash",
    "test_cli",
    "test_ray",
    "test_openapi",
    "test_remote",
    "test_page_review",
    "test_properties",
    "test_object_storage",
    "test_migrating",
    "test_durability",
    "test_page_goals",
    "test_demo",
    "test_calibration",
    "test_suggesting",
    "test_server_tasks",
    "test_postgres_servers",
    "test_faces",
    "test_server_access",
    "test_label_trees",
    "test_page_first_run",
    "test_selecting",
    "test_page_pairs",
    "test_annotating",
    "test_combined",
)
"""The files that take longest, which begin. The order of the others hardly matters."""


def longest_first(items: list[pytest.Item]) -> None:
    """Put the longest files first, then those of the most tests; what is in a file stays so."""
    count = Counter(item.path for item in items)

    def place(item: pytest.Item) -> tuple[int, int]:
        named = item.path.stem in LONGEST
        return LONGEST.index(item.path.stem) if named else len(LONGEST), -count[item.path]

    items.sort(key=place)
