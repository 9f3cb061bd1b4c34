"""The fold: from the events of one document in one field to what stands.

Precedence is human > import > promoted > auto, whatever the order in which they spoke. "Not this"
silences the label for that document until a person gives it again. Undone operations are left out
by the caller, except that what the machine decided is a fact of its time: the last decision stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lookalike.model import EventKind, Origin


@dataclass(frozen=True, slots=True)
class Line:
    """What the fold needs of one event."""

    kind: EventKind
    label: str | None
    origin: Origin | None
    actor: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What stands for one document in one field, the machine's own decision aside.

    `label`, `origin` and `actor` are those of the strongest voice that is not the machine, or None.
    """

    label: str | None = None
    origin: Origin | None = None
    actor: str | None = None
    suggestion: str | None = None
    rejected: frozenset[str] = frozenset()

    @property
    def votes(self) -> bool:
        """Return whether the document is a reference: someone other than the machine said so."""
        return self.label is not None


def fold(lines: Iterable[Line]) -> Statement:
    """Return what stands after `lines`, oldest first."""
    voices: dict[Origin, tuple[str, str]] = {}
    rejected: set[str] = set()
    suggestion = None
    for line in lines:
        if line.kind is EventKind.REJECTED and line.label is not None:
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
    if not voices:
        return Statement(suggestion=suggestion, rejected=frozenset(rejected))
    origin = max(voices, key=lambda voice: voice.strength)
    label, actor = voices[origin]
    return Statement(label, origin, actor, suggestion, frozenset(rejected))


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
