"""Commands by which a person says what something is, lets the rest be decided, or undoes it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lookalike.cli.check import give_back
from lookalike.cli.output import show_changed
from lookalike.cli.session import (
    Session,
    collection_argument,
    engine_options,
    field_option,
    label_names,
    label_set_options,
    progress_bar,
    with_session,
)
from lookalike.errors import BadInput
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
    "--asked", is_flag=True, help="The queue had asked: this is no random sample."
)


@click.command()
@with_session
@collection_argument
@click.argument("ids_and_label", nargs=-1, metavar="[ID… LABEL]")
@click.option("--from", "table", type=click.Path(path_type=Path), help="CSV, JSONL or Parquet.")
@click.option("--none", "retract", is_flag=True, help="Take back what you said.")
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
            'say which documents and which label: ID … LABEL, or ID … --none, or --from "table.csv"'
        )
    with session.library() as library:
        target = library.collection(collection)
        if table is None:
            said = _said(ids_and_label, retract)
            changed = target.label(said, field=field, asked=asked, new_labels=new_labels)
            session.print(changed, show_changed)
        elif asked:
            give_back(session, target, _rows_of(table), field)
        else:
            changed = target.import_labels(_rows_of(table), field=field, origin=Origin.HUMAN)
            session.print(changed, show_changed)


def _rows_of(table: Path) -> list[Mapping[str, Any]]:
    from lookalike.formats.tables import read_rows

    return list(read_rows(table))


def _said(ids_and_label: Sequence[str], retract: bool) -> dict[str, str | None]:
    if retract:
        return dict.fromkeys(ids_and_label)
    *ids, name = ids_and_label
    if not ids:
        raise BadInput(f"{name!r} alone is not enough: say ID … LABEL, or ID … --none")
    return dict.fromkeys(ids, name)


@click.command()
@with_session
@collection_argument
@click.argument("ids", nargs=-1, required=True)
@click.option("--label", "name", help="What it is not [its label, or what is suggested].")
@field_option
def reject(
    session: Session, collection: str, ids: Sequence[str], name: str | None, field: str | None
) -> None:
    """Say "not this": remembered by every later run.

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
    """Say that documents belong to none of the labels there are.

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
    """Say that you cannot tell what documents are: you are not asked again.

    \b
    lookalike cannot-tell products doc_a
    """
    with session.library() as library:
        changed = library.collection(collection).cannot_tell(ids, field=field, asked=asked)
        session.print(changed, show_changed)


@click.command()
@with_session
@collection_argument
@click.option("--confidence-threshold", type=float, help="From now on: this similarity.")
@click.option("--target-precision", type=float, help="From now on: this share must be right.")
@click.option("--target", "own", multiple=True, metavar="LABEL=SHARE", help="Another for a label.")
@click.option("--hierarchical/--flat", default=None, help="Give parents, too, or leaves alone.")
@label_set_options
@click.option("--version", metavar="POINT", help="From now on: the policy of that point.")
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
    """Decide everything again; change nothing that a person said.

    With `--engine ray` a Ray cluster extracts what waits, and finds who is near whom.

    \b
    lookalike run products
    lookalike run products --target-precision 0.97
    lookalike run products --target "Shoes > Running=0.99"
    lookalike run products --version "spring 2026"
    lookalike run papers --labels "Invoice, Contract" --closed-set
    lookalike run products --engine ray --address 10.0.0.5:6379
    """
    from lookalike.ingest.ray.jobs import THREADS, engine_at

    targets, there = dict(map(_target, own)) or None, dict[str, Any](engine=engine, address=address)
    with session.library() as library, redirect_stdout(sys.stderr), engine_at(**there):
        target = library.collection(collection)
        if engine != THREADS:
            with progress_bar("extracting") as progress:
                target.extract(progress=progress, **there)
        changed = target.run(targets=targets, labels=label_names(labels), **values, **there)
    session.print(changed, show_changed)


def _target(said: str) -> tuple[str, float]:
    label, _, share = said.rpartition("=")
    try:
        return label, float(share)
    except ValueError:
        raise BadInput(f"{said!r} is no target of a label: write 'Label=0.99'") from None


@click.command()
@with_session
@collection_argument
@click.argument("ids", nargs=-1)
@click.option("--label", "name", help="Only this label.")
@click.option("--min-confidence", type=float, help="Only from this confidence on.")
@click.option("--ungated", is_flag=True, help="Also what the gate would hold back.")
@click.option("--audited-only", is_flag=True, help="Only what an audit found right.")
@click.option("--preview", is_flag=True, help="Show what would change; do nothing.")
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
    """Let documents that labelled themselves vote, too.

    Under the policy `precision` a gate holds back what is not sure enough, says nothing new,
    contradicts a reference, or would outnumber what people said.

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
    """Take back the latest operation, or a named one.

    What labelled itself because of it goes, too; undoing an undo brings all back.

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
