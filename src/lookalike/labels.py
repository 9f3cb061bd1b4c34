"""Labels: hierarchical names (`Shoes > Running > Red`), their renames, and the label tree. Pure.

An event in the ledger keeps the label's name of its time; `Naming` maps it to the current name. So
a rename is one event, the ledger can be read as of any point in time, and an undo of that event
restores all names. `LabelTree` holds the labels of a field with their style guide and counts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from threading import Lock
from typing import Any, TypeVar

from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.model import LABEL_SEPARATOR, EventKind

_T = TypeVar("_T")

NO_LABEL = -1
"""The code for no label, and for an empty place in a list."""

LONGEST_LABEL = 1000
"""The maximum length of a label in characters, with all its parts."""

LONGEST_DESCRIPTION = 10_000
"""The maximum length of a label's description in the style guide, in characters."""

_NOT_IN_LABELS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_IN_DESCRIPTIONS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def check_label(label: object) -> str:
    """Return a label with its parts trimmed.

    Raises BadInput if it is empty, has an empty part, is too long or has a control character.

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
    if _NOT_IN_LABELS.search("".join(parts)):
        raise BadInput(f"the label {label!r} has a control character; remove it")
    return LABEL_SEPARATOR.join(parts)


def check_description(description: object) -> str:
    """Return the style guide's description of a label, trimmed.

    Raises BadInput if it is not a text, is too long or has a control character.
    """
    if not isinstance(description, str):
        raise BadInput(f"a description is a text, not {description!r}")
    text = description.strip()
    if len(text) > LONGEST_DESCRIPTION:
        raise BadInput(
            f"the description has {len(text):,} characters; give at most {LONGEST_DESCRIPTION:,}"
        )
    if (character := _NOT_IN_DESCRIPTIONS.search(text)) is not None:
        raise BadInput(f"the description has the control character {character[0]!r}; remove it")
    return text


def label_in(value: object) -> str | None:
    """Return the label that a metadata value stands for: a text, a whole number (read as a text),
    or a list of the parts of a path, root first.

    None, the empty text and the empty list give no label. Raises BadInput for any other value.

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
    """Return a label whose parts may also be separated by the field's own `separator`.

    >>> path_of("Shoes/Running", "/"), path_of("Shoes/Running", ">")
    ('Shoes > Running', 'Shoes/Running')
    """
    parts = [part for part in label.split(separator) if part.strip()]
    return check_label(LABEL_SEPARATOR.join(parts)) if parts else label


def ancestors(label: str) -> list[str]:
    """Return the ancestors of a label, nearest first.

    >>> ancestors("Shoes > Running > Red")
    ['Shoes > Running', 'Shoes']
    """
    path = label.split(LABEL_SEPARATOR)
    return [LABEL_SEPARATOR.join(path[:depth]) for depth in range(len(path) - 1, 0, -1)]


def is_within(label: str, above: str) -> bool:
    """Return whether a label is `above`, or a descendant of it in the tree.

    >>> is_within("Shoes > Running", "Shoes"), is_within("Shoes", "Shoes > Running")
    (True, False)
    >>> is_within("Shoeshine", "Shoes")
    False
    """
    return label == above or label.startswith(above + LABEL_SEPARATOR)


class Codes:
    """Integer codes of labels, in the order of first use; -1 means no label.

    A code never changes. Safe for several threads.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = list(names)
        self._codes = {name: code for code, name in enumerate(self._names)}
        self._lock = Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Return all labels in the order of their codes."""
        return tuple(self._names)

    def code(self, name: str | None) -> int:
        """Return the code of a label. A new label gets the next code."""
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


# --- names of labels, and their renames ---------------------------------------------------------

LABEL_EVENTS = (
    EventKind.RENAMED,
    EventKind.RETIRED,
    EventKind.DESCRIBED,
    EventKind.DECLARED,
)
"""The events about labels, not about documents."""


