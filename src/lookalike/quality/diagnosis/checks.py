"""What may be wrong with references and labels: checks of evidence that tell findings. Pure."""

from __future__ import annotations

import json
import math
import shlex
from urllib.parse import quote

import numpy as np

from lookalike.classifier.calibration.decision_rule import MIN_REFERENCES, Method
from lookalike.classifier.review.reference_checks import THIN
from lookalike.classifier.scores.hierarchy import MIN_LABELS
from lookalike.model import Reason
from lookalike.quality.diagnosis.facts import (
    ENOUGH_TRIALS,
    FEW_TRIALS,
    RIGHT,
    SHOWN,
    Facts,
    Retriever,
    Unknown,
)
from lookalike.quality.diagnosis.findings import Finding, Severity, Step, Symptom, shell_line
from lookalike.quality.reference_health import Confusion

_GROUP = 5
_CORRECTED = 2
_PAIRS = 3
_USUAL = 0.02
"""So many references look wrong where none is."""


def few_references(seen: Facts) -> list[Finding]:
    """Tell that nothing can be labelled yet, or that labels which nulls lean to are thin."""
    labels = seen.inspection.labels
    by_limit = seen.target is None
    if seen.report.references == 0 or (seen.able < MIN_LABELS and not by_limit):
        needed = "a reference" if by_limit else f"{MIN_LABELS} labels of {MIN_REFERENCES} or more"
        said = f"{seen.report.references} references of {len(labels)} labels; it takes {needed}"
        why = "Without references there is nothing that a document could look like."
        return [_few(seen, Severity.STOPS, said, why, (), seen.of_nulls(seen.nulls))]
    thin = [one for one in labels if one.thin and seen.leaning.get(one.label)]
    count = sum(seen.leaning[one.label] for one in thin)
    if not seen.matters(count):
        return []
    named = tuple(one.label for one in thin)
    said = f"{count} nulls look most like {len(thin)} labels with fewer than {THIN} references"
    why = "A few references show only a few of a label's looks, so that little comes near them."
    return [_few(seen, Severity.COSTS, said, why, named, seen.of_nulls(count))]


def _few(
    seen: Facts,
    severity: Severity,
    said: str,
    why: str,
    labels: tuple[str, ...],
    share: float | None,
) -> Finding:
    steps = (seen.place.ask(),)
    return Finding("few_references", Symptom.NULLS, severity, said, why, steps, labels, (), share)


def one_sided_references(seen: Facts) -> list[Finding]:
    """Tell labels that are out of balance, or whose references are mostly the same picture."""
    spare: dict[str, int] = {}
    for group in seen.inspection.duplicates:
        if not group.conflict:
            spare[group.labels[0]] = spare.get(group.labels[0], 0) + len(group.ids) - 1
    same = [
        one.label
        for one in seen.inspection.labels
        if not one.thin and 2 * spare.get(one.label, 0) > one.references
    ]
    uneven = [one.label for one in seen.inspection.labels if one.unbalanced and not one.thin]
    named = tuple(sorted({*same, *uneven}))
    if not named:
        return []
    said = "; ".join(
        [
            *([f"most references of {len(same)} labels are all but the same"] if same else ()),
            *([f"{len(uneven)} labels have 4 times more than others"] if uneven else ()),
        ]
    )
    count = sum(seen.leaning.get(label, 0) for label in same)
    return [
        Finding(
            "one_sided_references",
            Symptom.NULLS,
            Severity.COSTS if count else Severity.NOTE,
            said,
            "References that repeat each other show one look of a label, and outvote the others.",
            (seen.place.inspect(), seen.place.ask()),
            named,
            share=seen.of_nulls(count) if same else None,
        )
    ]


def new_categories(seen: Facts) -> list[Finding]:
    """Tell groups among the nulls that look like each other and like nothing named."""
    groups = [one.ids for one in seen.groups if len(one.ids) >= _GROUP and _is_unlike(seen, one)]
    count = sum(map(len, groups))
    if seen.able < MIN_LABELS or not seen.matters(count):
        return []
    seeds = tuple(group[0] for group in groups[:SHOWN])
    members = groups[0][:SHOWN]
    arguments = (*members, "--asked")
    return [
        Finding(
            "new_categories",
            Symptom.NULLS,
            Severity.COSTS,
            f"{count} nulls in {len(groups)} groups look like each other and like no label "
            f"({', '.join(str(len(group)) for group in groups[:SHOWN])} documents)",
            "No reference can label what belongs to a category that nobody has named.",
            (
                seen.place.ask(),
                seen.place.act("new-kind", arguments, {"ids": list(members), "asked": True}),
            ),
            ids=seeds,
            share=seen.of_nulls(count),
        )
    ]


