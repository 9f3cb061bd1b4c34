"""Format the results of commands as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from textwrap import shorten
from typing import TYPE_CHECKING

from lookalike.model import Added, Changed, Document, Operation, Question
from lookalike.quality.stats.metrics import HISTOGRAM_BINS, Depth, Report

if TYPE_CHECKING:
    from lookalike.catalog.api_keys import Key
    from lookalike.library.annotations import Annotated
    from lookalike.library.collection.explanations import Quote, Why
    from lookalike.library.demo import DemoResult
    from lookalike.library.forget import Receipt
    from lookalike.library.health import Diagnosis
    from lookalike.library.maintenance import Compacted
    from lookalike.library.migration import DroppedSpaces, Migration
    from lookalike.library.remove import Removed
    from lookalike.quality.reference_health import Inspection, LabelHealth
    from lookalike.quality.space_comparison import FieldComparison
    from lookalike.quality.stats.agreement import Agreement
    from lookalike.quality.stats.cost_curve import CostCurve, CostPoint
    from lookalike.stores.copy import Copied
    from lookalike.stores.sqlite.backup import Backup

_BAR = 40
_SHEETS = {
    "check": "are these right?",
    "names": "suggested by label names only: are these right?",
    "suspect": "are these labels wrong? They are not used as references until you confirm them.",
}
_SHOWN = 10
_QUOTE_CHARACTERS = 200


def show_added(added: Added) -> str:
    """Return the counts of added, changed, skipped and failed objects."""
    lines = [
        f"{added.added} added, {added.changed} changed, {added.unchanged} unchanged; "
        f"{added.documents} documents, {sum(added.labelled.values())} labelled automatically"
    ]
    if added.skipped:
        names = first_names(added.skipped)
        lines.append(f"{len(added.skipped)} skipped, the extractor does not read them: {names}")
    lines += [f"  failed: {name}: {reason}" for name, reason in list(added.failed.items())[:_SHOWN]]
    if len(added.failed) > _SHOWN:
        lines.append(f"  … and {len(added.failed) - _SHOWN} more failed")
    return "\n".join(lines)


def show_annotated(done: Annotated) -> str:
    """Return what an import added, labelled and refused."""
    lines = [f"{done.regions} regions" if done.regions else "no label", show_added(done.added)]
    own = {} if done.labelled is None else done.labelled.refused
    lines += [
        f"  refused: {len(names)} × {reason} ({first_names(names)})"
        for reason, names in _by_reason(
            {name: reason for name, reason in done.refused.items() if name not in own}
        ).items()
    ]
    return "\n".join(lines + ([] if done.labelled is None else [show_changed(done.labelled)]))


def show_changed(changed: Changed) -> str:
    """Return what an operation changed, and how to undo it."""
    undo = f"undo with: {changed.operation}" if changed.operation else "nothing was written"
    return "\n".join([*changed_lines(changed), undo])


def changed_lines(changed: Changed) -> list[str]:
    """Return what an operation changed, one line per change."""
    lines = [f"{changed.by_person} by you, {changed.by_itself} automatically"]
    parts = (
        ("labelled", changed.labelled),
        ("relabelled", changed.relabelled),
        ("unlabelled", changed.unlabelled),
        ("promoted", changed.promoted),
        ("given", changed.given),
    )
    if changed.reopened:
        lines.append("  the closed label set is open again: a new category was found")
    lines += [f"  {name!r} is now {label!r}" for name, label in changed.renamed.items()]
    for word, counts in parts:
        lines += [f"  {word:10} {count:6}  {label}" for label, count in counts.items()]
    lines += [
        f"  refused: {len(names)} × {reason} ({first_names(names)})"
        for reason, names in _by_reason(changed.refused).items()
    ]
    return lines


def show_report(report: Report) -> str:
    """Return the state of a collection."""
    target = ""
    if report.target_precision:
        target = f", target precision {report.target_precision:.0%}"
    threshold = "none yet" if report.limit is None else f"{report.limit:.3f}"
    if report.limit is not None and report.limit > 1:
        threshold = "out of reach: no document is confident enough"
    lines = [
        f"{report.collection}.{report.field}: {report.documents} documents, "
        f"{report.references} references, {report.coverage:.1%} labelled, "
        f"{report.queue} in the queue",
        f"policy {report.policy}{target}, threshold {threshold} ({report.state})",
    ]
    lines += [f"to label more: {what}" for what in report.missing]
    if report.estimated_precision is not None:
        lines.append(f"estimated: {report.estimated_precision:.1%} of automatic labels are right")
    if report.at_least is not None:
        lines.append(
            f"random sample: {report.checked} checked, {report.wrong} wrong: "
            f"at least {report.at_least:.1%} right"
        )
    lines += [_depth(one) for one in report.depths]
    if report.waiting or report.failed:
        lines.append(f"{report.waiting} objects wait for extraction, {report.failed} failed")
    if report.closed_set:
        lines.append("closed set: no other labels are allowed")
    for label, counts in report.per_label.items():
        detail = ", ".join(f"{count} {origin}" for origin, count in sorted(counts.items()))
        lines.append(f"  {sum(counts.values()):6}  {label}" + (f"  ({detail})" if detail else ""))
    lines += [f"  {count:6}  no label: {reason}" for reason, count in report.nulls.items()]
    if any(report.histogram):
        lines += ["confidence", *_histogram(report)]
    return "\n".join(lines)


def _depth(one: Depth) -> str:
    """Return coverage and precision of the labels down to a depth of the tree."""
    part = "part" if one.depth == 1 else "parts"
    line = f"{one.depth} {part} of the path: {one.coverage:.1%} labelled"
    if one.at_least is None:
        return line
    return f"{line}; {one.checked} checked, {one.wrong} wrong: at least {one.at_least:.1%} right"


@dataclass(frozen=True, slots=True)
class Fieldless:
    """A collection without a label field, and its number of documents."""

    collection: str
    documents: int


def show_collections(collections: Sequence[Report | Fieldless]) -> str:
    """Return the state of several collections, field by field."""
    none = "no collection yet; create one with `lookalike create`"
    return "\n\n".join(map(_collection, collections)) or none


def _collection(state: Report | Fieldless) -> str:
    if isinstance(state, Fieldless):
        return f"{state.collection}: {state.documents} documents, no label field yet"
    return show_report(state)


def show_queue(questions: Sequence[Question]) -> str:
    """Return questions, each with its documents below."""
    return "\n".join(map(_question, questions)) or "the queue is empty"


def _question(question: Question) -> str:
    if question.kind in _SHEETS:
        return _sheet(question)
    text = f"is it {question.suggestion}?" if question.suggestion else "what is it?"
    if len(question.documents) > 1:
        text = f"are all {question.suggestion}?" if question.suggestion else "what are they?"
    if question.kind == "new_kind":
        below = f" below {question.place}" if question.place else ""
        text += f" A new category{below}?"
    for one in question.opinions:
        text += f" {one.actor}: {one.label or '–'} ({one.kind})."
    head = f"{text} ({question.kind}, settles about {question.worth:.0f})"
    return "\n".join([head, *(f"  {show_document(one)}" for one in question.documents)])


def _sheet(question: Question) -> str:
    head = f"{_SHEETS[question.kind]} ({question.kind}, settles about {question.worth:.0f})"
    pairs = zip(question.documents, question.suggestions, strict=True)
    return "\n".join([head, *(f"  {show_suggested(one, label)}" for one, label in pairs)])


def show_suggested(document: Document, label: str | None) -> str:
    """Return a document as one line, with its suggested label."""
    score = "" if document.confidence is None else f"{document.confidence:.3f}"
    return f"{document.id}  {score:>6}  {label or '–'}  {_file_name(document)}"


def show_document(document: Document) -> str:
    """Return a document as one line."""
    standing = document.standing
    label = standing.label or f"? {standing.suggestion or standing.decision.runner_up or '–'}"
    score = "" if document.confidence is None else f"{document.confidence:.3f}"
    state = document.reason or document.origin or ""
    return f"{document.id}  {score:>6}  {label}  ({state})  {_file_name(document)}"


def _file_name(document: Document) -> str:
    """Return a document's file name, and the part of the file."""
    return document.file_name + (f" {document.part}" if document.part else "")


