"""Fixtures of several test modules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import lookalike
from lookalike.plugins import extractors
from lookalike.testing.fakes import write_plugin


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place on the path where the fake extractors are installed."""
    write_plugin(tmp_path / "plugins")
    monkeypatch.syspath_prepend(tmp_path / "plugins")
    extractors.cache_clear()
    yield tmp_path / "plugins"
    extractors.cache_clear()


@pytest.fixture
def library(tmp_path: Path, plugins: Path) -> Iterator[lookalike.Library]:
    """An open store, empty, for collections of the fake extractors."""
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened
