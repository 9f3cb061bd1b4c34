"""The extractors by name, built-in ones and those of installed plugins, and their options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import pluggy

from lookalike.errors import BadSetting, Conflict, NotFound
from lookalike.extractors import builtin, hookspecs
from lookalike.extractors.base import Extractor
from lookalike.extractors.combined import COMBINED, combined
from lookalike.extractors.text_models import DEFAULTS
from lookalike.extractors.video import OPTION, with_frames

ALIASES = {
    "face": "face_identity_extractor",
    "faces": "face_identity_extractor",
    "document": "document_extractor",
    "documents": "document_extractor",
    "image": "image_extractor",
    "region": "region_extractor",
    "regions": "region_extractor",
    "text": "text_extractor",
    "vectors": "passthrough",
}
"""Short names of extractors."""

_WITH_TEXT_MODEL = frozenset({"text_extractor", "document_extractor"})


@cache
def extractors() -> dict[str, Callable[..., Extractor]]:
    """Return the factories of all extractors by name. Raises Conflict if two have the same name."""
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
    register(COMBINED, _combined)
    return found


def extractor_name(name: str) -> str:
    """Return the full name of an extractor. Raises NotFound, listing the known ones."""
    full = ALIASES.get(name, name)
    if full not in extractors():
        raise NotFound.named("extractor", name, [*extractors(), *ALIASES])
    return full


def as_one(
    extractor: str | Sequence[str | Mapping[str, Any]], options: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return the name and options of an extractor; several become the combined extractor.

    Raises BadSetting for `options` beside several extractors.
    """
    if isinstance(extractor, str):
        return extractor, dict(options)
    members = [member if isinstance(member, str) else dict(member) for member in extractor]
    if len(members) == 1 and isinstance(members[0], str):
        return members[0], dict(options)
    if options:
        raise BadSetting(
            f"it is not clear which extractor the options {sorted(options)} are for; write them "
            "with it: {'extractor': 'text', 'model': '…'}"
        )
    return COMBINED, {"members": members}


def options_stored(extractor: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored options with their text model, which the first versions did not store.

    >>> options_stored("text_extractor", {})
    {'model': 'minilm-l6-v2'}
    """
    return _with_text_model(extractor, options, DEFAULTS[0])


def options_to_store(
    extractor: str, options: Mapping[str, Any], known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return options with their text model, so that they mean the same in later versions.

    The default is the current one; or that of the `known` options, if these have the default of
    some version and differ in nothing else.

    >>> options_to_store("text_extractor", {"threads": 2})
    {'model': 'bge-small-en-v1.5', 'threads': 2}
    >>> options_to_store("text_extractor", {}, {"model": "minilm-l6-v2"})
    {'model': 'minilm-l6-v2'}
    """
    candidates = [_with_text_model(extractor, options, model) for model in DEFAULTS]
    return next((one for one in candidates if one == known), candidates[-1])


def are_options_of(extractor: str, requested: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Return whether `known` options are the requested ones; no requested options match any."""
    return not requested or options_to_store(extractor, requested, known) == known


def build_extractor(name: str, options: Mapping[str, Any]) -> Extractor:
    """Return an extractor built with `options`. Raises NotFound, BadSetting or MissingExtra.

    Every extractor that reads pictures has the option `frames`: with it, it also reads videos.
    """
    factory = extractors()[extractor_name(name)]
    own = {key: value for key, value in options.items() if key != OPTION}
    try:
        extractor = factory(**own)
    except TypeError as error:
        raise BadSetting(f"the extractor {name!r} does not take {own}: {error}") from error
    return with_frames(extractor, options.get(OPTION))


def _with_text_model(extractor: str, options: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return options in which every text extractor has a model: `model`, unless they name one."""
    full = ALIASES.get(extractor, extractor)
    if full in _WITH_TEXT_MODEL:
        return {"model": model, **options}
    members = options.get("members")
    if full != COMBINED or isinstance(members, str) or not isinstance(members, Sequence):
        return dict(options)
    return {**options, "members": [_member_with_text_model(one, model) for one in members]}


def _member_with_text_model(member: Any, model: str) -> Any:
    options = {"extractor": member} if isinstance(member, str) else member
    if not isinstance(options, Mapping):
        return member  # building the extractor raises the error
    complete = _with_text_model(str(options.get("extractor", "")), options, model)
    return member if complete == {"extractor": member} else complete


def _combined(members: Sequence[str | Mapping[str, Any]]) -> Extractor:
    """Return the combined extractor of `members`: names, or mappings with `extractor` and options.

    The name of a member is its own `name`, else that of its extractor as given.
    """
    if isinstance(members, str) or not isinstance(members, Sequence):
        raise BadSetting(f"`members` is a list such as ['image', 'text'], not {members!r}")
    built: dict[str, Extractor] = {}
    for member in members:
        options = {"extractor": member} if isinstance(member, str) else dict(member)
        extractor = str(options.pop("extractor", ""))
        if extractor_name(extractor) == COMBINED:
            raise BadSetting(f"{COMBINED} cannot be a member of itself; name its members instead")
        name = str(options.pop("name", extractor))
        if name in built:
            raise BadSetting(f"two members have the name {name!r}; give one another `name`")
        built[name] = build_extractor(extractor, options)
    return combined(built)
