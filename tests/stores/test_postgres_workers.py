"""Several servers and workers over one database: work is done once, whoever dies meanwhile."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import psycopg
import pytest
from sqlalchemy import select, update
from test_monitoring import receiving, watch_of

import lookalike
from databases import database, prepared
from lookalike.catalog import tasks as leases
from lookalike.catalog.resources import Kind, named
from lookalike.catalog.tasks import (
    LEASE_S,
    Heartbeat,
    TaskKind,
    claim_task,
    end_task,
    has_died,
    new_owner,
    renew_task,
    request_task,
    task_of,
    tasks,
)
from lookalike.errors import StoreTooNew
from lookalike.library.bucket import Bucket, NewBlob, NewObject, bucket_from
from lookalike.library.worker import Worker
from lookalike.model import Status
from lookalike.settings import read_settings
from lookalike.stores import schema
from lookalike.stores.postgres.engine import address_of
from lookalike.stores.postgres.store import PostgresStore

ELSEWHERE = "another~boot~pid:[1]/1/100/01K"
"""A holder of another machine: whether it lives cannot be seen from here."""

UPLOAD = {"bucket_pk": 1, "spec": {}, "status": "OPEN", "created_at": 1.0, "expires_at": 2.0}


@pytest.fixture
def url(tmp_path: Path, plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of a database with an empty store; what is local is below `tmp_path`."""
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "derived"))
    with database(template=prepared()) as made:
        yield made


@pytest.fixture
def library(url: str) -> Iterator[lookalike.Library]:
    with lookalike.open(url, actor="ann") as opened:
        opened.labeler("texts", extractor="word_lengths", confidence_threshold=0.9)
        yield opened


def put(library: lookalike.Library, *ids: str, bucket: str = "texts") -> None:
    """Put texts in, which wait for a worker."""
    with library.runtime.store.read() as snapshot:
        row = bucket_from(named(snapshot, "default", Kind.BUCKET, bucket))
    blobs = {id: [NewBlob("text", f"the text {id}".encode(), "text")] for id in ids}
    Bucket(library.runtime, row).put([NewObject(id=id, blobs=blobs[id]) for id in ids])


def held(library: lookalike.Library) -> dict[str, str | None]:
    """Return who holds what waits, by object."""
    table, object_ = schema.extraction, schema.object_
    query = select(object_.c.id, table.c.owner).join(table, table.c.object_pk == object_.c.pk)
    with library.runtime.store.read() as snapshot:
        return {row.id: row.owner for row in snapshot.rows(query)}


def hold_elsewhere(library: lookalike.Library, for_s: float) -> None:
    """Let a holder of another machine have all that waits, by the database's clock."""
    table = schema.extraction
    with library.runtime.store.write() as txn:
        ends = (txn.time_s() or 0.0) + for_s
        values = {"status": Status.PROCESSING, "owner": ELSEWHERE, "expires_at": ends}
        txn.execute(update(table).values(values))


def ended(is_so: Callable[[], bool]) -> bool:
    """Wait until something is so, but not for ever."""
    until = time.monotonic() + 90
    while not is_so() and time.monotonic() < until:
        time.sleep(0.02)
    return is_so()


class Slow:
    """One text whose extraction, in a thread, takes until it shall go on. Use it in `with`."""

    def __init__(self, library: lookalike.Library, place: Path) -> None:
        self._pipe = place / "pipe"
        os.mkfifo(self._pipe)
        self._library = library
        library.labeler("slow", extractor="word_lengths", log=str(self._pipe))
        self._thread = threading.Thread(target=library.collection("slow").extract)

    def __enter__(self) -> Self:
        put(self._library, "long", bucket="slow")
        self._thread.start()
        assert ended(lambda: held(self._library)["long"] is not None)
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join()

    def go_on(self) -> None:
        """Read what the extractor writes, for which it waits."""
        self._pipe.read_text("utf-8")


