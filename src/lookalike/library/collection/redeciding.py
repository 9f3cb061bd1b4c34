"""Deciding again by the references, the policy and the calibration of a point of the past."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lookalike.catalog.fields import stored_field
from lookalike.catalog.lookup import ids_of, stances
from lookalike.catalog.reader import FieldRow
from lookalike.classifier.policies import REASONS
from lookalike.decisions.as_of import PastStore
from lookalike.decisions.decider import Decider, Imagined
from lookalike.decisions.effects import Effects
from lookalike.errors import Conflict
from lookalike.labels import NO_LABEL
from lookalike.model import Origin, Reason
from lookalike.stores.base import Readable, Snapshot

_MACHINE = (None, Origin.AUTO)


@dataclass(frozen=True, slots=True)
class Redecision:
    """What a document would be labelled by another rule than the one in force."""

    label: str | None
    confidence: float | None
    margin: float | None
    runner_up: str | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Redecided:
    """What the references and the policy of a point say of the documents of now; nothing is kept.

    `decisions`, by id, are those of all documents that were the machine's to decide then. The
    counts tell what would differ from now where it decides now, too, by label: the new one, or for
    `unlabelled` the one that went. `same` counts the others.
    """

    field: str
    decisions: Mapping[str, Redecision]
    labelled: Mapping[str, int]
    relabelled: Mapping[str, int]
    unlabelled: Mapping[str, int]
    same: int


def redecide(now: Readable, then: PastStore, field: FieldRow, cache: Path) -> Redecided:
    """Return what a field's rule of `then` says of the documents of `now`; nothing is kept.

    `then` shows all documents. Neighbour lists that `cache` remembers are read there and not
    written: who builds the same landscape from them gets the same to the digit. Raises Conflict
    where the collection was in another space then.
    """
    with then.read() as snapshot:
        stored = stored_field(snapshot, field.pk)
        if (stored.since or 0) > then.position:
            raise Conflict(
                "the collection has another extractor since then, and vectors of two spaces cannot "
                "be compared; ask for a later point"
            )
        with TemporaryDirectory(prefix="lookalike-") as folder:
            lists = f"lists.{stored.space.pk}.{stored.pk}.npz"
            if (cache / lists).exists():
                shutil.copyfile(cache / lists, Path(folder) / lists)
            decider = Decider(stored, Path(folder))
            decider.refresh(snapshot)
            imagined = decider.decide_again(snapshot)
        columns = decider.state.columns
        places = np.flatnonzero(~columns["stands"]).tolist()
        pks = columns.pks.tolist()
    found = {pks[place]: _redecision(imagined, place) for place in places}
    with now.read() as snapshot:
        return _compared(snapshot, field, found)


def _redecision(imagined: Imagined, place: int) -> Redecision:
    decisions, codes = imagined.decisions, imagined.codes
    code, runner_up = int(decisions.codes[place]), int(decisions.runner_up[place])
    reason = int(decisions.reasons[place])
    return Redecision(
        label=None if code == NO_LABEL else codes.name(code),
        confidence=_number(decisions.confidence[place]),
        margin=_number(decisions.margin[place]),
        runner_up=None if runner_up == NO_LABEL else codes.name(runner_up),
        reason=None if reason < 0 else REASONS[reason],
    )


def _compared(snapshot: Snapshot, field: FieldRow, found: Mapping[int, Redecision]) -> Redecided:
    ids = ids_of(snapshot, found)
    today = stances(snapshot, field.pk, ids)
    effects = Effects()
    moves = {
        pk: (today[pk].label, found[pk].label)
        for pk in ids
        if pk in today and today[pk].origin in _MACHINE
    }
    effects.add(field.pk, moves)
    return Redecided(
        field=field.name,
        decisions={ids[pk]: found[pk] for pk in sorted(ids)},
        labelled=dict(sorted(effects.labelled.items())),
        relabelled=dict(sorted(effects.relabelled.items())),
        unlabelled=dict(sorted(effects.unlabelled.items())),
        same=sum(was == now for was, now in moves.values()),
    )


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)
