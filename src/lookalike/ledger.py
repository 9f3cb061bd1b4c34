"""The fold: from the events of one document in one field to what stands.

Precedence is human > import > promoted > auto, whatever the order in which they spoke. "Not this"
silences the label for that document until a person gives it again. "A new kind" is a person's word,
too: it stands over everyone else's label. Undone operations are left out
by the caller, except that what the machine decided is a fact of its time: the last decision stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lookalike.model import Answer, EventKind, Origin

_ANSWERS = {EventKind.NEW_KIND: Answer.NEW_KIND, EventKind.CANNOT_TELL: Answer.CANNOT_TELL}
_LAST_WORDS = {EventKind.LABELLED, EventKind.RETRACTED, *_ANSWERS}


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
    what the person said.
    """

    label: str | None = None
    origin: Origin | None = None
    actor: str | None = None
    suggestion: str | None = None
    rejected: frozenset[str] = frozenset()
    answer: Answer | None = None
    asked: bool = False

    @property
    def votes(self) -> bool:
        """Return whether the document is a reference: someone other than the machine said so."""
        return self.label is not None

    @property
    def stands(self) -> bool:
        """Return whether the machine has nothing to decide: there is a label, or none fits."""
        return self.votes or self.answer is Answer.NEW_KIND


def fold(lines: Iterable[Line]) -> Statement:
    """Return what stands after `lines`, oldest first."""
    voices: dict[Origin, tuple[str, str]] = {}
    rejected: set[str] = set()
    suggestion = None
    person: Line | None = None
    for line in lines:
        if line.origin is Origin.HUMAN and line.kind in _LAST_WORDS:
            person = None if line.kind is EventKind.RETRACTED else line
        if line.kind in (EventKind.NEW_KIND, EventKind.CANNOT_TELL):
            voices.pop(Origin.HUMAN, None)
        elif line.kind is EventKind.REJECTED and line.label is not None:
            rejected.add(line.label)
            voices = {who: said for who, said in voices.items() if said[0] != line.label}
        elif line.kind is EventKind.SUGGESTED:
            suggestion = line.label
        elif line.kind is EventKind.RETRACTED and line.origin is not None:
            voices.pop(line.origin, None)
        elif line.kind in (EventKind.LABELLED, EventKind.PROMOTED):
            _speak(line, voices, rejected)
    if suggestion in rejected:
        suggestion = None
    answer = _ANSWERS.get(person.kind) if person is not None else None
    asked = person is not None and person.asked
    silent = Statement(None, None, None, suggestion, frozenset(rejected), answer, asked)
    if answer is Answer.NEW_KIND and person is not None:
        return replace(silent, origin=Origin.HUMAN, actor=person.actor)
    if not voices:
        return silent
    origin = max(voices, key=lambda voice: voice.strength)
    label, actor = voices[origin]
    return replace(silent, label=label, origin=origin, actor=actor)


def decided_label(lines: Iterable[Line]) -> str | None:
    """Return the machine's last decision among `lines`, oldest first."""
    decided = [line.label for line in lines if line.kind is EventKind.DECIDED]
    return decided[-1] if decided else None


def _speak(line: Line, voices: dict[Origin, tuple[str, str]], rejected: set[str]) -> None:
    assert line.origin is not None and line.label is not None, "a label without a voice"
    if line.origin is Origin.HUMAN:
        rejected.discard(line.label)
    elif line.label in rejected:
        return
    voices[line.origin] = (line.label, line.actor)
