"""Model files on this machine: their paths, configuration files and digests; option checks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent, BadSetting
from lookalike.extractors.base import Content, unit
from lookalike.model import Space

_digests: dict[tuple[str, int, int], str] = {}
"""The digests computed in this process, by path, modification time and size: files are large."""


def local_path(option: str, value: Any) -> Path:
    """Return the path that an option names; `~` is the home directory. Raises BadSetting."""
    if not isinstance(value, str | Path) or not str(value):
        raise BadSetting(f"{option} cannot be {value!r}; give the path of a model")
    path = Path(value).expanduser()
    if not path.exists():
        raise BadSetting(
            f"{option} names {str(path)!r}, which is not on this machine; check the path, which is "
            "relative to the working directory"
        )
    return path.absolute()


def read_config(folders: Iterable[Path], name: str) -> dict[str, Any]:
    """Return the JSON mapping in the first of `folders` that has the file; {} if none has.

    Raises BadSetting if the file is not a JSON mapping.
    """
    for folder in folders:
        path = folder / name
        if path.is_file():
            try:
                found = json.loads(path.read_text("utf-8"))
            except (ValueError, OSError) as error:
                raise BadSetting(
                    f"cannot read {str(path)!r} as JSON: {error}; export the model again"
                ) from error
            if not isinstance(found, dict):
                raise BadSetting(f"{str(path)!r} is not a mapping; export the model again")
            return found
    return {}


def space_of(
    extractor: str, model: str, files: Iterable[Path], settings: Mapping[str, Any], dimension: int
) -> Space:
    """Return the space of a model: its name, with a digest of its files and `settings`.

    `extractor` is the extractor's name with its version. The digest depends on the names and
    contents of the files, not on their folder.
    """
    contents = [(path.name, file_digest(path)) for path in sorted(files)]
    text = json.dumps([contents, dict(settings)], sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-") or "model"
    return Space(f"{extractor}/{name}@{digest}", dimension)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; cached unless the file changes.

    Raises BadSetting for a file that cannot be read.
    """
    try:
        state = path.stat()
        key = (str(path), state.st_mtime_ns, state.st_size)
        if key not in _digests:
            with path.open("rb") as file:
                _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return _digests[key]
    except OSError as error:
        raise BadSetting(
            f"cannot read {str(path)!r}: {error.strerror or error}; check the path"
        ) from error


def choice_option(option: str, value: Any, known: Iterable[str]) -> str:
    """Return the value of an option. Raises BadSetting, listing the known ones, for another."""
    words = list(known)
    if value not in words:
        raise BadSetting(f"{option} cannot be {value!r}; give one of {', '.join(words)}")
    return str(value)


def count_option(option: str, value: Any, *, at_most: int) -> int:
    """Return the value of an option that is a whole number from 1 on. Raises BadSetting."""
    if type(value) is not int or not 1 <= value <= at_most:
        raise BadSetting(f"{option} cannot be {value!r}; give a whole number from 1 to {at_most:,}")
    return value


def checked_unit(vector: NDArray[np.float32], content: Content) -> NDArray[np.float32]:
    """Return a model's vector scaled to length 1. Raises BadContent if that is impossible."""
    if not np.isfinite(vector).all() or not vector.any():
        raise BadContent(
            f"the model gives no vector for {content.name!r}: its numbers are not finite, or all "
            "are 0; leave the item out, or use a model of higher precision"
        )
    return unit(vector)
