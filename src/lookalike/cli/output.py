"""Results as text for a terminal."""

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
    "names": "by the names of the labels alone: are these right?",
    "suspect": "are these labels wrong? They do not vote until somebody looks at them.",
}
NAMED = 10
_QUOTE_CHARACTERS = 200


def show_added(added: Added) -> str:
    """Return what came in, what was left out, and what failed."""
    lines = [
        f"{added.added} added, {added.changed} changed, {added.unchanged} unchanged; "
        f"{added.documents} documents, {sum(added.labelled.values())} labelled themselves"
    ]
    if added.skipped:
        names = some_of(added.skipped)
        lines.append(f"{len(added.skipped)} skipped, another kind of content: {names}")
    lines += [f"  failed: {name}: {reason}" for name, reason in list(added.failed.items())[:NAMED]]
    if len(added.failed) > NAMED:
        lines.append(f"  … and {len(added.failed) - NAMED} more failed")
    return "\n".join(lines)


def show_annotated(done: Annotated) -> str:
    """Return what an import of annotations brought in, labelled, and did not take."""
    lines = [f"{done.regions} regions" if done.regions else "no label", show_added(done.added)]
    own = {} if done.labelled is None else done.labelled.refused
    lines += [
        f"  not taken: {len(names)} × {reason} ({some_of(names)})"
        for reason, names in _by_reason(
            {name: reason for name, reason in done.refused.items() if name not in own}
        ).items()
    ]
    return "\n".join(lines + ([] if done.labelled is None else [show_changed(done.labelled)]))


def show_changed(changed: Changed) -> str:
    """Return what an operation changed, and how to take it back."""
    way_back = f"undo with: {changed.operation}" if changed.operation else "nothing was written"
    return "\n".join([*changed_lines(changed), way_back])


def changed_lines(changed: Changed) -> list[str]:
    """Return what an operation changed, a line each."""
    lines = [f"{changed.by_person} by you, {changed.by_itself} by itself"]
    parts = (
        ("labelled", changed.labelled),
        ("relabelled", changed.relabelled),
        ("unlabelled", changed.unlabelled),
        ("promoted", changed.promoted),
        ("given", changed.given),
    )
    if changed.reopened:
        lines.append("  the set of labels is open again: a new kind was said in it")
    lines += [f"  {name!r} is now {label!r}" for name, label in changed.renamed.items()]
    for word, counts in parts:
        lines += [f"  {word:10} {count:6}  {label}" for label, count in counts.items()]
    lines += [
        f"  not taken: {len(names)} × {reason} ({some_of(names)})"
        for reason, names in _by_reason(changed.refused).items()
    ]
    return lines


def show_report(report: Report) -> str:
    """Return the state of a collection."""
    target = f" for {report.target_precision:.0%} right" if report.target_precision else ""
    limit = "none yet" if report.limit is None else f"{report.limit:.3f}"
    if report.limit is not None and report.limit > 1:
        limit = "out of reach: nothing is sure enough"
    lines = [
        f"{report.collection}.{report.field}: {report.documents} documents, "
        f"{report.references} references, {report.coverage:.1%} labelled, {report.queue} wait",
        f"policy {report.policy}{target}, limit {limit} ({report.state})",
    ]
    lines += [f"missing for more: {what}" for what in report.missing]
    if report.estimated_precision is not None:
        lines.append(f"estimated: {report.estimated_precision:.1%} of automatic labels are right")
    if report.at_least is not None:
        lines.append(
            f"from {report.checked} checked by chance, {report.wrong} wrong: "
            f"at least {report.at_least:.1%} right"
        )
    lines += [_depth(one) for one in report.depths]
    if report.waiting or report.failed:
        lines.append(f"{report.waiting} objects wait for extraction, {report.failed} failed")
    if report.closed_set:
        lines.append("a closed set: these are all the labels")
    for label, counts in report.per_label.items():
        detail = ", ".join(f"{count} {origin}" for origin, count in sorted(counts.items()))
        lines.append(f"  {sum(counts.values()):6}  {label}" + (f"  ({detail})" if detail else ""))
    lines += [f"  {count:6}  no label: {reason}" for reason, count in report.nulls.items()]
    if any(report.histogram):
        lines += ["confidence", *_histogram(report)]
    return "\n".join(lines)


