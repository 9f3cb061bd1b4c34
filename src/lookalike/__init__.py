"""Label a collection from a few examples.

What is public is in `__all__`, and is loaded when first asked for: importing this package loads no
web, model or database code.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookalike.collection import Collection
    from lookalike.errors import LookalikeError
    from lookalike.estimator import LookalikeClassifier
    from lookalike.hookspecs import hookimpl
    from lookalike.library import Library, open
    from lookalike.remote import RemoteLibrary, connect
    from lookalike.remote_collection import RemoteCollection
    from lookalike.version import __version__

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
]

# What libraries read when they are loaded, unless someone has said otherwise.
for _name, _value in {
    # A thread of OpenBLAS that has nothing to do waits awake for 2¹⁶ ticks, not 2²⁶: between
    # the products of one label that took a third of the processor.
    "OPENBLAS_THREAD_TIMEOUT": "16",
    # Else ONNX Runtime writes a device's id into the home directory and calls its maker.
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}.items():
    os.environ.setdefault(_name, _value)

_HOMES = {
    "Collection": "lookalike.collection",
    "Library": "lookalike.library",
    "LookalikeClassifier": "lookalike.estimator",
    "LookalikeError": "lookalike.errors",
    "RemoteCollection": "lookalike.remote_collection",
    "RemoteLibrary": "lookalike.remote",
    "__version__": "lookalike.version",
    "connect": "lookalike.remote",
    "hookimpl": "lookalike.hookspecs",
    "open": "lookalike.library",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lookalike' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
