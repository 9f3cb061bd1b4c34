"""Labels: paths of parts (`Shoes > Running > Red`), what they are called, and their tree. Pure.

A statement keeps the name under which it was said; `Naming` tells what that name reads now. So a
rename is one event, the ledger up to any point reads as it did then, and without the event
everything is as it was before. `LabelTree` is a field's labels with their style guide and counts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from threading import Lock
from typing import Any

from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.model import LABEL_SEPARATOR, EventKind

NO_LABEL = -1
"""The code of no label, and of an empty place in a list."""

LONGEST_LABEL = 1000
"""So many characters has a label at most, with all its parts."""

LONGEST_DESCRIPTION = 10_000
"""So many characters has what the style guide says of a label at most."""

_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def check_label(label: object) -> str:
    """Return a label with its parts trimmed.

    Raises BadInput for one that is empty, has an empty part, is too long or holds a control sign.

    >>> check_label("Shoes>Running ")
    'Shoes > Running'
    """
    if not isinstance(label, str):
        raise BadInput(f"a label is a text, not {label!r}")
    if len(label) > LONGEST_LABEL:
        raise BadInput(
            f"the label {label[:40]!r}… has {len(label):,} characters; give at most "
            f"{LONGEST_LABEL:,}"
        )
    parts = [part.strip() for part in label.split(LABEL_SEPARATOR.strip())]
    if not all(parts):
        raise BadInput(f"the label {label!r} has an empty part; write 'Shoes > Running'")
    if _NO_TEXT.search("".join(parts)):
        raise BadInput(f"the label {label!r} holds a sign that no text has; leave it out")
    return LABEL_SEPARATOR.join(parts)


def check_description(description: object) -> str:
    """Return what the style guide says of a label, trimmed.

    Raises BadInput for one that is no text, is too long or holds a control sign.
    """
    if not isinstance(description, str):
        raise BadInput(f"a description is a text, not {description!r}")
    text = description.strip()
    if len(text) > LONGEST_DESCRIPTION:
        raise BadInput(
            f"the description has {len(text):,} characters; give at most {LONGEST_DESCRIPTION:,}"
        )
    if (sign := _NO_LINES.search(text)) is not None:
        raise BadInput(f"the description holds {sign[0]!r}, which no text has; leave it out")
    return text


def label_in(value: object) -> str | None:
    """Return the label that a field of metadata gives: a text, a whole number as one, or a list of
    the parts of a path, the root first.

    None, the empty text and the empty list give none. Raises BadInput for any other value.

    >>> label_in("Shoes>Running"), label_in(7), label_in("")
    ('Shoes > Running', '7', None)
    >>> label_in(["Shoes", "Running"])
    'Shoes > Running'
    """
    if value is None or value == "" or value == []:
        return None
    if isinstance(value, list):
        return LABEL_SEPARATOR.join(check_label(part) for part in value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return check_label(str(value) if whole else value)


def path_of(label: str, separator: str) -> str:
    """Return a label whose parts a field also parts by a separator of its own.

    >>> path_of("Shoes/Running", "/"), path_of("Shoes/Running", ">")
    ('Shoes > Running', 'Shoes/Running')
    """
    parts = [part for part in label.split(separator) if part.strip()]
    return check_label(LABEL_SEPARATOR.join(parts)) if parts else label


def ancestors(label: str) -> list[str]:
    """Return the labels above one, the nearest first.

    >>> ancestors("Shoes > Running > Red")
    ['Shoes > Running', 'Shoes']
    """
    path = label.split(LABEL_SEPARATOR)
    return [LABEL_SEPARATOR.join(path[:depth]) for depth in range(len(path) - 1, 0, -1)]


def is_within(label: str, above: str) -> bool:
    """Return whether a label is another one, or below it in the tree.

    >>> is_within("Shoes > Running", "Shoes"), is_within("Shoes", "Shoes > Running")
    (True, False)
    """
    return label == above or label.startswith(above + LABEL_SEPARATOR)


class Codes:
    """Labels as small integers, in the order in which they were first met; -1 stands for none.

    A code never changes; safe for several threads.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = list(names)
        self._codes = {name: code for code, name in enumerate(self._names)}
        self._lock = Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Return all labels, by their codes."""
        return tuple(self._names)

    def code(self, name: str | None) -> int:
        """Return the code of a label; a new one for a new label."""
        if name is None:
            return NO_LABEL
        if name not in self._codes:
            with self._lock:
                if name not in self._codes:
                    self._names.append(name)
                    self._codes[name] = len(self._names) - 1
        return self._codes[name]

    def name(self, code: int) -> str | None:
        """Return the label of a code."""
        return None if code == NO_LABEL else self._names[code]


# --- what labels are called ---------------------------------------------------------------------

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


# --- the tree, and what may become of it ----------------------------------------------------------

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How many documents have a label: references by their origin, and what does not vote.

    `recorded` were given by someone and do not vote: the label is retired, the document is under
    audit or seen badly, or others' labels vote here. `automatic` have it from the machine.
    """

    human: int = 0
    imported: int = 0
    promoted: int = 0
    recorded: int = 0
    automatic: int = 0

    @property
    def references(self) -> int:
        """Return how many documents vote for the label."""
        return self.human + self.imported + self.promoted

    def plus(self, other: LabelCounts) -> LabelCounts:
        """Return both together."""
        names = [one.name for one in fields(self)]
        return LabelCounts(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True)
