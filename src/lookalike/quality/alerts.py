"""Alerts: bands for the coverage and error rate of a field, what is outside them, and webhooks.

`alert_delivery.py` checks the alerts and sends the webhooks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, select

from lookalike.classifier.calibration.intervals import lower_bound, upper_bound
from lookalike.content.fetch import FetchRules, GuardedFetcher
from lookalike.errors import BadInput, BadSetting
from lookalike.quality.stats.audit_estimate import Estimate
from lookalike.quality.stats.metrics import Report
from lookalike.settings import Settings
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn

LONGEST_WEBHOOK = 2000
"""The greatest length of a webhook's address, in characters."""

WAITING, DELIVERED, GIVEN_UP = "waiting", "delivered", "given up"
RAISED, CLEARED = "alarm.raised", "alarm.cleared"

Band = tuple[float | None, float | None]

_TAIL = 0.975
"""The confidence of each bound of a two-sided 95 % interval."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A measure outside its band: `coverage` or `error_rate`, as a share from 0 to 1.

    `basis` is `counted`, `audited` or `estimated`. A counted or audited error rate is outside only
    if its whole exact 95 % interval is; an estimated one is 1 − the mean confidence of the
    automatic labels.
    """

    measure: str
    value: float
    low: float | None
    high: float | None
    basis: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """The latest message to a webhook: the `event` is `alarm.raised` or `alarm.cleared`.

    `status` is `waiting`, `delivered` or `given up`; `error` tells why the last attempt failed.
    """

    id: str
    event: str
    at: datetime
    status: str
    attempts: int
    next_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alert of a label field: its bands, its webhook, and its state.

    A band is (lowest, highest) value, from 0 to 1; None is no bound. `webhook` shows only scheme
    and host, as the path may be a secret. `raised`, `since` and `breaches` are the result of the
    worker's last check.
    """

    field: str
    coverage: Band | None
    error_rate: Band | None
    webhook: str
    set_by: str
    set_at: datetime
    raised: bool = False
    since: datetime | None = None
    breaches: tuple[Breach, ...] = ()
    delivery: Delivery | None = None


def breaches_of(
    report: Report,
    coverage: Band | None,
    error_rate: Band | None,
    audited: Estimate | None = None,
) -> tuple[Breach, ...]:
    """Return the measures that are outside their bands; an unknown measure is never outside.

    `audited` is the estimate of the field's newest audit.

    >>> from types import SimpleNamespace
    >>> counts = {"documents": 10, "checked": 0, "wrong": 0}
    >>> report = SimpleNamespace(**counts, coverage=0.4, estimated_precision=0.9)
    >>> [one.measure for one in breaches_of(report, (0.5, None), (None, 0.2))]
    ['coverage']
    """
    found = []
    if coverage is not None and report.documents and _outside(report.coverage, coverage):
        found.append(Breach("coverage", report.coverage, *coverage, "counted"))
    if error_rate is None:
        return tuple(found)
    if report.checked:
        low = lower_bound(report.wrong, report.checked, _TAIL)
        high = upper_bound(report.wrong, report.checked, _TAIL)
        if _outside(low, error_rate) and _outside(high, error_rate):
            rate = report.wrong / report.checked
            found.append(Breach("error_rate", rate, *error_rate, "counted"))
    if (
        audited is not None
        and audited.rate is not None
        and _outside(audited.low, error_rate)
        and _outside(audited.high, error_rate)
    ):
        found.append(Breach("error_rate", audited.rate, *error_rate, "audited"))
    if report.estimated_precision is not None:
        rate = round(1 - report.estimated_precision, 4)
        if _outside(rate, error_rate):
            found.append(Breach("error_rate", rate, *error_rate, "estimated"))
    return tuple(found)


# --- what is stored -----------------------------------------------------------------------------


def set_alarm(
    txn: Txn,
    settings: Settings,
    field_pk: int,
    bands: Mapping[str, Band | None],
    webhook: str,
    *,
    actor: str,
    at: float,
) -> None:
    """Set the alert of a field, replacing an earlier one: `bands` of coverage and error_rate.

    Raises BadInput for bands or a webhook that cannot be, BadSetting for a webhook without a
    secret, FetchRefused for a webhook that may not be reached.
    """
    spec = {
        **{name: _checked_band(name, band) for name, band in bands.items()},
        "webhook": webhook,
        "set_by": actor,
        "set_at": at,
    }
    if all(band is None for band in bands.values()):
        raise BadInput("an alert needs a band: give one for coverage or error_rate")
    if webhook:
        _check_webhook(settings, webhook)
    txn.upsert(schema.alarm, [{"field_pk": field_pk, "spec": spec, "state": {}}])


def drop_alarm(txn: Txn, field_pk: int) -> bool:
    """Remove the alert of a field; return whether it had one."""
    return txn.execute(delete(schema.alarm).where(schema.alarm.c.field_pk == field_pk)) > 0


def alarm_of(snapshot: Snapshot, field_pk: int, name: str) -> Alarm | None:
    """Return the alert of a field, if it has one; `name` is the field's."""
    rows = snapshot.rows(select(schema.alarm).where(schema.alarm.c.field_pk == field_pk))
    return alarm_from(name, rows[0].spec, rows[0].state) if rows else None


