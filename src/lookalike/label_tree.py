"""The labels of a field as a tree, with their style guide and counts; and what may become of them.

Pure: what is known comes in, a tree or the reason why not comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.model import LABEL_SEPARATOR
from lookalike.naming import Naming, moved, within

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
