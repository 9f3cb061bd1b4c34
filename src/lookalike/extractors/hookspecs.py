"""What a plugin can add. Hooks register; they never run in the middle of work.

A plugin is a package with an entry point in the group `lookalike`; its functions are marked with
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

    The factory takes the options of a collection as keywords and imports what is heavy itself; what
    is not installed raises MissingExtra.
    """
