"""The command that shows a check sheet, writes it to a table, or confirms it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lookalike.cli.output import (
    first_names,
    show_changed,
    show_check,
    show_check_table,
    show_no_check,
)
from lookalike.cli.session import Session, collection_argument, field_option, with_session
from lookalike.errors import BadInput, Conflict
from lookalike.model import Origin

if TYPE_CHECKING:
    from lookalike.library.collection.collection import Collection
    from lookalike.model import Question

_COLUMNS = ("id", "file_name", "label", "confidence", "shown", "sha256")


@click.command()
@with_session
@collection_argument
@click.option("--to", "table", type=click.Path(path_type=Path), help="CSV, JSONL or Parquet.")
@click.option("--confirm", is_flag=True, help="Confirm all labels as shown.")
@field_option
def check(
    session: Session, collection: str, table: Path | None, confirm: bool, field: str | None
) -> None:
    """Show a check sheet: a random sample of the documents that may be labelled automatically.

    Confirm it; or write it to a table, correct or clear the wrong labels there, and import it with
    `lookalike label products --from sheet.csv --asked`. Then the other documents are labelled
    automatically, as far as the sheet shows that their labels are right.

    \b
    lookalike check products
    lookalike check products --confirm
    lookalike check products --to sheet.csv
    """
    from lookalike.formats.tables import write_rows

    if table is not None and confirm:
        raise BadInput("give either --to (write the sheet) or --confirm, not both")
    where = shlex.join([collection, *(() if field is None else ("--field", field))])
    with session.library() as library:
        target = library.collection(collection)
        question = target.check(field=field)
        if question is None:
            reason = show_no_check(target.report(field=field), where)
            if table is not None or confirm:
                raise Conflict(reason)
            session.print(None, lambda _: reason)
        elif table is not None:
            write_rows(table, _rows(question), _COLUMNS)
            file = shlex.quote(str(table))
            session.print(question, lambda shown: show_check_table(shown, where, file))
        elif confirm:
            import_sheet(session, target, list(_rows(question)), field)
        else:
            session.print(question, lambda shown: show_check(shown, where))


def import_sheet(
    session: Session, target: Collection, rows: Sequence[Mapping[str, Any]], field: str | None
) -> None:
    """Import the rows of a check sheet as answers, and print what changed."""
    sheet, before = target.check(field=field), target.report(field=field)
    changed = target.import_labels(rows, field=field, origin=Origin.HUMAN, asked=True)
    new = target.report(field=field).per_label.keys() - before.per_label.keys()
    waiting = {} if sheet is None else _suggestions(sheet)
    notes = _differences({str(row.get("id")) for row in rows}, waiting.keys())
    if new_labels := new - set(waiting.values()):
        notes.insert(0, f"new labels: {first_names(sorted(new_labels))}")
    if not changed.by_person and not changed.refused:
        notes.append("all answers were recorded before")
    session.print(changed, lambda shown: "\n".join([*notes, show_changed(shown)]))


def _differences(table: AbstractSet[str], sheet: AbstractSet[str]) -> list[str]:
    """Return how a table differs from the waiting sheet, by ids; [] if it is of another sheet."""
    if not table & sheet:
        return []
    notes = []
    if missing := sheet - table:
        notes.append(f"{len(missing)} of the sheet are not in the table: they still wait")
    if added := table - sheet:
        notes.append(f"{len(added)} in the table are not on the waiting sheet")
    return notes


def _suggestions(sheet: Question) -> dict[str, str | None]:
    ids = (one.id for one in sheet.documents)
    return dict(zip(ids, sheet.suggestions, strict=True))


def _rows(sheet: Question) -> Iterator[dict[str, Any]]:
    """Yield a sheet as rows; `shown` keeps the label that the person saw."""
    for document, label in zip(sheet.documents, sheet.suggestions, strict=True):
        yield {
            "id": document.id,
            "file_name": document.file_name,
            "label": label,
            "confidence": document.confidence,
            "shown": label,
            "sha256": document.sha256,
        }


COMMANDS = (check,)
