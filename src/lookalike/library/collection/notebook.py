"""What a notebook shows: collections, reports, questions, documents and explanations as HTML.

Pictures are inside the HTML as `data:` URLs, so a saved notebook shows them anywhere. Colours are
those of the notebook, light or dark.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from functools import singledispatch
from html import escape
from textwrap import shorten
from typing import Any

from lookalike.content.boxes import view_of
from lookalike.content.open_sources import content_of, text_of, thumbnail_of
from lookalike.errors import LookalikeError
from lookalike.library.collection.base import CollectionBase
from lookalike.library.collection.explanations import Why
from lookalike.library.remote.collection import RemoteDocuments
from lookalike.model import Blob, Document, Origin, Question, Standing
from lookalike.quality.stats.metrics import Report

_SHOWN = 12
_LABELS = 20
_EXCERPT = 280

_TEXTS = ("text/plain", "text/markdown")
_GIVEN_BY = {
    Origin.HUMAN: "by {}",
    Origin.IMPORT: "imported by {}",
    Origin.PROMOTED: "promoted",
    Origin.AUTO: "automatic",
}
_ASKED = {
    "check": "Are these right? A random sample: one answer confirms all but what you correct.",
    "suspect": "Are these labels wrong? They do not vote until somebody confirms them.",
    "names": "Are these right? Only the names of the labels suggest them.",
    "limit": "Labelled automatically, just above the threshold.",
    "second_opinion": "A second opinion, please: another answer is hidden.",
}
_STYLE = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.4"
_ROW = "display:flex;flex-wrap:wrap;gap:10px;margin:6px 0"
_CARD = "width:136px;overflow-wrap:anywhere"
_PICTURE = "max-width:128px;max-height:128px;border-radius:4px;display:block"
_QUIET = "opacity:.7;font-size:12px"


@singledispatch
def html(shown: Any) -> str:
    """Return the HTML of what a notebook shows. Raises TypeError for another type."""
    raise TypeError(f"a {type(shown).__name__} has no HTML")


@html.register
def _document(shown: Document) -> str:
    return _framed(_card(shown, shown.standing))


@html.register
def _question(shown: Question) -> str:
    head = [_bold(_ask(shown)), f" {_quiet(f'settles about {shown.worth:.0f}')}"]
    opinions = [
        f"<div>{escape(one.actor)}: {escape(one.label or one.kind.value)}</div>"
        for one in shown.opinions
    ]
    return _framed(*head, *opinions, _groups(shown))


@html.register
def _report(shown: Report) -> str:
    return _framed(_state(shown))


@html.register
def _why(shown: Why) -> str:
    standing, decision = shown.standing, shown.standing.decision
    parts = [_card(shown.document, standing)]
    if decision.confidence is not None and decision.threshold is not None:
        said = f"confidence {decision.confidence:.3f}, threshold {decision.threshold:.3f}"
        runner_up = f", next best {decision.runner_up}" if decision.runner_up else ""
        parts.append(f"<div>{escape(said + runner_up)}</div>")
    references = [
        _figure(
            _picture_of(one.match.document_id),
            one.match.label,
            f"similarity {one.match.similarity:.3f}, {_given(one.origin, one.actor)}",
            one.file_name or one.match.document_id,
        )
        for one in shown.witnesses
    ]
    if references:
        parts += [_bold("The most similar references"), _row(references)]
    if shown.causes:
        names = {one.match.document_id: one.file_name for one in shown.witnesses}
        shares = {
            f"{one.label} ({names.get(one.document_id, one.document_id)})": one.share
            for one in shown.causes
        }
        parts += [_bold("Shares of the evidence"), _table(shares, "{:.0%}")]
    if shown.counterfactual is not None:
        without = shown.counterfactual.label or "no label"
        parts.append(_quiet(f"without {shown.counterfactual.without}: {without}"))
    if shown.quotes is not None:
        for quote in (shown.quotes.here, shown.quotes.there):
            text = shorten(quote.text, _EXCERPT, placeholder=" …")
            parts.append(f"<div>{escape(quote.document_id)}: “{escape(text)}”</div>")
    return _framed(*parts)


@html.register(CollectionBase)
@html.register(RemoteDocuments)
def _collection(shown: Any) -> str:
    try:
        parts = [_state(shown.report(field=field)) for field in shown.fields]
        cards = [_card(one, one.standing) for one in shown.documents(limit=_SHOWN)]
    except LookalikeError as error:
        return _framed(_bold(shown.name), f"<div>{escape(str(error))}</div>")
    return _framed(*parts, _row(cards))


# --- parts ---------------------------------------------------------------------------------------


def _state(report: Report) -> str:
    """Return the state of a label field: what is labelled, by whom, and what is missing."""
    told = f"{report.coverage:.0%} of {report.documents} documents labelled, {report.state}"
    bar = (
        '<div style="height:6px;max-width:420px;border-radius:3px;background:#8884">'
        f'<div style="height:6px;width:{report.coverage:.1%};border-radius:3px;'
        'background:#15803d"></div></div>'
    )
    counts = {label: sum(by.values()) for label, by in report.per_label.items()}
    labels = dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))
    parts = [
        _bold(f"{report.collection} · {report.field}"),
        f"<div>{escape(told)}</div>",
        bar,
        f"<div>{escape(_listed(report.labelled))}</div>",
        *(f"<div>To label more: {escape(what)}</div>" for what in report.missing),
        _table(dict(list(labels.items())[:_LABELS]), "{}"),
    ]
    if len(labels) > _LABELS:
        parts.append(_quiet(f"and {len(labels) - _LABELS} more labels"))
    nulls = {reason.replace("_", " "): count for reason, count in report.nulls.items()}
    parts.append(_quiet(f"without a label: {_listed(nulls)}") if nulls else "")
    return "".join(parts)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _ask(question: Question) -> str:
    if question.kind in _ASKED:
        return _ASKED[question.kind]
    are = "Are all of these" if len(question.documents) > 1 else "Is this"
    text = f"{are} “{question.suggestion}”?"
    if question.suggestion is None:
        text = "What are these?" if len(question.documents) > 1 else "What is this?"
    if question.kind == "new_kind":
        below = f" below “{question.place}”" if question.place else ""
        text += f" Perhaps a new category{below}."
    return text


def _groups(question: Question) -> str:
    """Return the documents of a question, grouped by what is suggested for each."""
    suggestions = question.suggestions or (question.suggestion,) * len(question.documents)
    groups: dict[str | None, list[Document]] = {}
    for document, label in zip(question.documents, suggestions, strict=True):
        groups.setdefault(label, []).append(document)
    parts = []
    for label, documents in groups.items():
        if question.kind in _ASKED or len(groups) > 1:
            parts.append(_bold(label or "no suggestion"))
        parts.append(_row(_figure(_picture(one), "", "", one.file_name) for one in documents))
    return "".join(parts)


def _card(document: Document, standing: Standing) -> str:
    decision = standing.decision
    if standing.label is not None:
        by = standing.reviewed_by or standing.actor or "somebody"
        state = _given(standing.origin, by)
        is_auto = standing.origin is Origin.AUTO and decision.confidence is not None
        detail = f"{state}, {decision.confidence:.2f}" if is_auto else state
        return _figure(_picture(document), standing.label, detail, document.file_name)
    reason = "" if standing.reason is None else standing.reason.value.replace("_", " ")
    suggestion = standing.suggestion or decision.runner_up
    maybe = f"{reason}; perhaps {suggestion}" if suggestion else reason
    return _figure(_picture(document), "no label", maybe, document.file_name)


def _given(origin: Origin | None, by: str) -> str:
    return "" if origin is None else _GIVEN_BY[origin].format(by)


def _picture(document: Document) -> str:
    """Return what shows a document, "" where no open store or connection has its content."""
    digest = document.sha256
    blob = next((one for one in document.blobs if one.sha256 == digest and one.uri), None)
    return "" if blob is None else _content(blob, view_of(document.attributes), document.file_name)


def _picture_of(document_id: str) -> str:
    found = content_of(document_id)
    return "" if found is None else _content(*found, document_id)


def _content(blob: Blob, view: str, name: str) -> str:
    if blob.media_type in _TEXTS:
        text = shorten(text_of(blob) or "", _EXCERPT, placeholder=" …")
        return f"<div>{escape(text)}</div>"
    jpeg = thumbnail_of(blob, view)
    if jpeg is None:
        return ""
    data = base64.b64encode(jpeg).decode("ascii")
    return f'<img alt="{escape(name)}" style="{_PICTURE}" src="data:image/jpeg;base64,{data}">'


def _figure(picture: str, label: str, detail: str, name: str) -> str:
    lines = [picture, _bold(label) if label else "", _quiet(detail), _quiet(name)]
    return f'<div style="{_CARD}">{"".join(lines)}</div>'


def _row(cards: Iterable[str]) -> str:
    return f'<div style="{_ROW}">{"".join(cards)}</div>'


def _table(numbers: Mapping[str, float], shape: str) -> str:
    rows = "".join(
        f'<tr><td style="text-align:left">{escape(name)}</td>'
        f'<td style="text-align:right">{shape.format(number)}</td></tr>'
        for name, number in numbers.items()
    )
    return f"<table>{rows}</table>" if rows else ""


def _bold(text: str) -> str:
    return f"<div><strong>{escape(text)}</strong></div>"


def _quiet(text: str) -> str:
    return f'<div style="{_QUIET}">{escape(text)}</div>' if text else ""


def _framed(*parts: str) -> str:
    return f'<div style="{_STYLE}">{"".join(parts)}</div>'
