"""Run all checks that explain why a field labels too little, labels wrongly or does not improve."""

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
    Steps,
    Symptom,
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
"""The checks, in the order in which a person would go through them."""


def diagnose(
    store: Store, deciders: Deciders, row: CollectionRow, chosen: FieldRow, *, first: bool
) -> Checkup:
    """Return the causes of missing or wrong labels in a field. Read-only.

    `first` tells whether it is the collection's first field, which commands need not name.
    """
    with store.read() as snapshot:
        extracted = has_space(snapshot, chosen.pk)
        now = report(snapshot, row, chosen)
    if not extracted or now.documents == 0:
        found = (_no_documents(row.name, now.failed, now.waiting),)
        return Checkup(row.name, chosen.name, 0, 0, 0, ("no_documents",), found)
    facts = gather(deciders, row, chosen, first=first)
    findings = [one for check in CHECKS for one in check(facts)]
    return Checkup(
        collection=row.name,
        field=chosen.name,
        documents=facts.report.documents,
        nulls=facts.nulls,
        automatic=facts.automatic,
        checked=tuple(check.__name__ for check in CHECKS),
        findings=most_telling_first(findings),
    )


def _no_documents(collection: str, failed: int, waiting: int) -> Finding:
    return Finding(
        "no_documents",
        Symptom.NULLS,
        Severity.STOPS,
        f"there are no documents; {waiting} objects wait to be extracted, {failed} failed",
        "Lookalike can label an object only after extraction.",
        (Steps(collection).extract(shell_line("worker", "--once")),),
    )
