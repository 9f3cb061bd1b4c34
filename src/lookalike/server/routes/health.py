"""Health routes for probes and load balancers, open to anybody; and metrics for Prometheus."""

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
from lookalike.server.context import Context, Here
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
    """The server can serve requests."""

    status: str = "OK"
    version: str = __version__


class Ready(Health):
    """The server can do its work now; `checks` has the result of each check."""

    checks: dict[str, str]


class DeepHealth(Health):
    """Whether each part of the server works."""

    data: dict[str, bool]


@router.get("")
def health() -> Health:
    """Return 200 as soon as the server can serve requests."""
    return Health()


@router.get("/liveness", response_model=Health)
def liveness(request: Request) -> Response | Health:
    """Return 200 while the server works; 503 if it needs a restart."""
    if request.app.state.server.worker.has_died:
        return _not_ready({"worker": "has died"})
    return Health()


@router.get("/readiness", response_model=Ready)
def readiness(probed: Probed) -> Response | Ready:
    """Return 200 if the server can do its work now; 503 with the problems, or if it shuts down."""
    checks = probed.checks()
    if any(found != OK for found in checks.values()):
        return _not_ready(checks)
    return Ready(checks=dict(checks))


@router.get("/deep")
def deep(here: Here) -> DeepHealth:
    """Read from the store, and return which parts work."""
    with here.runtime.store.read() as snapshot:
        works = newest_revision(snapshot) >= 0
    parts = ("cache", "metadata", "vector_store", "object_storage", "task_queue", "inference")
    return DeepHealth(data=dict.fromkeys(parts, works))


def _not_ready(checks: Mapping[str, str]) -> Response:
    details = {"checks": dict(checks), "retryable": True, "retry_after_seconds": _RETRY_S}
    body = error_body(503, "not_ready", problems_of(checks), details)
    return JSONResponse(body, 503, headers={"retry-after": str(_RETRY_S)})


# --- Prometheus text format (0.0.4) --------------------------------------------------------------

# All values come from the store at request time and none is counted in this process, so several
# servers over one store return the same. The format is a few lines of text and needs no library.

metrics_router = APIRouter(tags=["analytics"])

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "the metrics"}
}
_FRESH_S = 10.0
_KEEP_S = 60.0

_Sample = tuple[Mapping[str, str], float | None]


@dataclass(frozen=True, slots=True)
class _Metric:
    """One metric: its name, its help text, and its samples of a field, with further labels."""

    name: str
    help: str
    samples: Callable[[Report], list[_Sample]]


def _one(attribute: str) -> Callable[[Report], list[_Sample]]:
    return lambda report: [({}, getattr(report, attribute))]


def _each(label: str, attribute: str) -> Callable[[Report], list[_Sample]]:
    return lambda report: [({label: key}, n) for key, n in getattr(report, attribute).items()]


def _per_label(report: Report) -> list[_Sample]:
    return [
        ({"label": label, "origin": origin}, count)
        for label, counts in report.per_label.items()
        for origin, count in sorted(counts.items())
    ]


_METRICS = (
    _Metric("documents", "Documents of the collection.", _one("documents")),
    _Metric("references", "Documents whose label is a reference.", _one("references")),
    _Metric("coverage_ratio", "Share of documents with a label.", _one("coverage")),
    _Metric("queue_documents", "Documents that wait for a person.", _one("queue")),
    _Metric("labelled_documents", "Documents with a label.", _each("origin", "labelled")),
    _Metric("unlabelled_documents", "Documents without a label.", _each("reason", "nulls")),
    _Metric("label_documents", "Documents with this label, by origin.", _per_label),
    _Metric("limit", "The lowest confidence of automatic labels.", _one("limit")),
    _Metric(
        "near_limit_documents",
        "Documents whose confidence is within 0.05 of the limit.",
        _one("near_limit"),
    ),
    _Metric(
        "estimated_precision_ratio",
        "Expected share of right labels among the automatic ones.",
        _one("estimated_precision"),
    ),
    _Metric("checked_documents", "Automatic labels that random answers checked.", _one("checked")),
    _Metric("wrong_documents", "Automatic labels that random answers found wrong.", _one("wrong")),
    _Metric("waiting_objects", "Objects to be extracted.", _one("waiting")),
    _Metric("failed_objects", "Objects that cannot be extracted.", _one("failed")),
)


class Scrapes:
    """A cache of the metrics by namespace, since counting a large store takes time.

    A text is valid for ten seconds, or for a minute while nothing is written.
    """

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._lock = Lock()
        self._last: dict[str, tuple[float, int, str]] = {}

    def text(self, here: Context) -> str:
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
    """Return the state of all collections of the namespace in Prometheus' text format."""
    scrapes: Scrapes = request.app.state.scrapes
    return PlainTextResponse(scrapes.text(here), media_type=MEDIA_TYPE)


def _text(snapshot: Snapshot, namespace: str) -> str:
    reports: list[tuple[Report, Alarm | None]] = []
    for row in listed(snapshot, namespace, Kind.COLLECTION):
        collection = collection_from(row)
        for field in fields_of(snapshot, collection.pk):
            alarm = alarm_of(snapshot, field.pk, field.name)
            reports.append((reporting.report(snapshot, collection, field), alarm))
    version = _line("info", {"version": __version__}, 1)
    lines = [*_head("info", "The version of the server."), version]
    for metric in _METRICS:
        lines += _head(metric.name, metric.help)
        for report, _ in reports:
            lines += [
                _line(metric.name, _field_labels(report) | {**labels}, value)
                for labels, value in metric.samples(report)
                if value is not None
            ]
    lines += _head("alarm_raised", "Whether coverage or error rate is outside its allowed range.")
    for report, alarm in reports:
        if alarm is not None:
            lines.append(_line("alarm_raised", _field_labels(report), int(alarm.raised)))
    return "\n".join(lines) + "\n"


def _field_labels(report: Report) -> dict[str, str]:
    return {"collection": report.collection, "field": report.field}


def _head(name: str, help: str) -> Iterator[str]:
    yield f"# HELP lookalike_{name} {help}"
    yield f"# TYPE lookalike_{name} gauge"


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"lookalike_{name}{{{inner}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
