"""Why a collection labels too little, or wrongly, or gets no better: its checks, in order."""

from __future__ import annotations

from collections.abc import Callable

from lookalike.catalog.fields import has_space
from lookalike.catalog.reader import FieldRow
from lookalike.catalog.resources import CollectionRow
from lookalike.decisions.deciders import Deciders
from lookalike.quality.diagnosis import checks
from lookalike.quality.diagnosis.facts import Facts, gather
from lookalike.quality.diagnosis.findings import (
    Checkup,
    Finding,
    Severity,
    Symptom,
    Target,
    most_telling_first,
    shell_line,
)
from lookalike.quality.reports import report
from lookalike.stores.base import Store

Check = Callable[[Facts], list[Finding]]

CHECKS: tuple[Check, ...] = (
    checks.few_references,
    checks.one_sided_references,
    checks.limit_too_strict,
    checks.limit_too_loose,
    checks.new_categories,
    checks.confused_pairs,
    checks.bad_references,
    checks.label_not_passed_through,
    checks.retriever_without_filter,
    checks.out_of_step,
    checks.cannot_tell_apart,
    checks.low_quality,
    checks.failed_extraction,
    checks.waiting_objects,
    checks.only_asked_answers,
    checks.nothing_certain,
    checks.idle_answers,
)
"""What is looked for, in the order in which a person would."""


def diagnose(
    store: Store, deciders: Deciders, row: CollectionRow, chosen: FieldRow, *, first: bool
) -> Checkup:
    """Return what keeps a label field from labelling more, or more rightly; change nothing."""
    with store.read() as snapshot:
        there = has_space(snapshot, chosen.pk)
        now = report(snapshot, row, chosen)
    if not there or now.documents == 0:
        found = (_nothing(row.name, now.failed, now.waiting),)
        return Checkup(row.name, chosen.name, 0, 0, 0, ("no_documents",), found)
    seen = gather(deciders, row, chosen, first=first)
    findings = [one for check in CHECKS for one in check(seen)]
    return Checkup(
        collection=row.name,
        field=chosen.name,
        documents=seen.report.documents,
        nulls=seen.nulls,
        automatic=seen.automatic,
        checked=tuple(check.__name__ for check in CHECKS),
        findings=most_telling_first(findings),
    )


def _nothing(collection: str, failed: int, waiting: int) -> Finding:
    return Finding(
        "no_documents",
        Symptom.NULLS,
        Severity.STOPS,
        f"there are no documents; {waiting} objects wait to be extracted, {failed} failed",
        "Only what was extracted can be labelled.",
        (Target(collection).extract(shell_line("worker", "--once")),),
    )
