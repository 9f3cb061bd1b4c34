"""The built-in extractors, registered through the same hook as those of plugins.

Each factory imports its extractor only when it is called.
"""

from __future__ import annotations

from typing import Any

from lookalike.extractors.base import Extractor
from lookalike.extractors.hookspecs import RegisterExtractor, hookimpl


@hookimpl
def register_extractors(register: RegisterExtractor) -> None:
    """Register the extractors with bundled weights, and those that load other models."""
    register("image_extractor", _image)
    register("region_extractor", _regions)
    register("face_identity_extractor", _faces)
    register("text_extractor", _text)
    register("document_extractor", _documents)
    register("passthrough", _vectors)
    register("onnx_extractor", _onnx)
    register("open_clip_extractor", _open_clip)
    register("sentence_transformers_extractor", _sentence_transformers)
    register("timm_extractor", _timm)


def _image(**options: Any) -> Extractor:
    from lookalike.extractors.image import image_extractor

    return image_extractor(**options)


def _faces(**options: Any) -> Extractor:
    from lookalike.extractors.face.extractor import face_identity_extractor

    return face_identity_extractor(**options)


def _regions(**options: Any) -> Extractor:
    from lookalike.extractors.region import region_extractor

    return region_extractor(**options)


def _text(**options: Any) -> Extractor:
    from lookalike.extractors.text import text_extractor

    return text_extractor(**options)


def _documents(**options: Any) -> Extractor:
    from lookalike.extractors.document.extractor import document_extractor

    return document_extractor(**options)


def _vectors(dimension: int, name: str = "vectors") -> Extractor:
    from lookalike.extractors.vectors import passthrough

    return passthrough(dimension, name)


def _onnx(path: str, **options: Any) -> Extractor:
    from lookalike.extractors.onnx.extractor import onnx_extractor

    return onnx_extractor(path, **options)


def _open_clip(model: str, **options: Any) -> Extractor:
    from lookalike.extractors.hub.open_clip import open_clip_extractor

    return open_clip_extractor(model, **options)


def _sentence_transformers(model: str, **options: Any) -> Extractor:
    from lookalike.extractors.hub.sentence_transformers import sentence_transformers_extractor

    return sentence_transformers_extractor(model, **options)


def _timm(model: str, **options: Any) -> Extractor:
    from lookalike.extractors.hub.timm import timm_extractor

    return timm_extractor(model, **options)
