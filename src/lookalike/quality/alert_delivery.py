"""The watch: checks alarms once writes have settled, and tells webhooks what was raised or cleared.

It runs in a thread of its own beside a worker, so that no receiver holds up a decision. What is to
be sent is written down before it is sent: a receiver gets it at least once, under the same id.
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
"""How long after the first failure it is tried again; four times as long after each more."""

_LOG = logging.getLogger("lookalike.watch")
_POLL_S = 1.0
_SETTLE_S = 60.0
_INTERVAL_S = 300.0
_STOP_S = 2.0
_TOLD = ("coverage", "documents", "queue", "checked", "wrong", "estimated_precision")


@dataclass(frozen=True, slots=True)
class _Checked:
    """When an alarm was checked last: at what revision, as it was set when, by which timer."""

    revision: int
    set_at: float
    at_s: float


class Watch:
    """Watches over all alarms of a store. Start it as a thread, or let it `look` once.

    `poll_s` is how often it looks, in seconds, and `retry_s` when a webhook is tried again.
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
        """Begin to watch in a thread."""
        self._thread = threading.Thread(target=self._run, name="lookalike watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; a receiver that is slow to answer is not waited for."""
        self._is_stopping.set()
        if self._thread is not None:
            self._thread.join(_STOP_S)

    def look(self) -> None:
        """Check the alarms whose fields have changed and settled, and send what is due."""
        with self._store.read() as snapshot:
            rows = snapshot.rows(select(schema.alarm))
            if not rows:
                return
            revision = _revision(snapshot)
        settled, self._last_revision = revision == self._last_revision, revision
        for row in rows:
            if self._is_due(row, revision, settled=settled):
                self._check(row.field_pk)
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
                self.look()
            except StoreClosed:
                return
            except StoreError as error:
                _LOG.warning("%s", error)
            except Exception:
                _LOG.exception("alarms could not be checked")

    def _is_due(self, row: Any, revision: int, *, settled: bool) -> bool:
        last = self._checked.get(row.field_pk)
        if last is None or last.set_at != row.spec["set_at"]:
            return True
        age = time.monotonic() - last.at_s
        if revision != last.revision and (settled or age > _SETTLE_S):
            return True
        return age > _INTERVAL_S

    def _check(self, field_pk: int) -> None:
        """Compare a field with its bands, and write down what is to be told of it.

        What another watch has found in a later state of the store stands.
        """
        with self._store.read() as snapshot:
            revision = _revision(snapshot)
            found = _field(snapshot, field_pk)
            if found is None:
                return
            resource, field = found
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
                    told = _told(resource, report, now["breaches"])
                    now["delivery"] = _delivery(RAISED if breaches else CLEARED, at, told)
            txn.update(schema.alarm, [{"field_pk": field_pk, "state": now}])

    def _send(self, field_pk: int) -> None:
        """Send what is due to a webhook, which no other worker does meanwhile."""
        claimed = self._claimed(field_pk)
        if claimed is None:
            return
        webhook, delivery, now = claimed
        error: str | None = None
        try:
            self._post(webhook, delivery, now)
        except LookalikeError as failure:
            error = str(failure).replace(webhook[:200], shown_webhook(webhook))
            _LOG.warning("a webhook was not delivered: %s", error)
        with self._store.write() as txn:
            state = _state(txn, field_pk)
            if state is None or (state.get("delivery") or {}).get("id") != delivery["id"]:
                return  # another alarm, or another state of it, has taken its place
            now = time_of(txn, self._clock())
            ended = state["delivery"] | self._after(delivery["attempts"], error, now)
            txn.update(
                schema.alarm, [{"field_pk": field_pk, "state": {**state, "delivery": ended}}]
            )

    def _claimed(self, field_pk: int) -> tuple[str, Mapping[str, Any], float] | None:
        """Return where to send what is due, and the time; None where another does or nothing is."""
        with self._store.read() as snapshot:
            now = time_of(snapshot, self._clock())
            if not _waits(_state(snapshot, field_pk) or {}, now):
                return None
        with self._store.write() as txn:
            rows = txn.rows(select(schema.alarm).where(schema.alarm.c.field_pk == field_pk))
            now = time_of(txn, self._clock())
            if not rows or not _waits(rows[0].state, now):
                return None
            delivery = dict(rows[0].state["delivery"])
            delivery |= {"attempts": delivery["attempts"] + 1, "next_at": now + LEASE_S}
            state = {**rows[0].state, "delivery": delivery}
            txn.update(schema.alarm, [{"field_pk": field_pk, "state": state}])
        return rows[0].spec["webhook"], delivery, now

    def _post(self, webhook: str, delivery: Mapping[str, Any], now: float) -> None:
        told = {
            "type": delivery["event"],
            "timestamp": datetime.fromtimestamp(delivery["at"], UTC).isoformat(),
            "data": delivery["told"],
        }
        body = json.dumps(told, ensure_ascii=False).encode()
        secret = self._settings.webhook_secret
        headers = webhook_headers(secret, delivery["id"], now, body)
        status = self._fetcher.post(webhook, body, {"Content-Type": "application/json", **headers})
        if not 200 <= status < 300:
            raise BadContent(f"the webhook answers with status {status}; it shall answer 2xx")

    def _after(self, attempts: int, error: str | None, now: float) -> dict[str, Any]:
        """Return what an attempt made of a delivery."""
        if error is None:
            return {"status": DELIVERED, "next_at": None, "error": None}
        if attempts >= MOST_ATTEMPTS:
            return {"status": GIVEN_UP, "next_at": None, "error": error}
        pause = self._retry_s * 4 ** (attempts - 1)
        return {"status": WAITING, "next_at": now + pause, "error": error}


def _delivery(event: str, at: float, told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"msg_{ULID()}",
        "event": event,
        "at": at,
        "status": WAITING,
        "attempts": 0,
        "next_at": at,
        "error": None,
        "told": dict(told),
    }


def _told(resource: Any, report: Report, breaches: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a receiver is told of a field."""
    names = {
        "namespace": resource.namespace,
        "collection": report.collection,
        "field": report.field,
        "breaches": breaches,
    }
    return names | {name: getattr(report, name) for name in _TOLD}


def _waits(state: Mapping[str, Any], now: float) -> bool:
    delivery = state.get("delivery")
    return bool(delivery and delivery["status"] == WAITING and delivery["next_at"] <= now)


def _revision(snapshot: Snapshot) -> int:
    """Return the number of the last operation there was."""
    newest = select(func.max(schema.operation.c.pk).label("pk"))
    return int(snapshot.rows(newest)[0].pk or 0)


def _state(snapshot: Snapshot, field_pk: int) -> dict[str, Any] | None:
    rows = snapshot.rows(select(schema.alarm.c.state).where(schema.alarm.c.field_pk == field_pk))
    return dict(rows[0].state) if rows else None


def _field(snapshot: Snapshot, field_pk: int) -> tuple[Any, Any] | None:
    """Return the collection of a field, as its row, and the field; None once they are removed."""
    table, resource = schema.field, schema.resource
    query = select(resource).join(table, table.c.collection_pk == resource.c.pk)
    rows = snapshot.rows(query.where(table.c.pk == field_pk))
    if not rows:
        return None
    return rows[0], next(one for one in fields_of(snapshot, rows[0].pk) if one.pk == field_pk)