def _depth(one: Depth) -> str:
    """Return how labels do down to a depth."""
    told = f"{'part' if one.depth == 1 else 'parts'} of the path: {one.coverage:.1%} labelled"
    if one.at_least is None:
        return f"{one.depth} {told}"
    return (
        f"{one.depth} {told}; {one.checked} checked, {one.wrong} wrong: at least {one.at_least:.1%}"
    )


@dataclass(frozen=True, slots=True)
class Fieldless:
    """A collection that nobody has given a label field yet, and how many documents it has."""

    collection: str
    documents: int


def show_collections(collections: Sequence[Report | Fieldless]) -> str:
    """Return the state of several collections, field by field."""
    made = "no collection yet; make one with `lookalike create`"
    return "\n\n".join(map(_collection, collections)) or made


def _collection(state: Report | Fieldless) -> str:
    if isinstance(state, Fieldless):
        return f"{state.collection}: {state.documents} documents, no label field yet"
    return show_report(state)


def show_queue(questions: Sequence[Question]) -> str:
    """Return questions, each with its documents below."""
    return "\n".join(map(_question, questions)) or "nothing waits"


def _question(question: Question) -> str:
    if question.kind in _SHEETS:
        return _sheet(question)
    said = f"is it {question.suggestion}?" if question.suggestion else "what is it?"
    if len(question.documents) > 1:
        said = f"are all {question.suggestion}?" if question.suggestion else "what are they?"
    if question.kind == "new_kind":
        said += f" A new kind, below {question.place}?" if question.place else " A new kind?"
    for one in question.opinions:
        said += f" {one.actor}: {one.label or '–'} ({one.kind})."
    head = f"{said} ({question.kind}, settles about {question.worth:.0f})"
    return "\n".join([head, *(f"  {show_document(one)}" for one in question.documents)])


def _sheet(question: Question) -> str:
    said = f"{_SHEETS[question.kind]} ({question.kind}, settles about {question.worth:.0f})"
    asked = zip(question.documents, question.suggestions, strict=True)
    return "\n".join([said, *(f"  {show_suggested(one, label)}" for one, label in asked)])


def show_suggested(document: Document, label: str | None) -> str:
    """Return a document as one line, with the label that is suggested for it."""
    score = "" if document.confidence is None else f"{document.confidence:.3f}"
    return f"{document.id}  {score:>6}  {label or '–'}  {_called(document)}"


def show_document(document: Document) -> str:
    """Return a document as one line."""
    standing = document.standing
    label = standing.label or f"? {standing.suggestion or standing.decision.runner_up or '–'}"
    score = "" if document.confidence is None else f"{document.confidence:.3f}"
    state = document.reason or document.origin or ""
    return f"{document.id}  {score:>6}  {label}  ({state})  {_called(document)}"


def _called(document: Document) -> str:
    """Return what a person calls a document: its file, and which part of it."""
    return document.file_name + (f" {document.part}" if document.part else "")