@dataclass(frozen=True, slots=True)
class LabelEvent:
    """An event about labels, as the ledger stores it; `operation` is a pk, `detail` is by kind.

    RENAMED: `sources`, and `to`, the new name of all of them; `merged` if `to` was a label already.
    A split has `parts` instead of `to`: the documents (pks) of each new label; `gone` if no
    document keeps the old label. RETIRED: `label`. DESCRIBED: `label`, and those of `description`,
    `examples` (pks) and `aliases` that changed. DECLARED: `labels` that exist from then on, each
    with its description, or None to keep the one it has.
    """

    operation: int
    kind: EventKind
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Note:
    """The entry of a label in the style guide; `examples` are documents (pks)."""

    description: str = ""
    examples: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Rename:
    """A rename, merge or split of labels, in force from an `operation` (pk) on.

    A rename or merge gives `sources`, with all labels below them, the name `to`. A split has one
    source and no `to`: each document gets one of the new labels, by `parts`.
    """

    operation: int
    sources: tuple[str, ...]
    to: str | None
    parts: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def apply(self, label: str, document: int) -> str:
        """Return the new name of a document's label."""
        if self.to is not None:
            return renamed(label, self.sources, self.to)
        if label not in self.sources:
            return label
        return next((name for name, pks in self.parts.items() if document in pks), label)

    def apply_to_all(self, label: str) -> tuple[str, ...]:
        """Return every new name of a label, for all documents: several after a split."""
        if self.to is None and label in self.sources:
            return tuple(self.parts)
        return (self.apply(label, 0),)


