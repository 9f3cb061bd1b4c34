"""What may be wrong with references and labels: checks of evidence that tell findings. Pure."""

from __future__ import annotations

import numpy as np

from lookalike.classifier.calibration.decision_rule import MIN_REFERENCES, Rule
from lookalike.classifier.review.reference_checks import THIN
from lookalike.classifier.scores.hierarchy import MIN_LABELS
from lookalike.quality.diagnosis.facts import (
    ENOUGH_TRIALS,
    FEW_TRIALS,
    RIGHT,
    SHOWN,
    Evidence,
    Unknown,
)
from lookalike.quality.diagnosis.findings import Finding, Severity, Step, Symptom, shell_line
from lookalike.quality.reference_health import Confusion

_GROUP = 5
_CORRECTED = 2
_PAIRS = 3
_USUAL = 0.02
"""So many references look wrong where none is."""


def few_references(seen: Evidence) -> list[Finding]:
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
    seen: Evidence,
    severity: Severity,
    said: str,
    why: str,
    labels: tuple[str, ...],
    share: float | None,
) -> Finding:
    steps = (seen.place.ask(),)
    return Finding("few_references", Symptom.NULLS, severity, said, why, steps, labels, (), share)


def one_sided_references(seen: Evidence) -> list[Finding]:
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


def new_categories(seen: Evidence) -> list[Finding]:
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


def _is_unlike(seen: Evidence, group: Unknown) -> bool:
    """Return whether a group is like no label.

    Under `precision` the groups were chosen by that. Under `threshold` the group must be less like
    any reference than 95 % of the references are like their nearest one of the same label.
    """
    if seen.target is not None:
        return seen.rule is Rule.LANDSCAPE
    alike = seen.trial.similarity[seen.trial.right]
    if len(alike) < ENOUGH_TRIALS:
        return False
    return group.near is None or group.near < float(np.quantile(alike, 1 - RIGHT))


def confused_pairs(seen: Evidence) -> list[Finding]:
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


def _confused(seen: Evidence, pair: Confusion, share: float | None) -> Finding:
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


def bad_references(seen: Evidence) -> list[Finding]:
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


def cannot_tell_apart(seen: Evidence) -> list[Finding]:
    """Tell that the vectors do not show what the labels mean."""
    if not seen.cannot_tell:
        return []
    accuracy, suggests = seen.accuracy or 0.0, seen.rule is Rule.SUGGEST
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


def _other_extractor(seen: Evidence) -> Step:
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


def idle_answers(seen: Evidence) -> list[Finding]:
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