def show_why(why: Why) -> str:
    """Return the explanation: references by similarity, causes by their share of all evidence."""
    standing, decision = why.standing, why.standing.decision
    label = standing.label or f"no label: {decision.reason}"
    lines = [f"{why.document.id} ({_file_name(why.document)}): {label}"]
    if standing.reviewed_by:
        lines.append(f"  reviewed by {standing.reviewed_by}")
    if decision.confidence is not None:
        threshold = "–" if decision.threshold is None else f"{decision.threshold:.3f}"
        margin = "–" if decision.margin is None else f"{decision.margin:.3f}"
        lines.append(
            f"  confidence {decision.confidence:.3f}, threshold {threshold}, margin {margin}, "
            f"next best {decision.runner_up or '–'} ({decision.policy})"
        )
    lines += [
        f"  {one.match.similarity:.3f}  {one.match.share:4.0%}  {one.match.label}  "
        f"{one.match.document_id} ({one.file_name}), {one.origin} by {one.actor}"
        f"{_by_member(one.by_member)}"
        for one in why.witnesses
    ]
    lines += [
        f"  {one.share:4.0%} of the evidence: {one.label}  {one.document_id}"
        f"{_by_member(one.by_member)}"
        for one in why.causes
    ]
    if why.weights:
        shares = ", ".join(f"{name} {weight:.0%}" for name, weight in why.weights.items())
        lines.append(f"  weights: {shares}")
    lines += [f"  rejected: {label}" for label in standing.rejected]
    if why.counterfactual is not None:
        without = why.counterfactual.label or "no label"
        lines.append(f"  without {why.counterfactual.without}: {without}")
    if why.quotes is not None:
        lines.append(f"  it says{_quoted(why.quotes.here)}")
        lines.append(
            f"  {why.quotes.there.document_id} says{_quoted(why.quotes.there)} "
            f"(similarity {why.quotes.similarity:.3f})"
        )
    return "\n".join(lines)


