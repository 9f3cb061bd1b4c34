"""Vectors of label names, for extractors that embed texts into the space of the documents."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lookalike.classifier.scores.zero_shot import Names, text_of
from lookalike.errors import BadContent
from lookalike.extractors.base import Content, Extractor

MAX_NAMES = 1_000
"""Do not suggest by names with more labels than this: comparing with all takes too long."""

_LEAST_NAMES = 2


class NameReader:
    """Embeds label names, each once per space. Thread-safe."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], NDArray[np.float16] | None] = {}

    def names(self, extractor: Extractor, labels: Mapping[str, str | None]) -> Names | None:
        """Return the names of `labels`, each with its description, in the space of an extractor.

        Names that it cannot embed are left out. None if the extractor does not accept texts, or if
        there are too few or too many names.
        """
        if "text" not in extractor.accepts or not _LEAST_NAMES <= len(labels) <= MAX_NAMES:
            return None
        space = extractor.space.name
        keys = {
            label: (space, text_of(label, description)) for label, description in labels.items()
        }
        new = [key for key in dict.fromkeys(keys.values()) if key not in self._read]
        outcomes = extractor.extract(
            [Content(text.encode(), "text/plain", name="label") for _, text in new]
        )
        for key, found in zip(new, outcomes, strict=True):
            parts = () if isinstance(found, BadContent) else found
            self._read[key] = parts[0].vector.astype(np.float16) if parts else None
        vectors = {label: self._read[key] for label, key in keys.items()}
        known = {label: vector for label, vector in vectors.items() if vector is not None}
        if len(known) < _LEAST_NAMES:
            return None
        return Names(tuple(known), np.stack(list(known.values())))