def show_why(why: Why) -> str:
    """Return what caused a decision."""
    standing, decision = why.standing, why.standing.decision
    said = standing.label or f"no label: {decision.reason}"
    lines = [f"{why.document.id} ({_called(why.document)}): {said}"]
    if standing.reviewed_by:
        lines.append(f"  said by {standing.reviewed_by}")
    if decision.confidence is not None:
        limit = "–" if decision.threshold is None else f"{decision.threshold:.3f}"
        margin = "–" if decision.margin is None else f"{decision.margin:.3f}"
        lines.append(
            f"  confidence {decision.confidence:.3f}, limit {limit}, margin {margin}, "
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
        lines.append(f"  what counts: {shares}")
    lines += [f"  never again: {label}" for label in standing.rejected]
    if why.counterfactual is not None:
        without = why.counterfactual.label or "no label"
        lines.append(f"  without {why.counterfactual.without}: {without}")
    if why.quotes is not None:
        lines.append(f"  it says{_quoted(why.quotes.here)}")
        lines.append(
            f"  {why.quotes.there.document_id} says{_quoted(why.quotes.there)} "
            f"(likeness of the two {why.quotes.similarity:.3f})"
        )
    return "\n".join(lines)


def _by_member(similarities: Mapping[str, float]) -> str:
    """Return the similarity by each member of a combined extractor, if it is one."""
    each = ", ".join(f"{name} {cosine:.3f}" for name, cosine in similarities.items())
    return f"  [{each}]" if each else ""


def _quoted(quote: Quote) -> str:
    page = "" if quote.page is None else f" on page {quote.page}"
    return f"{page}: {shorten(quote.text, _QUOTE_CHARACTERS, placeholder=' …')!r}"


def show_inspection(found: Inspection) -> str:
    """Return what may be wrong with references, the worst first, a line each."""
    lines = [
        f"looks wrong: {one.id} is {one.label!r}, looks like {one.looks_like!r} ({one.odds:.0f}:1)"
        for one in found.suspects
    ]
    lines += [f"people contradict each other: {id}" for id in found.contested]
    lines += [
        f"contradict each other: {', '.join(map(str, zip(one.ids, one.labels, strict=True)))}"
        for one in found.duplicates
        if one.conflict
    ]
    lines += [
        f"caused corrections: {one.id} ({one.label or 'votes no more'}), {one.corrected} of "
        f"{one.corrected + one.confirmed} wrong"
        for one in found.blamed
    ]
    lines += [
        f"confused: {' and '.join(map(repr, one.labels))}, {one.share:.0%}"
        for one in found.confused
    ]
    spare = sum(len(one.ids) - 1 for one in found.duplicates if not one.conflict)
    if spare:
        lines.append(f"{spare} references add nothing: each is all but the same as another one")
    lines += [_health(one) for one in found.labels]
    return "\n".join(lines) or "no references yet; label some documents first"


def _health(label: LabelHealth) -> str:
    tried = "not tried" if label.recall is None else f"{label.recall:4.0%} recognised"
    taken = f", {label.confused} taken for {label.confused_with}" if label.confused else ""
    few = ", too few" if label.thin else ", out of balance" if label.unbalanced else ""
    return f"  {label.references:4} references, {tried}  {label.label}{taken}{few}"


def show_history(operations: Sequence[Operation]) -> str:
    """Return operations as one line each."""
    lines = [
        f"{one.id}  {one.at:%Y-%m-%d %H:%M:%S}  {one.kind:8}  {one.actor}"
        + (f"  (undone by {one.undone_by})" if one.undone_by else "")
        for one in operations
    ]
    return "\n".join(lines) or "nothing has happened yet"


def show_keys(keys: Sequence[Key]) -> str:
    """Return keys as one line each."""
    return "\n".join(map(show_key, keys)) or "no key yet; make one with `lookalike keys create`"


def show_key(key: Key) -> str:
    """Return a key as one line."""
    place = key.namespace or "all namespaces"
    ended = "" if key.revoked_at is None else f"  (revoked {_day(key.revoked_at)})"
    return f"{key.id}  {key.scope:5}  {place}  {_day(key.created_at)}  {key.name}{ended}"


def show_diagnosis(diagnosis: Diagnosis) -> str:
    """Return what is installed and whether the store is sound."""
    lines = [f"python {diagnosis.python}, SQLite {diagnosis.sqlite}"]
    lines += [f"{name} {version}" for name, version in diagnosis.versions.items()]
    lines.append(f"extractors: {', '.join(diagnosis.extractors)}")
    if diagnosis.store is None:
        return "\n".join([*lines, "store: none yet; make one with `lookalike create`"])
    lines.append(f"store: {diagnosis.store}")
    lines += [f"  {name}: {space}" for name, space in diagnosis.spaces.items()]
    lines += [f"PROBLEM: {problem}" for problem in diagnosis.problems]
    return "\n".join(lines if diagnosis.problems else [*lines, "the store is sound"])


def show_demo(result: DemoResult, store: str) -> str:
    """Return what the demo reached."""
    rest = result.pictures - result.labelled
    nulls = ", ".join(f"{count} {reason}" for reason, count in result.nulls.items())
    return "\n".join(
        [
            f"{result.pictures} pictures extracted in {result.extract_s:.1f} s, "
            f"decided in {result.decide_s:.2f} s",
            f"{result.labelled} labelled as a person would, {rest} left to the machine",
            f"coverage   {result.coverage:.1%}  ({result.automatic} labelled themselves)",
            f"precision  {result.precision:.1%}  ({result.right} of {result.automatic} right; "
            "asked for: 95%)",
            f"unknown    {result.unseen} pictures of kinds that nobody named: "
            f"{result.unseen_labelled} got a label",
            f"null       {nulls or 'none'}",
            "",
            f"look further:  lookalike --store {store} report demo",
            f"               lookalike --store {store} queue demo",
            f"label more:    lookalike --store {store} check demo",
        ]
    )


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def some_of(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = f", … {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


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
        lines.append(f"  {low:4.2f}  {count:6}  {bar}{'  ← limit' if inside else ''}")
    return lines


# --- costs and agreement -------------------------------------------------------------------------

_COST_LINES = 10
_NAMED = 10


def show_cost(curve: CostCurve) -> str:
    """Return the limit that costs least beside others, a line each, and the next step."""
    basis = f"estimated by the machine ({curve.answers} random answers met its labels)"
    if curve.basis == "counted":
        basis = f"counted by {curve.answers} random answers from {curve.counted_from:.3f} up"
    tenths = [one for place, one in enumerate(curve.points) if place % _COST_LINES == 0]
    lines = [
        f"{curve.collection}.{curve.field}: a wrong label costs {curve.wrong_costs:g} reviews; "
        f"wrong labels are {basis}",
        "           limit      cost    wrong  reviews  coverage",
        _cost_line("cheapest", curve.best),
        _cost_line("now", curve.now),
        *(_cost_line("", one) for one in tenths),
        f"label where a label is right with more than {curve.by_rule:.3f}, if that can be believed",
    ]
    if curve.anyway:
        lines.append(f"{curve.anyway} more need a review at any limit")
    return "\n".join([*lines, f"next: {curve.next_step}"])


def _cost_line(name: str, one: CostPoint) -> str:
    limit = "–" if one.limit is None else f"{one.limit:.3f}"
    return (
        f"{name:8} {limit:>7} {one.cost:9.1f} {one.wrong:8.1f} {one.reviews:8} {one.coverage:9.1%}"
    )


def show_agreement(found: Agreement) -> str:
    """Return how far people agree, two by two, and what they confuse, a line each."""
    lines = [
        f"{found.collection}.{found.field}: {len(found.people)} people share {found.shared} "
        f"documents, all agree on {found.agreed} ({found.agreed / found.shared:.1%}); "
        f"Krippendorff's alpha {_coefficient(found.alpha)}"
    ]
    if found.blind < found.shared:
        lines.append(
            f"only {found.blind} were answered without sight of the first label; corrections make "
            "agreement look low: see --blind"
        )
    lines += [
        f"  {' and '.join(two.people)}: {two.same} of {two.shared} the same, "
        f"Cohen's kappa {_coefficient(two.kappa)}"
        for two in found.pairs
    ]
    lines += [
        f"  confused {one.times} times: {one.labels[0]} and {one.labels[1]}"
        for one in found.disputed[:_NAMED]
    ]
    lines += [
        f"  {one.agreed:5} of {one.documents:5} agreed: {one.label}"
        for one in found.labels[:_NAMED]
    ]
    return "\n".join(lines)


def _coefficient(value: float | None) -> str:
    return "unknown (one label only)" if value is None else f"{value:.3f}"


# --- moves, removals, re-extraction --------------------------------------------------------------


def show_receipt(receipt: Receipt) -> str:
    """Return what was erased."""
    return (
        f"erased {receipt.documents} documents, {receipt.labels} labels, "
        f"{receipt.copies} copies, {receipt.thumbnails} thumbnails ({receipt.operation})"
    )


def show_removed(removed: Removed) -> str:
    """Return what was removed."""
    names = ", ".join([*removed.collections, *removed.buckets])
    return (
        f"removed {names}: {removed.objects} objects, {removed.documents} documents, "
        f"{removed.labels} labels, {removed.copies} copies, {removed.thumbnails} thumbnails"
    )


def show_copied(copied: Copied) -> str:
    """Return what came across."""
    rows = copied.rows
    lines = [
        f"{rows['document']} documents, {rows['event']} events, {copied.vectors} vectors, "
        f"{copied.blobs} files: {copied.source} → {copied.target}, compared and equal"
    ]
    lines += [f"  not there to copy: {uri}" for uri in copied.missing[:NAMED]]
    return "\n".join(lines)


def show_backup(backup: Backup) -> str:
    """Return what was kept."""
    shared = f" ({backup.shared} shared with the earlier backup)" if backup.shared else ""
    lines = [
        f"{backup.documents} documents, {backup.events} events, {backup.vectors} vectors, "
        f"{backup.files} files{shared}, {backup.size_bytes / 1e6:,.1f} MB: {backup.source} → "
        f"{backup.target}, checked"
    ]
    if backup.elsewhere:
        lines.append(f"  files that stay where LOOKALIKE_BLOBS keeps them: {backup.elsewhere}")
    lines += [f"  not there to keep: {uri}" for uri in backup.missing[:NAMED]]
    return "\n".join(lines)


def show_migration(migration: Migration) -> str:
    """Return what another extractor would change."""
    lines = [
        f"{migration.before or 'nothing yet'} → {migration.after}",
        f"{migration.extracted} extracted, {len(migration.failed)} failed; "
        f"{migration.without_counterpart} documents have no counterpart, "
        f"{migration.new_parts} parts would be new",
    ]
    lines += [f"  failed: {name}: {why}" for name, why in list(migration.failed.items())[:NAMED]]
    for one in migration.fields:
        lines += _compared(one)
    return "\n".join([*lines, f"compared in {migration.seconds:.1f} s; nothing has changed yet"])


def _compared(one: FieldComparison) -> list[str]:
    lines = [
        f"{one.collection}.{one.field}: {one.documents} documents",
        f"  references   {one.references_before:8} → {one.references_after}",
        f"  accuracy     {_share(one.accuracy_before):>8} → {_share(one.accuracy_after)}"
        "  (each reference left out)",
        f"  coverage     {one.coverage_before:8.1%} → {one.coverage_after:.1%}",
        f"  {one.same} stay, {one.changed} change, {one.appeared} appear, {one.gone} go",
    ]
    lines += [f"    {move.id}: {move.before} → {move.after}" for move in one.examples]
    if one.lost:
        lines.append(
            f"  {len(one.lost)} that people labelled do not vote there: {some_of(one.lost)}"
        )
    return [*lines, f"  WARNING: {one.warning}"] if one.warning else lines


def show_migrated(changed: Changed, migration: Migration) -> str:
    """Return what changed with the extractor, and the way back."""
    kept = migration.before and f"{migration.before} is kept: migrate back to its extractor, "
    lines = [*changed_lines(changed), f"{kept}or erase it with --drop-old" if kept else ""]
    return "\n".join(filter(None, lines))


def show_dropped(dropped: DroppedSpaces) -> str:
    """Return which spaces were erased."""
    lines = [f"{name}: {', '.join(some) or 'none'}" for name, some in dropped.spaces.items()]
    size = dropped.freed_bytes / 2**20
    return "\n".join([*lines, f"{dropped.vectors} vectors erased, {size:.1f} MB freed"])


def _share(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"


def show_compacted(done: Compacted) -> str:
    """Return what was given back."""
    before, after = done.bytes_before / 1e6, done.bytes_after / 1e6
    return f"{before:,.1f} MB → {after:,.1f} MB: {before - after:,.1f} MB given back"


# --- check sheets --------------------------------------------------------------------------------


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
