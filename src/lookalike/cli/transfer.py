"""Commands that add files, import and export labels, and erase or copy data."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lookalike.cli.output import (
    show_added,
    show_annotated,
    show_changed,
    show_copied,
    show_receipt,
    show_removed,
)
from lookalike.cli.session import (
    Session,
    as_of_option,
    collection_argument,
    engine_options,
    field_option,
    progress_bar,
    with_session,
)
from lookalike.errors import BadInput, NotFound

if TYPE_CHECKING:
    from lookalike.library.collection.collection import Collection

_TABLES = ("csv", "jsonl", "parquet", "folders")
_ANNOTATIONS = ("coco", "yolo", "voc", "cvat", "label-studio")
_WRITTEN = ("coco", "yolo", "voc")


@click.command()
@with_session
@collection_argument
@click.argument("sources", nargs=-1, required=True)
@click.option("--copy", is_flag=True, help="Store the bytes, not only a link to them.")
@engine_options
def add(
    session: Session, collection: str, sources: Sequence[str], copy: bool, **engine: Any
) -> None:
    """Add files, folders or URLs: extract and decide them; run it again to resume.

    \b
    lookalike add products photos/
    lookalike add products s3://bucket/photos/ one.jpg
    lookalike add products s3://bucket/photos/ --engine ray --address 10.0.0.5:6379
    """
    with session.library() as library, redirect_stdout(sys.stderr):
        target = library.collection(collection)
        with progress_bar("extracting") as progress:
            added = target.add(list(sources), copy=copy, progress=progress, **engine)
    session.print(added, show_added)


@click.command("import")
@with_session
@collection_argument
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--labels-from",
    type=click.Choice([*_TABLES, *_ANNOTATIONS]),
    help="The format of PATH [by its suffix; for a folder class folders].",
)
@click.option("--label-column", help="The table's column of labels [label].")
@click.option("--images", type=click.Path(path_type=Path), help="The annotated pictures.")
@click.option("--suggestions", is_flag=True, help="As suggestions, not as references.")
@field_option
def import_(
    session: Session,
    collection: str,
    path: Path,
    labels_from: str | None,
    label_column: str | None,
    images: Path | None,
    suggestions: bool,
    field: str | None,
) -> None:
    """Import labels from a table or class folders, or regions from annotations.

    An import never overwrites a person's label; it lists refused rows with the reason.

    \b
    lookalike import products labels.csv
    lookalike import products sorted/ --labels-from folders
    lookalike import cells annotations.json --labels-from coco --images photos/
    """
    values: dict[str, Any] = {"field": field, "trusted": not suggestions}
    with session.library() as library:
        target = library.collection(collection)
        if labels_from in _ANNOTATIONS:
            if label_column:
                raise BadInput(f"{labels_from} has no columns; omit --label-column")
            _import_annotations(session, target, path, labels_from, images, values)
            return
        if images is not None:
            raise BadInput(f"--images is for annotations: {', '.join(_ANNOTATIONS)}")
        rows = _rows(target, path, labels_from)
        column = label_column or "label"
        session.print(target.import_labels(rows, label_column=column, **values), show_changed)


def _rows(target: Collection, path: Path, labels_from: str | None) -> list[Mapping[str, Any]]:
    """Return the rows of a table, or of class folders, whose files are added first."""
    from lookalike.formats.tables import read_folders, read_rows

    if labels_from != "folders" and not (labels_from is None and path.is_dir()):
        return list(read_rows(path, labels_from))
    rows = list(read_folders(path))
    with progress_bar("extracting") as progress:
        added = target.add(path, progress=progress)
    click.echo(show_added(added), err=True)
    return list(rows)


def _import_annotations(
    session: Session,
    target: Collection,
    path: Path,
    kind: str,
    images: Path | None,
    values: Mapping[str, Any],
) -> None:
    from lookalike.library.annotations import import_annotations

    with progress_bar("extracting") as progress:
        done = import_annotations(target, path, kind, images=images, progress=progress, **values)
    session.print(done, show_annotated)


@click.command()
@with_session
@collection_argument
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--format", "kind", type=click.Choice(_WRITTEN), help="Regions as training data.")
@click.option("--all", "unlabelled", is_flag=True, help="Also regions without a label.")
@as_of_option
@field_option
def export(
    session: Session,
    collection: str,
    file: Path | None,
    kind: str | None,
    unlabelled: bool,
    as_of: str | None,
    field: str | None,
) -> None:
    """Write labels, scores and review state to a table, or regions as training data.

    A table is CSV, JSONL or Parquet by the file's suffix, and CSV without a file. COCO is a file;
    YOLO and VOC are folders.

    \b
    lookalike export products labels.csv
    lookalike export products > labels.csv
    lookalike export products --json > labels.jsonl
    lookalike export products labels.csv --as-of "spring 2026"
    lookalike export cells cells.json --format coco
    lookalike export cells cells/ --format yolo
    """
    from lookalike.formats import tables
    from lookalike.quality.reports import EXPORT_COLUMNS

    with session.library() as library:
        target = library.collection(collection)
        if kind is not None and as_of is not None:
            raise BadInput("--as-of is for tables: omit --format")
        if kind is not None:
            _export_annotations(session, target, file, kind, field, unlabelled)
            return
        if unlabelled:
            raise BadInput("--all is for regions: give --format as well")
        shown = target if as_of is None else target.as_of(as_of)
        rows = shown.rows(field=field)
        if file is not None:
            count = tables.write_rows(file, rows, EXPORT_COLUMNS)
            session.print(
                {"rows": count, "file": str(file)}, lambda v: f"{v['rows']} rows → {file}"
            )
            return
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="strict")
        write = tables.write_json_lines if session.as_json else tables.write_csv
        write(sys.stdout, rows, EXPORT_COLUMNS)


def _export_annotations(
    session: Session,
    target: Collection,
    file: Path | None,
    kind: str,
    field: str | None,
    unlabelled: bool,
) -> None:
    from lookalike.library.annotations import export_annotations

    if file is None:
        raise BadInput(f"give a place to write {kind}: a file for coco, a folder for yolo and voc")
    count = export_annotations(target, file, kind, field=field, unlabelled=unlabelled)
    session.print(
        {"regions": count, "file": str(file)}, lambda v: f"{v['regions']} regions → {file}"
    )


@click.command()
@with_session
@collection_argument
@click.argument("id")
@click.argument("region")
@click.argument("box", nargs=4, type=float, required=False, metavar="[LEFT TOP WIDTH HEIGHT]")
def draw(
    session: Session, collection: str, id: str, region: str, box: tuple[float, ...] | None
) -> None:
    """Draw or move a region of a picture, in pixels; without a box remove it.

    ID is the id of the object, or of any document of it.

    \b
    lookalike draw cells doc_a r1 10 20 30 40
    lookalike draw cells obj_a r1
    """
    with session.library() as library:
        target = library.collection(collection)
        with suppress(NotFound):  # then it is an object's id, or `draw` raises NotFound
            id = target.document(id).object_id
        session.print(target.draw({id: {region: box or None}}), show_changed)


@click.command()
@with_session
@collection_argument
@click.argument("ids", nargs=-1)
@click.option("--label", help="All documents with this label, instead of ids; implies --parts.")
@click.option("--parts", is_flag=True, help="Only these faces, pages or regions of an object.")
@field_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def forget(
    session: Session,
    collection: str,
    ids: Sequence[str],
    label: str | None,
    parts: bool,
    field: str | None,
    yes: bool,
) -> None:
    """Erase documents with their objects, vectors, labels and copies, for good.

    Your own files stay. Parts erased with `--parts` are not extracted again from the same file.

    \b
    lookalike forget products doc_a doc_b
    lookalike forget people doc_a --parts
    lookalike forget people --label Ada --yes
    """
    if bool(ids) == (label is not None):
        raise BadInput("give the documents to forget: ID …, or --label LABEL")
    with session.library() as library:
        target = library.collection(collection)
        chosen = {"ids": ids} if label is None else {"label": label, "field": field}
        count = len(target.ids(**chosen))
        if not yes and not sys.stdin.isatty():
            raise BadInput(f"{count} documents would be erased; cannot ask here; add --yes")
        if not yes:
            click.confirm(f"Erase {count} documents for good?", abort=True, err=True)
        receipt = target.forget(ids or None, label=label, only_parts=parts, field=field)
        session.print(receipt, show_receipt)


@click.command()
@with_session
@click.argument("kind", type=click.Choice(["collection", "bucket"]))
@click.argument("names", nargs=-1, required=True)
@click.option("--cascade", is_flag=True, help="Also the collections of a bucket.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def remove(session: Session, kind: str, names: Sequence[str], cascade: bool, yes: bool) -> None:
    """Remove collections or buckets with everything in them, for good.

    A collection's objects stay in its bucket. Your own files always stay.

    \b
    lookalike remove collection products
    lookalike remove bucket products --cascade --yes
    """
    if cascade and kind == "collection":
        raise BadInput("--cascade is for buckets; give the names of all collections to remove")
    listed = ", ".join(names)
    with session.library() as library:
        if not yes and not sys.stdin.isatty():
            raise BadInput(f"the {kind} {listed} would be removed; cannot ask here; add --yes")
        if not yes:
            click.confirm(f"Remove the {kind} {listed} for good?", abort=True, err=True)
        if kind == "collection":
            removed = library.remove_collection(*names)
        else:
            parts = [library.remove_bucket(name, cascade=cascade) for name in names]
            removed = functools.reduce(type(parts[0]).and_also, parts)
    session.print(removed, show_removed)


@click.command("copy")
@with_session
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--blobs", default="", metavar="PLACE", help="The uploads of the copy, as LOOKALIKE_BLOBS."
)
def copy_(session: Session, source: str, target: str, blobs: str) -> None:
    """Copy a whole store to a new directory or database, and compare the two.

    It copies objects, documents, vectors, labels with their history, keys and uploads. A database
    keeps uploads in LOOKALIKE_BLOBS.

    \b
    lookalike copy ./lookalike postgresql://ann@db.example.org/labels
    lookalike copy postgresql://ann@db.example.org/labels ./copy --blobs ./copy/blobs
    """
    from lookalike.stores.copy import copy_store

    with progress_bar("copying") as progress:
        copied = copy_store(source, target, blobs=blobs, progress=progress)
    session.print(copied, show_copied)


COMMANDS = (add, import_, export, draw, forget, remove, copy_)