class TestLeases:
    """Who holds work, and when it is free again."""

    @pytest.mark.parametrize("skew_s", [-86_400, 0, 86_400])
    def test_they_rest_on_the_clock_of_the_database(
        self, library: lookalike.Library, url: str, skew_s: float
    ) -> None:
        put(library, "a", "b")
        with lookalike.open(url, clock=lambda: time.time() + skew_s) as skewed:
            hold_elsewhere(library, 30)
            skewed.collection("texts").extract()
            assert set(held(library).values()) == {ELSEWHERE}, "it was another's"

            hold_elsewhere(library, -0.001)
            skewed.collection("texts").extract()
            assert held(library) == {}, "the other's lease had run out"
        assert len(library.collection("texts")) == 2

    def test_who_claims_waits_neither_for_a_writer_nor_for_another_who_claims(
        self, library: lookalike.Library, url: str
    ) -> None:
        put(library, "a", "b")
        table = schema.extraction
        first = select(table.c.object_pk).order_by(table.c.object_pk).limit(1)
        with library.runtime.store.write(), library.runtime.store.claim() as one:
            taken = one.rows(first.with_for_update(skip_locked=True))
            with lookalike.open(url) as other, other.runtime.store.claim() as two:
                also = two.rows(first.with_for_update(skip_locked=True))

        assert len(taken) == len(also) == 1
        assert taken != also

    def test_one_that_was_lost_lets_nothing_be_written(
        self, library: lookalike.Library, tmp_path: Path
    ) -> None:
        """While it extracts, another takes over: that one's work counts."""
        with Slow(library, tmp_path) as slow:
            hold_elsewhere(library, 30)
            slow.go_on()

        assert held(library) == {"long": ELSEWHERE}
        assert len(library.collection("slow")) == 0

    def test_it_is_renewed_while_one_content_takes_long(
        self, library: lookalike.Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leases, "_RENEW_S", 0.05)

        def end_of_lease() -> float:
            with library.runtime.store.read() as snapshot:
                (row,) = snapshot.rows(select(schema.extraction.c.expires_at))
                return float(row.expires_at)

        with Slow(library, tmp_path) as slow:
            first = end_of_lease()
            assert ended(lambda: end_of_lease() > first)
            slow.go_on()
        assert len(library.collection("slow")) == 1

    def test_what_a_heartbeat_cannot_do_once_it_does_later(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leases, "_RENEW_S", 0.01)
        calls = []

        def renew() -> None:
            calls.append(1)
            if len(calls) == 1:
                raise StoreTooNew("not now")

        with Heartbeat(renew):
            assert ended(lambda: len(calls) > 2)

    def test_only_a_process_that_is_seen_from_here_is_known_to_have_died(self) -> None:
        mine = new_owner()
        machine, pid, started, number = mine.split("/")

        assert not has_died(mine)
        assert has_died(f"{machine}/{pid}/{int(started or 0) + 1}/{number}")
        assert not has_died(f"another{machine}/{pid}/1/{number}"), "the same pid elsewhere"
        assert not has_died(f"/{pid}/1/{number}"), "nobody knows where"
        leases.end(mine)
        assert has_died(mine), "it has ended, whatever it could not give back"


class TestOpening:
    """Processes that start together."""

    def test_several_that_open_an_empty_database_at_once_make_one_store(
        self, tmp_path: Path
    ) -> None:
        with database() as empty, ThreadPoolExecutor(4) as pool:
            address = address_of(empty)
            stores = list(pool.map(lambda _: PostgresStore(address, tmp_path), range(4)))

            assert len({store.root for store in stores}) == 1
            for store in stores:
                with store.write() as txn:
                    txn.insert_one(schema.upload, **UPLOAD, id=str(id(store)))
            with stores[0].read() as snapshot:
                assert len(snapshot.rows(select(schema.upload))) == 4
            for store in stores:
                store.close()


