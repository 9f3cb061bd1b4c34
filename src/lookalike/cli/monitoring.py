"""Commands that watch how a collection does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lookalike.cli.output import show_report
from lookalike.cli.session import Session, collection_argument, field_option, with_session
from lookalike.errors import BadInput

if TYPE_CHECKING:
    from lookalike.quality.alerts import Alarm, Band, Breach
    from lookalike.quality.monitoring import Forecast, LabelPrecision, Monitoring

_SHOWN_DAYS = 14


@click.command()
@with_session
@collection_argument
@field_option
@click.option("--days", default=30, show_default=True, help="How many days to look back.")
def monitor(session: Session, collection: str, field: str | None, days: int) -> None:
    """Show the report, the last days, the queue's forecast, precision by label, and the alarm.

    \b
    lookalike monitor products
    lookalike monitor products --days 7 --json
    """
    with session.library() as library:
        told = library.collection(collection).monitor(days=days, field=field)
        session.print(told, show_monitoring)


@click.command()
@with_session
@collection_argument
@field_option
@click.option("--coverage", metavar="LOW:HIGH", help="What share shall have a label, e.g. 0.5:")
@click.option("--error-rate", metavar="LOW:HIGH", help="What share may be wrong, e.g. :0.05")
@click.option("--webhook", metavar="URL", default="", help="What to tell, by a signed POST.")
@click.option("--off", is_flag=True, help="Take the alarm away.")
def watch(
    session: Session,
    collection: str,
    field: str | None,
    coverage: str | None,
    error_rate: str | None,
    webhook: str,
    off: bool,
) -> None:
    """Set an alarm: the worker raises it when coverage or error rate leaves its band.

    \b
    lookalike watch products --coverage 0.5: --error-rate :0.05
    lookalike watch products --error-rate :0.05 --webhook https://example.org/hook
    lookalike watch products --off
    """
    with session.library() as library:
        chosen = library.collection(collection)
        if off:
            was_there = chosen.unwatch(field=field)
            said = "took the alarm away" if was_there else "there was no alarm"
            session.print(said, str)
            return
        alarm = chosen.watch(
            coverage=_band(coverage),
            error_rate=_band(error_rate),
            webhook=webhook,
            field=field,
        )
        session.print(alarm, show_alarm)


def show_monitoring(told: Monitoring) -> str:
    """Return how a field does, as text."""
    lines = [show_report(told.report), _forecast(told.forecast)]
    lines += ["right, by label:", *map(_precision, told.precision)] if told.precision else []
    shown = [
        f"  {one.corrected:4} corrected, {one.confirmed} confirmed  {one.id} ({one.label})"
        for one in told.blamed
    ]
    lines += ["references that caused corrections:", *shown] if shown else []
    lines += ["the last days:"]
    for day in [day for day in told.history if day.arrived or day.answers][-_SHOWN_DAYS:]:
        nulls = ", ".join(f"{count} {reason}" for reason, count in day.without_label.items())
        without = f" ({nulls} still)" if nulls else ""
        lines.append(
            f"  {day.day}: {day.arrived} arrived{without}, {day.answers} answers, "
            f"{day.corrected} corrections"
        )
    if told.alarm is not None:
        lines.append(show_alarm(told.alarm))
        lines += [f"  now outside: {_breach(one)}" for one in told.breaches]
    return "\n".join(lines)


def show_alarm(alarm: Alarm) -> str:
    """Return an alarm as text."""
    bands = [
        f"{name} {_shown(band)}"
        for name, band in (("coverage", alarm.coverage), ("error rate", alarm.error_rate))
        if band is not None
    ]
    lines = [f"alarm {'raised' if alarm.raised else 'quiet'}: {', '.join(bands)}"]
    lines += [f"  outside: {_breach(one)}" for one in alarm.breaches]
    sent = alarm.delivery
    if sent is not None:
        why = f": {sent.error}" if sent.error else ""
        lines.append(f"  {alarm.webhook}: {sent.event} {sent.status}, {sent.attempts} tries{why}")
    elif alarm.webhook:
        lines.append(f"  tells {alarm.webhook}")
    return "\n".join(lines)


def _forecast(one: Forecast) -> str:
    said = {
        "empty": "nothing waits",
        "steady": "the queue stays as it is",
        "grows": f"the queue grows by {one.per_day:g} a day",
        "shrinks": f"the queue is empty in {one.days_left} days at this pace",
    }[one.outlook]
    return (
        f"{said} ({one.before} waited {one.days:g} days ago, {one.queue} now; a day "
        f"{one.arrived_per_day:g} arrive and {one.answers_per_day:g} are answered)"
    )


def _precision(one: LabelPrecision) -> str:
    share = "unknown" if one.precision is None else f"{one.precision:.1%} {one.basis}"
    counted = f", {one.wrong} of {one.checked} wrong" if one.checked else ""
    return f"  {share}{counted}  {one.label} ({one.automatic} automatic)"


def _breach(one: Breach) -> str:
    name = one.measure.replace("_", " ")
    return f"{name} {one.value:.1%} ({one.basis}), shall be {_shown((one.low, one.high))}"


def _shown(band: Band) -> str:
    low, high = ("" if one is None else f"{one:g}" for one in band)
    return f"{low}:{high}"


def _band(text: str | None) -> Band | None:
    """Return the band that `0.5:0.9`, `0.5:` or `:0.9` tells."""
    if text is None:
        return None
    low, colon, high = text.partition(":")
    try:
        numbers = [float(part) if part.strip() else None for part in (low, high)]
    except ValueError:
        colon = ""
    if not colon:
        raise BadInput(f"{text!r} is no band; write 0.5:0.9, 0.5: or :0.9")
    return (numbers[0], numbers[1])


COMMANDS = (monitor, watch)
