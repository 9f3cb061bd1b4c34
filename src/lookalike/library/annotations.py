"""Datasets of other tools taken into a collection, and its labels given back to them.

One import and one export for all formats of `lookalike.formats.registry`, of whole documents and of
regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike.catalog.objects import reads_regions
from lookalike.errors import BadInput
from lookalike.formats.base import DOCUMENTS, REGIONS, Dataset, Example, copied, linked
from lookalike.formats.huggingface import examples_of, to_dataset
from lookalike.formats.registry import FORMATS, format_named, recognised
from lookalike.formats.tables import write_rows
from lookalike.library.collection.collection import Collection
from lookalike.library.metadata import check_reads_regions
from lookalike.library.transfer.exported import document_examples, region_examples
from lookalike.library.transfer.imported import DocumentImport
from lookalike.library.transfer.imported_regions import import_regions
from lookalike.model import Added, Changed, Progress, quiet
from lookalike.quality.reports import EXPORT_COLUMNS

_TABLES = ("csv", "jsonl", "parquet")


@dataclass(frozen=True, slots=True)
class Annotated:
    """What an import did: what came in, what it labelled, what was not taken, what looks odd."""

    added: Added
    labelled: Changed | None
    regions: int
    refused: Mapping[str, str]
    labels: int = 0
    rejected: int = 0
    notes: tuple[str, ...] = ()

    @property
    def changed_nothing(self) -> bool:
        """Return whether all of it was here already."""
        came_in = self.added.added or self.added.changed
        said = self.labelled is not None and self.labelled.by_person
        return not (came_in or said or self.rejected)


def import_annotations(
    collection: Collection,
    source: Any,
    kind: str | None = None,
    *,
    images: Path | None = None,
    field: str | None = None,
    label_column: str | None = None,
    trusted: bool = True,
    progress: Progress = quiet,
) -> Annotated:
    """Bring a dataset in: files with their labels, or pictures with their regions and labels.

    `source` is a file or folder of a format of FORMATS, recognised where `kind` does not name it,
    or a `datasets.Dataset`. Pictures are looked for in `images`, else where the names in the file
    lead to, else in the collection: by id, digest or file name. `label_column` names the label of
    a dataset with several.

    Labels are imported: they are used as references when `trusted`, and never overwrite a person's.
    What a machine gave (origin `auto`) is a suggestion always. A rejected label is rejected here,
    too. A region whose box is here already (±0.5 pixels) is that one. So the same import twice
    doubles nothing, and an interrupted one is resumed.

    Raises BadInput for what cannot be read, or where nothing of it can be taken.
    """
    found = _dataset(collection, source, kind, images)
    if is_of_regions(collection):
        added, labelled, count, refused = import_regions(
            collection, found, _place(source, images), field, trusted, progress
        )
        return Annotated(added, labelled, count, refused)
    running = DocumentImport(collection, field, label_column, trusted, progress)
    running.run(found)
    return Annotated(
        running.added,
        running.changed,
        0,
        running.refused,
        running.labels,
        running.rejected,
        running.notes(),
    )


def export_annotations(
    collection: Collection,
    path: Path,
    kind: str,
    *,
    field: str | None = None,
    unlabelled: bool = False,
    link: bool = False,
) -> int:
    """Write the labels of a collection in a format of FORMATS; return how many.

    With `unlabelled` what has no label is written as well; a table has every document always. Where
    the format wants the files beside it they are copied, or linked with `link`. Raises BadInput for
    a format that has no place for what the collection holds, or a path that cannot be written.
    """
    format = format_named(kind)
    if format.name in _TABLES:
        return write_rows(path, collection.rows(field=field), EXPORT_COLUMNS, format.name)
    if format.writes == {REGIONS}:
        check_reads_regions(collection.name, collection.extractor)
    wanted = REGIONS if is_of_regions(collection) else DOCUMENTS
    if wanted not in format.writes:
        fitting = ", ".join(name for name, one in FORMATS.items() if wanted in one.writes)
        what = "regions" if wanted == REGIONS else "whole files"
        raise BadInput(
            f"{collection.name!r} labels {what}, for which {format.title} has no place; "
            f"use {fitting}"
        )
    put = linked if link else copied
    if wanted == REGIONS:
        return format.write(path, region_examples(collection, field, unlabelled), put)
    found = document_examples(collection, field, unlabelled, with_size=format.needs_size)
    return format.write(path, found, put)


def to_huggingface(
    collection: Collection, *, field: str | None = None, unlabelled: bool = True
) -> Any:
    """Return a collection as a `datasets.Dataset`: content, label with its classes, and extras.

    Raises MissingExtra without the package `datasets`.
    """
    if is_of_regions(collection):
        return to_dataset(region_examples(collection, field, unlabelled))
    return to_dataset(document_examples(collection, field, unlabelled))


def is_of_regions(collection: Collection) -> bool:
    """Return whether the documents of a collection are regions of pictures."""
    return reads_regions(collection.extractor)


def annotated_pictures(
    collection: Collection, *, field: str | None = None, unlabelled: bool = False
) -> list[Example]:
    """Return the pictures of a collection that have labelled regions, or any with `unlabelled`."""
    return list(region_examples(collection, field, unlabelled))


def _dataset(collection: Collection, source: Any, kind: str | None, images: Path | None) -> Dataset:
    if not isinstance(source, str | Path):
        return examples_of(source)
    path = Path(source)
    format = recognised(path) if kind is None else format_named(kind)
    if format.reads == {REGIONS}:
        check_reads_regions(collection.name, collection.extractor)
    return format.read(path, images)


def _place(source: Any, images: Path | None) -> Path:
    """Return the folder in which pictures are looked for first."""
    if images is not None or not isinstance(source, str | Path):
        return images or Path()
    return Path(source) if Path(source).is_dir() else Path(source).parent
