"""How often what chance decides is tried: as much as `make test` has time for, or more, to hunt.

`LOOKALIKE_HUNT=10` tries ten times as much. Where the same examples are tried each time otherwise,
hunting tries new ones.
"""

from __future__ import annotations

import os

_FACTOR = int(os.environ.get("LOOKALIKE_HUNT", "1"))
HUNTING = _FACTOR > 1


def times(count: int) -> int:
    """Return how often to try what is tried `count` times when nobody hunts."""
    return count * _FACTOR