def _by_member(similarities: Mapping[str, float]) -> str:
    """Return the similarity by each member of a combined extractor; "" for any other."""
    each = ", ".join(f"{name} {cosine:.3f}" for name, cosine in similarities.items())
    return f"  [{each}]" if each else ""


def _quoted(quote: Quote) -> str:
    page = "" if quote.page is None else f" on page {quote.page}"
    return f"{page}: {shorten(quote.text, _QUOTE_CHARACTERS, placeholder=' …')!r}"


def show_inspection(found: Inspection) -> str:
    """Return possible problems of the references, worst first, one line each."""
    lines = [
        f"looks wrong: {one.id} is {one.label!r}, looks like {one.looks_like!r} ({one.odds:.0f}:1)"
        for one in found.suspects
    ]
    lines += [f"people disagree: {id}" for id in found.contested]
    lines += [
        "near-duplicates with different labels: "
        + ", ".join(map(str, zip(one.ids, one.labels, strict=True)))
        for one in found.duplicates
        if one.conflict
    ]
    lines += [
        f"caused corrections: {one.id} ({one.label or 'no longer a reference'}), "
        f"{one.corrected} of {one.corrected + one.confirmed} wrong"
        for one in found.blamed
    ]
    lines += [
        f"confused: {' and '.join(map(repr, one.labels))}, {one.share:.0%}"
        for one in found.confused
    ]
    spare = sum(len(one.ids) - 1 for one in found.duplicates if not one.conflict)
    if spare:
        lines.append(f"{spare} references add nothing: each is a near-duplicate of another")
    lines += [_health(one) for one in found.labels]
    return "\n".join(lines) or "no references yet; label some documents first"


def _health(label: LabelHealth) -> str:
    recall = "not tested" if label.recall is None else f"{label.recall:4.0%} recognised"
    confused = f", {label.confused} confused with {label.confused_with}" if label.confused else ""
    few = ", too few" if label.thin else ", unbalanced" if label.unbalanced else ""
    return f"  {label.references:4} references, {recall}  {label.label}{confused}{few}"