class TestTasks:
    """Work that was asked for is done by one worker."""

    def test_each_is_taken_once_and_ended_by_who_holds_it(self, library: lookalike.Library) -> None:
        store = library.runtime.store
        clocks = [lambda: time.time() + 1e6, lambda: time.time() - 1e6]
        with store.write() as txn:
            for _ in range(2):
                request_task(txn, "default", TaskKind.EXTRACT, {"collection": "texts"}, at=1.0)

        ours, theirs = (
            claim_task(store, owner, clock)
            for owner, clock in zip((new_owner(), ELSEWHERE), clocks, strict=True)
        )
        none = claim_task(store, "third~boot~pid:[2]/1/1/01K", clocks[0])

        assert ours is not None
        assert theirs is not None
        assert ours.id != theirs.id
        assert none is None
        assert not end_task(store, theirs, new_owner(), at=2.0, result={}, error=None)
        assert end_task(store, theirs, ELSEWHERE, at=2.0, result={}, error=None)

    def test_one_is_kept_for_as_long_as_it_takes(self, library: lookalike.Library) -> None:
        store, now = library.runtime.store, time.time
        with store.write() as txn:
            request_task(txn, "default", TaskKind.EXTRACT, {"collection": "texts"}, at=1.0)
        task = claim_task(store, ELSEWHERE, now)
        assert task is not None
        with store.write() as txn:
            txn.execute(update(schema.task).values(expires_at=(txn.time_s() or 0) - 1))

        renew_task(store, task, ELSEWHERE, now)

        with store.read() as snapshot:
            (row,) = snapshot.rows(select(schema.task.c.expires_at))
            assert 0 < row.expires_at - (snapshot.time_s() or 0) <= LEASE_S
        assert claim_task(store, new_owner(), now) is None

    def test_what_was_done_before_its_worker_died_is_not_done_again(
        self, library: lookalike.Library
    ) -> None:
        """A worker is killed after a decision is stored and before the task is said to be done."""
        texts, store = library.collection("texts"), library.runtime.store
        spec = {"collection": "texts", "collection_pk": texts._row.pk, "actor": "ann"}
        spec["runs"] = [{"confidence_threshold": 0.5}]
        with store.write() as txn:
            request_task(txn, "default", TaskKind.DECIDE, spec, at=1.0)
        with store.read() as snapshot:
            (task,) = tasks(snapshot, "default", limit=2)
        Worker(library.runtime).work()
        before = texts.operations()
        with store.write() as txn:
            lost = {"status": Status.PROCESSING, "owner": ELSEWHERE, "expires_at": 1.0}
            txn.execute(update(schema.task).values(**lost, result=None))

        Worker(library.runtime).work()

        with store.read() as snapshot:
            done = task_of(snapshot, task.id)
        assert done.status == Status.COMPLETED
        assert done.result["operations"] == [before[0].id]
        assert texts.operations() == before


class TestAlarms:
    """Each worker has a watch over alarms."""

    def test_two_watches_whose_clocks_differ_send_a_webhook_once(
        self, url: str, tmp_path: Path
    ) -> None:
        known = {"WEBHOOK_SECRET": "only-known-to-both", "FETCH_ALLOW": "127.0.0.1"}
        known |= {"CACHE": str(tmp_path / "derived")}
        settings = read_settings({f"LOOKALIKE_{name}": value for name, value in known.items()})
        day_s = 86_400
        with (
            receiving() as receiver,
            lookalike.open(url, settings=settings, clock=lambda: time.time() + day_s) as one,
            lookalike.open(url, settings=settings, clock=lambda: time.time() - day_s) as two,
        ):
            things = one.labeler("things", extractor="passthrough", confidence_threshold=0.8)
            things.add(vectors=np.eye(4), ids=list("abcd"))
            things.watch(coverage=(0.5, None), webhook=receiver.url)
            receiver.may_answer.clear()
            first = threading.Thread(target=watch_of(one.runtime).check)
            first.start()
            assert ended(lambda: len(receiver.got) == 1)

            watch_of(two.runtime).check()  # while the receiver has not answered
            receiver.may_answer.set()
            first.join()
            watch_of(two.runtime).check()

            assert receiver.types == ["alarm.raised"]
            ((headers, _),) = receiver.got
            assert abs(int(headers["webhook-timestamp"]) - time.time()) < day_s / 2


class TestNews:
    """Commits are told to all processes."""

    def test_a_commit_of_another_is_told(self, library: lookalike.Library, url: str) -> None:
        told = threading.Event()
        with lookalike.open(url) as other:
            following = other.runtime.store.follow(told.set)
            assert following is not None
            assert ended(lambda: following.is_live)
            told.clear()

            put(library, "a")

            assert told.wait(90)
            following.stop()

    def test_a_connection_that_is_lost_is_made_again(
        self, library: lookalike.Library, url: str
    ) -> None:
        """Whoever follows looks once more then: something may have been missed."""
        told = threading.Event()
        with lookalike.open(url) as other:
            following = other.runtime.store.follow(told.set)
            assert following is not None
            assert ended(lambda: following.is_live)
            told.clear()

            with psycopg.connect(url, autocommit=True) as connection:
                end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ %s"
                connection.execute(end, ("^LISTEN",))

            assert told.wait(90)
            assert ended(lambda: following.is_live)
            told.clear()
            put(library, "a")
            assert told.wait(90)

    def test_new_work_wakes_a_worker_that_would_sleep(
        self, library: lookalike.Library, url: str
    ) -> None:
        with lookalike.open(url) as other:
            worker = Worker(other.runtime, poll_s=3600)
            worker.start()

            put(library, "a")

            assert ended(lambda: len(library.collection("texts")) == 1)
            worker.stop()
