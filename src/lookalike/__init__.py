"""Label a collection from a few examples."""

from lookalike.errors import LookalikeError
from lookalike.hookspecs import hookimpl
from lookalike.library import Library, open
from lookalike.version import __version__

__all__ = ["Library", "LookalikeError", "__version__", "hookimpl", "open"]
