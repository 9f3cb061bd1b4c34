"""Several extractors for one item: a product's picture and its text, in one vector.

Its blocks are the members' own vectors, at one length; what an item does not have is a block of
zeros. How much each member counts is the policy's to learn, not the extractor's.
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
"""Changes with every change of how members' vectors become one."""

NAME = "combined_extractor"

_Found = tuple[Part, ...] | BadContent


def combined(members: Mapping[str, Extractor]) -> CombinedExtractor:
    """Return the extractor that joins two or more others, by what each is called.

    Raises BadSetting for fewer, and for a name that is not letters, digits, `_` and `-`.
    """
    if len(members) < 2:
        raise BadSetting(
            f"{NAME} joins two or more extractors, not {list(members)}; "
            "name them as its `members`, or use the one alone"
        )
    for name in members:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise BadSetting(f"a member cannot be named {name!r}; use letters, digits, '_', '-'")
    return CombinedExtractor(members)


class CombinedExtractor:
    """Gives each member the input that it reads, and lays their vectors side by side.

    A member's input is the one of its name in `Content.beside`, else the content itself; where
    nothing is beside, only of those members that read such. What is not there is told by the
    attribute `missing`.
    """

    def __init__(self, members: Mapping[str, Extractor]) -> None:
        self.members = dict(members)

    @property
    def space(self) -> Space:
        """The members' models, and a digest of their names and spaces, in their order."""
        spaces = {name: one.space for name, one in self.members.items()}
        named = "\n".join(
            f"{name} {one.name} {one.dimension}" for name, one in spaces.items()
        ).encode()
        models = "+".join(one.name.partition("/")[2].partition("@")[0] for one in spaces.values())
        return Space(
            f"{NAME}.{VERSION}/{models}@{hashlib.sha256(named).hexdigest()[:8]}",
            sum(one.dimension for one in spaces.values()),
            tuple(Member(name, one.dimension) for name, one in spaces.items()),
        )

    @property
    def accepts(self) -> frozenset[str]:
        """Whatever any of the members reads."""
        return frozenset().union(*(one.accepts for one in self.members.values()))

    def uses_gpu(self) -> bool:
        """Return whether any member would run on a GPU here."""
        return any(map(uses_gpu, self.members.values()))

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return one part for each content: the vectors of all that it has."""
        found: list[dict[str, _Found]] = [{} for _ in contents]
        for name, extractor in self.members.items():
            asked: dict[int, Content] = {}
            for place, content in enumerate(contents):
                chosen = content.beside.get(name, content)
                if chosen is not None and accepts(extractor, chosen.media_type):
                    asked[place] = chosen
                elif chosen is not None and content.beside:
                    found[place][name] = _unreadable(name, extractor, chosen)
            outcomes = extractor.extract(list(asked.values()))
            for place, outcome in zip(asked, outcomes, strict=True):
                found[place][name] = outcome
        return [
            self._joined(content, outcomes)
            for content, outcomes in zip(contents, found, strict=True)
        ]

    def _joined(self, content: Content, outcomes: Mapping[str, _Found]) -> _Found:
        parts: dict[str, Part] = {}
        for name, outcome in outcomes.items():
            if isinstance(outcome, BadContent):
                return outcome
            if len(outcome) > 1 or any(part.key for part in outcome):
                return BadContent(
                    f"{name!r} finds {len(outcome)} parts in {content.name!r}, and only vectors of "
                    "whole items can be combined; take another extractor, or it alone"
                )
            if outcome:
                parts[name] = outcome[0]
        if not parts:
            return BadContent(
                f"{content.name!r} has nothing for {' or '.join(map(repr, self.members))}; "
                "give it one of them"
            )
        blocks = [self._block(name, parts.get(name)) for name in self.members]
        attributes: dict[str, Any] = {}
        for part in parts.values():
            attributes |= part.attributes
        if missing := [name for name in self.members if name not in parts]:
            attributes["missing"] = missing
        seen = next((one.picture for one in parts.values() if one.picture is not None), None)
        return (Part(unit(np.concatenate(blocks)), "", attributes, seen),)

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
