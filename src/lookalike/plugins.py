"""The parts that are there, ours and installed ones, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pluggy

from lookalike import builtin, hookspecs
from lookalike.errors import BadSetting, Conflict, NotFound
from lookalike.extractors.base import Extractor

ALIASES = {
    "face": "face_identity_extractor",
    "faces": "face_identity_extractor",
    "image": "image_extractor",
    "text": "text_extractor",
    "vectors": "passthrough",
}
"""Short names of extractors."""


@cache
def extractors() -> dict[str, Callable[..., Extractor]]:
    """Return the factories of all extractors, by name. Raises Conflict when two share one."""
    manager = pluggy.PluginManager("lookalike")
    manager.add_hookspecs(hookspecs)
    manager.register(builtin)
    manager.load_setuptools_entrypoints("lookalike")
    found: dict[str, Callable[..., Extractor]] = {}

    def register(name: str, factory: Callable[..., Extractor]) -> None:
        if name in found:
            raise Conflict(f"two plugins register an extractor {name!r}; uninstall one of them")
        found[name] = factory

    manager.hook.register_extractors(register=register)
    return found


def extractor_name(name: str) -> str:
    """Return the full name of an extractor. Raises NotFound, listing the known ones."""
    full = ALIASES.get(name, name)
    if full not in extractors():
        raise NotFound.named("extractor", name, [*extractors(), *ALIASES])
    return full


def build_extractor(name: str, options: Mapping[str, Any]) -> Extractor:
    """Return an extractor built with `options`. Raises NotFound, BadSetting or MissingExtra."""
    factory = extractors()[extractor_name(name)]
    try:
        return factory(**options)
    except TypeError as error:
        raise BadSetting(
            f"the extractor {name!r} does not take {dict(options)}: {error}"
        ) from error
