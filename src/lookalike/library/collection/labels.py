"""From answers and imported rows to label statements; rows and answers that are refused, and why.

A statement (`LabelStatement`) is what a person or an import says of a document's label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import select

from lookalike.catalog.label_names import resolved_label
from lookalike.catalog.reader import FieldRow, label_states, rejections, suspects_of
from lookalike.catalog.vocabulary import Vocabulary, check_in_use
from lookalike.content.frames import is_missing
from lookalike.decisions.ledger.last_answers import LatestAnswer, latest_answers
from lookalike.decisions.operations import LabelStatement
from lookalike.errors import BadInput, Stale
from lookalike.labels import check_label, label_in
from lookalike.model import Document, EventKind, Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, one_of

NAME_COLUMNS = ("id", "sha256", "file_name")
"""The columns by which a row may name its document, tried in this order."""

SHOWN = "shown"
"""The column of a check sheet with the label that the person was shown."""


class _Index:
    """The documents of a collection by id, digest and file name."""

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

        A file name fits if it equals the document's, or if one path is the end of the other.
        Raises LookupError with the reason if it fits several documents.
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
        """Return whether the document has other content now than the row names."""
        return _given(row, "sha256") and self._digest_of[pk] != str(row["sha256"]).lower()


def imported_statements(
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
    """Return the statements of rows, and the reason for each refused row, by the row's name.

    With the origin human the `actor` is the person. `asked` rows are those of a check sheet: a row
    without a label rejects the label in its column SHOWN. A row is refused if its document changed
    or got another answer since the sheet was written.

    Raises BadInput if no row has the required columns, or no row fits a document.
    """
    table = schema.document
    query = select(table.c.pk, table.c.id, table.c.sha256, table.c.file_name)
    index = _Index(snapshot.rows(query.where(table.c.collection_pk == collection_pk)))
    vocabulary = Vocabulary(snapshot, field.pk)
    statements: dict[int, LabelStatement] = {}
    names, refused = dict[int, str](), dict[str, str]()
    of_sheet, count = set[int](), 0
    for count, row in enumerate(rows, 1):
        name = _name(row, count)
        try:
            for pk, new in _statements(index, row, label_column, origin, trusted, asked):
                first = statements.get(pk, new)
                if (first.kind, first.label) != (new.kind, new.label):
                    raise LookupError(f"was {first.label!r} in an earlier row; the first stays")
                if (reason := vocabulary.why_not(str(new.label))) is not None:
                    raise LookupError(reason)
                statements[pk], names[pk] = new, name
                if asked and _given(row, SHOWN):
                    of_sheet.add(pk)
        except (LookupError, BadInput) as error:
            refused[name] = str(error.args[0])
    if not statements:
        raise BadInput(_nothing_imported(count, refused, label_column))
    labels = {pk: vocabulary.resolve(str(one.label)) for pk, one in statements.items()}
    sheet = {pk: statements[pk] for pk in of_sheet}
    for pk, reason in _answered_since(snapshot, field, sheet, labels).items():
        del statements[pk]
        if reason:
            refused[names[pk]] = reason
    return _effective(snapshot, field, statements, labels, names, refused, actor), refused


def _nothing_imported(count: int, refused: Mapping[str, str], label_column: str) -> str:
    name, reason = next(iter(refused.items()), ("", "there are no rows"))
    return (
        f"none of {count} rows gives a label; the first: {name} {reason} "
        f"(a row needs {label_column!r} and one of {', '.join(NAME_COLUMNS)})"
    )


def _statements(
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
        raise LookupError("is not a document of this collection")
    if asked and any(index.has_changed(pk, row) for pk in pks):
        raise LookupError("has other content now; look at it again")
    is_trusted = trusted and row.get("label_source") != Origin.AUTO
    kind = EventKind.LABELLED if is_trusted else EventKind.SUGGESTED
    kind = EventKind.REJECTED if refuses else kind
    checked = check_label(str(label))
    return [(pk, LabelStatement(pk, kind, checked, origin, asked and not refuses)) for pk in pks]


def _answered_since(
    snapshot: Snapshot,
    field: FieldRow,
    statements: Mapping[int, LabelStatement],
    labels: Mapping[int, str],
) -> dict[int, str]:
    """Return the reasons for rows of a check sheet that came too late, by document.

    The reason is "" for a rejection that was recorded before.
    """
    states = label_states(snapshot, field.pk, statements)
    rejected = rejections(snapshot, field.pk, statements)
    late = {}
    for pk, statement in statements.items():
        state, label = states[pk], labels[pk]
        rejects = statement.kind is EventKind.REJECTED
        is_answered = state.origin in (Origin.HUMAN, Origin.IMPORT)
        if is_answered and (rejects or state.label != label):
            late[pk] = f"{state.actor} answered {_answer(state.label)} meanwhile; that stays"
        elif rejects and (pk, label) in rejected:
            late[pk] = ""
    return late


def _effective(
    snapshot: Snapshot,
    field: FieldRow,
    statements: Mapping[int, LabelStatement],
    labels: Mapping[int, str],
    names: Mapping[int, str],
    refused: dict[str, str],
    actor: str,
) -> list[LabelStatement]:
    """Return the statements that change something; refuse those that a person's label overrides.

    `labels` are the current names of their labels.
    """
    states = label_states(snapshot, field.pk, statements)
    effective = []
    for pk, statement in statements.items():
        state, label = states[pk], labels[pk]
        if statement.kind is EventKind.REJECTED:
            changes = True
        elif statement.kind is EventKind.SUGGESTED:
            changes = state.suggestion != label
        elif statement.origin is Origin.HUMAN:
            changes = state.adds_information(label, actor)
        elif state.origin == Origin.HUMAN:
            changes = False
            if state.label != label:
                answer = _answer(state.label)
                refused[names[pk]] = f"a person answered {answer}; an import never overwrites that"
        else:
            changes = (state.label, state.origin) != (label, statement.origin)
        if changes:
            effective.append(statement)
    return effective


def _answer(label: str | None) -> str:
    return "'new category'" if label is None else repr(label)


def _ends_alike(one: PurePosixPath, other: PurePosixPath) -> bool:
    shorter, longer = sorted((one.parts, other.parts), key=len)
    return longer[len(longer) - len(shorter) :] == shorter


def _given(row: Mapping[str, Any], column: str) -> bool:
    return not is_missing(row.get(column)) and row[column] != ""


def _name(row: Mapping[str, Any], number: int) -> str:
    known = (str(row[column]) for column in NAME_COLUMNS if _given(row, column))
    return f"row {number} ({next(known, 'without a name')})"


# --- answers of a person -------------------------------------------------------------------------


def label_statements(
    snapshot: Snapshot,
    field_pk: int,
    pks: Mapping[str, int],
    labels: Mapping[str, str | None],
    *,
    asked: bool,
    actor: str,
) -> list[LabelStatement]:
    """Return the statements that give labels by document id, without those that change nothing.

    None retracts the person's label or answer. Giving a suspect label again confirms it, so that is
    kept. Raises BadInput for a label that is retired, or not in a closed set.
    """
    check_in_use(snapshot, field_pk, labels.values())
    states = label_states(snapshot, field_pk, pks.values())
    suspects = suspects_of(snapshot, field_pk)
    statements = []
    for id, label in labels.items():
        pk = pks[id]
        if label is None:
            statements.append(LabelStatement(pk, EventKind.RETRACTED, None, Origin.HUMAN))
        elif states[pk].adds_information(label, actor) or (pk, label) in suspects:
            statements.append(LabelStatement(pk, EventKind.LABELLED, label, Origin.HUMAN, asked))
    return statements


def check_fresh(
    snapshot: Snapshot,
    pks: Mapping[str, int],
    revisions: Mapping[str, int],
    labels: Mapping[int, Mapping[str, str | None]],
    actor: str,
) -> None:
    """Raise Stale if another person answered differently since the client saw a document.

    `labels` is what the `actor` is about to give, by field (pk) and document id. Automatic
    decisions since then do not matter, nor do answers of the actor, nor the same label from
    somebody else. Raises BadInput for the revision of a document that gets no label here.
    """
    _check_named(pks, revisions)
    differing: dict[str, LatestAnswer] = {}
    for field_pk, own in labels.items():
        since = {pks[id]: revision for id, revision in revisions.items() if id in own}
        latest = latest_answers(snapshot, field_pk, since)
        others = {id: last for id in own if (last := latest.get(pks[id])) and last.actor != actor}
        current: dict[str | None, str | None] = {None: None}
        for label in {own[id] for id in others} - {None}:
            current[label] = resolved_label(snapshot, field_pk, str(label))
        differing |= {
            id: last for id, last in others.items() if not last.is_label(current[own[id]])
        }
    for id, last in differing.items():
        now = _revisions(snapshot, labels, {one: pks[one] for one in differing})
        raise Stale(
            f"{last.actor} {last.in_words(id)} after revision {revisions[id]}, which this was "
            "meant for: read it again",
            {"revisions": now, "answers": {one: by.answer for one, by in differing.items()}},
        )


def check_amendable(
    snapshot: Snapshot,
    fields: Mapping[str, int],
    pks: Mapping[str, int],
    changes: Mapping[str, Mapping[str, Any]],
    revisions: Mapping[str, int],
    actor: str,
) -> None:
    """Raise Stale if a client's changes of metadata, by document id, come too late.

    A label, under the name of one of the `fields` (name → pk), is checked by `check_fresh`. Other
    metadata, and None (which rejects the shown label), need the revision that the client saw.
    """
    _check_named(pks, revisions)
    labels: dict[int, dict[str, str | None]] = {}
    exact: set[str] = set()
    for id in revisions:
        for name, value in changes[id].items():
            label = label_in(value) if name in fields else None
            if label is None:
                exact.add(id)
            else:
                labels.setdefault(fields[name], {})[id] = label
    now = _revisions(snapshot, fields.values(), {id: pks[id] for id in exact})
    newer = {id: revision for id, revision in now.items() if revision > revisions[id]}
    for id, revision in newer.items():
        raise Stale(
            f"document {id!r} is at revision {revision}, and this was meant for "
            f"{revisions[id]}: read it again",
            {"revisions": newer},
        )
    check_fresh(snapshot, pks, revisions, labels, actor)


def _check_named(pks: Mapping[str, int], revisions: Mapping[str, int]) -> None:
    if others := revisions.keys() - pks.keys():
        raise BadInput(f"revisions names {min(others)!r}, which gets no label or change here")


def _revisions(
    snapshot: Snapshot, field_pks: Iterable[int], pks: Mapping[str, int]
) -> dict[str, int]:
    """Return the current revisions of documents by id: the newest of their fields."""
    table = schema.standing
    query = select(table.c.document_pk, table.c.revision)
    query = query.where(table.c.field_pk.in_(list(field_pks)))
    now: dict[int, int] = {}
    for row in snapshot.rows(query.where(one_of(table.c.document_pk, pks.values()))):
        now[row.document_pk] = max(row.revision, now.get(row.document_pk, 0))
    return {id: now.get(pk, 0) for id, pk in pks.items()}


def rejection_statements(
    pks: Mapping[str, int], documents: Mapping[str, Document], labels: Mapping[str, str | None]
) -> list[LabelStatement]:
    """Return the statements that reject labels by document id.

    None means the document's label, else its suggestion, else its runner-up. Raises BadInput for a
    document with none of these.
    """
    statements = []
    for id, given in labels.items():
        state = documents[id].standing
        label = given or state.label or state.suggestion or state.decision.runner_up
        if label is None:
            raise BadInput(f"document {id!r} has no label and no suggestion to reject")
        label = check_label(label)
        statements.append(LabelStatement(pks[id], EventKind.REJECTED, label, Origin.HUMAN))
    return statements
