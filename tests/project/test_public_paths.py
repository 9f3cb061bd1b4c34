"""What users import stays where it is: the documented modules, and old names that warn."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import lookalike

DOCUMENTED = {
    "lookalike.errors": ("LookalikeError", "BadInput", "NotFound"),
    "lookalike.extractors.base": ("Content", "Extractor", "Part"),
    "lookalike.formats.coco": (),
    "lookalike.formats.tables": (),
    "lookalike.labels": ("is_within",),
    "lookalike.library.annotations": ("annotated_pictures", "import_annotations"),
    "lookalike.library.maintenance": ("compact",),
    "lookalike.library.samples": (),
    "lookalike.model": ("Document", "Origin", "Question", "Status"),
    "lookalike.settings": (),
    "lookalike.testing.extractors": ("ExtractorContract",),
    "lookalike.testing.fakes": (),
    "lookalike.testing.formats": ("FormatContract",),
    "lookalike.testing.stores": ("StoreContract",),
}

MOVED = {
    "lookalike.annotating": "lookalike.library.annotations",
    "lookalike.compacting": "lookalike.library.maintenance",
    "lookalike.samples": "lookalike.library.samples",
}


@pytest.mark.parametrize("module", DOCUMENTED)
def test_a_documented_module_has_its_documented_names(module: str) -> None:
    found = vars(import_module(module))

    assert [name for name in DOCUMENTED[module] if name not in found] == []


@pytest.mark.parametrize("old", MOVED)
def test_a_module_that_moved_is_there_under_its_old_name_and_warns(old: str) -> None:
    sys.modules.pop(old, None)

    with pytest.warns(DeprecationWarning, match=f"{old} is now {MOVED[old]}"):
        found = import_module(old)

    assert found is import_module(MOVED[old])
    assert import_module(old) is found


def test_the_runtime_is_there_under_its_old_name_and_warns(tmp_path: Path) -> None:
    with (
        lookalike.open(tmp_path / "store") as library,
        pytest.warns(DeprecationWarning, match=r"Library\.runtime"),
    ):
        assert library.workshop is library.runtime


def test_a_module_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"lookalike\.annotations"):
        import_module("lookalike.annotations")


def test_the_client_of_a_server_loads_no_database_or_web_server() -> None:
    code = (
        "import sys; from lookalike import RemoteLibrary, connect; "
        "print([n for n in ('sqlalchemy', 'fastapi', 'onnxruntime') if n in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "[]"