class LabelNode:
    """One label of a tree: a path, what the style guide says of it, and who has it.

    `examples` are ids of documents. `own` counts the label itself, `all` what is below it as well.
    """

    label: str
    description: str
    examples: tuple[str, ...]
    aliases: tuple[str, ...]
    retired: bool
    own: LabelCounts
    all: LabelCounts

    @property
    def name(self) -> str:
        """Return the last part of the path."""
        return self.label.rpartition(LABEL_SEPARATOR)[2]

    @property
    def depth(self) -> int:
        """Return how many labels are above it."""
        return self.label.count(LABEL_SEPARATOR)


@dataclass(frozen=True, slots=True)
class LabelTree:
    """The labels of a field, each after the one above it, brothers by name.

    They belong to the collection and field whose labels vote: `owner` and `owner_field`.
    `closed_set` says that these are all the labels there can be.
    """

    collection: str
    field: str
    owner: str
    owner_field: str
    nodes: tuple[LabelNode, ...]
    closed_set: bool = False

    def node(self, label: str) -> LabelNode:
        """Return one label. Raises NotFound, listing the known ones."""
        for one in self.nodes:
            if one.label == label:
                return one
        raise NotFound.named("label", label, [one.label for one in self.nodes])


def nodes_of(
    counts: Mapping[str, LabelCounts], naming: Naming, examples: Mapping[int, str]
) -> tuple[LabelNode, ...]:
    """Return the nodes of a tree; `examples` names documents (pks) that are there still."""
    labels = with_above([*counts, *naming.notes])
    ordered = sorted(labels, key=lambda label: label.split(LABEL_SEPARATOR))
    own = {label: counts.get(label, LabelCounts()) for label in ordered}
    every = dict(own)
    for label in sorted(labels, key=lambda one: one.count(LABEL_SEPARATOR), reverse=True):
        above = label.rpartition(LABEL_SEPARATOR)[0]
        if above:
            every[above] = every[above].plus(every[label])
    return tuple(
        LabelNode(
            label,
            note.description if (note := naming.notes.get(label)) else "",
            tuple(examples[pk] for pk in note.examples if pk in examples) if note else (),
            naming.aliases_of(label),
            naming.retired_in(label) is not None,
            own[label],
            every[label],
        )
        for label in ordered
    )


