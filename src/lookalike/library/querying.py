"""Querying: the vectors of what is asked about, a text, a content or numbers, kept nowhere."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.content.pictures import kinds_named, sniff
from lookalike.errors import BadContent, BadInput
from lookalike.extractors.base import Content, accepts
from lookalike.extractors.vectors import MEDIA_TYPE, problems, unit_rows
from lookalike.ingest.documents import Target
from lookalike.ingest.executors import read_content
from lookalike.library.runtime import Workshop
from lookalike.model import Blob

_ADDRESSES = ("http://", "https://", "data:", "file://", "s3://", "gs://")
_SNIFFED_BYTES = 4096
_ASKED = "the input"


def mode_of(value: Any, target: Target) -> str:
    """Return how a value is meant, where it is not said: vector, document, content or text."""
    if isinstance(value, list):
        return "vector"
    if isinstance(value, Mapping):
        return "document" if "document_id" in value else "content"
    if isinstance(value, str) and value.startswith(_ADDRESSES):
        return "content"
    return "text" if "text" in target.extractor.accepts else "content"


def vectors_of(workshop: Workshop, target: Target, value: Any, mode: str) -> NDArray[np.float32]:
    """Return the vectors (n, d) of a value in a collection's space, one for each of its parts.

    By `mode` it is a `vector` or several, a `text`, or a `content`: a URL, base64, or an object
    with one of them. Raises BadInput, and BadContent for what cannot be read.
    """
    if mode == "vector":
        return _unit(value, target)
    data, media_type = _content(workshop, value, mode)
    pixels = workshop.settings.max_pixels
    return _extracted(target, Content(data, media_type, name=_ASKED, max_pixels=pixels))


def vectors_of_inputs(
    workshop: Workshop, target: Target, blob: Blob, beside: Mapping[str, Blob | None]
) -> NDArray[np.float32]:
    """Return the vectors (n, d) of what an object has for a collection, as `chosen_inputs` chose.

    Raises BadInput, BadContent.
    """
    read = workshop.blobs.read
    if blob.media_type == MEDIA_TYPE and not beside:
        return _unit(np.frombuffer(read(blob), "<f4"), target)
    pixels = workshop.settings.max_pixels
    content = read_content(_ASKED, (blob, beside), read, max_pixels=pixels)
    return _extracted(target, content)


def _extracted(target: Target, content: Content) -> NDArray[np.float32]:
    if not accepts(target.extractor, content.media_type):
        wanted = " or ".join(kinds_named(target.extractor.accepts))
        raise BadInput(
            f"the input is {content.media_type}, and {target.name!r} is asked by {wanted}"
        )
    outcome = target.extractor.extract([content])[0]
    if isinstance(outcome, BadContent):
        raise outcome
    if not outcome:
        return np.empty((0, target.space.dimension), np.float32)
    return np.stack([part.vector for part in outcome])


def _content(workshop: Workshop, value: Any, mode: str) -> tuple[bytes, str]:
    if mode == "text":
        if not isinstance(value, str):
            raise BadInput(f"a text is asked for, not {str(value)[:80]!r}")
        return value.encode(), "text/plain"
    if isinstance(value, Mapping):
        value = value.get("url") or value.get("base64")
    if not isinstance(value, str):
        raise BadInput("give a content as a URL, a data: URL, or base64")
    if value.startswith(_ADDRESSES):
        data = workshop.blobs.fetch(value)
    else:
        try:
            data = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadInput(
                f"{value[:40]!r} is neither a URL nor base64; give one of them"
            ) from error
    workshop.blobs.check_size(len(data), "the input")
    return data, sniff(data[:_SNIFFED_BYTES], "")


def _unit(value: Any, target: Target) -> NDArray[np.float32]:
    try:
        array = np.atleast_2d(np.asarray(value, np.float64))
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput("a vector is a list of numbers, all of them finite") from error
    for problem in problems(array, target.space.dimension).values():
        raise BadInput(problem)
    return unit_rows(array)
