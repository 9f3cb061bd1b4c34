"""What the machine changed as a consequence: by field and document, net of all steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Move = tuple[str | None, str | None]
"""The machine's label of a document before and after."""


@dataclass(slots=True)
class Effects:
    """What the machine changed: by field and document, however many steps it took.

    The counts are by label: the new one, or for `unlabelled` the one that went.
    """

    moves: dict[int, dict[int, Move]] = field(default_factory=dict)

    def add(self, field_pk: int, moves: dict[int, Move]) -> None:
        """Take over what one more step changed in a field."""
        so_far = self.moves.setdefault(field_pk, {})
        for document, (was, now) in moves.items():
            so_far[document] = (so_far.get(document, (was, now))[0], now)

    def drop(self, field_pk: int, documents: Iterable[int]) -> None:
        """Leave out documents whose label is not the machine's any more."""
        for document in documents:
            self.moves.get(field_pk, {}).pop(document, None)

    @property
    def labelled(self) -> Counter[str]:
        """Count documents that had no label, by the one they have."""
        return _counted((now, n) for (was, now), n in self._net() if was is None)

    @property
    def relabelled(self) -> Counter[str]:
        """Count documents that had another label, by the one they have."""
        return _counted((now, n) for (was, now), n in self._net() if was is not None)

    @property
    def unlabelled(self) -> Counter[str]:
        """Count documents that have no label now, by the one they had."""
        return _counted((was, n) for (was, now), n in self._net() if now is None)

    def _net(self) -> Iterator[tuple[Move, int]]:
        """Yield the moves that made a difference, each with how many documents made it."""
        for moves in self.moves.values():
            counts = Counter(moves.values())
            yield from ((move, count) for move, count in counts.items() if move[0] != move[1])


def _counted(labels: Iterable[tuple[str | None, int]]) -> Counter[str]:
    """Return how often there is each label; there may be none."""
    total: Counter[str] = Counter()
    for label, count in labels:
        if label is not None:
            total[label] += count
    return total
