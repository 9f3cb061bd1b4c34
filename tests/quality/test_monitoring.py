"""How a field does, day by day, and who is told when it leaves what a person wants."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx2
import numpy as np
import pytest
from click.testing import CliRunner

import lookalike
import patient
from goods import ok, refused
from lookalike.catalog.tasks import TaskKind, request_task, task_of
from lookalike.cli.group import cli
from lookalike.errors import BadInput, BadSetting, FetchRefused
from lookalike.library.collection.collection import Collection
from lookalike.library.runtime import Runtime
from lookalike.library.worker import Worker, run_worker
from lookalike.model import Status
from lookalike.quality.alert_delivery import MOST_ATTEMPTS, RETRY_S, Watch
from lookalike.quality.alerts import CLEARED, DELIVERED, GIVEN_UP, RAISED, WAITING
from lookalike.quality.monitoring import DAY_S, MOST_DAYS
from lookalike.settings import read_settings
from serving import Served

SECRET = "whsec_" + base64.b64encode(b"only-known-to-both").decode()
NOON = 1_767_268_800.0
"""Noon of 1 January 2026 (UTC)."""


@dataclass(slots=True)
class Clock:
    """A clock that tests set."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Receiver:
    """What was posted to a server on loopback, which answers with these statuses, then with 204.

    It answers nothing before `may_answer` is set.
    """

    port: int
    may_answer: Event = field(default_factory=Event)
    statuses: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/secret-path"

    @property
    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, body in self.got]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A real little HTTP receiver."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told.got.append(({name.lower(): text for name, text in self.headers.items()}, body))
            told.may_answer.wait()
            self.send_response(told.statuses.pop(0) if told.statuses else 204)
            self.send_header("location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        told = Receiver(server.server_port)
        told.may_answer.set()
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield told
        told.may_answer.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as told:
        yield told


@contextmanager
def shop(place: Path, clock: Clock, **settings: str) -> Iterator[Collection]:
    """A collection of vectors of four kinds, under a rule that is a number."""
    named = {f"LOOKALIKE_{name.upper()}": text for name, text in settings.items()}
    with lookalike.open(place, actor="ann", clock=clock, settings=read_settings(named)) as library:
        yield library.labeler("things", extractor="passthrough", confidence_threshold=0.8)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def things(tmp_path: Path, clock: Clock) -> Iterator[Collection]:
    allowed = {"webhook_secret": SECRET, "fetch_allow": "127.0.0.1"}
    with shop(tmp_path / "store", clock, **allowed) as collection:
        yield collection


def add(collection: Collection, name: str, count: int) -> None:
    """Add things near one of four corners in turn: `name`0 is of the first kind, and so on."""
    chance = np.random.default_rng(len(name))
    vectors = np.eye(4)[np.arange(count) % 4] + 0.05 * chance.normal(size=(count, 4))
    collection.add(vectors=vectors, ids=[f"{name}{place}" for place in range(count)])


def watch_of(runtime: Runtime) -> Watch:
    return Watch(runtime.store, runtime.settings, runtime.clock)


def settle(watch: Watch) -> None:
    """Look twice: what did not change in between has settled."""
    watch.check()
    watch.check()


# --- what moves ---------------------------------------------------------------------------------


def test_each_day_tells_what_arrived_was_answered_and_corrected(
    things: Collection, clock: Clock
) -> None:
    add(things, "a", 8)
    clock.now += DAY_S
    things.label({"a0": "Zero"})
    clock.now += DAY_S
    add(things, "bb", 4)
    things.label({"a4": "Nought"})
    things.label({"bb0": "Zero"})
    things.label({"a1": "One"})

    first, second, third = things.monitor(days=3).history

    assert (first.day, second.day, third.day) == ("2026-01-01", "2026-01-02", "2026-01-03")
    assert (first.arrived, second.arrived, third.arrived) == (8, 0, 4)
    assert (first.answers, second.answers, third.answers) == (0, 1, 3)
    assert (second.labelled, third.corrected, third.confirmed) == (1, 1, 1)
    assert sum(first.without_label.values()) == things.monitor().report.queue - 2
    assert set(third.without_label) <= {"below_threshold", "no_references", "too_close"}


def test_an_answer_that_was_undone_is_no_answer(things: Collection) -> None:
    add(things, "a", 8)
    changed = things.label({"a0": "Zero"})

    things.undo(changed.operation)

    assert things.monitor(days=1).history[0].answers == 0


def test_a_queue_that_is_answered_has_a_day_on_which_it_is_empty(
    things: Collection, clock: Clock
) -> None:
    add(things, "a", 40)
    clock.now += 10 * DAY_S
    things.label({"a0": "Zero", "a1": "One"})

    told = things.monitor().forecast

    assert (told.before, told.queue, told.outlook) == (40, 20, "shrinks")
    assert told.per_day == round(-20 / told.days, 2)
    assert told.days_left == round(20 / (20 / 6.5), 1)


def test_a_queue_that_gets_more_than_is_answered_grows(things: Collection, clock: Clock) -> None:
    add(things, "a", 4)
    clock.now += 10 * DAY_S
    add(things, "bb", 12)
    things.label({"a0": "Zero"})

    told = things.monitor().forecast

    assert (told.before, told.queue) == (4, 12)
    assert (told.outlook, told.days_left) == ("grows", None)
    assert things.monitor(days=1).forecast == told, "however far one looks back"


def test_the_queue_before_is_as_it_stood_then_whatever_was_undone_since(
    things: Collection, clock: Clock
) -> None:
    add(things, "a", 40)
    before = things.label({"a0": "Zero"})
    things.new_kind(["a1"])
    things.cannot_tell(["a2"])
    waited = things.report().queue
    clock.now += 10 * DAY_S
    add(things, "bb", 8)
    things.label({"a3": "Three", "a4": "Nought", "a1": "One"})
    things.reject({"a8": "Zero"})
    things.undo(before.operation)
    things.label({"a9": "One"})

    assert things.monitor().forecast.before == waited


def test_nothing_waits_in_an_empty_collection(things: Collection) -> None:
    told = things.monitor()

    assert (told.forecast.outlook, told.forecast.per_day) == ("empty", 0)
    assert (told.precision, told.blamed, told.alarm) == ((), (), None)
    assert len(told.history) == 30


@pytest.mark.parametrize("days", [0, -1, MOST_DAYS + 1, True])
def test_days_that_cannot_be_looked_back_are_refused(things: Collection, days: int) -> None:
    with pytest.raises(BadInput, match="1 to 366"):
        things.monitor(days=days)


# --- what is right ------------------------------------------------------------------------------


def test_a_reference_that_caused_corrections_is_named_with_their_number(
    things: Collection,
) -> None:
    add(things, "a", 12)
    things.label({"a0": "One"})
    things.label({"a4": "Zero"})

    (blamed,) = things.monitor().blamed

    assert (blamed.id, blamed.label, blamed.corrected) == ("a0", "One", 1)
    assert blamed.instead == "Zero"


def test_precision_by_label_says_what_it_stands_on(tmp_path: Path) -> None:
    chance = np.random.default_rng(5)
    kinds = np.arange(400) % 4
    vectors = np.eye(4)[kinds] + 0.08 * chance.normal(size=(400, 4))
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        collection = library.labeler("things", extractor="passthrough")
        collection.add(vectors=vectors, ids=[f"v{place}" for place in range(400)])
        collection.label({f"v{place}": f"Kind {kinds[place]}" for place in range(80)})
        for _ in range(12):
            asked = collection.queue(limit=20)
            ids = [one.id for question in asked for one in question.documents]
            collection.label({id: f"Kind {kinds[int(id[1:])]}" for id in ids}, asked=True)
        told = collection.monitor()

    bases = {one.basis for one in told.precision}
    counted = [one for one in told.precision if one.basis == "counted"]
    assert bases <= {"counted", "estimated"}
    assert sum(one.checked for one in told.precision) == told.report.checked
    assert sum(one.automatic for one in told.precision) == told.report.labelled["auto"]
    assert all(one.low is not None and one.low <= 1 - one.wrong / one.checked for one in counted)
    assert all(one.estimated is not None for one in told.precision if one.basis == "estimated")


def test_under_a_rule_that_is_a_number_nothing_is_known_of_precision(things: Collection) -> None:
    add(things, "a", 8)
    things.label({"a0": "Zero"})

    (zero,) = things.monitor().precision

    assert (zero.label, zero.automatic, zero.basis, zero.precision) == ("Zero", 1, "unknown", None)


# --- alarms -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bands", "says"),
    [
        ({}, "needs a band"),
        ({"coverage": (0.9, 0.5)}, "is empty: 0.9 is above 0.5"),
        ({"coverage": (-0.1, None)}, "-0.1 is not a bound of coverage"),
        ({"error_rate": (None, 5)}, "5 is not a bound of error_rate"),
        ({"error_rate": (None, float("nan"))}, "nan is not a bound"),
        ({"coverage": (True, None)}, "True is not a bound"),
        ({"coverage": (None, None)}, "has no effect"),
        ({"coverage": (0.5,)}, "lowest and its highest"),
    ],
)
def test_an_impossible_band_is_refused(
    things: Collection, bands: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        things.watch(**bands)
    assert things.monitor().alarm is None


@pytest.mark.parametrize(
    ("webhook", "says"),
    [
        ("ftp://example.org/", "not an http or https address"),
        ("/etc/passwd", "not an http or https address"),
        ("http://[::1", "not an address"),
        ("https://example.org/" + "x" * 2000, "give at most 2,000"),
        ("https://ann:pass@127.0.0.1/", "name or password"),
        ("http://10.0.0.1/", "LOOKALIKE_FETCH_ALLOW"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused(things: Collection, webhook: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        things.watch(coverage=(0.5, None), webhook=webhook)


def test_a_private_webhook_is_refused_with_the_setting_that_allows_it(
    tmp_path: Path, clock: Clock
) -> None:
    with (
        shop(tmp_path / "store", clock, webhook_secret=SECRET) as collection,
        pytest.raises(FetchRefused, match="LOOKALIKE_FETCH_ALLOW"),
    ):
        collection.watch(coverage=(0.5, None), webhook="http://127.0.0.1:9/")


def test_a_webhook_without_a_secret_is_refused(tmp_path: Path, clock: Clock) -> None:
    with (
        shop(tmp_path / "store", clock) as collection,
        pytest.raises(BadSetting, match="LOOKALIKE_WEBHOOK_SECRET"),
    ):
        collection.watch(coverage=(0.5, None), webhook="https://example.org/")


def test_an_audit_that_finds_too_many_wrong_labels_raises_the_alarm(things: Collection) -> None:
    add(things, "a", 4)
    things.label({f"a{place}": f"Kind {place}" for place in range(4)})
    add(things, "b", 40)
    things.watch(error_rate=(None, 0.1))
    audit = things.audit(30)
    before = things.monitor().breaches
    few = things.answer_audit(audit.id, wrong=audit.waiting[:1])
    unsure = things.monitor().breaches
    things.answer_audit(audit.id, wrong=few.waiting)

    settle(watch_of(things._runtime))
    alarm = things.monitor().alarm

    assert (before, unsure) == ((), ())
    assert alarm is not None
    assert [(one.measure, one.value, one.basis) for one in alarm.breaches] == [
        ("error_rate", 1.0, "audited")
    ]


def test_an_alarm_is_raised_told_and_cleared(things: Collection, receiver: Receiver) -> None:
    add(things, "a", 8)
    things.watch(coverage=(0.5, None), webhook=receiver.url)
    watch = watch_of(things._runtime)

    settle(watch)
    raised = things.monitor().alarm
    things.label({f"a{place}": f"Kind {place % 4}" for place in range(4)})
    settle(watch)
    cleared = things.monitor().alarm

    assert raised is not None
    assert cleared is not None
    assert (raised.raised, cleared.raised, cleared.breaches) == (True, False, ())
    assert [one.measure for one in raised.breaches] == ["coverage"]
    assert raised.delivery is not None
    assert raised.delivery.status == DELIVERED
    assert receiver.types == [RAISED, CLEARED]
    assert "secret-path" not in repr((raised, cleared))
    told = json.loads(receiver.got[0][1])["data"]
    assert (told["collection"], told["field"], told["coverage"]) == ("things", "label", 0.0)


def test_what_is_sent_is_signed(things: Collection, receiver: Receiver) -> None:
    """As the Standard Webhooks specification has it."""
    add(things, "a", 4)
    things.watch(coverage=(0.5, None), webhook=receiver.url)

    settle(watch_of(things._runtime))

    ((headers, body),) = receiver.got
    message = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(b"only-known-to-both", message, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert headers["content-type"] == "application/json"


def test_a_webhook_that_fails_is_tried_again_with_the_same_id(
    things: Collection, receiver: Receiver, clock: Clock
) -> None:
    add(things, "a", 4)
    receiver.statuses = [500, 302]
    things.watch(coverage=(0.5, None), webhook=receiver.url)
    watch = watch_of(things._runtime)

    settle(watch)
    failed = things.monitor().alarm
    clock.now += RETRY_S
    watch.check()
    clock.now += RETRY_S
    watch.check()
    too_early = len(receiver.got)
    clock.now += 4 * RETRY_S
    watch.check()
    ended = things.monitor().alarm

    assert failed is not None
    assert failed.delivery is not None
    assert (failed.delivery.status, failed.delivery.attempts) == (WAITING, 1)
    assert failed.delivery.error == "the webhook answered with status 500; it must answer 2xx"
    assert (too_early, len(receiver.got)) == (2, 3)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert ended is not None
    assert ended.delivery is not None
    assert (ended.delivery.status, ended.delivery.error) == (DELIVERED, None)


def test_a_webhook_that_never_answers_is_given_up(things: Collection, clock: Clock) -> None:
    with receiving() as gone:
        url = gone.url
    add(things, "a", 4)
    things.watch(coverage=(0.5, None), webhook=url)
    watch = watch_of(things._runtime)

    settle(watch)
    for _ in range(MOST_ATTEMPTS + 2):
        clock.now += DAY_S
        watch.check()

    alarm = things.monitor().alarm
    assert alarm is not None
    assert alarm.delivery is not None
    assert (alarm.delivery.status, alarm.delivery.attempts) == (GIVEN_UP, MOST_ATTEMPTS)
    assert "cannot reach" in str(alarm.delivery.error)
    assert "secret-path" not in str(alarm.delivery.error)


def test_two_workers_tell_a_webhook_once(things: Collection, receiver: Receiver) -> None:
    add(things, "a", 4)
    things.watch(coverage=(0.5, None), webhook=receiver.url)
    one, other = (
        watch_of(things._runtime),
        watch_of(things._runtime),
    )

    for watch in (one, other, one, other):
        watch.check()

    assert receiver.types == [RAISED]


def test_writes_that_go_on_are_not_checked_each(things: Collection) -> None:
    add(things, "a", 8)
    things.watch(coverage=(0.2, None))
    watch = watch_of(things._runtime)
    settle(watch)

    things.label({f"a{place}": "Kind" for place in range(8)})
    watch.check()
    unsettled = things.monitor().alarm
    watch.check()
    settled = things.monitor().alarm

    assert unsettled is not None
    assert settled is not None
    assert (unsettled.raised, settled.raised) == (True, False)


def test_a_worker_that_runs_once_checks_alarms(things: Collection, receiver: Receiver) -> None:
    add(things, "a", 4)
    things.watch(coverage=(0.5, None), webhook=receiver.url)

    run_worker(things._runtime, once=True)

    assert receiver.types == [RAISED]


def test_a_receiver_that_does_not_answer_holds_nothing_up(
    things: Collection, receiver: Receiver
) -> None:
    add(things, "a", 4)
    things.watch(coverage=(0.5, None), webhook=receiver.url)
    receiver.may_answer.clear()
    worker = Worker(things._runtime)
    worker.start()
    wait_for(lambda: receiver.got)

    changed = things.label({"a0": "Zero"})
    with things._runtime.store.write() as txn:
        spec = {"collection_pk": things._row.pk, "collection": things.name, "actor": "ann"}
        kind, runs = TaskKind.DECIDE, [{"confidence_threshold": 0.5}]
        task = request_task(txn, "default", kind, {**spec, "runs": runs}, at=NOON)
    worker.wake()
    wait_for(lambda: is_done(things, task))
    worker.stop()

    assert changed.by_person == 1
    assert not receiver.may_answer.is_set()


def test_an_alarm_goes_with_its_collection(tmp_path: Path, clock: Clock) -> None:
    with lookalike.open(tmp_path / "store", clock=clock) as library:
        library.labeler("gone", extractor="passthrough").watch(coverage=(0.5, None))
        library.remove_collection("gone")

        watch_of(library.runtime).check()
        again = library.labeler("gone", extractor="passthrough")

        assert again.monitor().alarm is None
        assert again.unwatch() is False


# --- the other doors ----------------------------------------------------------------------------


def test_the_commands_show_and_set(things: Collection, tmp_path: Path) -> None:
    add(things, "a", 8)
    things.label({"a0": "One"})
    things.label({"a4": "Zero"})
    told = CliRunner(env={"LOOKALIKE_STORE": str(tmp_path / "store")})

    set_ = told.invoke(cli, ["watch", "things", "--coverage", "0.9:", "--error-rate", ":0.05"])
    shown = told.invoke(cli, ["monitor", "things"])
    bad = told.invoke(cli, ["watch", "things", "--coverage", "half"])
    off = told.invoke(cli, ["watch", "things", "--off"])

    assert "coverage 0.9:, error rate :0.05" in set_.output
    assert "1 corrected, 0 confirmed  a0 (One)" in shown.output
    assert "now outside: coverage 25.0% (counted), outside 0.9:" in shown.output
    assert "is not a band" in str(bad.exception)
    assert "removed the alert" in off.output


class TestServer:
    """One story over a real server and a real receiver."""

    def test_an_alarm_over_http_reaches_its_webhook_and_prometheus(
        self, tmp_path: Path, receiver: Receiver
    ) -> None:
        environment = {
            "LOOKALIKE_WEBHOOK_SECRET": SECRET,
            "LOOKALIKE_FETCH_ALLOW": "127.0.0.1",
        }
        with shop(tmp_path / "store", Clock(time.time())) as collection:
            add(collection, "a", 8)
            collection.label({"a0": 'Zero "0"'})
        with (
            Served(tmp_path / "store", environment=environment) as served,
            httpx2.Client(base_url=served.url, timeout=60) as client,
        ):
            home = "/v1/collections/things"
            impossible = client.put(f"{home}/alarms", json={"coverage": [0.9, 0.5]})
            set_ = ok(
                client.put(
                    f"{home}/alarms", json={"coverage": [0.9, None], "webhook": receiver.url}
                )
            )
            wait_for(lambda: ok(client.get(f"{home}/alarms"))["results"][0]["delivery"])
            wait_for(lambda: receiver.got)
            told = ok(client.get(f"{home}/analytics/monitoring", params={"days": 2}))
            scraped = client.get("/metrics")
            gone = ok(client.delete(f"{home}/alarms"))

            assert refused(impossible, 422)["code"] == "bad_input"
            assert (set_["coverage"], set_["raised"]) == ([0.9, None], False)
            assert receiver.types == [RAISED]
            assert told["alarm"]["raised"] is True
            assert told["forecast"]["queue"] == told["report"]["queue"] == 6
            assert len(told["history"]) == 2
            assert gone["message"] == "removed the alert"
            assert ok(client.get(f"{home}/alarms"))["results"] == []
        assert scraped.headers["content-type"].startswith("text/plain; version=0.0.4")
        whose = 'collection="things",field="label"'
        lines = scraped.text.splitlines()
        assert f"lookalike_queue_documents{{{whose}}} 6" in lines
        assert f"lookalike_alarm_raised{{{whose}}} 1" in lines
        label = f'lookalike_label_documents{{{whose},label="Zero \\"0\\"",origin="human"}} 1'
        assert label in lines
        assert lines.count("# TYPE lookalike_coverage_ratio gauge") == 1

    def test_a_private_webhook_is_refused_over_http(self, tmp_path: Path) -> None:
        with shop(tmp_path / "store", Clock()):
            pass
        environment = {"LOOKALIKE_WEBHOOK_SECRET": SECRET}
        with Served(tmp_path / "store", environment=environment) as served:
            body = {"coverage": [0.5, None], "webhook": "http://169.254.169.254/latest"}
            answer = patient.put(f"{served.url}/v1/collections/things/alarms", json=body)

        told = refused(answer, 422)
        assert told["code"] == "fetch_refused"
        assert "LOOKALIKE_FETCH_ALLOW" in told["message"]


def is_done(collection: Collection, task: str) -> bool:
    with collection._runtime.store.read() as snapshot:
        return task_of(snapshot, task).status is Status.COMPLETED


def wait_for(has_come: Any, timeout_s: float = 30.0) -> None:
    """Wait until something is so. Fails when it does not come to be."""
    end = time.monotonic() + timeout_s
    while not has_come():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.05)
