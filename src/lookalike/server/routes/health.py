"""Whether the server is well: what probes and load balancers are told. Anybody may ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from lookalike import __version__
from lookalike.catalog.reader import fields_of
from lookalike.catalog.resources import Kind, collection_from, listed
from lookalike.library.health import OK, Readiness, problems_of
from lookalike.quality import reports as reporting
from lookalike.quality.alerts import Alarm, alarm_of
from lookalike.quality.stats.metrics import Report
from lookalike.server.context import Asked, Here
from lookalike.server.events import newest_revision
from lookalike.server.security.rules import error_body
from lookalike.server.shapes import JsonRoute, Reply
from lookalike.stores.base import Snapshot

router = APIRouter(prefix="/v1/health", tags=["health"], route_class=JsonRoute)

_RETRY_S = 5


def _readiness(request: Request) -> Readiness:
    return cast("Readiness", request.app.state.readiness)


Probed = Annotated[Readiness, Depends(_readiness)]


class Health(Reply):
    """That requests can be served."""

    status: str = "OK"
    version: str = __version__


class Ready(Health):
    """That the server can do its work now, and what was looked at."""

    checks: dict[str, str]


class DeepHealth(Health):
    """Which parts work."""

    data: dict[str, bool]


@router.get("")
def health() -> Health:
    """Answer as soon as requests can be served."""
    return Health()


@router.get("/liveness", response_model=Health)
def liveness(request: Request) -> Response | Health:
    """Answer while the server lives; 503 where only a new start helps."""
    if request.app.state.context.worker.has_died:
        return _unwell({"worker": "has died"})
    return Health()


@router.get("/readiness", response_model=Ready)
def readiness(probed: Probed) -> Response | Ready:
    """Answer whether the server can do its work now; 503 with what is wrong, and while it ends."""
    checks = probed.checks()
    if any(found != OK for found in checks.values()):
        return _unwell(checks)
    return Ready(checks=dict(checks))


@router.get("/deep")
def deep(here: Here) -> DeepHealth:
    """Read from the store, and tell which parts work."""
    with here.runtime.store.read() as snapshot:
        works = newest_revision(snapshot) >= 0
    parts = ("cache", "metadata", "vector_store", "object_storage", "task_queue", "inference")
    return DeepHealth(data=dict.fromkeys(parts, works))


def _unwell(checks: Mapping[str, str]) -> Response:
    details = {"checks": dict(checks), "retryable": True, "retry_after_seconds": _RETRY_S}
    body = error_body(503, "not_ready", problems_of(checks), details)
    return JSONResponse(body, 503, headers={"retry-after": str(_RETRY_S)})


# --- Prometheus text format (0.0.4) --------------------------------------------------------------

# Everything is read from the store when it is asked for, and nothing is counted in this process: so
# several servers over one store tell the same. That is a few lines of text and needs no library.

metrics_router = APIRouter(tags=["analytics"])

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "the metrics"}
}
_FRESH_S = 10.0
_KEEP_S = 60.0

_Sample = tuple[Mapping[str, str], float | None]


@dataclass(frozen=True, slots=True)
class _Told:
    """One metric: its name, what it means, and what it is of a field, by further labels."""

    name: str
    help: str
    samples: Callable[[Report], list[_Sample]]


def _one(value: Callable[[Report], float | None]) -> Callable[[Report], list[_Sample]]:
    return lambda report: [({}, value(report))]


def _each(name: str, of: Callable[[Report], Mapping[str, int]]) -> Callable[..., list[_Sample]]:
    return lambda report: [({name: key}, count) for key, count in of(report).items()]


def _per_label(report: Report) -> list[_Sample]:
    return [
        ({"label": label, "origin": origin}, count)
        for label, counts in report.per_label.items()
        for origin, count in sorted(counts.items())
    ]


_METRICS = (
    _Told("documents", "Documents of the collection.", _one(lambda told: told.documents)),
    _Told("references", "Documents whose label votes.", _one(lambda told: told.references)),
    _Told("coverage_ratio", "Share of documents with a label.", _one(lambda told: told.coverage)),
    _Told("queue_documents", "Documents that wait for a person.", _one(lambda told: told.queue)),
    _Told("labelled_documents", "Documents with a label.", _each("origin", lambda t: t.labelled)),
    _Told("unlabelled_documents", "Documents without.", _each("reason", lambda t: t.nulls)),
    _Told("label_documents", "Documents with this label, by origin.", _per_label),
    _Told("limit", "The confidence from which a label is given.", _one(lambda told: told.limit)),
    _Told(
        "near_limit_documents",
        "Documents whose confidence is within 0.05 of the limit.",
        _one(lambda told: told.near_limit),
    ),
    _Told(
        "estimated_precision_ratio",
        "Share of automatic labels that the machine expects to be right.",
        _one(lambda told: told.estimated_precision),
    ),
    _Told(
        "checked_documents",
        "Automatic labels that random answers checked.",
        _one(lambda told: told.checked),
    ),
    _Told(
        "wrong_documents",
        "Automatic labels that random answers found wrong.",
        _one(lambda told: told.wrong),
    ),
    _Told("waiting_objects", "Objects to be extracted.", _one(lambda told: told.waiting)),
    _Told("failed_objects", "Objects that cannot be extracted.", _one(lambda told: told.failed)),
)


class Scrapes:
    """What was told last, by namespace: counting a large store for every scrape would be a waste.

    It is told again for ten seconds, and for a minute while nothing was written.
    """

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._lock = Lock()
        self._last: dict[str, tuple[float, int, str]] = {}

    def text(self, here: Asked) -> str:
        """Return the metrics of the namespace that a request is about."""
        with self._lock, here.runtime.store.read() as snapshot:
            now, revision = self._timer(), newest_revision(snapshot)
            at, known, text = self._last.get(here.namespace, (0.0, -1, ""))
            if known < 0 or now - at > (_KEEP_S if known == revision else _FRESH_S):
                text = _text(snapshot, here.namespace)
                self._last[here.namespace] = (now, revision, text)
        return text


@metrics_router.get("/metrics", response_class=Response, responses=_TEXT)
def metrics(request: Request, here: Here) -> PlainTextResponse:
    """Tell the state of all collections of the namespace in Prometheus' text form."""
    scrapes: Scrapes = request.app.state.scrapes
    return PlainTextResponse(scrapes.text(here), media_type=MEDIA_TYPE)


