"""Labels from elsewhere: rows matched to documents, and what of them is not taken, with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import select

from lookalike.catalog.lookup import rejections, stances
from lookalike.catalog.reader import FieldRow
from lookalike.catalog.vocabulary import Vocabulary
from lookalike.content.sources import is_missing
from lookalike.decisions.operations import Said
from lookalike.errors import BadInput
from lookalike.labels import check_label
from lookalike.model import EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot

NAME_COLUMNS = ("id", "sha256", "file_name")
"""How a row may name its document, tried in this order."""

SHOWN = "shown"
"""The column of a check sheet that tells which label a person was shown."""


class _Index:
    """The documents of a collection by everything a row may call them."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._ids = {row.id: row.pk for row in rows}
        self._digest_of = {row.pk: row.sha256.hex() for row in rows}
        self._digests: dict[str, list[int]] = {}
        self._files: dict[str, list[tuple[PurePosixPath, int]]] = {}
        for row in rows:
            self._digests.setdefault(row.sha256.hex(), []).append(row.pk)
            path = PurePosixPath(row.file_name)
            self._files.setdefault(path.name, []).append((path, row.pk))

    def find(self, row: Mapping[str, Any]) -> list[int]:
        """Return the documents that a row names: none, one, or all with the same content.

        A file name fits when it equals the document's, or when one is the end of the other.
        Raises LookupError with the reason where it fits several.
        """
        if not is_missing(row.get("id")) and str(row["id"]) in self._ids:
            return [self._ids[str(row["id"])]]
        if _given(row, "sha256"):
            return self._digests.get(str(row["sha256"]).lower(), [])
        if not _given(row, "file_name"):
            return []
        name = PurePosixPath(str(row["file_name"]).replace("\\", "/"))
        near = self._files.get(name.name, [])
        exact = [pk for path, pk in near if path == name]
        fitting = exact or [pk for path, pk in near if _ends_alike(path, name)]
        if len(fitting) > 1:
            raise LookupError(f"fits {len(fitting)} documents; name them by id")
        return fitting

    def has_changed(self, pk: int, row: Mapping[str, Any]) -> bool:
        """Return whether a row names another content than the document has by now."""
        return _given(row, "sha256") and self._digest_of[pk] != str(row["sha256"]).lower()


def read_labels(
    snapshot: Snapshot,
    collection_pk: int,
    field: FieldRow,
    rows: Iterable[Mapping[str, Any]],
    *,
    label_column: str,
    origin: Origin,
    trusted: bool,
    asked: bool,
    actor: str,
) -> tuple[list[Said], dict[str, str]]:
    """Return what rows say of documents, and why the others are not taken, by name.

    Who says it, as a person, is the `actor`. What was `asked` may have a label SHOWN: without a
    label of its own the row says that this one is wrong, and it is not taken of a document that
    changed or got another answer meanwhile.

    Raises BadInput where no row has the columns that are needed, or none fits a document.
    """
    table = schema.document
    query = select(table.c.pk, table.c.id, table.c.sha256, table.c.file_name)
    index = _Index(snapshot.rows(query.where(table.c.collection_pk == collection_pk)))
    vocabulary = Vocabulary(snapshot, field.pk)
    said: dict[int, Said] = {}
    names: dict[int, str] = {}
    refused: dict[str, str] = {}
    of_sheet: set[int] = set()
    count = 0
    for count, row in enumerate(rows, 1):
        name = _name(row, count)
        try:
            for pk, one in _read(index, row, label_column, origin, trusted, asked):
                if pk in said and (said[pk].kind, said[pk].label) != (one.kind, one.label):
                    raise LookupError(f"was {said[pk].label!r} in an earlier row; the first stays")
                if (reason := vocabulary.why_not(str(one.label))) is not None:
                    raise LookupError(reason)
                said[pk], names[pk] = one, name
                if asked and _given(row, SHOWN):
                    of_sheet.add(pk)
        except (LookupError, BadInput) as error:
            refused[name] = str(error.args[0])
    if not said:
        raise BadInput(_nothing_taken(count, refused, label_column))
    labels = {pk: vocabulary.meant(str(one.label)) for pk, one in said.items()}
    for pk, reason in _answered(snapshot, field, {pk: said[pk] for pk in of_sheet}, labels).items():
        del said[pk]
        if reason:
            refused[names[pk]] = reason
    return _news(snapshot, field, said, labels, names, refused, actor), refused


