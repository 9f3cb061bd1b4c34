"""What may be wrong with what comes in: checks of evidence that tell findings. Pure."""

from __future__ import annotations

import json
import shlex
from urllib.parse import quote

from lookalike.model import Reason
from lookalike.quality.diagnosis.facts import SHOWN, Evidence, Retriever
from lookalike.quality.diagnosis.findings import Finding, Severity, Step, Symptom, shell_line

_EXAMPLE_SERVER = "http://127.0.0.1:8710"


def label_not_passed_through(seen: Evidence) -> list[Finding]:
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


def retriever_without_filter(seen: Evidence) -> list[Finding]:
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


def _filter_step(seen: Evidence, one: Retriever) -> Step:
    condition = {"field": seen.report.field, "operator": "ne", "value": None}
    first = {"stage_type": "attribute_filter", "conditions": [condition]}
    body = {"stages": [first, *one.stages]}
    address = f"/v1/retrievers/{quote(one.name)}"
    line = ["curl", "-X", "PATCH", _EXAMPLE_SERVER + address]
    line += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    return Step(shlex.join(line), f"PATCH {address}", body)


def out_of_step(seen: Evidence) -> list[Finding]:
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


def low_quality(seen: Evidence) -> list[Finding]:
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


def failed_extraction(seen: Evidence) -> list[Finding]:
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


def waiting_objects(seen: Evidence) -> list[Finding]:
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


def _extract_again(seen: Evidence) -> Step:
    """Return the step that extracts what failed, where it lies in files, or else what waits."""
    again = [key for key in seen.failures.keys if key.startswith("/") or "://" in key]
    if again:
        return seen.place.extract(shell_line("add", seen.place.collection, *again))
    return seen.place.extract(shell_line("worker", "--once"))
