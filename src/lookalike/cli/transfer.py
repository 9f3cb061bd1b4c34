"""Commands that add files, import and export labels, and erase or copy data."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
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
    with_session,
)
from lookalike.errors import BadInput, NotFound
from lookalike.library.progress import progress_bar

if TYPE_CHECKING:
    from lookalike.library.collection.collection import Collection

_TABLES = ("csv", "jsonl", "parquet")
_FORMATS = (
    "folders",
    *_TABLES,
    "huggingface",
    "label-studio",
    "fiftyone",
    "coco",
    "yolo",
    "voc",
    "cvat",
    "labelme",
)


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
    if added.failed and not (added.documents or added.changed or added.unchanged):
        raise click.exceptions.Exit(1)


@click.command("import")
@with_session
@collection_argument
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--labels-from",
    type=click.Choice(_FORMATS),
    help="The format of PATH [recognised by its content].",
)
@click.option("--label-column", help="The column of labels in a table [label].")
@click.option("--images", type=click.Path(path_type=Path), help="The folder of the pictures.")
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
    """Import labels, and the files they belong to, from another tool.

    An import never overwrites a person's label; it lists refused rows with the reason.

    \b
    lookalike import products labels.csv
    lookalike import products sorted/
    lookalike import products export.json --labels-from label-studio
    lookalike import cells annotations.json --labels-from coco --images photos/
    """
    from lookalike.library.annotations import import_annotations

    with session.library() as library, progress_bar("extracting") as progress:
        done = import_annotations(
            library.collection(collection),
            path,
            labels_from,
            images=images,
            field=field,
            label_column=label_column,
            trusted=not suggestions,
            progress=progress,
        )
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    if done.regions or done.labelled is None:
        session.print(done, show_annotated)
        return
    if done.added.added or done.added.unchanged or done.added.failed:
        click.echo(show_added(done.added), err=True)
    session.print(done.labelled, show_changed)


@click.command()
@with_session
@collection_argument
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--format", "kind", type=click.Choice(_FORMATS), help="The format of another tool.")
@click.option("--all", "unlabelled", is_flag=True, help="Also what has no label.")
@click.option("--link", is_flag=True, help="Link pictures instead of copying them.")
@as_of_option
@field_option
def export(
    session: Session,
    collection: str,
    file: Path | None,
    kind: str | None,
    unlabelled: bool,
    link: bool,
    as_of: str | None,
    field: str | None,
) -> None:
    """Write labels, scores and review state to a table, or labels for another tool.

    A table is CSV, JSONL or Parquet by the file's suffix, and CSV without a file. Of the formats
    COCO and Label Studio are a file, and the others folders.

    \b
    lookalike export products labels.csv
    lookalike export products > labels.csv
    lookalike export products --json > labels.jsonl
    lookalike export products labels.csv --as-of "spring 2026"
    lookalike export products sorted/ --format folders
    lookalike export products tasks.json --format label-studio --all
    lookalike export cells cells.json --format coco
    """
    with session.library() as library:
        target = library.collection(collection)
        if kind is not None and kind not in _TABLES:
            if as_of is not None:
                raise BadInput("--as-of is for tables: omit --format")
            options = {"field": field, "unlabelled": unlabelled, "link": link}
            _export_dataset(session, target, file, kind, options)
            return
        if unlabelled or link:
            option = "--all" if unlabelled else "--link"
            raise BadInput(f"{option} is for formats of other tools: give --format as well")
        shown = target if as_of is None else target.as_of(as_of)
        _export_table(session, shown.rows(field=field), file, kind)


def _export_table(
    session: Session, rows: Iterable[Mapping[str, Any]], file: Path | None, kind: str | None
) -> None:
    from lookalike.formats import tables
    from lookalike.quality.reports import EXPORT_COLUMNS

    if file is not None:
        count = tables.write_rows(file, rows, EXPORT_COLUMNS, kind)
        session.print({"rows": count, "file": str(file)}, lambda v: f"{v['rows']} rows → {file}")
        return
    if kind == "parquet":
        raise BadInput("give the file to write parquet to")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="strict")
    as_json = session.as_json or kind == "jsonl"
    write = tables.write_json_lines if as_json else tables.write_csv
    write(sys.stdout, rows, EXPORT_COLUMNS)


def _export_dataset(
    session: Session,
    target: Collection,
    file: Path | None,
    kind: str,
    options: Mapping[str, Any],
) -> None:
    from lookalike.formats.registry import format_named
    from lookalike.library.annotations import export_annotations, is_of_regions

    if file is None:
        raise BadInput(f"give a place to write {kind}: {format_named(kind).target}")
    count = export_annotations(target, file, kind, **options)
    what = "regions" if is_of_regions(target) else "labels"
    session.print({what: count, "file": str(file)}, lambda v: f"{v[what]} {what} → {file}")


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
