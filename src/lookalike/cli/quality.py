"""Commands that measure quality: audits, monitoring, alerts, cost and annotator agreement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from lookalike.cli.output import show_agreement, show_changed, show_cost, show_report
from lookalike.cli.session import Session, collection_argument, field_option, with_session
from lookalike.errors import BadInput, NotFound

if TYPE_CHECKING:
    from lookalike.library.collection.collection import Collection
    from lookalike.quality.alerts import Alarm, Band, Breach
    from lookalike.quality.monitoring import Forecast, LabelPrecision, Monitoring
    from lookalike.quality.stats.audit_estimate import Audit, AuditItem, Estimate

_SHOWN = 10
_HALF_WIDTHS = (0.1, 0.05, 0.02)


@click.group()
def audit() -> None:
    """Estimate the error rate of automatic labels from a random sample that a person checks.

    \b
    lookalike audit draw products --size 50
    lookalike audit answer products op_01J… doc_a "Shoes > Running"
    lookalike audit report products op_01J…
    """


@audit.command()
@with_session
@collection_argument
@click.option("--size", default=50, show_default=True, help="The sample size.")
@click.option("--strata", default=1, show_default=True, help="The number of strata, by confidence.")
@click.option("--label", "name", help="Only documents with this label.")
@field_option
def draw(
    session: Session, collection: str, size: int, strata: int, name: str | None, field: str | None
) -> None:
    """Draw a fixed random sample of automatic labels, and list its documents without labels.

    \b
    lookalike audit draw products
    lookalike audit draw products --size 200 --strata 4
    """
    with session.library() as library:
        target = library.collection(collection)
        session.print(target.audit(size, strata=strata, label=name, field=field), _show)


@audit.command("list")
@with_session
@collection_argument
@field_option
def list_(session: Session, collection: str, field: str | None) -> None:
    """List the audits of a label field, newest first.

    \b
    lookalike audit list products
    """
    with session.library() as library:
        session.print(library.collection(collection).audits(field=field), _show_all)


@audit.command()
@with_session
@collection_argument
@click.argument("audit")
def report(session: Session, collection: str, audit: str) -> None:
    """Show the error rate by an audit, overall and per label, and its open documents.

    \b
    lookalike audit report products op_01J…
    """
    with session.library() as library:
        session.print(_found(library.collection(collection), audit), _show)


@audit.command()
@with_session
@collection_argument
@click.argument("audit")
@click.argument("ids_and_label", nargs=-1, required=True, metavar="ID… [LABEL]")
@click.option("--right", is_flag=True, help="You saw the labels: they are right.")
@click.option("--wrong", is_flag=True, help="You saw the labels: they are wrong.")
@click.option("--cannot-tell", is_flag=True, help="You cannot tell the correct label.")
def answer(
    session: Session,
    collection: str,
    audit: str,
    ids_and_label: Sequence[str],
    right: bool,
    wrong: bool,
    cannot_tell: bool,
) -> None:
    """Answer documents of an audit: the correct label, or whether theirs is right.

    \b
    lookalike audit answer products op_01J… doc_a doc_b "Shoes > Running"
    lookalike audit answer products op_01J… doc_c --cannot-tell
    """
    if right + wrong + cannot_tell > 1:
        raise BadInput("give only one of --right, --wrong and --cannot-tell")
    labels: dict[str, str] = {}
    if not right + wrong + cannot_tell:
        *ids, name = ids_and_label
        if not ids:
            raise BadInput(f"{name!r} alone is not enough: give ID … LABEL, or ID … --right")
        labels = dict.fromkeys(ids, name)
    with session.library() as library:
        done = library.collection(collection).answer_audit(
            audit,
            labels,
            right=ids_and_label if right else (),
            wrong=ids_and_label if wrong else (),
            cannot_tell=ids_and_label if cannot_tell else (),
        )
        session.print(done, _show)


@audit.command()
@with_session
@collection_argument
@click.argument("audit")
@click.option("--keep", is_flag=True, help="Make the answers your labels and rejections.")
def close(session: Session, collection: str, audit: str, keep: bool) -> None:
    """Close an audit: its documents may become references again.

    \b
    lookalike audit close products op_01J… --keep
    """
    with session.library() as library:
        changed = library.collection(collection).close_audit(audit, keep=keep)
        session.print(changed, show_changed)


def _found(collection: Collection, id: str) -> Audit:
    """Return an audit of any field."""
    known = [one for field in collection.fields for one in collection.audits(field=field)]
    for one in known:
        if one.id == id:
            return one
    raise NotFound.named("audit", id, [one.id for one in known])


def _show(audit: Audit) -> str:
    lines = [
        f"audit {audit.id} of {audit.collection}.{audit.field}: "
        f"a sample of {sum(one.drawn for one in audit.strata)} from {audit.estimate.size} "
        "automatic labels" + (", closed" if audit.closed_at else ""),
        f"wrong: {_estimate(audit.estimate)}",
    ]
    lines += [f"  {label}: {_estimate(one)}" for label, one in audit.labels.items()]
    if audit.cannot_tell:
        lines.append(f"{audit.cannot_tell} that nobody can tell")
    bound = audit.at_least()
    if bound is not None:
        lines.append(f"at least {bound:.1%} are right, with 95% confidence")
    more = ((half, audit.more_checks(half)) for half in _HALF_WIDTHS)
    lines += [f"{count} more checks → about ±{half:.0%}" for half, count in more if count]
    lines += [_mistake(one) for one in audit.answered if one.verdict == "wrong"]
    if audit.waiting:
        left = len(audit.waiting) - _SHOWN
        lines += [f"{len(audit.waiting)} to check:", *(f"  {id}" for id in audit.waiting[:_SHOWN])]
        lines += [f"  … and {left} more"] if left > 0 else []
    return "\n".join(lines)


def _estimate(one: Estimate) -> str:
    rate = "unknown" if one.rate is None else f"{one.rate:.1%}"
    return f"{rate} ({one.low:.1%} to {one.high:.1%}), {one.wrong} of {one.checked} checked"


def _mistake(one: AuditItem) -> str:
    truth = "" if one.truth is None else f", is {one.truth!r}"
    cause = "" if one.source is None else f" (because of {one.source})"
    return f"wrong: {one.document or 'an erased document'} was {one.label!r}{truth}{cause}"


def _show_all(audits: Sequence[Audit]) -> str:
    lines = [
        f"{one.id}  {one.at:%Y-%m-%d}  {_estimate(one.estimate)}"
        + ("  (closed)" if one.closed_at else f"  ({len(one.waiting)} to check)")
        for one in audits
    ]
    return "\n".join(lines) or "no audit yet; draw one with `lookalike audit draw`"


# --- monitoring ----------------------------------------------------------------------------------

_SHOWN_DAYS = 14


@click.command()
@with_session
@collection_argument
@field_option
@click.option("--days", default=30, show_default=True, help="The number of days to show.")
def monitor(session: Session, collection: str, field: str | None, days: int) -> None:
    """Show the report, recent days, the forecast of the queue, precision by label, and the alert.

    \b
    lookalike monitor products
    lookalike monitor products --days 7 --json
    """
    with session.library() as library:
        monitoring = library.collection(collection).monitor(days=days, field=field)
        session.print(monitoring, show_monitoring)


@click.command()
@with_session
@collection_argument
@field_option
@click.option("--coverage", metavar="LOW:HIGH", help="The band of the coverage, e.g. 0.5:")
@click.option("--error-rate", metavar="LOW:HIGH", help="The band of the error rate, e.g. :0.05")
@click.option("--webhook", metavar="URL", default="", help="Where to send alerts, as signed POST.")
@click.option("--off", is_flag=True, help="Remove the alert.")
def watch(
    session: Session,
    collection: str,
    field: str | None,
    coverage: str | None,
    error_rate: str | None,
    webhook: str,
    off: bool,
) -> None:
    """Set an alert: the worker raises it when coverage or error rate leaves its band.

    \b
    lookalike watch products --coverage 0.5: --error-rate :0.05
    lookalike watch products --error-rate :0.05 --webhook https://example.org/hook
    lookalike watch products --off
    """
    with session.library() as library:
        chosen = library.collection(collection)
        if off:
            removed = chosen.unwatch(field=field)
            session.print("removed the alert" if removed else "there was no alert", str)
            return
        alarm = chosen.watch(
            coverage=_band(coverage),
            error_rate=_band(error_rate),
            webhook=webhook,
            field=field,
        )
        session.print(alarm, show_alarm)


def show_monitoring(found: Monitoring) -> str:
    """Return the state of a field as text."""
    lines = [show_report(found.report), _forecast(found.forecast)]
    lines += ["precision by label:", *map(_precision, found.precision)] if found.precision else []
    references = [
        f"  {one.corrected:4} corrected, {one.confirmed} confirmed  {one.id} ({one.label})"
        for one in found.blamed
    ]
    lines += ["references that caused corrections:", *references] if references else []
    lines += ["recent days:"]
    for day in [day for day in found.history if day.arrived or day.answers][-_SHOWN_DAYS:]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in day.without_label.items())
        unlabelled = f" (still unlabelled: {reasons})" if reasons else ""
        lines.append(
            f"  {day.day}: {day.arrived} arrived{unlabelled}, {day.answers} answers, "
            f"{day.corrected} corrections"
        )
    if found.alarm is not None:
        lines.append(show_alarm(found.alarm))
        lines += [f"  now outside: {_breach(one)}" for one in found.breaches]
    return "\n".join(lines)


def show_alarm(alarm: Alarm) -> str:
    """Return an alert as text."""
    bands = [
        f"{name} {_format_band(band)}"
        for name, band in (("coverage", alarm.coverage), ("error rate", alarm.error_rate))
        if band is not None
    ]
    lines = [f"alert {'raised' if alarm.raised else 'quiet'}: {', '.join(bands)}"]
    lines += [f"  outside: {_breach(one)}" for one in alarm.breaches]
    sent = alarm.delivery
    if sent is not None:
        why = f": {sent.error}" if sent.error else ""
        lines.append(f"  {alarm.webhook}: {sent.event} {sent.status}, {sent.attempts} tries{why}")
    elif alarm.webhook:
        lines.append(f"  sent to {alarm.webhook}")
    return "\n".join(lines)


def _forecast(one: Forecast) -> str:
    outlook = {
        "empty": "the queue is empty",
        "steady": "the queue keeps its length",
        "grows": f"the queue grows by {one.per_day:g} a day",
        "shrinks": f"the queue is empty in {one.days_left} days at this pace",
    }[one.outlook]
    return (
        f"{outlook} ({one.before} waited {one.days:g} days ago, {one.queue} now; per day "
        f"{one.arrived_per_day:g} arrive and {one.answers_per_day:g} are answered)"
    )


def _precision(one: LabelPrecision) -> str:
    share = "unknown" if one.precision is None else f"{one.precision:.1%} {one.basis}"
    checked = f", {one.wrong} of {one.checked} wrong" if one.checked else ""
    return f"  {share}{checked}  {one.label} ({one.automatic} automatic)"


def _breach(one: Breach) -> str:
    name = one.measure.replace("_", " ")
    return f"{name} {one.value:.1%} ({one.basis}), outside {_format_band((one.low, one.high))}"


def _format_band(band: Band) -> str:
    low, high = ("" if bound is None else f"{bound:g}" for bound in band)
    return f"{low}:{high}"


def _band(text: str | None) -> Band | None:
    """Return the band of a text `0.5:0.9`, `0.5:` or `:0.9`."""
    if text is None:
        return None
    low, colon, high = text.partition(":")
    try:
        numbers = [float(part) if part.strip() else None for part in (low, high)]
    except ValueError:
        colon = ""
    if not colon:
        raise BadInput(f"{text!r} is not a band; write 0.5:0.9, 0.5: or :0.9")
    return (numbers[0], numbers[1])


# --- costs and agreement -------------------------------------------------------------------------


@click.command()
@with_session
@collection_argument
@click.option(
    "--wrong-costs",
    type=float,
    default=20,
    show_default=True,
    help="The cost of one wrong label, in reviews.",
)
@field_option
def cost(session: Session, collection: str, wrong_costs: float, field: str | None) -> None:
    """Show the cost of thresholds, in reviews, and the cheapest one.

    \b
    lookalike cost products
    lookalike cost products --wrong-costs 50
    """
    with session.library() as library:
        session.print(library.collection(collection).cost(wrong_costs, field=field), show_cost)


@click.command()
@with_session
@collection_argument
@click.option("--blind", is_flag=True, help="Only answers given without seeing a label.")
@field_option
def agreement(session: Session, collection: str, blind: bool, field: str | None) -> None:
    """Show the annotator agreement on duplicate annotations, and the confused labels.

    \b
    lookalike agreement products
    lookalike agreement products --blind
    """
    with session.library() as library:
        found = library.collection(collection).agreement(field=field, blind=blind)
        session.print(found, show_agreement)


COMMANDS = (
    audit,
    monitor,
    watch,
    cost,
    agreement,
)
