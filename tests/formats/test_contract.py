"""Every format keeps the contract, on the pictures that come with the package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from lookalike.formats.base import Format
from lookalike.formats.registry import FORMATS
from lookalike.testing.formats import FormatContract


@pytest.fixture(scope="module")
def samples() -> Iterator[Sequence[Path]]:
    with as_file(files("lookalike.library.samples") / "pictures") as folder:
        yield sorted(folder.rglob("*.*"))[:8]


class TestEveryFormat(FormatContract):
    @pytest.fixture(params=sorted(FORMATS))
    def format(self, request: pytest.FixtureRequest) -> Format:
        found: Format = FORMATS[request.param]
        return found

    @pytest.fixture
    def pictures(self, samples: Sequence[Path]) -> Sequence[Path]:
        return samples
