"""What is installed, what is in the store, and whether it is sound."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

from lookalike.library import Library
from lookalike.plugins import extractors

_PACKAGES = ("lookalike", "numpy", "onnxruntime", "sqlalchemy", "pysqlite3", "simsimd", "pillow")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What `doctor` found. `problems` is empty when the store is sound."""

    python: str
    versions: Mapping[str, str]
    sqlite: str
    extractors: tuple[str, ...]
    store: str
    spaces: Mapping[str, str]
    problems: tuple[str, ...]


def diagnose(library: Library) -> Diagnosis:
    """Return what is installed and whether the store is sound."""
    return Diagnosis(
        python=platform.python_version(),
        versions={name: _version(name) for name in _PACKAGES},
        sqlite=library.engine_version(),
        extractors=tuple(sorted(extractors())),
        store=str(library.path),
        spaces=library.spaces(),
        problems=tuple(library.check()),
    )


def show_diagnosis(diagnosis: Diagnosis) -> str:
    """Return a diagnosis as text."""
    lines = [f"python {diagnosis.python}, SQLite {diagnosis.sqlite}"]
    lines += [f"{name} {version}" for name, version in diagnosis.versions.items()]
    lines.append(f"extractors: {', '.join(diagnosis.extractors)}")
    lines.append(f"store: {diagnosis.store}")
    lines += [f"  {name}: {space}" for name, space in diagnosis.spaces.items()]
    lines += [f"PROBLEM: {problem}" for problem in diagnosis.problems]
    return "\n".join(lines if diagnosis.problems else [*lines, "the store is sound"])


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
