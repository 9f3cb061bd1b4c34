"""Label a collection from a few examples.

`__all__` has the public names. They are loaded at first use: importing this package loads no web,
model or database code.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookalike.classifier.estimator import LookalikeClassifier
    from lookalike.errors import LookalikeError
    from lookalike.extractors.hookspecs import hookimpl
    from lookalike.library.collection.collection import Collection
    from lookalike.library.library import Library, open
    from lookalike.library.progress import progress_bar
    from lookalike.library.remote.client import RemoteLibrary, connect
    from lookalike.library.remote.collection import RemoteCollection

__version__ = "0.1.0"

__all__ = [
    "Collection",
    "Library",
    "LookalikeClassifier",
    "LookalikeError",
    "RemoteCollection",
    "RemoteLibrary",
    "__version__",
    "connect",
    "hookimpl",
    "open",
    "progress_bar",
]

# Settings that libraries read when they are loaded; values of the environment have precedence.
for _name, _value in {
    # An idle OpenBLAS thread spins for 2¹⁶ ticks, not 2²⁶: with the default, idle threads took a
    # third of the processor time between the matrix products of one label.
    "OPENBLAS_THREAD_TIMEOUT": "16",
    # Otherwise ONNX Runtime writes a device id into the home directory and sends telemetry.
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}.items():
    os.environ.setdefault(_name, _value)

_HOMES = {
    "Collection": "lookalike.library.collection.collection",
    "Library": "lookalike.library.library",
    "LookalikeClassifier": "lookalike.classifier.estimator",
    "LookalikeError": "lookalike.errors",
    "RemoteCollection": "lookalike.library.remote.collection",
    "RemoteLibrary": "lookalike.library.remote.client",
    "connect": "lookalike.library.remote.client",
    "hookimpl": "lookalike.extractors.hookspecs",
    "open": "lookalike.library.library",
    "progress_bar": "lookalike.library.progress",
}

_MOVED = {
    "lookalike.annotating": "lookalike.library.annotations",
    "lookalike.compacting": "lookalike.library.maintenance",
    "lookalike.samples": "lookalike.library.samples",
}
"""Documented modules that have moved: old name → new name."""


class _MovedModules:
    """Imports a moved module under its old name, with a warning that names the new one."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(name, self) if name in _MOVED else None  # type: ignore[arg-type]

    def create_module(self, _spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        old, new = module.__name__, _MOVED[module.__name__]
        warnings.warn(f"{old} is now {new}", DeprecationWarning, stacklevel=2)
        sys.modules[old] = import_module(new)


sys.meta_path.append(_MovedModules())


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lookalike' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
