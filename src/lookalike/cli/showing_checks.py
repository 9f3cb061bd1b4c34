"""A check sheet as text for a terminal, and how to answer it."""

from __future__ import annotations

from lookalike.cli.output import show_suggested
from lookalike.model import Document, Question
from lookalike.quality.stats.metrics import Report


def show_check(question: Question, where: str) -> str:
    """Return a sheet as a table, grouped by label; `where` names the collection in a command."""
    groups: dict[str | None, list[Document]] = {}
    for document, label in zip(question.documents, question.suggestions, strict=True):
        groups.setdefault(label, []).append(document)
    count = len(question.documents)
    lines = [f"{count} to check, drawn at random from what may be labelled automatically", ""]
    for label, documents in groups.items():
        lines.append(f"{label or 'no label'}  ({len(documents)})")
        lines += [*(f"  {show_suggested(one, label)}" for one in documents), ""]
    return "\n".join(
        [
            *lines,
            f"Confirm these{_gain(question)}:",
            f"  lookalike check {where} --confirm",
            "Or write a table, correct the wrong labels or empty them, and give it back:",
            f"  lookalike check {where} --to sheet.csv",
            f"  lookalike label {where} --from sheet.csv --asked",
        ]
    )


def show_check_table(question: Question, where: str, table: str) -> str:
    """Return how to answer a sheet that was written to a `table`."""
    return (
        f"{len(question.documents)} to check in {table}. Correct the wrong labels in it or empty "
        f"them, and give it back; so you confirm the others{_gain(question)}:\n"
        f"  lookalike label {where} --from {table} --asked"
    )


def show_no_check(report: Report, where: str) -> str:
    """Return why no sheet waits, and what to do."""
    if report.target_precision is None:
        return (
            f"no check: {report.collection}.{report.field} labels by a similarity threshold, which "
            f"learns nothing from checks; see `lookalike queue {where}`, or change the policy with "
            f"`lookalike run {where} --target-precision 0.95`"
        )
    if not report.references:
        why = "nothing is labelled yet"
    elif not report.queue and not report.labelled.get("auto"):
        return f"no check: every document of {report.collection} has an answer"
    else:
        why = "no suggestion is more likely right than wrong yet, or the last check settled them"
    return f"no check: {why}; answer what `lookalike queue {where}` asks, then ask again"


def _gain(question: Question) -> str:
    more = round(question.worth) - len(question.documents)
    return f" and about {more} more get their label" if more > 0 else ""
