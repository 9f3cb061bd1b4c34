"""Labels as texts: paths of parts, `Shoes > Running > Red`."""

from __future__ import annotations

from lookalike.errors import BadInput
from lookalike.model import LABEL_SEPARATOR


def check_label(label: object) -> str:
    """Return a label with its parts trimmed. Raises BadInput for an empty one or an empty part.

    >>> check_label("Shoes>Running ")
    'Shoes > Running'
    """
    if not isinstance(label, str):
        raise BadInput(f"a label is a text, not {label!r}")
    parts = [part.strip() for part in label.split(LABEL_SEPARATOR.strip())]
    if not all(parts):
        raise BadInput(f"the label {label!r} has an empty part; write 'Shoes > Running'")
    return LABEL_SEPARATOR.join(parts)
