"""Labels from elsewhere: rows matched to documents, and what of them is not taken, with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import select

from lookalike.catalog.label_names import resolved_label
from lookalike.catalog.reader import FieldRow, label_states, rejections, suspects_of
from lookalike.catalog.vocabulary import Vocabulary, check_in_use
from lookalike.content.sources import is_missing
from lookalike.decisions.ledger.last_answers import LatestAnswer, latest_answers
from lookalike.decisions.operations import LabelStatement
from lookalike.errors import BadInput, Stale
from lookalike.labels import check_label, label_in
from lookalike.model import Document, EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of

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
) -> tuple[list[LabelStatement], dict[str, str]]:
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
    said: dict[int, LabelStatement] = {}
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
    labels = {pk: vocabulary.resolve(str(one.label)) for pk, one in said.items()}
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
) -> list[tuple[int, LabelStatement]]:
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
    return [(pk, LabelStatement(pk, kind, checked, origin, asked and not refuses)) for pk in pks]


def _answered(
    snapshot: Snapshot,
    field: FieldRow,
    said: Mapping[int, LabelStatement],
    labels: Mapping[int, str],
) -> dict[int, str]:
    """Return which rows of a check sheet came too late, and why: "" where it was said before."""
    now, before = label_states(snapshot, field.pk, said), rejections(snapshot, field.pk, said)
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
    said: Mapping[int, LabelStatement],
    labels: Mapping[int, str],
    names: Mapping[int, str],
    refused: dict[str, str],
    actor: str,
) -> list[LabelStatement]:
    """Leave out what stands already, as `labels` are called now; note what outweighs it."""
    now = label_states(snapshot, field.pk, said)
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
            if stance.adds_information(label, actor):
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


# --- answers to ledger entries -------------------------------------------------------------------


def labelled(
    snapshot: Snapshot,
    field_pk: int,
    pks: Mapping[str, int],
    labels: Mapping[str, str | None],
    *,
    asked: bool,
    actor: str,
) -> list[LabelStatement]:
    """Return the lines of giving labels by document id; what the actor said already is left out.

    None takes back what the person said. Of a label that looks wrong it is news that somebody gives
    it again. Raises BadInput for a label that is retired, or not in a closed set.
    """
    check_in_use(snapshot, field_pk, labels.values())
    now, suspects = label_states(snapshot, field_pk, pks.values()), suspects_of(snapshot, field_pk)
    said = []
    for id, label in labels.items():
        if label is None:
            said.append(LabelStatement(pks[id], EventKind.RETRACTED, None, Origin.HUMAN))
        elif now[pks[id]].adds_information(label, actor) or (pks[id], label) in suspects:
            said.append(LabelStatement(pks[id], EventKind.LABELLED, label, Origin.HUMAN, asked))
    return said


def check_fresh(
    snapshot: Snapshot,
    pks: Mapping[str, int],
    revisions: Mapping[str, int],
    labels: Mapping[int, Mapping[str, str | None]],
    actor: str,
) -> None:
    """Raise Stale where another person has said something else since a client saw a document.

    `labels` is what the `actor` is about to say, by field (pk) and document id. What the machine
    decided meanwhile does not matter, nor what the actor said, nor the same label of somebody else.
    Raises BadInput for the revision of a document that nothing is said of.
    """
    _check_named(pks, revisions)
    said: dict[str, LatestAnswer] = {}
    for field_pk, own in labels.items():
        since = {pks[id]: revision for id, revision in revisions.items() if id in own}
        words = latest_answers(snapshot, field_pk, since)
        others = {id: word for id in own if (word := words.get(pks[id])) and word.actor != actor}
        labels_now: dict[str | None, str | None] = {None: None}
        for label in {own[id] for id in others} - {None}:
            labels_now[label] = resolved_label(snapshot, field_pk, str(label))
        said |= {id: word for id, word in others.items() if not word.is_label(labels_now[own[id]])}
    for id, word in said.items():
        now = _revisions(snapshot, labels, {one: pks[one] for one in said})
        raise Stale(
            f"{word.actor} {word.in_words(id)} after revision {revisions[id]}, which this was "
            "meant for: read it again",
            {"revisions": now, "answers": {one: by.answer for one, by in said.items()}},
        )


def check_amendable(
    snapshot: Snapshot,
    fields: Mapping[str, int],
    pks: Mapping[str, int],
    changes: Mapping[str, Mapping[str, Any]],
    revisions: Mapping[str, int],
    actor: str,
) -> None:
    """Raise Stale where a client's changes of metadata, by document id, come too late.

    A label, under the name of one of the `fields` (name → pk), does as `check_fresh` says. Other
    metadata, and None, which refuses the label that a document shows, are meant for what was seen.
    """
    _check_named(pks, revisions)
    labels: dict[int, dict[str, str | None]] = {}
    shown: set[str] = set()
    for id in revisions:
        for name, value in changes[id].items():
            label = label_in(value) if name in fields else None
            if label is None:
                shown.add(id)
            else:
                labels.setdefault(fields[name], {})[id] = label
    now = _revisions(snapshot, fields.values(), {id: pks[id] for id in shown})
    moved = {id: revision for id, revision in now.items() if revision > revisions[id]}
    for id, revision in moved.items():
        raise Stale(
            f"document {id!r} is at revision {revision}, and this was meant for "
            f"{revisions[id]}: read it again",
            {"revisions": moved},
        )
    check_fresh(snapshot, pks, revisions, labels, actor)


def _check_named(pks: Mapping[str, int], revisions: Mapping[str, int]) -> None:
    if others := revisions.keys() - pks.keys():
        raise BadInput(f"there is a revision for {min(others)!r}, of which nothing is said")


def _revisions(
    snapshot: Snapshot, field_pks: Iterable[int], pks: Mapping[str, int]
) -> dict[str, int]:
    """Return the revisions that documents have now in these fields, by id."""
    table = schema.standing
    query = select(table.c.document_pk, table.c.revision)
    query = query.where(table.c.field_pk.in_(list(field_pks)))
    now: dict[int, int] = {}
    for row in snapshot.rows(query.where(one_of(table.c.document_pk, pks.values()))):
        now[row.document_pk] = max(row.revision, now.get(row.document_pk, 0))
    return {id: now.get(pk, 0) for id, pk in pks.items()}


def rejected(
    pks: Mapping[str, int], shown: Mapping[str, Document], labels: Mapping[str, str | None]
) -> list[LabelStatement]:
    """Return the lines of refusing labels by document id; None is the one that the document shows.

    Raises BadInput for a document that shows none.
    """
    said = []
    for id, label in labels.items():
        standing = shown[id].standing
        refused = label or standing.label or standing.suggestion or standing.decision.runner_up
        if refused is None:
            raise BadInput(f"document {id!r} has no label and no suggestion to reject")
        said.append(LabelStatement(pks[id], EventKind.REJECTED, check_label(refused), Origin.HUMAN))
    return said
