"""The combined extractor: several extractors for one item, such as a product's picture and text.

Its vector has one block for each member: the member's own unit vector, or zeros if the item has
nothing for it; the whole is scaled to unit length. The policy learns the weights of the members.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent, BadSetting
from lookalike.extractors.base import Content, Extractor, Part, accepts, unit, uses_gpu
from lookalike.model import Member, Space

VERSION = "v1"
"""Changes whenever the way of joining the members' vectors changes: it is then another space."""

COMBINED = "combined_extractor"
"""The name of the combined extractor."""

_Outcome = tuple[Part, ...] | BadContent


def combined(members: Mapping[str, Extractor]) -> CombinedExtractor:
    """Return the extractor that joins two or more others, by their names.

    Raises BadSetting for fewer, and for a name that is not letters, digits, `_` and `-`.
    """
    if len(members) < 2:
        raise BadSetting(
            f"{COMBINED} joins two or more extractors, not {list(members)}; "
            "give them as its `members`, or use the one extractor alone"
        )
    for name in members:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise BadSetting(f"a member cannot be named {name!r}; use letters, digits, '_', '-'")
    return CombinedExtractor(members)


class CombinedExtractor:
    """Gives each member its input, and concatenates the members' vectors.

    A member's input is its entry in `Content.beside`, else the content itself. Without any entries,
    only the members that read the content's media type get it. The attribute `missing` lists the
    members that had no input.
    """

    def __init__(self, members: Mapping[str, Extractor]) -> None:
        self.members = dict(members)

    @property
    def space(self) -> Space:
        """The members' models, and a digest of their names and spaces, in their order."""
        spaces = {name: member.space for name, member in self.members.items()}
        lines = "\n".join(
            f"{name} {space.name} {space.dimension}" for name, space in spaces.items()
        ).encode()
        models = "+".join(
            space.name.partition("/")[2].partition("@")[0] for space in spaces.values()
        )
        return Space(
            f"{COMBINED}.{VERSION}/{models}@{hashlib.sha256(lines).hexdigest()[:8]}",
            sum(space.dimension for space in spaces.values()),
            tuple(Member(name, space.dimension) for name, space in spaces.items()),
        )

    @property
    def accepts(self) -> frozenset[str]:
        """The media types that any of the members reads."""
        return frozenset().union(*(member.accepts for member in self.members.values()))

    def uses_gpu(self) -> bool:
        """Return whether any member would run on a GPU here."""
        return any(map(uses_gpu, self.members.values()))

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return one part for each content, with the blocks of all members."""
        found: list[dict[str, _Outcome]] = [{} for _ in contents]
        for name, extractor in self.members.items():
            inputs: dict[int, Content] = {}
            for place, content in enumerate(contents):
                own = content.beside.get(name, content)
                if own is not None and accepts(extractor, own.media_type):
                    inputs[place] = own
                elif own is not None and content.beside:
                    found[place][name] = _unreadable(name, extractor, own)
            outcomes = extractor.extract(list(inputs.values()))
            for place, outcome in zip(inputs, outcomes, strict=True):
                found[place][name] = outcome
        return [
            self._joined(content, outcomes)
            for content, outcomes in zip(contents, found, strict=True)
        ]

    def _joined(self, content: Content, outcomes: Mapping[str, _Outcome]) -> _Outcome:
        parts: dict[str, Part] = {}
        for name, outcome in outcomes.items():
            if isinstance(outcome, BadContent):
                return outcome
            if len(outcome) > 1 or any(part.key for part in outcome):
                return BadContent(
                    f"{name!r} finds {len(outcome)} parts in {content.name!r}, and only vectors of "
                    "whole items can be combined; use another extractor, or this one alone"
                )
            if outcome:
                parts[name] = outcome[0]
        if not parts:
            return BadContent(
                f"{content.name!r} has nothing for {' or '.join(map(repr, self.members))}; "
                "give content for one of them"
            )
        blocks = [self._block(name, parts.get(name)) for name in self.members]
        attributes: dict[str, Any] = {}
        for part in parts.values():
            attributes |= part.attributes
        if missing := [name for name in self.members if name not in parts]:
            attributes["missing"] = missing
        pictures = (part.picture for part in parts.values() if part.picture is not None)
        return (Part(unit(np.concatenate(blocks)), "", attributes, next(pictures, None)),)

    def _block(self, name: str, part: Part | None) -> NDArray[np.float32]:
        if part is None:
            return np.zeros(self.members[name].space.dimension, np.float32)
        return part.vector


def _unreadable(name: str, extractor: Extractor, content: Content) -> BadContent:
    wanted = " or ".join(sorted(extractor.accepts))
    return BadContent(
        f"{content.name!r} is {content.media_type}, and {name!r} reads {wanted}; "
        "give it another property as its input"
    )
