"""The checks of a diagnosis: each takes the facts of a field and returns its findings. Pure."""

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
"""The share of references that look wrong although they are right."""


def few_references(facts: Facts) -> list[Finding]:
    """Find out whether there are too few references, for all labels or for some likely ones."""
    labels = facts.inspection.labels
    by_threshold = facts.target is None
    if facts.report.references == 0 or (facts.usable_labels < MIN_LABELS and not by_threshold):
        needed = f"{MIN_LABELS} labels with {MIN_REFERENCES} or more references each"
        needed = "at least one reference" if by_threshold else needed
        text = f"{facts.report.references} references of {len(labels)} labels; it needs {needed}"
        why = "Lookalike labels an item by its similarity to references."
        return [_few(facts, Severity.STOPS, text, why, (), facts.of_nulls(facts.nulls))]
    thin = [one for one in labels if one.thin and facts.leaning.get(one.label)]
    count = sum(facts.leaning[one.label] for one in thin)
    if not facts.matters(count):
        return []
    names = tuple(one.label for one in thin)
    text = (
        f"{count} unlabelled items look most like {len(thin)} labels with fewer than {THIN} "
        "references"
    )
    why = "A few references cover only a part of a label's variety, so few items are close to them."
    return [_few(facts, Severity.COSTS, text, why, names, facts.of_nulls(count))]


def _few(
    facts: Facts,
    severity: Severity,
    text: str,
    why: str,
    labels: tuple[str, ...],
    share: float | None,
) -> Finding:
    steps = (facts.steps.queue(),)
    return Finding("few_references", Symptom.NULLS, severity, text, why, steps, labels, (), share)


def one_sided_references(facts: Facts) -> list[Finding]:
    """Find labels with far more references than others, or mostly near-duplicate references."""
    spare: dict[str, int] = {}
    for group in facts.inspection.duplicates:
        if not group.conflict:
            spare[group.labels[0]] = spare.get(group.labels[0], 0) + len(group.ids) - 1
    same = [
        one.label
        for one in facts.inspection.labels
        if not one.thin and 2 * spare.get(one.label, 0) > one.references
    ]
    uneven = [one.label for one in facts.inspection.labels if one.unbalanced and not one.thin]
    names = tuple(sorted({*same, *uneven}))
    if not names:
        return []
    text = "; ".join(
        [
            *([f"most references of {len(same)} labels are near-duplicates"] if same else ()),
            *([f"{len(uneven)} labels have 4 times more than others"] if uneven else ()),
        ]
    )
    count = sum(facts.leaning.get(label, 0) for label in same)
    return [
        Finding(
            "one_sided_references",
            Symptom.NULLS,
            Severity.COSTS if count else Severity.NOTE,
            text,
            "Near-duplicates cover only a part of a label's variety, and outweigh the other "
            "references.",
            (facts.steps.inspect(), facts.steps.queue()),
            names,
            share=facts.of_nulls(count) if same else None,
        )
    ]


def new_categories(facts: Facts) -> list[Finding]:
    """Find groups of unlabelled documents that look alike, and like no known label."""
    groups = [one.ids for one in facts.groups if len(one.ids) >= _GROUP and _is_unlike(facts, one)]
    count = sum(map(len, groups))
    if facts.usable_labels < MIN_LABELS or not facts.matters(count):
        return []
    seeds = tuple(group[0] for group in groups[:SHOWN])
    members = groups[0][:SHOWN]
    arguments = (*members, "--asked")
    return [
        Finding(
            "new_categories",
            Symptom.NULLS,
            Severity.COSTS,
            f"{count} unlabelled items in {len(groups)} groups look alike and like no known label "
            f"({', '.join(str(len(group)) for group in groups[:SHOWN])} items)",
            "They may belong to new categories, which have no references yet.",
            (
                facts.steps.queue(),
                facts.steps.change("new-kind", arguments, {"ids": list(members), "asked": True}),
            ),
            ids=seeds,
            share=facts.of_nulls(count),
        )
    ]