def _nothing_taken(count: int, refused: Mapping[str, str], label_column: str) -> str:
    name, reason = next(iter(refused.items()), ("", "there are no rows"))
    return (
        f"none of {count} rows gives a label; the first: {name} {reason} "
        f"(a row needs {label_column!r} and one of {', '.join(NAME_COLUMNS)})"
    )


def _read(
    index: _Index,
    row: Mapping[str, Any],
    label_column: str,
    origin: Origin,
    trusted: bool,
    asked: bool,
) -> list[tuple[int, Said]]:
    label, refuses = row.get(label_column), False
    if is_missing(label) or label == "":
        refuses = asked and _given(row, SHOWN)
        if not refuses:
            raise LookupError(f"has no {label_column!r}")
        label = row[SHOWN]
    pks = index.find(row)
    if not pks:
        raise LookupError("is no document of this collection")
    if asked and any(index.has_changed(pk, row) for pk in pks):
        raise LookupError("has another content by now; look at it again")
    votes = trusted and row.get("label_source") != Origin.AUTO
    kind = EventKind.LABELLED if votes else EventKind.SUGGESTED
    kind = EventKind.REJECTED if refuses else kind
    checked = check_label(str(label))
    return [(pk, Said(pk, kind, checked, origin, asked and not refuses)) for pk in pks]


def _answered(
    snapshot: Snapshot, field: FieldRow, said: Mapping[int, Said], labels: Mapping[int, str]
) -> dict[int, str]:
    """Return which rows of a check sheet came too late, and why: "" where it was said before."""
    now, before = stances(snapshot, field.pk, said), rejections(snapshot, field.pk, said)
    late = {}
    for pk, one in said.items():
        stance, label = now[pk], labels[pk]
        refuses = one.kind is EventKind.REJECTED
        is_answered = stance.origin in (Origin.HUMAN, Origin.IMPORT)
        if is_answered and (refuses or stance.label != label):
            word = "it is of a new kind" if stance.label is None else repr(stance.label)
            late[pk] = f"{stance.actor} said {word} meanwhile; that stays"
        elif refuses and (pk, label) in before:
            late[pk] = ""
    return late


def _news(
    snapshot: Snapshot,
    field: FieldRow,
    said: Mapping[int, Said],
    labels: Mapping[int, str],
    names: Mapping[int, str],
    refused: dict[str, str],
    actor: str,
) -> list[Said]:
    """Leave out what stands already, as `labels` are called now; note what outweighs it."""
    now = stances(snapshot, field.pk, said)
    news = []
    for pk, one in said.items():
        stance, label = now[pk], labels[pk]
        if one.kind is EventKind.REJECTED:
            news.append(one)
        elif one.kind is EventKind.SUGGESTED:
            if stance.suggestion != label:
                news.append(one)
        elif stance.origin == Origin.HUMAN and one.origin is not Origin.HUMAN:
            if stance.label != label:
                word = "it is of a new kind" if stance.label is None else repr(stance.label)
                refused[names[pk]] = f"a person said {word}; an import never overwrites that"
        elif one.origin is Origin.HUMAN:
            if stance.is_news(label, actor):
                news.append(one)
        elif (stance.label, stance.origin) != (label, one.origin):
            news.append(one)
    return news


def _ends_alike(one: PurePosixPath, other: PurePosixPath) -> bool:
    shorter, longer = sorted((one.parts, other.parts), key=len)
    return longer[len(longer) - len(shorter) :] == shorter


def _given(row: Mapping[str, Any], column: str) -> bool:
    return not is_missing(row.get(column)) and row[column] != ""


def _name(row: Mapping[str, Any], number: int) -> str:
    known = (str(row[column]) for column in NAME_COLUMNS if _given(row, column))
    return f"row {number} ({next(known, 'without a name')})"
