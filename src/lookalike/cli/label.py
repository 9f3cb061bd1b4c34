"""Commands by which a person labels documents, decides them again, promotes them, or undoes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lookalike.cli.check import import_sheet
from lookalike.cli.output import show_changed
from lookalike.cli.session import (
    Session,
    collection_argument,
    engine_options,
    field_option,
    label_names,
    label_set_options,
    with_session,
)
from lookalike.errors import BadInput
from lookalike.library.progress import progress_bar
from lookalike.model import Origin

if TYPE_CHECKING:
    from lookalike.library.collection.collection import Collection

_NOT_UNDOABLE = (
    "add",
    "audit",
    "audit_answer",
    "create",
    "forget",
    "migrate",
    "trial",
    "trial_draw",
    "trial_answer",
    "undo",
)
_HISTORY = 100_000


_asked_option = click.option(
    "--asked", is_flag=True, help="An answer to the queue: not a random sample."
)


@click.command()
@with_session
@collection_argument
@click.argument("ids_and_label", nargs=-1, metavar="[ID… LABEL]")
@click.option("--from", "table", type=click.Path(path_type=Path), help="CSV, JSONL or Parquet.")
@click.option("--none", "retract", is_flag=True, help="Remove your labels and answers.")
@_asked_option
@click.option("--new-labels", is_flag=True, help="Add a label that is not in the closed set.")
@field_option
def label(
    session: Session,
    collection: str,
    ids_and_label: Sequence[str],
    table: Path | None,
    retract: bool,
    asked: bool,
    new_labels: bool,
    field: str | None,
) -> None:
    """Label documents, as a person.

    \b
    lookalike label products doc_a doc_b "Shoes > Running"
    lookalike label products --from labels.csv
    lookalike label products --from sheet.csv --asked
    lookalike label products doc_a --none
    lookalike label products doc_b "Receipt" --new-labels
    """
    only_ids = retract or new_labels
    if (table is not None) == bool(ids_and_label) or (table is not None and only_ids):
        raise BadInput(
            'give documents and a label: ID … LABEL, or ID … --none, or --from "table.csv"'
        )
    with session.library() as library:
        target = library.collection(collection)
        if table is None:
            labels = _labels(ids_and_label, retract)
            changed = target.label(labels, field=field, asked=asked, new_labels=new_labels)
            session.print(changed, show_changed)
        elif asked:
            import_sheet(session, target, _rows_of(table), field)
        else:
            changed = target.import_labels(_rows_of(table), field=field, origin=Origin.HUMAN)
            session.print(changed, show_changed)


def _rows_of(table: Path) -> list[Mapping[str, Any]]:
    from lookalike.formats.tables import read_rows

    return list(read_rows(table))


def _labels(ids_and_label: Sequence[str], retract: bool) -> dict[str, str | None]:
    if retract:
        return dict.fromkeys(ids_and_label)
    *ids, name = ids_and_label
    if not ids:
        raise BadInput(f"{name!r} alone is not enough: give ID … LABEL, or ID … --none")
    return dict.fromkeys(ids, name)


@click.command()
@with_session
@collection_argument
@click.argument("ids", nargs=-1, required=True)
@click.option("--label", "name", help="The label to reject [the document's, or suggested].")
@field_option
def reject(
    session: Session, collection: str, ids: Sequence[str], name: str | None, field: str | None
) -> None:
    """Reject labels: no later run gives or suggests them for these documents.

    \b
    lookalike reject products doc_a
    lookalike reject products doc_a --label "Shoes > Running"
    """
    with session.library() as library:
        changed = library.collection(collection).reject(dict.fromkeys(ids, name), field=field)
        session.print(changed, show_changed)


@click.command("new-kind")
@with_session
@collection_argument
@click.argument("ids", nargs=-1, required=True)
@_asked_option
@field_option
def new_kind(
    session: Session, collection: str, ids: Sequence[str], asked: bool, field: str | None
) -> None:
    """Mark documents as a new category: no existing label fits.

    \b
    lookalike new-kind products doc_a doc_b
    """
    with session.library() as library:
        changed = library.collection(collection).new_kind(ids, field=field, asked=asked)
        session.print(changed, show_changed)


@click.command("cannot-tell")
@with_session
@collection_argument
@click.argument("ids", nargs=-1, required=True)
@_asked_option
@field_option
def cannot_tell(
    session: Session, collection: str, ids: Sequence[str], asked: bool, field: str | None
) -> None:
    """Record that you cannot tell the label: the queue skips these documents.

    \b
    lookalike cannot-tell products doc_a
    """
    with session.library() as library:
        changed = library.collection(collection).cannot_tell(ids, field=field, asked=asked)
        session.print(changed, show_changed)


@click.command()
@with_session
@collection_argument
@click.option("--confidence-threshold", type=float, help="Set a similarity threshold.")
@click.option("--target-precision", type=float, help="Set the target precision.")
@click.option("--target", "own", multiple=True, metavar="LABEL=SHARE", help="Set that of a label.")
@click.option("--hierarchical/--flat", default=None, help="Fall back to parent labels, or not.")
@label_set_options
@click.option("--version", metavar="POINT", help="Set the policy of an earlier point.")
@engine_options
@field_option
def run(
    session: Session,
    collection: str,
    own: Sequence[str],
    labels: Sequence[str],
    engine: str,
    address: str | None,
    **values: Any,
) -> None:
    """Decide all documents again, with another policy if one is given.

    Labels and answers of people stay. With `--engine ray` a Ray cluster extracts the waiting
    objects and searches the nearest neighbours.

    \b
    lookalike run products
    lookalike run products --target-precision 0.97
    lookalike run products --target "Shoes > Running=0.99"
    lookalike run products --version "spring 2026"
    lookalike run papers --labels "Invoice, Contract" --closed-set
    lookalike run products --engine ray --address 10.0.0.5:6379
    """
    from lookalike.ingest.ray.jobs import THREADS, engine_at

    targets, where = dict(map(_target, own)) or None, dict[str, Any](engine=engine, address=address)
    with session.library() as library, redirect_stdout(sys.stderr), engine_at(**where):
        target = library.collection(collection)
        if engine != THREADS:
            with progress_bar("extracting") as progress:
                target.extract(progress=progress, **where)
        changed = target.run(targets=targets, labels=label_names(labels), **values, **where)
    session.print(changed, show_changed)


def _target(text: str) -> tuple[str, float]:
    label, _, share = text.rpartition("=")
    try:
        return label, float(share)
    except ValueError:
        raise BadInput(f"{text!r} is not a target of a label: write 'Label=0.99'") from None


@click.command()
@with_session
@collection_argument
@click.argument("ids", nargs=-1)
@click.option("--label", "name", help="Only documents with this label.")
@click.option("--min-confidence", type=float, help="Only with at least this confidence.")
@click.option("--ungated", is_flag=True, help="Also documents that the gate holds back.")
@click.option("--audited-only", is_flag=True, help="Only labels that an audit found right.")
@click.option("--preview", is_flag=True, help="Show what would change; write nothing.")
@field_option
def promote(
    session: Session,
    collection: str,
    ids: Sequence[str],
    name: str | None,
    min_confidence: float | None,
    ungated: bool,
    audited_only: bool,
    preview: bool,
    field: str | None,
) -> None:
    """Make automatically labelled documents references.

    Under the policy `precision` a gate holds back documents with a confidence below 0.99,
    near-duplicates of references, and labels with more promoted references than people gave.

    \b
    lookalike promote products doc_a doc_b
    lookalike promote products --min-confidence 0.99 --preview
    """
    with session.library() as library:
        changed = library.collection(collection).promote(
            ids or None,
            label=name,
            min_confidence=min_confidence,
            gated=not ungated,
            audited_only=audited_only,
            preview=preview,
            field=field,
        )
        session.print(changed, show_changed)


@click.command()
@with_session
@collection_argument
@click.argument("operation", required=False)
def undo(session: Session, collection: str, operation: str | None) -> None:
    """Undo the latest operation, or the one with an id.

    This also undoes the automatic labels that depend on it; undoing an undo restores all.

    \b
    lookalike undo products
    lookalike undo products op_01J…
    """
    with session.library() as library:
        target = library.collection(collection)
        session.print(target.undo(operation or _latest(target)), show_changed)


def _latest(collection: Collection) -> str:
    for operation in collection.operations(limit=_HISTORY):
        if operation.undone_by is None and operation.kind not in _NOT_UNDOABLE:
            return operation.id
    raise BadInput(f"there is nothing to undo; see `lookalike history {collection.name}`")


COMMANDS = (label, reject, new_kind, cannot_tell, run, promote, undo)