def with_above(labels: Iterable[str]) -> set[str]:
    """Return labels with all that are above them.

    >>> sorted(with_above(["Shoes > Running"]))
    ['Shoes', 'Shoes > Running']
    """
    found: set[str] = set()
    for label in labels:
        parts = label.split(LABEL_SEPARATOR)
        found |= {LABEL_SEPARATOR.join(parts[:end]) for end in range(1, len(parts) + 1)}
    return found


def check_known(label: str, known: set[str]) -> None:
    """Raise NotFound for a label that is none, listing the known and the nearest."""
    if label not in known:
        raise NotFound.named("label", label, known)


def check_rename(label: str, to: str, known: set[str], naming: Naming) -> None:
    """Raise where a label, with all below it, cannot be called `to`."""
    check_known(label, known)
    if label == to:
        raise BadInput(f"{label!r} is called that already; give another name")
    _check_cycle(label, to)
    if to in known:
        raise Conflict(f"there is a label {to!r} already: merge {label!r} into it instead")
    _check_in_use(to, naming)
    for one in sorted(known):
        if within(one, label):
            check_free(moved(one, [label], to), naming, unless=label)


def check_merge(labels: Sequence[str], into: str, known: set[str], naming: Naming) -> None:
    """Raise where labels, each with all below it, cannot all be `into`."""
    if not labels:
        raise BadInput(f"say which labels are to be merged into {into!r}")
    for label in labels:
        check_known(label, known)
        if label == into:
            raise BadInput(f"{label!r} cannot be merged into itself; leave it out")
        _check_cycle(label, into)
    _check_in_use(into, naming)
    if into not in known:
        check_free(into, naming, unless=labels[0])


def check_split(
    label: str, parts: Mapping[str, Sequence[str]], known: set[str], naming: Naming
) -> None:
    """Raise where a label cannot be these parts, each of documents by their ids."""
    check_known(label, known)
    if label in parts:
        raise BadInput(f"{label!r} cannot be a part of itself; name what is left otherwise")
    if not parts:
        raise BadInput(f"say what {label!r} is to be split into: new label → document ids")
    _check_in_use(label, naming)
    seen: dict[str, str] = {}
    for name, ids in parts.items():
        _check_in_use(name, naming)
        if name not in known:
            check_free(name, naming)
        for id in ids:
            if seen.setdefault(id, name) != name:
                raise BadInput(f"{id!r} is in two parts, {seen[id]!r} and {name!r}; choose one")


def check_left_over(label: str, left: Sequence[str]) -> None:
    """Raise BadInput for documents (ids) of a label that no part of it has."""
    if left:
        some = ", ".join(map(repr, left[:_SHOWN])) + (" …" if len(left) > _SHOWN else "")
        raise BadInput(
            f"{len(left)} documents of {label!r} are in no part: {some}; give each one a part"
        )


def check_aliases(label: str, aliases: Iterable[str], known: set[str], naming: Naming) -> None:
    """Raise where a label cannot have these other names."""
    for name in aliases:
        if name in known:
            raise Conflict(f"{name!r} is a label itself: merge it into {label!r} instead")
        check_free(name, naming, unless=label)


def check_free(name: str, naming: Naming, unless: str = "") -> None:
    """Raise Conflict for a name that means another label than `unless`."""
    labels = naming.meant(name)
    if labels != (name,) and not (unless and all(within(one, unless) for one in labels)):
        means = " or ".join(map(repr, labels))
        raise Conflict(
            f"{name!r} is another name for {means}; take it from its aliases first, or choose "
            "another one"
        )


def _check_cycle(label: str, to: str) -> None:
    if within(to, label):
        raise BadInput(f"{label!r} cannot be moved to {to!r}, which is below it")


def _check_in_use(label: str, naming: Naming) -> None:
    if label not in naming.gone and naming.retired_in(label) is not None:
        raise Conflict(f"{label!r} is retired; undo that first, or choose another label")
