"""The fold: computes the label state of one document in one field from its events.

The precedence is human > import > promoted > auto, in any order of time. "Not this" removes a label
for that document until a person gives it again. "A new category" is an answer of a person and
overrides all labels of others. The caller leaves out undone operations. An automatic decision is a
record of its time, so the last one counts even if its operation was undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

from lookalike.labels import is_within
from lookalike.model import Answer, EventKind, Origin

_ANSWERS = {EventKind.NEW_KIND: Answer.NEW_KIND, EventKind.CANNOT_TELL: Answer.CANNOT_TELL}
_FINAL = {EventKind.LABELLED, EventKind.RETRACTED, *_ANSWERS}
_OPINIONS = {EventKind.LABELLED, EventKind.NEW_KIND}
_WITHDRAWN = {EventKind.RETRACTED, EventKind.CANNOT_TELL}

PERSONAL = frozenset({EventKind.REJECTED, *_FINAL})
"""The events by which a person answers about a document."""


@dataclass(frozen=True, slots=True)
class Line:
    """The part of an event that the fold needs."""

    kind: EventKind
    label: str | None
    origin: Origin | None
    actor: str
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """The label state of one document in one field, without the automatic decision.

    `label`, `origin` and `actor` are those of the strongest origin that is not automatic, or None.
    `answer` is what a person answered instead of a label. `asked`: the queue had asked the
    question. `contested`: people disagree, and nobody has settled it. `confirmed`: a person gave
    the label again. `retired`: the label is out of use; it is kept but is no reference.
    """

    label: str | None = None
    origin: Origin | None = None
    actor: str | None = None
    suggestion: str | None = None
    rejected: frozenset[str] = frozenset()
    answer: Answer | None = None
    asked: bool = False
    contested: bool = False
    confirmed: bool = False
    retired: bool = False

    @property
    def votes(self) -> bool:
        """Return whether the document is a reference: it has a label that is not automatic."""
        return self.label is not None and not self.retired

    @property
    def is_settled(self) -> bool:
        """Return whether there is nothing to decide: a label is given, or a new category."""
        return self.label is not None or self.answer is Answer.NEW_KIND


def fold(lines: Iterable[Line]) -> Statement:
    """Return the label state after `lines`, oldest first."""
    labels: dict[Origin, tuple[str, str]] = {}
    rejected: set[str] = set()
    suggestion = None
    person: Line | None = None
    answers: dict[str, Line] = {}
    confirmed = False
    for line in lines:
        if line.origin is Origin.HUMAN and line.kind in PERSONAL:
            _add_answer(answers, line)
        if line.origin is Origin.HUMAN and line.kind in _FINAL:
            confirmed = _repeats(person, line)
            person = _deciding_answer(person, line)
        if line.kind in (EventKind.NEW_KIND, EventKind.CANNOT_TELL):
            labels.pop(Origin.HUMAN, None)
        elif line.kind is EventKind.REJECTED and line.label is not None:
            rejected.add(line.label)
            labels = {origin: one for origin, one in labels.items() if one[0] != line.label}
        elif line.kind is EventKind.SUGGESTED:
            suggestion = line.label
        elif line.kind is EventKind.RETRACTED and line.origin is not None:
            labels.pop(line.origin, None)
        elif line.kind in (EventKind.LABELLED, EventKind.PROMOTED):
            _set_label(line, labels, rejected)
    if suggestion in rejected:
        suggestion = None
    answer = _ANSWERS.get(person.kind) if person is not None else None
    asked = person is not None and person.asked
    unsettled = Statement(
        suggestion=suggestion,
        rejected=frozenset(rejected),
        answer=answer,
        asked=asked,
        contested=_disagree(answers),
    )
    if answer is Answer.NEW_KIND and person is not None:
        return replace(unsettled, origin=Origin.HUMAN, actor=person.actor)
    if not labels:
        return unsettled
    origin = max(labels, key=lambda one: one.strength)
    label, actor = labels[origin]
    confirmed = confirmed and origin is Origin.HUMAN
    return replace(unsettled, label=label, origin=origin, actor=actor, confirmed=confirmed)


def opinions(lines: Iterable[Line]) -> dict[str, Line]:
    """Return the latest answer of each person, oldest line first, without retracted ones."""
    latest: dict[str, Line] = {}
    for line in _personal(lines):
        latest.pop(line.actor, None)
        if line.kind is not EventKind.RETRACTED:
            latest[line.actor] = line
    return latest


def independent(lines: Iterable[Line]) -> tuple[dict[str, Line], bool]:
    """Return each person's latest label or new category, and whether these were blind.

    Answers about a document on which people already disagreed are left out, because the other
    answers were shown. Blind means that the queue asked: it hides the label when it asks about an
    answered document. The first answer needs not be blind.
    """
    answers: dict[str, Line] = {}
    latest: dict[str, Line] = {}
    is_blind = True
    for line in _personal(lines):
        is_shown = _disagree(answers)
        _add_answer(answers, line)
        if is_shown or line.kind is EventKind.REJECTED:
            continue
        if line.kind in _WITHDRAWN:
            latest.pop(line.actor, None)
        else:
            is_blind &= line.asked or latest.keys() <= {line.actor}
            latest[line.actor] = line
    return latest, is_blind


def decided_label(lines: Iterable[Line]) -> str | None:
    """Return the last automatic decision among `lines`, oldest first."""
    decided = [line.label for line in lines if line.kind is EventKind.DECIDED]
    return decided[-1] if decided else None


def _deciding_answer(before: Line | None, line: Line) -> Line | None:
    """Return the answer that counts as the origin of the state: a repetition adds nothing."""
    if line.kind is EventKind.RETRACTED:
        return None
    return before if before is not None and _repeats(before, line) else line


def _repeats(before: Line | None, line: Line) -> bool:
    return before is not None and (before.kind, before.label) == (line.kind, line.label)


def _set_label(line: Line, labels: dict[Origin, tuple[str, str]], rejected: set[str]) -> None:
    assert line.origin is not None and line.label is not None, "a label needs an origin"
    if line.origin is Origin.HUMAN:
        rejected.discard(line.label)
    elif line.label in rejected:
        return
    labels[line.origin] = (line.label, line.actor)


def _personal(lines: Iterable[Line]) -> Iterator[Line]:
    return (line for line in lines if line.origin is Origin.HUMAN and line.kind in PERSONAL)


def _add_answer(answers: dict[str, Line], line: Line) -> None:
    """Update `answers`, the latest answers that can be contradicted, with a new answer.

    If the queue asked about a document on which people disagree, the answer settles it: all earlier
    answers are dropped. Otherwise people have to reach agreement.
    """
    if line.asked and _disagree(answers):
        answers.clear()
    answers.pop(line.actor, None)
    if line.kind not in _WITHDRAWN:
        answers[line.actor] = line


def _disagree(answers: Mapping[str, Line]) -> bool:
    return any(_contradict(*two) for two in combinations(answers.values(), 2))


def _contradict(one: Line, other: Line) -> bool:
    """Return whether two answers cannot both be true; a label and its sub-label can."""
    if one.kind in _OPINIONS and other.kind in _OPINIONS:
        if EventKind.NEW_KIND in (one.kind, other.kind):
            return one.kind is not other.kind
        return not (_within(one.label, other.label) or _within(other.label, one.label))
    if one.kind is EventKind.LABELLED and other.kind is EventKind.REJECTED:
        return _within(one.label, other.label)
    if one.kind is EventKind.REJECTED and other.kind is EventKind.LABELLED:
        return _within(other.label, one.label)
    return False


def _within(label: str | None, above: str | None) -> bool:
    return label == above or is_within(str(label), str(above))
