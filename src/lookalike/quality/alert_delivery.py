"""Check the alerts of a store after writes, and send their webhooks when one is raised or cleared.

`Watch` runs in its own thread of a worker process, so that a slow receiver delays no decision. A
message is stored before it is sent: a receiver gets it at least once, always with the same id.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from ulid import ULID

from lookalike.catalog.api_keys import webhook_headers
from lookalike.catalog.reader import fields_of
from lookalike.catalog.resources import collection_from
from lookalike.catalog.tasks import LEASE_S, time_of
from lookalike.content.fetch import GuardedFetcher
from lookalike.errors import BadContent, LookalikeError, StoreClosed, StoreError
from lookalike.quality import reports
from lookalike.quality.alerts import (
    CLEARED,
    DELIVERED,
    GIVEN_UP,
    RAISED,
    WAITING,
    alarm_from,
    breaches_of,
    shown_webhook,
    webhook_rules,
)
from lookalike.quality.audits import latest
from lookalike.quality.stats.metrics import Report
from lookalike.settings import Settings
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Store

MOST_ATTEMPTS = 7
RETRY_S = 5.0
"""Seconds from the first failure to the next attempt; four times longer after each failure."""

_LOG = logging.getLogger("lookalike.watch")
_POLL_S = 1.0
_SETTLE_S = 60.0
_INTERVAL_S = 300.0
_STOP_S = 2.0
_REPORTED = ("coverage", "documents", "queue", "checked", "wrong", "estimated_precision")


@dataclass(frozen=True, slots=True)
class _Checked:
    """The last check of an alert: the store's revision, when the alert was set, and when it ran.

    `at_s` is in seconds of the monotonic clock.
    """

    revision: int
    set_at: float
    at_s: float


class Watch:
    """Checks all alerts of a store. Start it as a thread, or call `check` once.

    `poll_s` is the time between two checks, `retry_s` that to the second attempt, in seconds.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        clock: Callable[[], float],
        *,
        poll_s: float = _POLL_S,
        retry_s: float = RETRY_S,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._poll_s = poll_s
        self._retry_s = retry_s
        self._fetcher = GuardedFetcher(webhook_rules(settings))
        self._checked: dict[int, _Checked] = {}
        self._last_revision = -1
        self._is_stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start checking in a thread."""
        self._thread = threading.Thread(target=self._run, name="lookalike watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, without waiting for a slow receiver."""
        self._is_stopping.set()
        if self._thread is not None:
            self._thread.join(_STOP_S)

    def check(self) -> None:
        """Check the alerts of fields that changed and have no running writes; send due messages."""
        with self._store.read() as snapshot:
            rows = snapshot.rows(select(schema.alarm))
            if not rows:
                return
            revision = _revision(snapshot)
        settled, self._last_revision = revision == self._last_revision, revision
        for row in rows:
            if self._is_due(row, revision, settled=settled):
                self._check_field(row.field_pk)
                self._checked[row.field_pk] = _Checked(
                    revision, row.spec["set_at"], time.monotonic()
                )
        for row in rows:
            if row.spec["webhook"]:
                self._send(row.field_pk)

    # --- inside ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_stopping.wait(self._poll_s):
            try:
                self.check()
            except StoreClosed:
                return
            except StoreError as error:
                _LOG.warning("%s", error)
            except Exception:
                _LOG.exception("cannot check the alerts")

    def _is_due(self, row: Any, revision: int, *, settled: bool) -> bool:
        last = self._checked.get(row.field_pk)
        if last is None or last.set_at != row.spec["set_at"]:
            return True
        age = time.monotonic() - last.at_s
        if revision != last.revision and (settled or age > _SETTLE_S):
            return True
        return age > _INTERVAL_S

    def _check_field(self, field_pk: int) -> None:
        """Compare a field with its bands, and store the new state and the message to send.

        Changes nothing if another process has checked a later state of the store.
        """
        with self._store.read() as snapshot:
            revision = _revision(snapshot)
            located = _field(snapshot, field_pk)
            if located is None:
                return
            resource, field = located
            collection = collection_from(resource)
            report = reports.report(snapshot, collection, field)
            audited = latest(snapshot, collection, field)
        with self._store.write() as txn:
            rows = txn.rows(select(schema.alarm).where(schema.alarm.c.field_pk == field_pk))
            if not rows:
                return
            state, at = rows[0].state, time_of(txn, self._clock())
            if state.get("revision", 0) > revision:
                return
            alarm = alarm_from(field.name, rows[0].spec, state)
            breaches = breaches_of(report, alarm.coverage, alarm.error_rate, audited)
            if bool(breaches) == alarm.raised and breaches == alarm.breaches:
                return
            now = {
                **state,
                "revision": revision,
                "raised": bool(breaches),
                "breaches": list(map(asdict, breaches)),
            }
            if bool(breaches) != alarm.raised:
                now["since"] = at
                if alarm.webhook:
                    data = _message_data(resource, report, now["breaches"])
                    now["delivery"] = _delivery(RAISED if breaches else CLEARED, at, data)
            txn.update(schema.alarm, [{"field_pk": field_pk, "state": now}])

    def _send(self, field_pk: int) -> None:
        """Claim the due message of a field, so that no other worker sends it, and send it."""
        claimed = self._claimed(field_pk)
        if claimed is None:
            return
        webhook, delivery, now = claimed
        error: str | None = None
        try:
            self._post(webhook, delivery, now)
        except LookalikeError as failure:
            error = str(failure).replace(webhook[:200], shown_webhook(webhook))
            _LOG.warning("cannot deliver a webhook: %s", error)
        with self._store.write() as txn:
            state = _state(txn, field_pk)
            if state is None or (state.get("delivery") or {}).get("id") != delivery["id"]:
                return  # a new alert, or a new message of it, has replaced this one
            now = time_of(txn, self._clock())
            done = state["delivery"] | self._after(delivery["attempts"], error, now)
            txn.update(schema.alarm, [{"field_pk": field_pk, "state": {**state, "delivery": done}}])

    def _claimed(self, field_pk: int) -> tuple[str, Mapping[str, Any], float] | None:
        """Claim the due message: return its webhook, the message and the time.

        None where no message is due, or another worker has claimed it.
        """
        with self._store.read() as snapshot:
            now = time_of(snapshot, self._clock())
            if not _has_due_message(_state(snapshot, field_pk) or {}, now):
                return None
        with self._store.write() as txn:
            rows = txn.rows(select(schema.alarm).where(schema.alarm.c.field_pk == field_pk))
            now = time_of(txn, self._clock())
            if not rows or not _has_due_message(rows[0].state, now):
                return None
            delivery = dict(rows[0].state["delivery"])
            delivery |= {"attempts": delivery["attempts"] + 1, "next_at": now + LEASE_S}
            state = {**rows[0].state, "delivery": delivery}
            txn.update(schema.alarm, [{"field_pk": field_pk, "state": state}])
        return rows[0].spec["webhook"], delivery, now

    def _post(self, webhook: str, delivery: Mapping[str, Any], now: float) -> None:
        message = {
            "type": delivery["event"],
            "timestamp": datetime.fromtimestamp(delivery["at"], UTC).isoformat(),
            "data": delivery["told"],
        }
        body = json.dumps(message, ensure_ascii=False).encode()
        secret = self._settings.webhook_secret
        headers = webhook_headers(secret, delivery["id"], now, body)
        status = self._fetcher.post(webhook, body, {"Content-Type": "application/json", **headers})
        if not 200 <= status < 300:
            raise BadContent(f"the webhook answered with status {status}; it must answer 2xx")

    def _after(self, attempts: int, error: str | None, now: float) -> dict[str, Any]:
        """Return the new values of a delivery after an attempt."""
        if error is None:
            return {"status": DELIVERED, "next_at": None, "error": None}
        if attempts >= MOST_ATTEMPTS:
            return {"status": GIVEN_UP, "next_at": None, "error": error}
        pause = self._retry_s * 4 ** (attempts - 1)
        return {"status": WAITING, "next_at": now + pause, "error": error}