def _is_unlike(facts: Facts, group: Unknown) -> bool:
    """Return whether a group looks like no label.

    Under the policy `precision` the groups are chosen so. Under `threshold`, the group's similarity
    must be below that of 95 % of the references to their nearest one of the same label.
    """
    if facts.target is not None:
        return facts.rule is Method.LANDSCAPE
    alike = facts.nearest.similarity[facts.nearest.right]
    if len(alike) < ENOUGH_TRIALS:
        return False
    return group.near is None or group.near < float(np.quantile(alike, 1 - RIGHT))


def confused_pairs(facts: Facts) -> list[Finding]:
    """Find pairs of labels that are confused with each other, if most other labels are not."""
    if facts.cannot_tell:
        return []
    labels = {one.label: one for one in facts.inspection.labels}
    wrong = sum(one.references * (1 - one.recall) for one in labels.values() if one.recall)
    wrong += sum(one.references for one in labels.values() if one.recall == 0)
    found = []
    for pair in facts.inspection.confused[:_PAIRS]:
        tried = sum(labels[name].references for name in pair.labels)
        if tried >= FEW_TRIALS:
            found.append(_confused(facts, pair, pair.share * tried / wrong if wrong else None))
    return found


def _confused(facts: Facts, pair: Confusion, share: float | None) -> Finding:
    steps: tuple[Step, ...] = (facts.steps.inspect(),)
    if facts.target is not None:
        higher = 1 - (1 - facts.target) / 5
        arguments = [word for name in pair.labels for word in ("--target", f"{name}={higher:g}")]
        body = {"targets": dict.fromkeys(pair.labels, round(higher, 4))}
        steps = (*steps, facts.steps.change("run", arguments, body))
    first, other = pair.labels
    return Finding(
        "confused_labels",
        Symptom.WRONG,
        Severity.COSTS,
        f"{pair.share:.0%} of the references of {first!r} and {other!r} look like the other label",
        "If people label them inconsistently, or the embeddings do not separate them, items of one "
        "get the label of the other.",
        steps,
        pair.labels,
        share=None if share is None else min(share, 1.0),
    )


def bad_references(facts: Facts) -> list[Finding]:
    """Find references that look wrong, contradict each other, or caused corrections."""
    found = facts.inspection
    looks = {} if facts.cannot_tell else {one.id: one.looks_like for one in found.suspects}
    labels = {one.id: one.label for one in found.suspects if one.id in looks}
    conflicts = [group for group in found.duplicates if group.conflict]
    blamed = {one.id: one for one in found.blamed if one.corrected >= _CORRECTED}
    blamed = {id: one for id, one in blamed.items() if one.corrected > one.confirmed}
    ids = [*blamed, *looks, *(id for group in conflicts for id in group.ids)]
    ids = list(dict.fromkeys(ids))
    if not ids:
        return []
    labels |= {id: one.label or "" for id, one in blamed.items()}
    labels |= {id: name for one in conflicts for id, name in zip(one.ids, one.labels, strict=True)}
    worst = ids[0]
    steps = [facts.steps.read("why", f"documents/{worst}/why", worst)]
    instead = blamed[worst].instead if worst in blamed else looks.get(worst)
    if instead is not None:
        body = {"labels": {worst: instead}}
        steps.append(facts.steps.change("label", (worst, instead), body))
    caused = sum(facts.caused.get(id, 0) for id in ids)
    unusual = len(looks) > _USUAL * facts.report.references
    return [
        Finding(
            "bad_references",
            Symptom.WRONG,
            Severity.COSTS if caused or blamed or conflicts or unusual else Severity.NOTE,
            f"{len(looks)} references look like another label, {len(conflicts)} groups of "
            f"duplicates contradict each other, {len(blamed)} caused corrections; they caused "
            f"{caused} automatic labels",
            "A wrong reference gives its label to similar items. Look at it first: it may be right "
            "and only unusual.",
            tuple(steps),
            tuple(dict.fromkeys(labels[id] for id in ids[:SHOWN])),
            tuple(ids[:SHOWN]),
            caused / facts.automatic if facts.automatic else None,
        )
    ]


