"""What labels are called: the fold of what was done to a field's labels themselves. Pure.

A statement keeps the name under which it was said; `Naming` tells what that name reads now. So a
rename is one event, the ledger up to any point reads as it did then, and without the event
everything is as it was before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lookalike.model import LABEL_SEPARATOR, EventKind

LABEL_EVENTS = (
    EventKind.RENAMED,
    EventKind.RETIRED,
    EventKind.DESCRIBED,
    EventKind.DECLARED,
)
"""What events say of labels, and not of documents."""


@dataclass(frozen=True, slots=True)
class LabelEvent:
    """An event about labels, of an operation (pk), as the ledger holds it.

    RENAMED has `sources` and, where all of them have another name, `to`; `merged` tells that it was
    a label already. A split has `parts` instead: the documents (pks) of each new label; `gone`
    tells that nothing is left at the old name. RETIRED has `label`; so has DESCRIBED, with those of
    `description`, `examples` (pks) and `aliases` that were said. DECLARED has `labels` that are
    there from then on, each with its description, or None where nothing was said.
    """

    operation: int
    kind: EventKind
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Note:
    """What the style guide says of a label: `examples` are documents (pks)."""

    description: str = ""
    examples: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Rename:
    """From an operation (pk) on labels have another name, with all below them.

    A split names one label of which each document has its own part; without `to`.
    """

    operation: int
    sources: tuple[str, ...]
    to: str | None
    parts: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def of(self, label: str, document: int) -> str:
        """Return what a label of a document is called now."""
        if self.to is not None:
            return moved(label, self.sources, self.to)
        if label not in self.sources:
            return label
        return next((name for name, pks in self.parts.items() if document in pks), label)

    def each(self, label: str) -> tuple[str, ...]:
        """Return all that a label became: what is not the whole is none of its parts."""
        if self.to is None and label in self.sources:
            return tuple(self.parts)
        return (self.of(label, 0),)


class Naming:
    """What a field's labels are called, after its events, oldest first.

    `aliases` gives the label that another name means, or the parts where it was split; `retired`
    the operation (pk) that retired a label with all below it, `gone` the one that split a label of
    which nothing is left; `notes` the style guide: labels in it are there, also where no document
    has them.
    """

    def __init__(self, events: Iterable[LabelEvent] = ()) -> None:
        self.renames: list[Rename] = []
        self.aliases: dict[str, tuple[str, ...]] = {}
        self.retired: dict[str, int] = {}
        self.gone: dict[str, int] = {}
        self.notes: dict[str, Note] = {}
        for event in events:
            if event.kind is EventKind.RENAMED:
                self._rename(event)
            elif event.kind is EventKind.RETIRED:
                self.retired[event.detail["label"]] = event.operation
            elif event.kind is EventKind.DESCRIBED:
                self._describe(event.detail)
            elif event.kind is EventKind.DECLARED:
                self._declare(event.detail["labels"])
        self._operations = [one.operation for one in self.renames]

    def now(self, label: str, operation: int, document: int = 0) -> str:
        """Return what a label reads now that was said in an operation (pk) of a document (pk)."""
        for rename in self._after(operation):
            label = rename.of(label, document)
        return label

    def steps(self, label: str, operation: int, document: int) -> Iterator[tuple[int, str, str]]:
        """Yield how a label that was said of a document came to read as it does: operation (pk),
        name before, name after.
        """
        for rename in self._after(operation):
            before, label = label, rename.of(label, document)
            if before != label:
                yield rename.operation, before, label

    def each(self, label: str, operation: int) -> tuple[str, ...]:
        """Return what a label that was refused in an operation (pk) reads now: of a split, all."""
        labels = [label]
        for rename in self._after(operation):
            labels = [new for old in labels for new in rename.each(old)]
        return tuple(dict.fromkeys(labels))

    def meant(self, name: str) -> tuple[str, ...]:
        """Return the label that a name means today; several where it was split."""
        parts = name.split(LABEL_SEPARATOR)
        for end in range(len(parts), 0, -1):
            labels = self.aliases.get(LABEL_SEPARATOR.join(parts[:end]), ())
            if len(labels) == 1 or (labels and end == len(parts)):
                return tuple(LABEL_SEPARATOR.join([one, *parts[end:]]) for one in labels)
        return (name,)

    def one_meant(self, name: str) -> str:
        """Return the label that a name means today; the name itself where it was split."""
        labels = self.meant(name)
        return labels[0] if len(labels) == 1 else name

    def retired_in(self, label: str | None) -> int | None:
        """Return the operation (pk) that put a label, or one above it, out of use; None: it is."""
        if label is None:
            return None
        found = [pk for one, pk in self.retired.items() if within(label, one)]
        return max(found, default=self.gone.get(label))

    def aliases_of(self, label: str) -> tuple[str, ...]:
        """Return the other names of a label, sorted."""
        return tuple(sorted(name for name, labels in self.aliases.items() if labels == (label,)))

    def older(self, label: str) -> dict[str, int | None]:
        """Return all names of a label, each with the operation (pk) before which it meant that.

        None for the name of today.
        """
        found: dict[str, int | None] = {label: None}
        for rename in reversed(self.renames):
            for name in list(found) if rename.to is not None else ():
                if within(name, str(rename.to)):
                    rest = name[len(str(rename.to)) :]
                    found |= {one + rest: rename.operation for one in rename.sources}
        return found

    def _after(self, operation: int) -> Sequence[Rename]:
        return self.renames[bisect_right(self._operations, operation) :]

    def _rename(self, event: LabelEvent) -> None:
        detail = event.detail
        sources, to = tuple(detail["sources"]), detail.get("to")
        parts = {name: frozenset(pks) for name, pks in detail.get("parts", {}).items()}
        self.renames.append(Rename(event.operation, sources, to, parts))
        if to is None:
            if sources[0] in self.notes:
                self._declare(dict.fromkeys(parts))
            if detail.get("gone"):
                self.aliases[sources[0]] = tuple(parts)
                self.gone[sources[0]] = event.operation
                self.notes.pop(sources[0], None)
            return
        self._move_notes(sources, to)
        if detail.get("merged"):
            self.retired = {one: pk for one, pk in self.retired.items() if not _any(one, sources)}
        self.retired = {moved(one, sources, to): pk for one, pk in self.retired.items()}
        self._move_aliases(sources, to, merged=bool(detail.get("merged")))

    def _move_aliases(self, sources: Sequence[str], to: str, *, merged: bool) -> None:
        """Let other names follow: old ones are such now, a new one and what is above it none."""
        aliases = {
            name: tuple(dict.fromkeys(moved(one, sources, to) for one in labels))
            for name, labels in self.aliases.items()
        }
        below = {moved(name, sources, to): labels for name, labels in aliases.items()}
        aliases = ({} if merged else below) | aliases | dict.fromkeys(sources, (to,))
        self.aliases = {
            name: labels
            for name, labels in aliases.items()
            if not within(to, name) and labels != (name,)
        }
        self.gone = {one: pk for one, pk in self.gone.items() if one in self.aliases}

    def _move_notes(self, sources: Sequence[str], to: str) -> None:
        notes = {label: note for label, note in self.notes.items() if not _any(label, sources)}
        for label, note in self.notes.items():
            if _any(label, sources):
                name = moved(label, sources, to)
                known = notes.get(name, Note())
                examples = tuple(dict.fromkeys(known.examples + note.examples))
                notes[name] = Note(known.description or note.description, examples)
        self.notes = notes

    def _declare(self, labels: Mapping[str, str | None]) -> None:
        for label, description in labels.items():
            note = self.notes.get(label, Note())
            self.notes[label] = (
                note if description is None else replace(note, description=description)
            )

    def _describe(self, detail: Mapping[str, Any]) -> None:
        label = detail["label"]
        note = self.notes.get(label, Note())
        if "description" in detail:
            note = replace(note, description=detail["description"])
        if "examples" in detail:
            note = replace(note, examples=tuple(detail["examples"]))
        self.notes[label] = note
        if "aliases" in detail:
            kept = {name: labels for name, labels in self.aliases.items() if labels != (label,)}
            self.aliases = kept | dict.fromkeys(detail["aliases"], (label,))


def within(label: str, above: str) -> bool:
    """Return whether a label is another one, or below it in the tree.

    >>> within("Shoes > Running", "Shoes"), within("Shoeshine", "Shoes")
    (True, False)
    """
    return label == above or label.startswith(above + LABEL_SEPARATOR)


def moved(label: str, sources: Iterable[str], to: str) -> str:
    """Return what a label is called where `sources`, with all below them, are called `to`.

    >>> moved("Shoes > Running", ["Shoes"], "Footwear")
    'Footwear > Running'
    """
    source = max((one for one in sources if within(label, one)), key=len, default=None)
    return label if source is None else to + label[len(source) :]


def _any(label: str, sources: Iterable[str]) -> bool:
    return any(within(label, one) for one in sources)
