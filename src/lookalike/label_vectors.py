"""The vectors of labels' names, where an extractor reads texts into the space of the documents."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lookalike.errors import BadContent, BadInput
from lookalike.extractors.base import Content, Extractor
from lookalike.zero_shot import Names, text_of

MAX_NAMES = 1_000
"""With more labels than this their names are no suggestions: to compare with all takes too long."""

_LEAST_NAMES = 2


def read_names(extractor: Extractor, labels: Mapping[str, str | None]) -> Names | None:
    """Return the names of `labels` (each with its description) in the space of an extractor.

    None where that space holds no texts, a name cannot be read, or there are too few or many.
    """
    if "text" not in extractor.accepts or not _LEAST_NAMES <= len(labels) <= MAX_NAMES:
        return None
    texts = [text_of(label, said).encode() for label, said in labels.items()]
    contents = [Content(text, "text/plain", name="label") for text in texts]
    try:
        outcomes = extractor.extract(contents)
    except BadInput:
        return None
    if any(isinstance(one, BadContent) or not one for one in outcomes):
        return None
    vectors = [one[0].vector for one in outcomes if not isinstance(one, BadContent)]
    return Names(tuple(labels), np.array(vectors, np.float16))