def cannot_tell_apart(facts: Facts) -> list[Finding]:
    """Find out whether the embeddings do not separate the labels."""
    if not facts.cannot_tell:
        return []
    accuracy, suggests = facts.accuracy or 0.0, facts.rule is Method.SUGGEST
    return [
        Finding(
            "cannot_tell_apart",
            Symptom.STUCK,
            Severity.STOPS,
            f"the leave-one-out accuracy of the references is {accuracy:.0%} ({facts.extractor})",
            "More answers do not help where items of two labels have the same vectors; another or "
            "a bigger model may separate them.",
            (_other_extractor(facts),),
            tuple(one.label for one in facts.inspection.labels[:SHOWN]),
            share=facts.of_nulls(facts.nulls) if suggests else None,
        )
    ]


def _other_extractor(facts: Facts) -> Step:
    """Return the step "compare with another extractor" for texts, else "inspect the references".

    No image extractor is so much better than the others that trying it is good advice.
    """
    if not facts.media_type.startswith("text/"):
        return facts.steps.inspect()
    collection, options = facts.steps.collection, dict[str, str]()
    if facts.extractor in ("text_extractor", "document_extractor"):
        options = {"model": "multilingual-e5-small"}
    words = [word for name, value in options.items() for word in ("--option", f"{name}={value}")]
    line = shell_line("migrate", collection, "--extractor", "text", *words, "--dry-run")
    body = {"collections": [collection], "extractor": "text", "options": options or None}
    return Step(line, "POST /v1/verbs/prepare_migration", body)


def idle_answers(facts: Facts) -> list[Finding]:
    """Find answers in a collection whose labels are not used as references."""
    if facts.idle == 0:
        return []
    other = facts.reference
    by_people = facts.report.labelled["human"]
    address = f"/v1/collections/{other}/queue"
    return [
        Finding(
            "idle_answers",
            Symptom.STUCK,
            Severity.COSTS,
            f"{facts.idle} answers were given in {facts.steps.collection!r}, but the references "
            f"are in {other!r}",
            "An answer improves other labels only in the collection that holds the references.",
            (Step(shell_line("queue", other), f"GET {address}"),),
            share=min(facts.idle / by_people, 1.0) if by_people else None,
        )
    ]


# --- checks of the data --------------------------------------------------------------------------

_EXAMPLE_SERVER = "http://127.0.0.1:8710"


def label_not_passed_through(facts: Facts) -> list[Finding]:
    """Find a metadata key of the objects that may hold labels, other than the field's key."""
    found = facts.metadata.elsewhere
    if not found:
        return []
    key = max(found, key=lambda name: (found[name], name))
    collection = facts.steps.collection
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
            f"{found[key]} objects have {key!r} in their metadata, but the label field is called "
            f"{facts.report.field!r}: these values are not used as labels",
            "A value in an object's metadata is imported as a label only if its key is the name of "
            "the label field.",
            steps,
            share=facts.of_nulls(found[key]),
        )
    ]


def retriever_without_filter(facts: Facts) -> list[Finding]:
    """Find out whether the retriever of a taxonomy also finds documents without a label."""
    one = facts.retriever
    if one is None or one.demands_label:
        return []
    return [
        Finding(
            "retriever_without_filter",
            Symptom.NULLS,
            Severity.NOTE,
            f"the retriever {one.name!r} also finds items without a label",
            "Unlabelled items take places in its results. Decisions of Lookalike use labelled "
            "items only, but other clients of the retriever get both.",
            (_filter_step(facts, one),),
        )
    ]


def _filter_step(facts: Facts, one: Retriever) -> Step:
    condition = {"field": facts.report.field, "operator": "ne", "value": None}
    first = {"stage_type": "attribute_filter", "conditions": [condition]}
    body = {"stages": [first, *one.stages]}
    address = f"/v1/retrievers/{quote(one.name)}"
    line = ["curl", "-X", "PATCH", _EXAMPLE_SERVER + address]
    line += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    return Step(shlex.join(line), f"PATCH {address}", body)