class Naming:
    """The current names of a field's labels, computed from its label events, oldest first.

    `aliases` maps another name to its label, or to the new labels if it was split. `retired` maps a
    label to the operation (pk) that retired it with all labels below; `gone` maps a label that no
    document kept in a split to the operation of that split. `notes` is the style guide; a label in
    it exists even if no document has it.
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
        self._operations = [rename.operation for rename in self.renames]

    def current(self, label: str, operation: int, document: int = 0) -> str:
        """Return the current name of a label that an operation (pk) gave to a document (pk)."""
        for rename in self._after(operation):
            label = rename.apply(label, document)
        return label

    def steps(self, label: str, operation: int, document: int) -> Iterator[tuple[int, str, str]]:
        """Yield each rename of a label that an operation (pk) gave to a document (pk): the renaming
        operation (pk), the name before, the name after.
        """
        for rename in self._after(operation):
            before, label = label, rename.apply(label, document)
            if before != label:
                yield rename.operation, before, label

    def all_current(self, label: str, operation: int) -> tuple[str, ...]:
        """Return the current names of a label that an operation (pk) rejected: all, after a
        split, because a document that is not the whole is none of its parts.
        """
        labels = [label]
        for rename in self._after(operation):
            labels = [new for old in labels for new in rename.apply_to_all(old)]
        return tuple(dict.fromkeys(labels))

    def resolve(self, name: str) -> tuple[str, ...]:
        """Return the label that a name, current or not, means now; several if it was split."""
        parts = name.split(LABEL_SEPARATOR)
        for end in range(len(parts), 0, -1):
            labels = self.aliases.get(LABEL_SEPARATOR.join(parts[:end]), ())
            if len(labels) == 1 or (labels and end == len(parts)):
                return tuple(LABEL_SEPARATOR.join([label, *parts[end:]]) for label in labels)
        return (name,)

    def resolve_one(self, name: str) -> str:
        """Return the label that a name means now; the name itself if it was split."""
        labels = self.resolve(name)
        return labels[0] if len(labels) == 1 else name

    def retired_by(self, label: str | None) -> int | None:
        """Return the operation (pk) that retired a label or one above it; None while in use."""
        if label is None:
            return None
        found = [pk for retired, pk in self.retired.items() if is_within(label, retired)]
        return max(found, default=self.gone.get(label))

    def aliases_of(self, label: str) -> tuple[str, ...]:
        """Return the other names of a label, sorted."""
        return tuple(sorted(name for name, labels in self.aliases.items() if labels == (label,)))

    def all_names(self, label: str) -> dict[str, int | None]:
        """Return all names of a label, each with the operation (pk) that ended it, or None."""
        found: dict[str, int | None] = {label: None}
        for rename in reversed(self.renames):
            for name in list(found) if rename.to is not None else ():
                if is_within(name, str(rename.to)):
                    rest = name[len(str(rename.to)) :]
                    found |= {source + rest: rename.operation for source in rename.sources}
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
            self.retired = _without(self.retired, sources)
        self.retired = {renamed(label, sources, to): pk for label, pk in self.retired.items()}
        self._move_aliases(sources, to, merged=bool(detail.get("merged")))

    def _move_aliases(self, sources: Sequence[str], to: str, *, merged: bool) -> None:
        """Make the old names aliases; `to` and the names above it are aliases no longer."""
        aliases = {
            name: tuple(dict.fromkeys(renamed(label, sources, to) for label in labels))
            for name, labels in self.aliases.items()
        }
        below = {renamed(name, sources, to): labels for name, labels in aliases.items()}
        aliases = ({} if merged else below) | aliases | dict.fromkeys(sources, (to,))
        self.aliases = {
            name: labels
            for name, labels in aliases.items()
            if not is_within(to, name) and labels != (name,)
        }
        self.gone = {label: pk for label, pk in self.gone.items() if label in self.aliases}

    def _move_notes(self, sources: Sequence[str], to: str) -> None:
        others = _without(self.notes, sources)
        notes = dict(others)
        for label, note in self.notes.items():
            if label not in others:
                name = renamed(label, sources, to)
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


def renamed(label: str, sources: Iterable[str], to: str) -> str:
    """Return the name of a label after `sources`, with all labels below them, are renamed to `to`.

    >>> renamed("Shoes > Running", ["Shoes"], "Footwear")
    'Footwear > Running'
    """
    source = max((name for name in sources if is_within(label, name)), key=len, default=None)
    return label if source is None else to + label[len(source) :]


def _without(values: Mapping[str, _T], sources: Sequence[str]) -> dict[str, _T]:
    return {
        label: value
        for label, value in values.items()
        if not any(is_within(label, source) for source in sources)
    }


# --- the tree, and which changes of it are allowed ------------------------------------------------

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """The numbers of documents with a label: references by their origin, and others.

    `recorded` counts labels that someone gave and that are no references: the label is retired, the
    document is in an audit or of low quality, or the field's references are in another collection.
    `automatic` counts automatic labels.
    """

    human: int = 0
    imported: int = 0
    promoted: int = 0
    recorded: int = 0
    automatic: int = 0

    @property
    def references(self) -> int:
        """Return the number of references of the label."""
        return self.human + self.imported + self.promoted

    def plus(self, other: LabelCounts) -> LabelCounts:
        """Return the sums of both."""
        names = [column.name for column in fields(self)]
        return LabelCounts(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True)
class LabelNode:
    """One label of a tree: its path, its entry in the style guide, and its counts.

    `examples` are ids of documents. `own` counts documents with the label itself, `all` also those
    with a label below it.
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
        """Return the number of labels above it."""
        return self.label.count(LABEL_SEPARATOR)


@dataclass(frozen=True, slots=True)
class LabelTree:
    """The labels of a field, each after its parent, siblings by name.

    They belong to the collection and field that the references are in: `owner` and `owner_field`.
    `closed_set`: no other labels can exist.
    """

    collection: str
    field: str
    owner: str
    owner_field: str
    nodes: tuple[LabelNode, ...]
    closed_set: bool = False

    def node(self, label: str) -> LabelNode:
        """Return the node of a label. Raises NotFound, listing the known ones."""
        for node in self.nodes:
            if node.label == label:
                return node
        raise NotFound.named("label", label, [node.label for node in self.nodes])