def _is_unlike(seen: Facts, group: Unknown) -> bool:
    """Return whether a group is like no label.

    Under `precision` the groups were chosen by that. Under `threshold` the group must be less like
    any reference than 95 % of the references are like their nearest one of the same label.
    """
    if seen.target is not None:
        return seen.rule is Method.LANDSCAPE
    alike = seen.trial.similarity[seen.trial.right]
    if len(alike) < ENOUGH_TRIALS:
        return False
    return group.near is None or group.near < float(np.quantile(alike, 1 - RIGHT))


def confused_pairs(seen: Facts) -> list[Finding]:
    """Tell the pairs of labels that are taken for each other, if most others are not."""
    if seen.cannot_tell:
        return []
    labels = {one.label: one for one in seen.inspection.labels}
    wrong = sum(one.references * (1 - one.recall) for one in labels.values() if one.recall)
    wrong += sum(one.references for one in labels.values() if one.recall == 0)
    found = []
    for pair in seen.inspection.confused[:_PAIRS]:
        tried = sum(labels[name].references for name in pair.labels)
        if tried >= FEW_TRIALS:
            found.append(_confused(seen, pair, pair.share * tried / wrong if wrong else None))
    return found


def _confused(seen: Facts, pair: Confusion, share: float | None) -> Finding:
    steps: tuple[Step, ...] = (seen.place.inspect(),)
    if seen.target is not None:
        surer = 1 - (1 - seen.target) / 5
        arguments = [word for name in pair.labels for word in ("--target", f"{name}={surer:g}")]
        body = {"targets": dict.fromkeys(pair.labels, round(surer, 4))}
        steps = (*steps, seen.place.act("run", arguments, body))
    first, other = pair.labels
    return Finding(
        "confused_labels",
        Symptom.WRONG,
        Severity.COSTS,
        f"{pair.share:.0%} of the references of {first!r} and {other!r} look like the other label",
        "If people draw the line differently, or the vectors do not show it, each gets the other's "
        "documents.",
        steps,
        pair.labels,
        share=None if share is None else min(share, 1.0),
    )


def bad_references(seen: Facts) -> list[Finding]:
    """Tell references that look wrong, contradict each other, or caused corrections."""
    found = seen.inspection
    looks = {} if seen.cannot_tell else {one.id: one.looks_like for one in found.suspects}
    labels = {one.id: one.label for one in found.suspects if one.id in looks}
    fought = [group for group in found.duplicates if group.conflict]
    blamed = {one.id: one for one in found.blamed if one.corrected >= _CORRECTED}
    blamed = {id: one for id, one in blamed.items() if one.corrected > one.confirmed}
    ids = [*blamed, *looks, *(id for group in fought for id in group.ids)]
    ids = list(dict.fromkeys(ids))
    if not ids:
        return []
    labels |= {id: one.label or "" for id, one in blamed.items()}
    labels |= {id: name for one in fought for id, name in zip(one.ids, one.labels, strict=True)}
    worst = ids[0]
    steps = [seen.place.look("why", f"documents/{worst}/why", worst)]
    instead = blamed[worst].instead if worst in blamed else looks.get(worst)
    if instead is not None:
        said = {"labels": {worst: instead}}
        steps.append(seen.place.act("label", (worst, instead), said))
    caused = sum(seen.caused.get(id, 0) for id in ids)
    unusual = len(looks) > _USUAL * seen.report.references
    return [
        Finding(
            "bad_references",
            Symptom.WRONG,
            Severity.COSTS if caused or blamed or fought or unusual else Severity.NOTE,
            f"{len(looks)} references look like another label, {len(fought)} groups of duplicates "
            f"contradict each other, {len(blamed)} caused corrections; {caused} automatic labels "
            "come from them",
            "A wrong reference labels everything that looks like it; look first, it may be right "
            "and only unusual.",
            tuple(steps),
            tuple(dict.fromkeys(labels[id] for id in ids[:SHOWN])),
            tuple(ids[:SHOWN]),
            caused / seen.automatic if seen.automatic else None,
        )
    ]


