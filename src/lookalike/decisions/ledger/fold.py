"""The fold: from the events of one document in one field to what stands.

Precedence is human > import > promoted > auto, whatever the order in which they spoke. "Not this"
silences the label for that document until a person gives it again. "A new kind" is a person's word,
too: it stands over everyone else's label. Undone operations are left out
by the caller, except that what the machine decided is a fact of its time: the last decision stands.
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
"""What a person says of a document."""


@dataclass(frozen=True, slots=True)
class Line:
    """What the fold needs of one event."""

    kind: EventKind
    label: str | None
    origin: Origin | None
    actor: str
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """What stands for one document in one field, the machine's own decision aside.

    `label`, `origin` and `actor` are those of the strongest voice that is not the machine, or None.
    `answer` is what a person said instead of a label; `asked` tells that the queue had asked for
    what the person said; `contested` that people contradict each other, and nobody has settled it;
    `confirmed` that a person gave the label again; `retired` that the label is out of use: it
    stays, and votes no more.
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
        """Return whether the document is a reference: someone other than the machine said so."""
        return self.label is not None and not self.retired

    @property
    def is_settled(self) -> bool:
        """Return whether the machine has nothing to decide: there is a label, or none fits."""
        return self.label is not None or self.answer is Answer.NEW_KIND


def fold(lines: Iterable[Line]) -> Statement:
    """Return what stands after `lines`, oldest first."""
    labels: dict[Origin, tuple[str, str]] = {}
    rejected: set[str] = set()
    suggestion = None
    person: Line | None = None
    said: dict[str, Line] = {}
    confirmed = False
    for line in lines:
        if line.origin is Origin.HUMAN and line.kind in PERSONAL:
            _add_answer(said, line)
        if line.origin is Origin.HUMAN and line.kind in _FINAL:
            confirmed = _repeats(person, line)
            person = _deciding_answer(person, line)
        if line.kind in (EventKind.NEW_KIND, EventKind.CANNOT_TELL):
            labels.pop(Origin.HUMAN, None)
        elif line.kind is EventKind.REJECTED and line.label is not None:
            rejected.add(line.label)
            labels = {who: said for who, said in labels.items() if said[0] != line.label}
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
    silent = Statement(
        suggestion=suggestion,
        rejected=frozenset(rejected),
        answer=answer,
        asked=asked,
        contested=_disagree(said),
    )
    if answer is Answer.NEW_KIND and person is not None:
        return replace(silent, origin=Origin.HUMAN, actor=person.actor)
    if not labels:
        return silent
    origin = max(labels, key=lambda voice: voice.strength)
    label, actor = labels[origin]
    confirmed = confirmed and origin is Origin.HUMAN
    return replace(silent, label=label, origin=origin, actor=actor, confirmed=confirmed)


def opinions(lines: Iterable[Line]) -> dict[str, Line]:
    """Return the latest answer of each person, oldest line first; none of who took it back."""
    latest: dict[str, Line] = {}
    for line in _personal(lines):
        latest.pop(line.actor, None)
        if line.kind is not EventKind.RETRACTED:
            latest[line.actor] = line
    return latest


def independent(lines: Iterable[Line]) -> tuple[dict[str, Line], bool]:
    """Return each person's latest label or new kind, and whether all but the first were blind.

    What was said of a contested document was said in sight of the others' words, and is left out.
    Blind is what the queue asked: it does not ask about an answered document but to hide the label.
    """
    said: dict[str, Line] = {}
    latest: dict[str, Line] = {}
    is_blind = True
    for line in _personal(lines):
        in_sight = _disagree(said)
        _add_answer(said, line)
        if in_sight or line.kind is EventKind.REJECTED:
            continue
        if line.kind in _WITHDRAWN:
            latest.pop(line.actor, None)
        else:
            is_blind &= line.asked or latest.keys() <= {line.actor}
            latest[line.actor] = line
    return latest, is_blind


def decided_label(lines: Iterable[Line]) -> str | None:
    """Return the machine's last decision among `lines`, oldest first."""
    decided = [line.label for line in lines if line.kind is EventKind.DECIDED]
    return decided[-1] if decided else None


def _deciding_answer(before: Line | None, line: Line) -> Line | None:
    """Return the word that tells how an answer came about: who repeats another's chose nothing."""
    if line.kind is EventKind.RETRACTED:
        return None
    return before if before is not None and _repeats(before, line) else line


def _repeats(before: Line | None, line: Line) -> bool:
    return before is not None and (before.kind, before.label) == (line.kind, line.label)


def _set_label(line: Line, labels: dict[Origin, tuple[str, str]], rejected: set[str]) -> None:
    assert line.origin is not None and line.label is not None, "a label without a voice"
    if line.origin is Origin.HUMAN:
        rejected.discard(line.label)
    elif line.label in rejected:
        return
    labels[line.origin] = (line.label, line.actor)


def _personal(lines: Iterable[Line]) -> Iterator[Line]:
    return (line for line in lines if line.origin is Origin.HUMAN and line.kind in PERSONAL)


def _add_answer(said: dict[str, Line], line: Line) -> None:
    """Let `said`, what may be contradicted, hold what a person says now.

    What the queue asked about a contested document, and a person answered, settles it: nothing
    that was said before contradicts anything any more. Else people have to come to agree.
    """
    if line.asked and _disagree(said):
        said.clear()
    said.pop(line.actor, None)
    if line.kind not in _WITHDRAWN:
        said[line.actor] = line


def _disagree(said: Mapping[str, Line]) -> bool:
    return any(_contradict(*two) for two in combinations(said.values(), 2))


def _contradict(one: Line, other: Line) -> bool:
    """Return whether two answers cannot both be true; a label and one below it can."""
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