def label_nodes(
    counts: Mapping[str, LabelCounts], naming: Naming, examples: Mapping[int, str]
) -> tuple[LabelNode, ...]:
    """Return the nodes of a label tree; `examples` maps pks of existing documents to ids."""
    labels = with_ancestors([*counts, *naming.notes])
    ordered = sorted(labels, key=lambda label: label.split(LABEL_SEPARATOR))
    own = {label: counts.get(label, LabelCounts()) for label in ordered}
    totals = dict(own)
    for label in sorted(labels, key=lambda label: label.count(LABEL_SEPARATOR), reverse=True):
        parent = label.rpartition(LABEL_SEPARATOR)[0]
        if parent:
            totals[parent] = totals[parent].plus(totals[label])
    return tuple(
        LabelNode(
            label,
            note.description if (note := naming.notes.get(label)) else "",
            tuple(examples[pk] for pk in note.examples if pk in examples) if note else (),
            naming.aliases_of(label),
            naming.retired_by(label) is not None,
            own[label],
            totals[label],
        )
        for label in ordered
    )


def with_ancestors(labels: Iterable[str]) -> set[str]:
    """Return labels and all their ancestors.

    >>> sorted(with_ancestors(["Shoes > Running"]))
    ['Shoes', 'Shoes > Running']
    """
    found: set[str] = set()
    for label in labels:
        parts = label.split(LABEL_SEPARATOR)
        found |= {LABEL_SEPARATOR.join(parts[:end]) for end in range(1, len(parts) + 1)}
    return found


def check_known(label: str, known: set[str]) -> None:
    """Raise NotFound for an unknown label, listing the known ones and the nearest."""
    if label not in known:
        raise NotFound.named("label", label, known)


def check_rename(label: str, to: str, known: set[str], naming: Naming) -> None:
    """Raise NotFound, BadInput or Conflict if a label, with all below it, cannot be named `to`."""
    check_known(label, known)
    if label == to:
        raise BadInput(f"{label!r} already has that name; give another name")
    _check_cycle(label, to)
    if to in known:
        raise Conflict(f"the label {to!r} exists already: merge {label!r} into it instead")
    _check_in_use(to, naming)
    for descendant in sorted(known):
        if is_within(descendant, label):
            check_free(renamed(descendant, [label], to), naming, unless=label)


def check_merge(labels: Sequence[str], into: str, known: set[str], naming: Naming) -> None:
    """Raise NotFound, BadInput or Conflict if labels, each with all below it, cannot be merged."""
    if not labels:
        raise BadInput(f"give the labels to merge into {into!r}")
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
    """Raise NotFound, BadInput or Conflict if `parts` (document ids) cannot split a label."""
    check_known(label, known)
    if label in parts:
        raise BadInput(f"{label!r} cannot be a part of itself; give that part another name")
    if not parts:
        raise BadInput(f"give the parts to split {label!r} into: new label → document ids")
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
    """Raise BadInput if documents (ids) of a label are `left` that are in no part of a split."""
    if left:
        ids = ", ".join(map(repr, left[:_SHOWN])) + (" …" if len(left) > _SHOWN else "")
        raise BadInput(
            f"{len(left)} documents of {label!r} are in no part: {ids}; give each one a part"
        )


def check_aliases(label: str, aliases: Iterable[str], known: set[str], naming: Naming) -> None:
    """Raise Conflict if a label cannot have these other names."""
    for name in aliases:
        if name in known:
            raise Conflict(f"{name!r} is a label itself: merge it into {label!r} instead")
        check_free(name, naming, unless=label)


def check_free(name: str, naming: Naming, unless: str = "") -> None:
    """Raise Conflict for a name that means another label than `unless`."""
    labels = naming.resolve(name)
    if labels != (name,) and not (unless and all(is_within(label, unless) for label in labels)):
        means = " or ".join(map(repr, labels))
        raise Conflict(
            f"{name!r} is another name for {means}; remove it from the aliases first, or choose "
            "another name"
        )


def _check_cycle(label: str, to: str) -> None:
    if is_within(to, label):
        raise BadInput(f"{label!r} cannot be moved to {to!r}, which is below it")


def _check_in_use(label: str, naming: Naming) -> None:
    if label not in naming.gone and naming.retired_by(label) is not None:
        raise Conflict(f"{label!r} is retired; undo that first, or choose another label")
