"""The command that shows a check sheet, writes it as a table, or confirms it."""

from __future__ import annotations

import shlex
from collections.abc import Collection as Some
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lookalike.cli.output import show_changed, show_check, show_check_table, show_no_check, some_of
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
    """Show a check sheet: a random sample of what may be labelled automatically.

    Confirm it, or write it as a table, correct the wrong labels in that or empty them, and give it
    back with `lookalike label products --from sheet.csv --asked`. Then the rest labels itself, as
    far as the sheet shows that its labels are right.

    \b
    lookalike check products
    lookalike check products --confirm
    lookalike check products --to sheet.csv
    """
    from lookalike.formats.tables import write_rows

    if table is not None and confirm:
        raise BadInput("either write the sheet with --to, or confirm it with --confirm")
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
            give_back(session, target, list(_rows(question)), field)
        else:
            session.print(question, lambda shown: show_check(shown, where))


def give_back(
    session: Session, target: Collection, rows: Sequence[Mapping[str, Any]], field: str | None
) -> None:
    """Answer what was asked by the rows of a table, and print what came of it."""
    sheet, before = target.check(field=field), target.report(field=field)
    changed = target.import_labels(rows, field=field, origin=Origin.HUMAN, asked=True)
    new = target.report(field=field).per_label.keys() - before.per_label.keys()
    waiting = {} if sheet is None else _suggestions(sheet)
    told = [*_news(new - set(waiting.values())), *_strangers(rows, waiting)]
    if not changed.by_person and not changed.refused:
        told.append("all of it was said before")
    session.print(changed, lambda shown: "\n".join([*told, show_changed(shown)]))


def _news(labels: Some[str]) -> list[str]:
    if not labels:
        return []
    return [f"new labels, which nothing had before: {some_of(sorted(labels))}"]


def _strangers(rows: Sequence[Mapping[str, Any]], waiting: Some[str]) -> list[str]:
    """Return how a table differs from the sheet that waits, if it is of that sheet."""
    named = {str(row.get("id")) for row in rows}
    missing, added = set(waiting) - named, named - set(waiting)
    if not named & set(waiting):
        return []
    told = []
    if missing:
        told.append(f"{len(missing)} of the sheet are not in the table: they still wait")
    if added:
        told.append(f"{len(added)} in the table are not on the sheet that waits")
    return told


def _suggestions(sheet: Question) -> dict[str, str | None]:
    ids = (one.id for one in sheet.documents)
    return dict(zip(ids, sheet.suggestions, strict=True))


def _rows(sheet: Question) -> Iterator[dict[str, Any]]:
    """Yield a sheet as rows; `shown` stays as it is when a person changes the label."""
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
