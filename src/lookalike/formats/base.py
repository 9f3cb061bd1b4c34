"""What every format reads and writes: examples with their labels and regions; and what a format is.

A reader gives a `Dataset`: examples, one at a time, and by its place why something was not taken. A
writer takes examples. What a format has no place of its own for is in `extras.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lookalike.content.boxes import Box
from lookalike.errors import BadInput

Kind = Literal["documents", "regions"]

DOCUMENTS: Kind = "documents"
REGIONS: Kind = "regions"
BOTH: frozenset[Kind] = frozenset({DOCUMENTS, REGIONS})

LABEL = "label"
"""The name of the label field in formats that have no name for it."""

UNLABELLED = "unlabelled"
"""The class of what has no label, in formats that want one for everything."""

AUTO = "auto"
"""The origin of a label that a machine gave."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Label:
    """What is known about the label of an example.

    `origin` is who gave the label (`label_source`); `score` how sure the machine is, of the label
    it gave or of the `suggestion`; `reason` why there is no label; `policy` what decided. None
    where nothing says so.
    """

    label: str | None = None
    score: float | None = None
    origin: str | None = None
    reason: str | None = None
    suggestion: str | None = None
    rejected: tuple[str, ...] = ()
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """A box in pixels of its upright picture, with its label, as in `Label`.

    `id` is "" where the format has none.
    """

    box: Box
    label: str | None = None
    id: str = ""
    score: float | None = None
    origin: str | None = None
    reason: str | None = None
    suggestion: str | None = None
    rejected: tuple[str, ...] = ()
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One picture, text or vector of a dataset.

    `regions` is None where the format says nothing about regions, and empty where it says that
    there is nothing in the picture. `width` and `height` are pixels, 0 where nothing says them.
    `labels` are those of the whole, by the name of the label field. The content is the file at
    `path`, or the `text`, or what `content` returns; the name of the file may be all that is known.
    """

    file_name: str
    regions: Sequence[Region] | None = None
    width: int = 0
    height: int = 0
    labels: Mapping[str, Label] = field(default_factory=dict)
    id: str = ""
    sha256: str = ""
    path: Path | None = None
    text: str | None = None
    content: Callable[[], bytes] | None = None
    uri: str = ""
    split: str | None = None
    vector: Sequence[float] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a reader found: examples, and by its place why something was not taken.

    `refused` is complete when all examples have been read.
    """

    examples: Iterable[Example]
    refused: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Example]:
        """Yield the examples."""
        return iter(self.examples)


Put = Callable[[Example, Path], None]
"""Puts the content of an example at a path."""

Reader = Callable[[Path, Path | None], Dataset]
"""Reads a file or folder; the second path is where the pictures are, if someone said so."""

Writer = Callable[[Path, Iterable[Example], Put], int]
"""Writes examples to a file or folder; returns how many labelled things: documents, regions."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format: its name, what it is for, and how it is recognised, read and written.

    `target` says what is written, a file or a folder; `keeps` where what does not fit is kept;
    `needs_size` that pictures are written with their width and height.
    """

    name: str
    title: str
    reads: frozenset[Kind]
    writes: frozenset[Kind]
    target: str
    keeps: str
    recognises: Callable[[Path], bool]
    read: Reader
    write: Writer
    needs_size: bool = False

    def __repr__(self) -> str:
        return f"<Format {self.name}>"


def copied(example: Example, target: Path) -> None:
    """Copy the content of an example to a path. Raises BadInput where it has none."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if example.path is not None:
            shutil.copyfile(example.path, target)
        else:
            target.write_bytes(content_of(example))
    except OSError as error:
        raise BadInput(
            f"cannot write {str(target)!r}: {error.strerror or error}; choose another place"
        ) from error


def linked(example: Example, target: Path) -> None:
    """Link a path to the file of an example; copy what is not a file here."""
    if example.path is None:
        copied(example, target)
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(example.path.resolve())
    except OSError as error:
        raise BadInput(
            f"cannot link {str(target)!r}: {error.strerror or error}; choose another place"
        ) from error


def has_content(example: Example) -> bool:
    """Return whether the content of an example is known."""
    return not (example.text is None and example.content is None and example.path is None)


def content_of(example: Example) -> bytes:
    """Return the bytes of an example. Raises BadInput where it has none."""
    if example.text is not None:
        return example.text.encode()
    if example.content is not None:
        return example.content()
    if example.path is not None:
        try:
            return example.path.read_bytes()
        except OSError as error:
            raise BadInput(
                f"cannot read {str(example.path)!r}: {error.strerror or error}"
            ) from error
    raise BadInput(
        f"{example.file_name!r} has no file here, and this format needs it; "
        "export to a table instead"
    )


def label_in(example: Example) -> tuple[str, Label]:
    """Return the field and the label of an example that has at most one."""
    return next(iter(example.labels.items()), (LABEL, Label()))
