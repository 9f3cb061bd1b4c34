"""Fixtures of several test modules."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lookalike
from lookalike.extractors.registry import extractors
from lookalike.testing.fakes import write_plugin
from ordering import longest_first

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from browsing import Visit


# Servers are asked without TLS: no client need read a bundle of certificates, for 40 ms each.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let workers side by side begin with the longest files: none is alone with one at the end."""
    if hasattr(config, "workerinput"):
        longest_first(items)


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a module: Playwright keeps the thread's event loop to itself."""
    from browsing import chromium

    with chromium() as opened:
        yield opened


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Visit an address with a profile of one's own. The browser must not complain of anything."""
    from browsing import Visit

    visits: list[Visit] = []

    def make(url: str, *, expected: str = "", **how: Any) -> Visit:
        visits.append(Visit(browser, url, expected, **how))
        return visits[-1]

    yield make
    for one in visits:
        one.end()