def cannot_tell_apart(seen: Facts) -> list[Finding]:
    """Tell that the vectors do not show what the labels mean."""
    if not seen.cannot_tell:
        return []
    accuracy, suggests = seen.accuracy or 0.0, seen.rule is Method.SUGGEST
    return [
        Finding(
            "cannot_tell_apart",
            Symptom.STUCK,
            Severity.STOPS,
            f"{accuracy:.0%} of the references get their own label back when they are left out "
            f"({seen.extractor})",
            "More answers do not help where documents of two labels have the same vectors; those "
            "of another or a bigger model may differ.",
            (_other_extractor(seen),),
            tuple(one.label for one in seen.inspection.labels[:SHOWN]),
            share=seen.of_nulls(seen.nulls) if suggests else None,
        )
    ]


def _other_extractor(seen: Facts) -> Step:
    """Return the step that compares another extractor for texts; for all else, that of looking.

    Of what reads pictures here, none is so much better that trying it would be good advice.
    """
    if not seen.media_type.startswith("text/"):
        return seen.place.inspect()
    collection, options = seen.place.collection, dict[str, str]()
    if seen.extractor in ("text_extractor", "document_extractor"):
        options = {"model": "multilingual-e5-small"}
    said = [word for name, value in options.items() for word in ("--option", f"{name}={value}")]
    line = shell_line("migrate", collection, "--extractor", "text", *said, "--dry-run")
    body = {"collections": [collection], "extractor": "text", "options": options or None}
    return Step(line, "POST /v1/verbs/prepare_migration", body)


def idle_answers(seen: Facts) -> list[Finding]:
    """Tell that people label where labels do not vote."""
    if seen.idle == 0:
        return []
    other = seen.reference
    said = seen.report.labelled["human"]
    address = f"/v1/collections/{other}/queue"
    return [
        Finding(
            "idle_answers",
            Symptom.STUCK,
            Severity.COSTS,
            f"{seen.idle} answers were given in {seen.place.collection!r}, where only the labels "
            f"of {other!r} vote",
            "An answer improves the rest only in the collection whose labels vote.",
            (Step(shell_line("queue", other), f"GET {address}"),),
            share=min(seen.idle / said, 1.0) if said else None,
        )
    ]


# --- checks of the data --------------------------------------------------------------------------

_EXAMPLE_SERVER = "http://127.0.0.1:8710"


def label_not_passed_through(seen: Facts) -> list[Finding]:
    """Tell that objects bring what may be labels under another name than the field reads."""
    found = seen.metadata.elsewhere
    if not found:
        return []
    key = max(found, key=lambda name: (found[name], name))
    collection = seen.place.collection
    steps = (
        Step(
            shell_line("create", collection, "--field", key),
            "POST /v1/verbs/add_taxonomy",
            {"collection": collection, "field": key},
        ),
    )
    return [
        Finding(
            "label_not_passed_through",
            Symptom.NULLS,
            Severity.STOPS,
            f"{found[key]} objects say {key!r} in their metadata, and the label field is called "
            f"{seen.report.field!r}: none of it votes",
            "A label in an object's metadata votes only where the label field has its name.",
            steps,
            share=seen.of_nulls(found[key]),
        )
    ]


def retriever_without_filter(seen: Facts) -> list[Finding]:
    """Tell that the retriever of a taxonomy also finds documents without a label."""
    one = seen.retriever
    if one is None or one.demands_label:
        return []
    return [
        Finding(
            "retriever_without_filter",
            Symptom.NULLS,
            Severity.NOTE,
            f"the retriever {one.name!r} does not ask that a label is there",
            "Its results have places taken by documents without a label, which say nothing; "
            "decisions here ask labelled ones only, other clients of it do not.",
            (_filter_step(seen, one),),
        )
    ]


