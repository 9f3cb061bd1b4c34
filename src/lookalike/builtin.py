"""Our own parts, registered through the same hooks as anyone's."""

from __future__ import annotations

from typing import Any

from lookalike.extractors.base import Extractor
from lookalike.hookspecs import RegisterExtractor, hookimpl


@hookimpl
def register_extractors(register: RegisterExtractor) -> None:
    """Register the extractors that come with the package."""
    register("image_extractor", _image)
    register("face_identity_extractor", _faces)
    register("text_extractor", _text)
    register("passthrough", _vectors)


def _image(**options: Any) -> Extractor:
    from lookalike.extractors.image import image_extractor

    return image_extractor(**options)


def _faces(**options: Any) -> Extractor:
    from lookalike.extractors.faces import face_identity_extractor

    return face_identity_extractor(**options)


def _text(**options: Any) -> Extractor:
    from lookalike.extractors.text import text_extractor

    return text_extractor(**options)


def _vectors(dimension: int, name: str = "vectors") -> Extractor:
    from lookalike.extractors.vectors import passthrough

    return passthrough(dimension, name)