def out_of_step(facts: Facts) -> list[Finding]:
    """Find documents that differ from the current content or metadata of their object."""
    apart = facts.metadata.apart
    ids = tuple(dict.fromkeys((*facts.stale, *apart)))
    if not ids:
        return []
    steps = [_extract_again(facts)] if facts.stale else []
    steps += [facts.steps.read("why", f"documents/{id}/why", id) for id in apart[:1]]
    return [
        Finding(
            "out_of_step",
            Symptom.WRONG,
            Severity.COSTS,
            f"{len(facts.stale)} documents were extracted from an older version of their object; "
            f"{len(apart)} have another label than their object's metadata",
            "Such a document keeps its old vector and label, and stays a reference if it was one.",
            tuple(steps),
            ids=ids[:SHOWN],
        )
    ]


def low_quality(facts: Facts) -> list[Finding]:
    """Find parts whose quality is too low to decide them."""
    count = facts.report.nulls.get(Reason.LOW_QUALITY, 0)
    if count == 0:
        return []
    collection, field = facts.steps.collection, f"{facts.report.field}-all"
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
            f"{count} documents have a low quality: too small, blurred or cut off",
            "They get no automatic label and are no references, unless a field allows it.",
            (step,),
            ids=facts.unclear,
            share=facts.of_nulls(count),
        )
    ]


def failed_extraction(facts: Facts) -> list[Finding]:
    """Find objects whose extraction failed."""
    count = facts.report.failed
    if count == 0:
        return []
    failures = facts.failures
    usual = max(failures.reasons, key=lambda reason: failures.reasons[reason])
    return [
        Finding(
            "failed_extraction",
            Symptom.NULLS,
            Severity.COSTS,
            f"{count} objects could not be extracted, {failures.reasons[usual]} of them because: "
            f"{usual}",
            "An object that Lookalike cannot read gets no document, and so no label.",
            (_extract_again(facts),),
            ids=failures.ids,
            share=facts.of_nulls(count),
        )
    ]


def waiting_objects(facts: Facts) -> list[Finding]:
    """Find objects that wait for extraction."""
    count = facts.report.waiting
    if count == 0:
        return []
    return [
        Finding(
            "waiting_objects",
            Symptom.NULLS,
            Severity.COSTS,
            f"{count} objects wait to be extracted",
            "An object gets its document and label only after extraction.",
            (facts.steps.extract(shell_line("worker", "--once")),),
            share=count / (count + facts.nulls),
        )
    ]


def _extract_again(facts: Facts) -> Step:
    """Return the step that adds failed files or addresses again, else extracts waiting objects."""
    again = [key for key in facts.failures.keys if key.startswith("/") or "://" in key]
    if again:
        return facts.steps.extract(shell_line("add", facts.steps.collection, *again))
    return facts.steps.extract(shell_line("worker", "--once"))


# --- checks of the decision rule -----------------------------------------------------------------

_OTHER_TARGETS = (0.95, 0.9)
_TOO_WRONG = 0.9
_STEP = 0.02


def limit_too_strict(facts: Facts) -> list[Finding]:
    """Find out whether a lower threshold or target would label many more at a good precision."""
    if facts.target is None:
        return _strict_threshold(facts)
    target = facts.target
    falling = np.sort(np.concatenate([facts.sure, facts.near]))[::-1]
    expected = falling.cumsum() / np.arange(1, len(falling) + 1)
    for other in [one for one in _OTHER_TARGETS if one < target]:
        more = int((expected >= other).sum()) - facts.automatic
        if facts.automatic and facts.matters(more):
            text = f"the target precision is {target:.1%}; at {other:.0%} about {more} more items "
            text += "would get a label"
            arguments = ("--target-precision", f"{other:g}")
            return [_strict(facts, text, arguments, {"target_precision": other}, more)]
    return []


