"""What may be wrong with a label field's rule: checks of evidence that tell findings. Pure."""

from __future__ import annotations

import math

import numpy as np

from lookalike.classifier.scores.hierarchy import MIN_LABELS
from lookalike.quality.diagnosis.facts import ENOUGH_TRIALS, FEW_TRIALS, RIGHT, Evidence
from lookalike.quality.diagnosis.findings import Finding, Severity, Symptom

_OTHER_TARGETS = (0.95, 0.9)
_TOO_WRONG = 0.9
_STEP = 0.02


def limit_too_strict(seen: Evidence) -> list[Finding]:
    """Tell that a lower limit would label more, about as rightly as is asked for."""
    if seen.target is None:
        return _strict_threshold(seen)
    target = seen.target
    falling = np.sort(np.concatenate([seen.sure, seen.near]))[::-1]
    expected = falling.cumsum() / np.arange(1, len(falling) + 1)
    for other in [one for one in _OTHER_TARGETS if one < target]:
        more = int((expected >= other).sum()) - seen.automatic
        if seen.automatic and seen.matters(more):
            said = f"{target:.1%} must be right; at {other:.0%} about {more} more would be labelled"
            arguments = ("--target-precision", f"{other:g}")
            return [_strict(seen, said, arguments, {"target_precision": other}, more)]
    return []


def limit_too_loose(seen: Evidence) -> list[Finding]:
    """Tell that too many of the references that are as alike as the limit differ in their label."""
    now, trial = seen.report.limit, seen.trial
    if seen.target is not None or now is None:
        return []
    over = trial.similarity >= now
    if over.sum() < ENOUGH_TRIALS or trial.right[over].mean() >= _TOO_WRONG:
        return []
    best, wrong = best_limit(seen), int((over & ~trial.right).sum())
    if best is None:
        arguments, body, left = ("--target-precision", f"{RIGHT:g}"), RIGHT, 0
        step = seen.place.act("run", arguments, {"target_precision": body})
    else:
        left = int(((trial.similarity >= best) & ~trial.right).sum())
        arguments = ("--confidence-threshold", f"{best:g}")
        step = seen.place.act("run", arguments, {"confidence_threshold": best})
    said = (
        f"of {int(over.sum())} references whose nearest one is {now:g} alike or more, "
        f"{wrong} look most like one of another label"
    )
    why = "What is just over the limit takes the label of something that it is not."
    return [
        Finding(
            "limit_too_loose",
            Symptom.WRONG,
            Severity.COSTS,
            said,
            why,
            (step,),
            share=(wrong - left) / wrong,
        )
    ]


def nothing_certain(seen: Evidence) -> list[Finding]:
    """Tell that nothing labels itself because nothing proves how sure to be."""
    if seen.report.state != "suggests only" or seen.able < MIN_LABELS or seen.cannot_tell:
        return []
    if _only_asked(seen):
        return []
    below = seen.report.nulls.get("below_threshold", 0)
    return [
        Finding(
            "nothing_certain",
            Symptom.NULLS,
            Severity.STOPS,
            "; ".join(seen.report.missing)
            or f"it suggests only: {seen.report.references} references do not say how sure to be",
            "A label is given only where the asked share of right ones can be expected to hold.",
            (seen.place.ask(),),
            share=seen.of_nulls(below),
        )
    ]


def only_asked_answers(seen: Evidence) -> list[Finding]:
    """Tell that all references were picked by the queue, and none by chance."""
    if not _only_asked(seen):
        return []
    below = seen.report.nulls.get("below_threshold", 0)
    return [
        Finding(
            "only_asked_answers",
            Symptom.STUCK,
            Severity.STOPS,
            f"the queue picked all {seen.asked} references, and none was drawn by chance",
            "What a clever queue picks is harder than the rest: it does not tell how often the "
            "machine is right, however many there are.",
            (seen.place.ask(),),
            share=seen.of_nulls(below),
        )
    ]


def best_limit(seen: Evidence) -> float | None:
    """Return the lowest limit, in hundredths, at which 95 % of the references' nearest are right.

    None where there are too few references to say, or where no limit does it.
    """
    order = np.argsort(-seen.trial.similarity)
    right = seen.trial.right[order]
    if len(right) < ENOUGH_TRIALS:
        return None
    counts = np.arange(1, len(right) + 1)
    holds = (right.cumsum() / counts >= RIGHT) & (counts >= ENOUGH_TRIALS)
    if not holds.any():
        return None
    lowest = float(seen.trial.similarity[order][np.flatnonzero(holds)[-1]])
    return math.floor(lowest * 100) / 100 if holds[-1] else math.ceil(lowest * 100) / 100


def _strict_threshold(seen: Evidence) -> list[Finding]:
    now, best = seen.report.limit, best_limit(seen)
    if now is None or best is None or now - best < _STEP:
        return []
    more = int((seen.near >= best).sum())
    if not seen.matters(more):
        return []
    said = (
        f"the limit is {now:g}; among references {RIGHT:.0%} of what is {best:g} alike or more "
        f"has the same label, and {more} nulls are"
    )
    arguments = ("--confidence-threshold", f"{best:g}")
    return [_strict(seen, said, arguments, {"confidence_threshold": best}, more)]


def _strict(
    seen: Evidence, said: str, arguments: tuple[str, ...], body: dict[str, float], more: int
) -> Finding:
    return Finding(
        "limit_too_strict",
        Symptom.NULLS,
        Severity.COSTS,
        said,
        "A similarity means something else in each space: a limit from elsewhere asks too much.",
        (seen.place.act("run", arguments, body),),
        share=seen.of_nulls(more),
    )


def _only_asked(seen: Evidence) -> bool:
    sure = seen.report.state != "suggests only"
    return not sure and seen.asked >= FEW_TRIALS and not seen.own and not seen.drawn
