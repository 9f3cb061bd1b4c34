"""In which order files of tests are handed out, where several run side by side."""

from __future__ import annotations

from collections import Counter

import pytest

LONGEST = (
    "test_crash",
    "test_docs",
)
"""The files that take longest, which begin. The order of the others hardly matters."""


def longest_first(items: list[pytest.Item]) -> None:
    """Put the longest files first, then those of the most tests; what is in a file stays so."""
    count = Counter(item.path for item in items)

    def place(item: pytest.Item) -> tuple[int, int]:
        named = item.path.stem in LONGEST
        return LONGEST.index(item.path.stem) if named else len(LONGEST), -count[item.path]

    items.sort(key=place)