def alarm_from(name: str, spec: Mapping[str, Any], state: Mapping[str, Any]) -> Alarm:
    """Return the alert of the field `name` from the JSON columns of its row."""
    return Alarm(
        field=name,
        coverage=_band(spec["coverage"]),
        error_rate=_band(spec["error_rate"]),
        webhook=shown_webhook(spec["webhook"]),
        set_by=spec["set_by"],
        set_at=_time(spec["set_at"]),
        raised=state.get("raised", False),
        since=_time_or_none(state.get("since")),
        breaches=tuple(Breach(**one) for one in state.get("breaches", ())),
        delivery=_delivery(state.get("delivery")),
    )


def shown_webhook(webhook: str) -> str:
    """Return the scheme and host of a webhook's address.

    >>> shown_webhook("https://hooks.example.org/T0/secret")
    'https://hooks.example.org/…'
    """
    parts = urlsplit(webhook)
    return f"{parts.scheme}://{parts.netloc}/…" if webhook else ""


def webhook_rules(settings: Settings) -> FetchRules:
    """Return the rules for webhooks: those of fetches, with short timeouts, as retries follow."""
    return FetchRules(
        allow=settings.fetch_allow, schemes=settings.fetch_schemes, read_s=10.0, total_s=20.0
    )


def _check_webhook(settings: Settings, webhook: str) -> None:
    if len(webhook) > LONGEST_WEBHOOK:
        raise BadInput(
            f"the webhook {webhook[:60]!r}… has {len(webhook):,} characters; give at most "
            f"{LONGEST_WEBHOOK:,}"
        )
    try:
        scheme = urlsplit(webhook).scheme.lower()
    except ValueError as error:
        raise BadInput(f"the webhook {webhook[:60]!r} is not an address: {error}") from error
    if scheme not in ("http", "https"):
        raise BadInput(f"the webhook {webhook[:60]!r} is not an http or https address; give one")
    if not settings.webhook_secret:
        raise BadSetting(
            "Lookalike signs webhooks and needs a secret: set LOOKALIKE_WEBHOOK_SECRET for the "
            "server and its workers, 16 characters or more"
        )
    GuardedFetcher(webhook_rules(settings)).check(webhook)


def _checked_band(name: str, band: Band | None) -> list[float | None] | None:
    if band is None:
        return None
    if len(band) != 2:
        raise BadInput(f"the band of {name} is {band!r}; give its lowest and its highest value")
    for one in band:
        is_number = isinstance(one, int | float) and not isinstance(one, bool)
        if one is not None and not (is_number and math.isfinite(one) and 0 <= one <= 1):
            raise BadInput(
                f"{one!r} is not a bound of {name}: give a share from 0 to 1, or None for no bound"
            )
    low, high = band
    if (low or 0.0) <= 0.0 and (high is None or high >= 1.0):
        raise BadInput(f"the band {band!r} of {name} has no effect; give a bound inside 0 to 1")
    if low is not None and high is not None and low > high:
        raise BadInput(
            f"the band of {name} is empty: {low:g} is above {high:g}; give the lower value first"
        )
    return [low, high]


def _outside(value: float, band: Band) -> bool:
    low, high = band
    return (low is not None and value < low) or (high is not None and value > high)


def _band(stored: list[float | None] | None) -> Band | None:
    return None if stored is None else (stored[0], stored[1])


def _delivery(stored: Mapping[str, Any] | None) -> Delivery | None:
    if stored is None:
        return None
    return Delivery(
        id=stored["id"],
        event=stored["event"],
        at=_time(stored["at"]),
        status=stored["status"],
        attempts=stored["attempts"],
        next_at=_time_or_none(stored["next_at"]),
        error=stored["error"],
    )


def _time_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else _time(seconds)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