def _filter_step(seen: Facts, one: Retriever) -> Step:
    condition = {"field": seen.report.field, "operator": "ne", "value": None}
    first = {"stage_type": "attribute_filter", "conditions": [condition]}
    body = {"stages": [first, *one.stages]}
    address = f"/v1/retrievers/{quote(one.name)}"
    line = ["curl", "-X", "PATCH", _EXAMPLE_SERVER + address]
    line += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    return Step(shlex.join(line), f"PATCH {address}", body)


def out_of_step(seen: Facts) -> list[Finding]:
    """Tell documents that no longer are what their object is or says."""
    apart = seen.metadata.apart
    ids = tuple(dict.fromkeys((*seen.stale, *apart)))
    if not ids:
        return []
    steps = [_extract_again(seen)] if seen.stale else []
    steps += [seen.place.look("why", f"documents/{id}/why", id) for id in apart[:1]]
    return [
        Finding(
            "out_of_step",
            Symptom.WRONG,
            Severity.COSTS,
            f"{len(seen.stale)} documents are of an older content of their object, {len(apart)} "
            "were imported with another label than their object's metadata say",
            "A document that is not what its object is keeps its vector, its label and its vote.",
            tuple(steps),
            ids=ids[:SHOWN],
        )
    ]


def low_quality(seen: Facts) -> list[Finding]:
    """Tell parts that were seen too badly to be decided."""
    count = seen.report.nulls.get(Reason.LOW_QUALITY, 0)
    if count == 0:
        return []
    collection, field = seen.place.collection, f"{seen.report.field}-all"
    step = Step(
        shell_line("create", collection, "--field", field, "--low-quality"),
        "POST /v1/verbs/add_taxonomy",
        {"collection": collection, "field": field, "low_quality": True},
    )
    return [
        Finding(
            "low_quality",
            Symptom.NULLS,
            Severity.COSTS,
            f"{count} documents were seen badly: too small, unsharp or cut off",
            "They neither vote nor are decided, unless a field says that they shall be.",
            (step,),
            ids=seen.unclear,
            share=seen.of_nulls(count),
        )
    ]


def failed_extraction(seen: Facts) -> list[Finding]:
    """Tell objects that could not be extracted."""
    count = seen.report.failed
    if count == 0:
        return []
    failures = seen.failures
    usual = max(failures.reasons, key=lambda reason: failures.reasons[reason])
    return [
        Finding(
            "failed_extraction",
            Symptom.NULLS,
            Severity.COSTS,
            f"{count} objects could not be extracted, {failures.reasons[usual]} of them because: "
            f"{usual}",
            "What cannot be read has no document, so that nothing can label it.",
            (_extract_again(seen),),
            ids=failures.ids,
            share=seen.of_nulls(count),
        )
    ]


def waiting_objects(seen: Facts) -> list[Finding]:
    """Tell objects that nobody extracts."""
    count = seen.report.waiting
    if count == 0:
        return []
    return [
        Finding(
            "waiting_objects",
            Symptom.NULLS,
            Severity.COSTS,
            f"{count} objects wait to be extracted",
            "An object has no document, and no label, before it is extracted.",
            (seen.place.extract(shell_line("worker", "--once")),),
            share=count / (count + seen.nulls),
        )
    ]


def _extract_again(seen: Facts) -> Step:
    """Return the step that extracts what failed, where it lies in files, or else what waits."""
    again = [key for key in seen.failures.keys if key.startswith("/") or "://" in key]
    if again:
        return seen.place.extract(shell_line("add", seen.place.collection, *again))
    return seen.place.extract(shell_line("worker", "--once"))


# --- checks of the decision rule -----------------------------------------------------------------

_OTHER_TARGETS = (0.95, 0.9)
_TOO_WRONG = 0.9
_STEP = 0.02


def limit_too_strict(seen: Facts) -> list[Finding]:
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


def limit_too_loose(seen: Facts) -> list[Finding]:
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


def nothing_certain(seen: Facts) -> list[Finding]:
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


def only_asked_answers(seen: Facts) -> list[Finding]:
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


def best_limit(seen: Facts) -> float | None:
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


def _strict_threshold(seen: Facts) -> list[Finding]:
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
    seen: Facts, said: str, arguments: tuple[str, ...], body: dict[str, float], more: int
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


def _only_asked(seen: Facts) -> bool:
    sure = seen.report.state != "suggests only"
    return not sure and seen.asked >= FEW_TRIALS and not seen.own and not seen.drawn