def limit_too_loose(facts: Facts) -> list[Finding]:
    """Find out whether references as similar as the threshold often have different labels."""
    now, nearest = facts.report.limit, facts.nearest
    if facts.target is not None or now is None:
        return []
    over = nearest.similarity >= now
    if over.sum() < ENOUGH_TRIALS or nearest.right[over].mean() >= _TOO_WRONG:
        return []
    best, wrong = best_threshold(facts), int((over & ~nearest.right).sum())
    if best is None:
        left = 0
        step = facts.steps.change(
            "run", ("--target-precision", f"{RIGHT:g}"), {"target_precision": RIGHT}
        )
    else:
        left = int(((nearest.similarity >= best) & ~nearest.right).sum())
        step = facts.steps.change(
            "run", ("--confidence-threshold", f"{best:g}"), {"confidence_threshold": best}
        )
    text = (
        f"of {int(over.sum())} references with a similarity of {now:g} or more to their nearest "
        f"one, {wrong} have another label than that"
    )
    return [
        Finding(
            "limit_too_loose",
            Symptom.WRONG,
            Severity.COSTS,
            text,
            "Items just above the threshold get wrong labels.",
            (step,),
            share=(wrong - left) / wrong,
        )
    ]


def nothing_certain(facts: Facts) -> list[Finding]:
    """Find out whether the field only suggests, as the rule cannot reach its target precision."""
    if facts.report.state != "suggests only" or facts.usable_labels < MIN_LABELS:
        return []
    if facts.cannot_tell or _only_asked(facts):
        return []
    below = facts.report.nulls.get("below_threshold", 0)
    return [
        Finding(
            "nothing_certain",
            Symptom.NULLS,
            Severity.STOPS,
            "; ".join(facts.report.missing)
            or f"it suggests only: {facts.report.references} references are too few to calibrate",
            "Lookalike labels automatically only where it expects to reach the target precision.",
            (facts.steps.queue(),),
            share=facts.of_nulls(below),
        )
    ]


def only_asked_answers(facts: Facts) -> list[Finding]:
    """Find out whether the queue picked all references, so that no random sample exists."""
    if not _only_asked(facts):
        return []
    below = facts.report.nulls.get("below_threshold", 0)
    return [
        Finding(
            "only_asked_answers",
            Symptom.STUCK,
            Severity.STOPS,
            f"the queue picked all {facts.asked} references; none was sampled at random",
            "The queue picks items that are harder than average, so they do not show how often "
            "automatic labels are right, however many they are.",
            (facts.steps.queue(),),
            share=facts.of_nulls(below),
        )
    ]


def best_threshold(facts: Facts) -> float | None:
    """Return the lowest similarity threshold with a leave-one-out precision of 95 %, in hundredths.

    None where there are too few references, or where no threshold reaches it.
    """
    order = np.argsort(-facts.nearest.similarity)
    right = facts.nearest.right[order]
    if len(right) < ENOUGH_TRIALS:
        return None
    counts = np.arange(1, len(right) + 1)
    holds = (right.cumsum() / counts >= RIGHT) & (counts >= ENOUGH_TRIALS)
    if not holds.any():
        return None
    lowest = float(facts.nearest.similarity[order][np.flatnonzero(holds)[-1]])
    return math.floor(lowest * 100) / 100 if holds[-1] else math.ceil(lowest * 100) / 100


def _strict_threshold(facts: Facts) -> list[Finding]:
    now, best = facts.report.limit, best_threshold(facts)
    if now is None or best is None or now - best < _STEP:
        return []
    more = int((facts.near >= best).sum())
    if not facts.matters(more):
        return []
    text = (
        f"the threshold is {now:g}, but {RIGHT:.0%} of the references with a similarity of "
        f"{best:g} or more have the same label; {more} unlabelled items are above {best:g}"
    )
    arguments = ("--confidence-threshold", f"{best:g}")
    return [_strict(facts, text, arguments, {"confidence_threshold": best}, more)]


def _strict(
    facts: Facts, text: str, arguments: tuple[str, ...], body: dict[str, float], more: int
) -> Finding:
    why = "A lower target precision labels more items, with more errors."
    if facts.target is None:
        why = "Similarities differ between embedding spaces: a threshold from another one may be "
        why += "too high here."
    return Finding(
        "limit_too_strict",
        Symptom.NULLS,
        Severity.COSTS,
        text,
        why,
        (facts.steps.change("run", arguments, body),),
        share=facts.of_nulls(more),
    )


def _only_asked(facts: Facts) -> bool:
    suggests = facts.report.state == "suggests only"
    return suggests and facts.asked >= FEW_TRIALS and not facts.own and not facts.drawn
