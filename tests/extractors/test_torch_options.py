"""Extractors on torch, where torch is not: options are checked, and the pip line is told.

What they do where it is: `tests/hub`, by `make test-hub`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from lookalike.errors import BadSetting, MissingExtra
from lookalike.extractors.registry import build_extractor

MODULES = {
    "open_clip_extractor": ("open_clip", "open-clip"),
    "sentence_transformers_extractor": ("sentence_transformers", "sentence-transformers"),
    "timm_extractor": ("timm", "timm"),
}


@pytest.fixture(autouse=True)
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, _ in MODULES.values():
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize("name", MODULES)
def test_without_its_extra_an_extractor_tells_the_pip_line(name: str, tmp_path: Path) -> None:
    line = rf"{name} needs an extra: pip install 'lookalike\[{MODULES[name][1]}\]'"

    with pytest.raises(MissingExtra, match=line):
        build_extractor(name, {"model": str(tmp_path)})


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "does not take"),
        ({"model": ""}, "give a directory"),
        ({"model": "m", "device": "gpu"}, "cpu, cuda, cuda:1 or mps"),
        ({"model": "m", "allow_download": "yes"}, "true or false"),
        ({"model": "m", "colour": "red"}, "colour"),
    ],
)
def test_impossible_options_are_refused(name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadSetting, match=told):
        build_extractor(name, options)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("sentence_transformers_extractor", {"prompt": 3}, "give a text"),
        ("sentence_transformers_extractor", {"max_tokens": 0}, "from 1 to"),
        ("open_clip_extractor", {"kind": "sound"}, "image, text"),
        ("open_clip_extractor", {"checkpoint": "/none/such"}, "not on this machine"),
        ("timm_extractor", {"checkpoint": "/none/such"}, "not on this machine"),
        ("timm_extractor", {"dimension": -1}, "from 1 to"),
    ],
)
def test_each_checks_what_only_it_has(name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadSetting, match=told):
        build_extractor(name, {"model": "m", **options})
