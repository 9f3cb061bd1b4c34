"""What is installed, what is in the store, and whether it is sound."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

from lookalike.extractors.registry import extractors
from lookalike.library.library import Library
from lookalike.stores.sqlite.engine import driver

_PACKAGES = ("lookalike", "numpy", "onnxruntime", "sqlalchemy", "pysqlite3", "simsimd", "pillow")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What `doctor` found. `problems` is empty when the store is sound."""

    python: str
    versions: Mapping[str, str]
    sqlite: str
    extractors: tuple[str, ...]
    store: str | None
    spaces: Mapping[str, str]
    problems: tuple[str, ...]


def diagnose(library: Library | None) -> Diagnosis:
    """Return what is installed and, where there is a store, whether it is sound."""
    return Diagnosis(
        python=platform.python_version(),
        versions={name: _version(name) for name in _PACKAGES},
        sqlite=str(driver().sqlite_version),
        extractors=tuple(sorted(extractors())),
        store=None if library is None else library.place,
        spaces={} if library is None else library.spaces(),
        problems=() if library is None else tuple(library.check()),
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
