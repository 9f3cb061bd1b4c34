"""Labels as texts: paths of parts, `Shoes > Running > Red`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from threading import Lock

from lookalike.errors import BadInput
from lookalike.model import LABEL_SEPARATOR

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