def show_history(operations: Sequence[Operation]) -> str:
    """Return operations, one line each."""
    lines = [
        f"{one.id}  {one.at:%Y-%m-%d %H:%M:%S}  {one.kind:8}  {one.actor}"
        + (f"  (undone by {one.undone_by})" if one.undone_by else "")
        for one in operations
    ]
    return "\n".join(lines) or "no operations yet"


def show_keys(keys: Sequence[Key]) -> str:
    """Return keys, one line each."""
    return "\n".join(map(show_key, keys)) or "no key yet; create one with `lookalike keys create`"


def show_key(key: Key) -> str:
    """Return a key as one line."""
    place = key.namespace or "all namespaces"
    ended = "" if key.revoked_at is None else f"  (revoked {_day(key.revoked_at)})"
    return f"{key.id}  {key.scope:5}  {place}  {_day(key.created_at)}  {key.name}{ended}"


def show_diagnosis(diagnosis: Diagnosis) -> str:
    """Return the installed versions, and whether the store is sound."""
    lines = [f"python {diagnosis.python}, SQLite {diagnosis.sqlite}"]
    lines += [f"{name} {version}" for name, version in diagnosis.versions.items()]
    lines.append(f"extractors: {', '.join(diagnosis.extractors)}")
    if diagnosis.store is None:
        return "\n".join([*lines, "store: none yet; create one with `lookalike create`"])
    lines.append(f"store: {diagnosis.store}")
    lines += [f"  {name}: {space}" for name, space in diagnosis.spaces.items()]
    lines += [f"PROBLEM: {problem}" for problem in diagnosis.problems]
    return "\n".join(lines if diagnosis.problems else [*lines, "the store is sound"])


