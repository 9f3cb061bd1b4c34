"""The types that a bucket gives to the fields of its objects, and what fits them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from lookalike.errors import BadInput


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_time(read: Callable[[str], Any]) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        try:
            read(value)
        except (TypeError, ValueError):
            return False
        return True

    return fits


def _any(_value: Any) -> bool:
    return True


TYPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "string": (_is_text, "a text"),
    "text": (_is_text, "a text"),
    "number": (_is_number, "a number"),
    "float": (_is_number, "a number"),
    "integer": (_is_whole, "a whole number"),
    "boolean": (lambda value: isinstance(value, bool), "true or false"),
    "object": (lambda value: isinstance(value, Mapping), "an object"),
    "array": (lambda value: isinstance(value, list), "a list"),
    "date": (_is_time(date.fromisoformat), "a date such as 2026-01-31"),
    "datetime": (_is_time(datetime.fromisoformat), "a time such as 2026-01-31T12:00:00Z"),
    "image": (_any, "a picture"),
    "audio": (_any, "a sound"),
    "video": (_any, "a film"),
    "pdf": (_any, "a PDF"),
    "vector": (_any, "a vector"),
}
"""Each type of a field: what fits it, and how that is called. Null fits all of them."""


def check_types(properties: Mapping[str, str]) -> dict[str, str]:
    """Return the types of fields. Raises BadInput for an unknown one, naming the known ones."""
    for name, kind in properties.items():
        if kind not in TYPES:
            raise BadInput(
                f"the property {name!r} has the type {kind!r}; known: {', '.join(TYPES)}"
            )
    return dict(properties)


def check_values(metadata: Mapping[str, Any], properties: Mapping[str, str]) -> None:
    """Raise BadInput for a value that is not what the bucket says of its field."""
    for name, value in metadata.items():
        fits, what = TYPES[properties[name]] if name in properties else (_any, "")
        if value is not None and not fits(value):
            shown = repr(value)
            raise BadInput(
                f"the field {name!r} is {shown[:80]}{'…' if len(shown) > 80 else ''}, and its type "
                f"is {properties[name]}: give {what}"
            )