def _delivery(event: str, at: float, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new delivery as it is stored; its `data` is stored as `told`."""
    return {
        "id": f"msg_{ULID()}",
        "event": event,
        "at": at,
        "status": WAITING,
        "attempts": 0,
        "next_at": at,
        "error": None,
        "told": dict(data),
    }


def _message_data(resource: Any, report: Report, breaches: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the data of a message about a field."""
    names = {
        "namespace": resource.namespace,
        "collection": report.collection,
        "field": report.field,
        "breaches": breaches,
    }
    return names | {name: getattr(report, name) for name in _REPORTED}


def _has_due_message(state: Mapping[str, Any], now: float) -> bool:
    delivery = state.get("delivery")
    return bool(delivery and delivery["status"] == WAITING and delivery["next_at"] <= now)


def _revision(snapshot: Snapshot) -> int:
    """Return the pk of the last operation of the store; 0 for none."""
    newest = select(func.max(schema.operation.c.pk).label("pk"))
    return int(snapshot.rows(newest)[0].pk or 0)


def _state(snapshot: Snapshot, field_pk: int) -> dict[str, Any] | None:
    rows = snapshot.rows(select(schema.alarm.c.state).where(schema.alarm.c.field_pk == field_pk))
    return dict(rows[0].state) if rows else None


def _field(snapshot: Snapshot, field_pk: int) -> tuple[Any, Any] | None:
    """Return the row of a field's collection, and the field; None if they were removed."""
    table, resource = schema.field, schema.resource
    query = select(resource).join(table, table.c.collection_pk == resource.c.pk)
    rows = snapshot.rows(query.where(table.c.pk == field_pk))
    if not rows:
        return None
    return rows[0], next(one for one in fields_of(snapshot, rows[0].pk) if one.pk == field_pk)