def show_demo(result: DemoResult, store: str) -> str:
    """Return the results of the demo."""
    rest = result.pictures - result.labelled
    reasons = ", ".join(f"{count} {reason}" for reason, count in result.nulls.items())
    return "\n".join(
        [
            f"{result.pictures} pictures extracted in {result.extract_s:.1f} s, "
            f"decided in {result.decide_s:.2f} s",
            f"{result.labelled} got their true label, as from a person; {rest} did not",
            f"coverage    {result.coverage:.1%}  ({result.automatic} labelled automatically)",
            f"precision   {result.precision:.1%}  ({result.right} of {result.automatic} right; "
            "target precision 95%)",
            f"unknown     {result.unseen} pictures of unknown categories: "
            f"{result.unseen_labelled} got a label",
            f"unlabelled  {reasons or 'none'}",
            "",
            f"see more:    lookalike --store {store} report demo",
            f"             lookalike --store {store} queue demo",
            f"label more:  lookalike --store {store} check demo",
        ]
    )


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def first_names(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others."""
    more = f", … {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _by_reason(refused: Mapping[str, str]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for name, reason in refused.items():
        reasons.setdefault(reason, []).append(name)
    return reasons


def _histogram(report: Report) -> list[str]:
    top = max(report.histogram)
    lines = []
    for place, count in enumerate(report.histogram):
        low = place / HISTOGRAM_BINS
        inside = report.limit is not None and low <= report.limit < low + 1 / HISTOGRAM_BINS
        bar = "█" * round(_BAR * count / top)
        lines.append(f"  {low:4.2f}  {count:6}  {bar}{'  ← threshold' if inside else ''}")
    return lines


# --- costs and agreement -------------------------------------------------------------------------

_COST_LINES = 10


def show_cost(curve: CostCurve) -> str:
    """Return the cost of the cheapest threshold and of others, one line each; the next step."""
    basis = f"estimated from confidence ({curve.answers} random answers to automatic labels)"
    if curve.basis == "counted":
        basis = f"counted from {curve.answers} random answers, from {curve.counted_from:.3f} up"
    tenths = [one for place, one in enumerate(curve.points) if place % _COST_LINES == 0]
    lines = [
        f"{curve.collection}.{curve.field}: a wrong label costs {curve.wrong_costs:g} reviews; "
        f"wrong labels are {basis}",
        "       threshold      cost    wrong  reviews  coverage",
        _cost_line("cheapest", curve.best),
        _cost_line("now", curve.now),
        *(_cost_line("", one) for one in tenths),
        f"with exact probabilities the cheapest threshold would be {curve.by_rule:.3f}",
    ]
    if curve.anyway:
        lines.append(f"{curve.anyway} more need a review at any threshold")
    return "\n".join([*lines, f"next: {curve.next_step}"])


def _cost_line(name: str, one: CostPoint) -> str:
    at = "–" if one.limit is None else f"{one.limit:.3f}"
    return f"{name:8} {at:>7} {one.cost:9.1f} {one.wrong:8.1f} {one.reviews:8} {one.coverage:9.1%}"


def show_agreement(found: Agreement) -> str:
    """Return the annotator agreement by pair, and the confused labels, one line each."""
    lines = [
        f"{found.collection}.{found.field}: {len(found.people)} people share {found.shared} "
        f"documents, all agree on {found.agreed} ({found.agreed / found.shared:.1%}); "
        f"Krippendorff's alpha {_coefficient(found.alpha)}"
    ]
    if found.blind < found.shared:
        lines.append(
            f"only {found.blind} were answered without seeing the first label; corrections make "
            "agreement look low: see --blind"
        )
    lines += [
        f"  {' and '.join(two.people)}: {two.same} of {two.shared} the same, "
        f"Cohen's kappa {_coefficient(two.kappa)}"
        for two in found.pairs
    ]
    lines += [
        f"  confused {one.times} times: {one.labels[0]} and {one.labels[1]}"
        for one in found.disputed[:_SHOWN]
    ]
    lines += [
        f"  {one.agreed:5} of {one.documents:5} agreed: {one.label}"
        for one in found.labels[:_SHOWN]
    ]
    return "\n".join(lines)


def _coefficient(value: float | None) -> str:
    return "unknown (one label only)" if value is None else f"{value:.3f}"


# --- erasures, copies, backups, migrations -------------------------------------------------------


def show_receipt(receipt: Receipt) -> str:
    """Return the counts of erased documents, labels and files."""
    return (
        f"erased {receipt.documents} documents, {receipt.labels} labels, "
        f"{receipt.copies} copies, {receipt.thumbnails} thumbnails ({receipt.operation})"
    )


def show_removed(removed: Removed) -> str:
    """Return the names and counts of what a removal removed."""
    names = ", ".join([*removed.collections, *removed.buckets])
    return (
        f"removed {names}: {removed.objects} objects, {removed.documents} documents, "
        f"{removed.labels} labels, {removed.copies} copies, {removed.thumbnails} thumbnails"
    )


def show_copied(copied: Copied) -> str:
    """Return the counts of copied rows, vectors and files."""
    rows = copied.rows
    lines = [
        f"{rows['document']} documents, {rows['event']} events, {copied.vectors} vectors, "
        f"{copied.blobs} files: {copied.source} → {copied.target}, compared and equal"
    ]
    lines += [f"  missing in the source: {uri}" for uri in copied.missing[:_SHOWN]]
    return "\n".join(lines)


def show_backup(backup: Backup) -> str:
    """Return the counts and the size of a backup."""
    shared = f" ({backup.shared} shared with the earlier backup)" if backup.shared else ""
    lines = [
        f"{backup.documents} documents, {backup.events} events, {backup.vectors} vectors, "
        f"{backup.files} files{shared}, {backup.size_bytes / 1e6:,.1f} MB: {backup.source} → "
        f"{backup.target}, checked"
    ]
    if backup.elsewhere:
        lines.append(f"  files that stay where LOOKALIKE_BLOBS keeps them: {backup.elsewhere}")
    lines += [f"  missing in the source: {uri}" for uri in backup.missing[:_SHOWN]]
    return "\n".join(lines)


def show_migration(migration: Migration) -> str:
    """Return what another extractor would change."""
    lines = [
        f"{migration.before or 'nothing yet'} → {migration.after}",
        f"{migration.extracted} extracted, {len(migration.failed)} failed; "
        f"{migration.without_counterpart} documents have no matching part, "
        f"{migration.new_parts} parts would be new",
    ]
    lines += [f"  failed: {name}: {why}" for name, why in list(migration.failed.items())[:_SHOWN]]
    for one in migration.fields:
        lines += _compared(one)
    return "\n".join([*lines, f"compared in {migration.seconds:.1f} s; nothing has changed yet"])


def _compared(one: FieldComparison) -> list[str]:
    lines = [
        f"{one.collection}.{one.field}: {one.documents} documents",
        f"  references   {one.references_before:8} → {one.references_after}",
        f"  accuracy     {_share(one.accuracy_before):>8} → {_share(one.accuracy_after)}"
        "  (leave-one-out over the references)",
        f"  coverage     {one.coverage_before:8.1%} → {one.coverage_after:.1%}",
        f"  labels: {one.same} the same, {one.changed} change, {one.appeared} new, {one.gone} lost",
    ]
    lines += [f"    {move.id}: {move.before} → {move.after}" for move in one.examples]
    if one.lost:
        lines.append(
            f"  {len(one.lost)} documents labelled by people would not be references: "
            f"{first_names(one.lost)}"
        )
    return [*lines, f"  WARNING: {one.warning}"] if one.warning else lines


def show_migrated(changed: Changed, migration: Migration) -> str:
    """Return what a migration changed, and how to go back."""
    kept = migration.before and f"{migration.before} is kept: migrate back to its extractor, "
    lines = [*changed_lines(changed), f"{kept}or erase it with --drop-old" if kept else ""]
    return "\n".join(filter(None, lines))


def show_dropped(dropped: DroppedSpaces) -> str:
    """Return the erased embedding spaces of each collection."""
    lines = [f"{name}: {', '.join(spaces) or 'none'}" for name, spaces in dropped.spaces.items()]
    size = dropped.freed_bytes / 2**20
    return "\n".join([*lines, f"{dropped.vectors} vectors erased, {size:.1f} MB freed"])


def _share(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"


def show_compacted(done: Compacted) -> str:
    """Return the size before and after a compaction."""
    before, after = done.bytes_before / 1e6, done.bytes_after / 1e6
    return f"{before:,.1f} MB → {after:,.1f} MB: {before - after:,.1f} MB freed"


# --- check sheets --------------------------------------------------------------------------------


def show_check(question: Question, where: str) -> str:
    """Return a sheet as a table grouped by label; `where` is the collection's part of commands."""
    groups: dict[str | None, list[Document]] = {}
    for document, label in zip(question.documents, question.suggestions, strict=True):
        groups.setdefault(label, []).append(document)
    count = len(question.documents)
    lines = [f"{count} to check, a random sample of what may be labelled automatically", ""]
    for label, documents in groups.items():
        lines.append(f"{label or 'no label'}  ({len(documents)})")
        lines += [*(f"  {show_suggested(one, label)}" for one in documents), ""]
    return "\n".join(
        [
            *lines,
            f"Confirm these{_gain(question)}:",
            f"  lookalike check {where} --confirm",
            "Or write a table, correct or clear the wrong labels in it, and import it:",
            f"  lookalike check {where} --to sheet.csv",
            f"  lookalike label {where} --from sheet.csv --asked",
        ]
    )


def show_check_table(question: Question, where: str, table: str) -> str:
    """Return how to answer a sheet that was written to a `table`."""
    return (
        f"{len(question.documents)} to check in {table}. Correct or clear the wrong labels in it, "
        f"and import it; this confirms the others{_gain(question)}:\n"
        f"  lookalike label {where} --from {table} --asked"
    )


def show_no_check(report: Report, where: str) -> str:
    """Return why no sheet waits, and what to do."""
    if report.target_precision is None:
        return (
            f"no check: {report.collection}.{report.field} labels by a similarity threshold, which "
            f"checks do not calibrate; see `lookalike queue {where}`, or change the policy with "
            f"`lookalike run {where} --target-precision 0.95`"
        )
    if not report.references:
        why = "nothing is labelled yet"
    elif not report.queue and not report.labelled.get("auto"):
        return f"no check: every document of {report.collection} has an answer"
    else:
        why = "no suggestion is more likely right than wrong yet, or the last check settled them"
    return f"no check: {why}; answer the questions of `lookalike queue {where}`, then try again"


def _gain(question: Question) -> str:
    more = round(question.worth) - len(question.documents)
    return f" and about {more} more get their label" if more > 0 else ""
