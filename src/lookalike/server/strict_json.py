"""JSON, read strictly: UTF-8 without lone surrogates, each key once, numbers that can be held."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pydantic_core import from_json

_DIGITS = bytes.maketrans(b"023456789E", b"111111111e")
_LONG = (b"1" * 300, b"e111", b"e+111")
"""What a number that is too large has in it when all its digits are ones, or a text."""

_VECTOR = re.compile(rb"\[[-+.0-9eE, ]{64,}\]")
"""What may be left out of a search for keys, for speed."""


def read_json(data: bytes) -> Any:
    """Return what JSON says. Raises ValueError, with the reason, for what is none or ambiguous."""
    value = from_json(data, allow_inf_nan=False)
    digits = data.translate(_DIGITS)
    if any(part in digits for part in _LONG):
        json.loads(data, object_pairs_hook=_once, parse_float=_held, parse_int=_held)
        return value
    try:
        json.loads(_VECTOR.sub(b"[]", data), object_pairs_hook=_once)
    except ValueError:  # or two texts differed in what looks like vectors
        json.loads(data, object_pairs_hook=_once)
    return value


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Look for a key that is given twice: each reader would take another one."""
    names = {name for name, _ in pairs}
    if len(names) < len(pairs):
        given = [name for name, _ in pairs]
        twice = next(name for name in given if given.count(name) > 1)
        raise ValueError(f"the key {twice[:80]!r} is given twice")


def _held(text: str) -> None:
    if not math.isfinite(float(text)):
        raise ValueError(f"the number {text[:40]}{'…' if len(text) > 40 else ''} is too large")