def _text(snapshot: Snapshot, namespace: str) -> str:
    reports: list[tuple[Report, Alarm | None]] = []
    for row in listed(snapshot, namespace, Kind.COLLECTION):
        collection = collection_from(row)
        for field in fields_of(snapshot, collection.pk):
            alarm = alarm_of(snapshot, field.pk, field.name)
            reports.append((reporting.report(snapshot, collection, field), alarm))
    lines = [*_head("info", "The version of the server."), _line("info", _version(), 1)]
    for metric in _METRICS:
        lines += _head(metric.name, metric.help)
        for report, _ in reports:
            whose = {"collection": report.collection, "field": report.field}
            lines += [
                _line(metric.name, whose | {**labels}, value)
                for labels, value in metric.samples(report)
                if value is not None
            ]
    lines += _head("alarm_raised", "Whether coverage or error rate is outside its band.")
    for report, alarm in reports:
        if alarm is not None:
            whose = {"collection": report.collection, "field": report.field}
            lines.append(_line("alarm_raised", whose, int(alarm.raised)))
    return "\n".join(lines) + "\n"


def _version() -> dict[str, str]:
    return {"version": __version__}


def _head(name: str, help: str) -> Iterator[str]:
    yield f"# HELP lookalike_{name} {help}"
    yield f"# TYPE lookalike_{name} gauge"


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"lookalike_{name}{{{told}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
