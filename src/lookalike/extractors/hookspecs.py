"""The hooks of plugins. A hook registers extractors at the start; no hook runs later.

A plugin is a package with an entry point in the group `lookalike`. It marks its functions with
`@lookalike.hookimpl`.
"""

from __future__ import annotations

from collections.abc import Callable

import pluggy

from lookalike.extractors.base import Extractor

hookspec = pluggy.HookspecMarker("lookalike")
hookimpl = pluggy.HookimplMarker("lookalike")

RegisterExtractor = Callable[[str, Callable[..., Extractor]], None]


@hookspec
def register_extractors(register: RegisterExtractor) -> None:
    """Call `register(name, factory)` for each extractor.

    The factory gets the options of a collection as keyword arguments. It imports heavy libraries
    itself, and raises MissingExtra if one is not installed.
    """
