"""The contract of stores as a pytest class: subclass it and give three fixtures.

class TestMine(StoreContract):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: MyStore(tmp_path)     # the same place every time

    @pytest.fixture
    def bytes_kept(self, tmp_path):
        return lambda: ...                   # all bytes that the store has on disk

    @pytest.fixture
    def lose_vectors(self, tmp_path):
        return lambda: ...                   # damage: delete vectors without the store
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from lookalike.classifier.graph.search import NO_ID, NO_SIMILARITY, Floats, Ids
from lookalike.errors import NotFound
from lookalike.stores import schema
from lookalike.stores.base import Cells, Snapshot, Store, StoredSpace, Txn, cells_of, stored_space

DIMENSION = 16
Vectors = NDArray[np.float16]


class StoreContract:
    """The tests that every store must pass. Override the three fixtures."""

    @pytest.fixture
    def open_store(self) -> Callable[[], Store]:
        """Return a function that opens the store: each call gives a new handle on the same one."""
        raise NotImplementedError("override the fixture `open_store`")

    @pytest.fixture
    def bytes_kept(self) -> Callable[[], bytes]:
        """Return a function that reads all bytes that the store has on disk."""
        raise NotImplementedError("override the fixture `bytes_kept`")

    @pytest.fixture
    def lose_vectors(self) -> Callable[[], None]:
        """Return a function that deletes stored vectors, as a damaged disk does."""
        raise NotImplementedError("override the fixture `lose_vectors`")

    @pytest.fixture
    def store(self, open_store: Callable[[], Store]) -> Iterator[Store]:
        """Return an empty store."""
        store = open_store()
        yield store
        store.close()

    @pytest.fixture
    def other(self, open_store: Callable[[], Store]) -> Iterator[Store]:
        """Return another handle on the same store, like that of another process."""
        other = open_store()
        yield other
        other.close()

    # --- snapshots ------------------------------------------------------------------------------

    def test_a_snapshot_does_not_see_what_commits_after_it_began(
        self, store: Store, other: Store
    ) -> None:
        """This holds for rows, vectors and searches, and commits of this handle and another."""
        space, pks, vectors = filled(store, unit(4))

        with store.read() as snapshot:
            for writer in (store, other):
                with writer.write() as txn:
                    more = add_documents(txn, space, unit(3, seed=9))
                    txn.append_vectors(space, pks[:1], unit(1, seed=8))
                    txn.execute(delete(schema.document).where(schema.document.c.pk == int(pks[3])))
                    txn.execute(update(schema.space).values(name="another"))

                assert len(snapshot.rows(select(schema.document))) == 4
                assert [row.name for row in snapshot.rows(select(schema.space))] == ["test"]
                assert np.array_equal(snapshot.vectors(space, pks), vectors)
                assert snapshot.above(space, vectors[0], -2)[0].tolist() == pks.tolist()
                assert snapshot.slots(space)[1].tolist() == pks.tolist()
                with pytest.raises(NotFound):
                    snapshot.vectors(space, more)

    def test_a_snapshot_that_begins_after_a_commit_sees_it(
        self, store: Store, other: Store
    ) -> None:
        """The next snapshot of any handle sees what one handle has committed."""
        with other.read() as snapshot:
            assert snapshot.rows(select(schema.document)) == []

        space, pks, vectors = filled(store, unit(4))

        with other.read() as snapshot:
            assert np.array_equal(snapshot.vectors(space, pks), vectors)

    def test_each_of_two_open_snapshots_keeps_its_own_state(self, store: Store) -> None:
        """An older snapshot does not change when a newer one begins."""
        set_value(store, "0")
        with store.read() as older:
            set_value(store, "1")
            with store.read() as newer:
                set_value(store, "2")

                assert (value_in(older), value_in(newer)) == ("0", "1")

    def test_a_transaction_sees_what_it_has_written(self, store: Store) -> None:
        """Rows and vectors can be read back before the commit."""
        with store.write() as txn:
            space = make_space(txn)
            pks = add_documents(txn, space, unit(3))

            assert len(txn.rows(select(schema.document))) == 3
            assert np.array_equal(txn.vectors(space, pks), unit(3))
            assert txn.above(space, unit(3)[1], 0.999)[0].tolist() == [pks[1]]

    # --- transactions ---------------------------------------------------------------------------

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
    def test_an_exception_inside_leaves_nothing(
        self, store: Store, error: type[BaseException]
    ) -> None:
        """Rows and vectors are as before, whether new, replaced or erased."""
        space, pks, vectors = filled(store, unit(4))

        with pytest.raises(error), store.write() as txn:
            add_documents(txn, space, unit(3, seed=1))
            txn.append_vectors(space, pks[:2], unit(2, seed=2))
            txn.erase_vectors(space, pks[2:3])
            txn.execute(delete(schema.document).where(schema.document.c.pk == int(pks[3])))
            txn.upsert(schema.meta, [{"key": "test", "value": "never"}])
            raise error

        with store.read() as snapshot:
            assert [row.pk for row in snapshot.rows(select(schema.document))] == pks.tolist()
            assert np.array_equal(snapshot.vectors(space, pks), vectors)
            assert snapshot.above(space, vectors[0], -2)[0].tolist() == pks.tolist()
            assert value_in(snapshot) is None
        assert store.check() == []

    def test_a_transaction_after_a_failed_one_is_stored_correctly(self, store: Store) -> None:
        """Vectors of the failed transaction do not appear among later ones."""
        space, pks, vectors = filled(store, unit(4))
        with pytest.raises(ValueError), store.write() as txn:
            add_documents(txn, space, unit(5, seed=1))
            raise ValueError

        with store.write() as txn:
            more = add_documents(txn, space, unit(3, seed=2))

        with store.read() as snapshot:
            expected = np.concatenate([vectors, unit(3, seed=2)])
            both = np.concatenate([pks, more])
            assert np.array_equal(snapshot.vectors(space, both), expected)
            for query in expected:
                found, _ = snapshot.above(space, query, 0.999)
                assert found.tolist() == above(expected, both, query, 0.999)[0].tolist()

    def test_a_refused_row_rolls_back_the_whole_transaction(self, store: Store) -> None:
        """A duplicate primary key is an error, and nothing of the block is stored."""
        set_value(store, "before")

        with pytest.raises(IntegrityError), store.write() as txn:
            txn.insert_one(schema.resource, **resource("a"))
            txn.insert(schema.meta, [{"key": "test", "value": "again"}])

        with store.read() as snapshot:
            assert value_in(snapshot) == "before"
            assert snapshot.rows(select(schema.resource)) == []

    def test_commits_are_there_when_the_store_is_opened_again(
        self, open_store: Callable[[], Store], store: Store
    ) -> None:
        """Rows and vectors outlive the handle that wrote them."""
        space, pks, vectors = filled(store, unit(4))
        store.close()

        again = open_store()

        with again.read() as snapshot:
            assert len(snapshot.rows(select(schema.document))) == 4
            assert np.array_equal(snapshot.vectors(space, pks), vectors)
        again.close()

    def test_writers_take_turns(self, store: Store, other: Store) -> None:
        """No addition of four threads on two handles is lost."""
        set_value(store, "0")

        def add(writer: Store) -> None:
            for _ in range(10):
                with writer.write() as txn:
                    value = int(value_in(txn) or 0) + 1
                    txn.upsert(schema.meta, [{"key": "test", "value": str(value)}])

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(add, [store, other, store, other]))

        with store.read() as snapshot:
            assert value_in(snapshot) == "40"

    def test_concurrent_writers_do_not_mix_vectors(self, store: Store, other: Store) -> None:
        """All vectors that threads and handles append are stored, each with its document."""
        with store.write() as txn:
            space = make_space(txn)

        def append(seed: int) -> list[tuple[Ids, Vectors]]:
            written = []
            for step in range(5):
                vectors = unit(3, seed=100 * seed + step)
                with (store, other)[seed % 2].write() as txn:
                    written.append((add_documents(txn, space, vectors), vectors))
            return written

        with ThreadPoolExecutor(4) as threads:
            written = [pair for pairs in threads.map(append, range(4)) for pair in pairs]

        with store.read() as snapshot:
            assert len(snapshot.slots(space)[0]) == 60
            for pks, vectors in written:
                assert np.array_equal(snapshot.vectors(space, pks), vectors)

    def test_a_claimed_row_is_not_claimed_again(self, store: Store, other: Store) -> None:
        """A claim is stored like any write, and does not block the next writer."""
        table = schema.extraction
        with store.write() as txn:
            rows = [{"collection_pk": 1, "object_pk": pk, "status": "PENDING"} for pk in (1, 2)]
            txn.insert(table, rows)
        free = select(table.c.object_pk).where(table.c.status == "PENDING")
        chosen = free.order_by(table.c.object_pk).limit(1).with_for_update(skip_locked=True)

        found = []
        for handle in (store, other, store):
            with handle.claim() as txn:
                pks = [row.object_pk for row in txn.rows(chosen)]
                rows = [{"collection_pk": 1, "object_pk": pk, "status": "PROCESSING"} for pk in pks]
                txn.update(table, rows)
            found.append(pks)

        assert found == [[1], [2], []]

    def test_all_handles_use_one_clock(self, store: Store, other: Store) -> None:
        """It is the clock of the database, also inside a transaction, or that of this machine."""
        with store.read() as snapshot:
            first = snapshot.time_s()
            with other.write() as txn:
                second = txn.time_s()
            third = snapshot.time_s()

        assert (first is None) == (second is None) == (third is None)
        assert (first or 0) <= (second or 0) <= (third or 0)

    def test_a_follower_is_notified_of_commits(self, store: Store, other: Store) -> None:
        """This holds if the store can notify, until the follower stops."""
        notified = threading.Event()
        following = store.follow(notified.set)
        if following is None:
            return
        assert notified.wait(30), "the follower is notified once at the start"
        notified.clear()

        set_value(other, "new")

        assert notified.wait(30)
        assert following.is_live
        following.stop()
        following.stop()

    def test_a_writer_does_not_block_a_reader(self, store: Store) -> None:
        """While a transaction is open, another thread reads the state before it."""
        set_value(store, "before")
        seen: list[str | None] = []

        def read_value() -> None:
            with store.read() as snapshot:
                seen.append(value_in(snapshot))

        with store.write() as txn:
            txn.upsert(schema.meta, [{"key": "test", "value": "after"}])
            thread = threading.Thread(target=read_value)
            thread.start()
            thread.join(timeout=10)

        assert seen == ["before"]

    # --- statements -----------------------------------------------------------------------------

    def test_rows_come_back_as_they_were_written(self, store: Store) -> None:
        """Text, numbers, bytes, nulls and JSON are equal, with any characters."""
        spec = {"a": [1, 2.5, None, True], "ü": {"": "\U0001f600'\"%(x)s:y?"}}
        row = {**event(3, label='Ö "x" > %s :p'), "detail": spec, "origin": None}

        with store.write() as txn:
            txn.insert(schema.event, [row])
            txn.insert(schema.standing, [standing(1, 2**40)])
            txn.insert_one(
                schema.document,
                collection_pk=1,
                object_pk=1,
                part="",
                id="x",
                file_name="",
                sha256=bytes(range(256)),
                metadata=spec,
                attributes={},
            )

        with store.read() as snapshot:
            (found,) = snapshot.rows(select(schema.event))
            (stored,) = snapshot.rows(select(schema.standing))
            (document,) = snapshot.rows(select(schema.document))
        assert found._asdict() == {**row, "seq": found.seq}
        assert (document.sha256, document.metadata) == (bytes(range(256)), spec)
        assert stored.document_pk == 2**40
        assert (stored.votes, stored.label, stored.confidence) == (False, None, 0.125)

    def test_inserting_nothing_does_nothing(self, store: Store) -> None:
        """Every method for many rows accepts an empty list."""
        with store.write() as txn:
            space = make_space(txn)
            nobody = np.empty(0, np.int64)

            txn.insert(schema.event, [])
            txn.upsert(schema.meta, [])
            txn.update(schema.meta, [])
            txn.append_vectors(space, nobody, np.empty((0, DIMENSION), np.float16))
            txn.erase_vectors(space, nobody)

            assert txn.insert_returning(schema.document, []) == []
            assert txn.rows(select(schema.event)) == []
            assert txn.slots(space)[0].tolist() == []

    def test_insert_returning_gives_rising_pks_in_the_order_of_the_rows(self, store: Store) -> None:
        """The pk at an index is that of the row at that index; single inserts continue from it."""
        with store.write() as txn:
            first = txn.insert_one(schema.resource, **resource("first"))
            names = [f"name {number}" for number in (5, 3, 9, 1)]

            pks = txn.insert_returning(schema.resource, [resource(name) for name in names])

            last = txn.insert_one(schema.resource, **resource("last"))
            rows = txn.rows(select(schema.resource.c.pk, schema.resource.c.name))
            stored = {row.pk: row.name for row in rows}
            assert [first, *pks, last] == sorted({first, *pks, last})
            assert [stored[pk] for pk in (first, *pks, last)] == ["first", *names, "last"]

    def test_a_pk_is_never_given_twice(self, open_store: Callable[[], Store], store: Store) -> None:
        """This holds after removing the newest row or all rows, and in another process."""
        given: list[int] = []
        for _ in range(2):
            with store.write() as txn:
                given.append(txn.insert_one(schema.resource, **resource("a")))
                given += txn.insert_returning(schema.resource, [resource("b"), resource("c")])
            with store.write() as txn:
                assert txn.execute(delete(schema.resource)) == 3
        store.close()

        again = open_store()
        with again.write() as txn:
            given += txn.insert_returning(schema.resource, [resource("d")])
            given.append(txn.insert_one(schema.resource, **resource("e")))
        again.close()

        assert given == sorted(set(given))

    def test_upsert_replaces_rows_with_the_same_key(self, store: Store) -> None:
        """It inserts new keys, changes the given columns of known ones, and keeps other rows."""
        with store.write() as txn:
            txn.insert(schema.standing, [standing(1, 1, label="a"), standing(1, 2, label="b")])

            txn.upsert(schema.standing, [standing(1, 2, label="B"), standing(2, 1, label="c")])

            assert labels_in(txn) == {(1, 1): "a", (1, 2): "B", (2, 1): "c"}

    def test_upsert_keeps_columns_that_are_not_given(self, store: Store) -> None:
        """A row that is upserted as pending keeps its owner."""
        row = {"collection_pk": 1, "object_pk": 2, "status": "PROCESSING", "owner": "me"}
        with store.write() as txn:
            txn.insert(schema.extraction, [row])

            again = {"collection_pk": 1, "object_pk": 2, "status": "PENDING"}
            txn.upsert(schema.extraction, [again])

            (stored,) = txn.rows(select(schema.extraction))
            assert (stored.status, stored.owner) == ("PENDING", "me")

    def test_upsert_into_a_table_of_only_key_columns_inserts_once(self, store: Store) -> None:
        """Upserting the same row again changes nothing and is not an error."""
        rows = [{"field_pk": 1, "document_pk": 1, "label": label} for label in "ab"]
        with store.write() as txn:
            txn.upsert(schema.rejection, rows[:1])

            txn.upsert(schema.rejection, rows)

            assert len(txn.rows(select(schema.rejection))) == 2

    def test_update_changes_the_named_columns_of_the_named_rows(self, store: Store) -> None:
        """Each mapping changes its row; other rows and columns stay; a missing row is ignored."""
        with store.write() as txn:
            txn.insert(schema.standing, [standing(1, pk, label="old") for pk in (1, 2, 3)])

            changes = [(1, 1, "one"), (1, 3, None), (2, 2, "nobody")]
            txn.update(
                schema.standing,
                [
                    {"field_pk": field_pk, "document_pk": pk, "label": label}
                    for field_pk, pk, label in changes
                ],
            )

            assert labels_in(txn) == {(1, 1): "one", (1, 2): "old", (1, 3): None}
            assert {row.confidence for row in txn.rows(select(schema.standing))} == {0.125}

    def test_columns_can_be_written_and_read(self, store: Store) -> None:
        """`tuples` and `numbers` read them; empty columns write nothing."""
        table = schema.standing
        with store.write() as txn:
            txn.insert_cells(table, cells_of([standing(1, pk, label="old") for pk in (1, 2, 3)]))
            changed: Cells = {"field_pk": [1, 1], "document_pk": [3, 1], "label": ["new", None]}
            txn.update_cells(table, changed)
            for write in (txn.insert_cells, txn.update_cells):
                write(table, {})
                write(table, {name: [] for name in changed})

            assert labels_in(txn) == {(1, 1): None, (1, 2): "old", (1, 3): "new"}
            named = select(table.c.document_pk, table.c.label).order_by(table.c.document_pk)
            assert txn.tuples(named) == [(1, None), (2, "old"), (3, "new")]
            pks = select(table.c.document_pk, table.c.field_pk).order_by(table.c.document_pk)
            assert txn.numbers(pks).tolist() == [[1, 1], [2, 1], [3, 1]]
            assert txn.numbers(pks.where(table.c.label == "other")).shape == (0, 2)

    def test_execute_returns_the_number_of_changed_rows(self, store: Store) -> None:
        """This holds for updates and deletions; it is 0 for none."""
        table = schema.standing
        with store.write() as txn:
            txn.insert(table, [standing(1, pk) for pk in range(5)])

            assert txn.execute(update(table).where(table.c.document_pk < 3).values(label="x")) == 3
            assert txn.execute(delete(table).where(table.c.label == "x")) == 3
            assert txn.execute(delete(table).where(table.c.label == "x")) == 0

    def test_many_rows_at_once(self, store: Store) -> None:
        """A transaction writes tens of thousands of rows and vectors, and selects by all pks."""
        vectors = np.tile(unit(500), (80, 1))
        with store.write() as txn:
            space = make_space(txn)
            pks = add_documents(txn, space, vectors)
            odd = pks[1::2]

            txn.erase_vectors(space, odd)

            assert len(txn.slots(space)[0]) == len(pks) - len(odd)
            assert np.array_equal(txn.vectors(space, pks[::2]), vectors[::2])
            assert txn.rows(select(func.count().label("n")).select_from(schema.document))[0].n == (
                len(pks)
            )

    # --- vectors --------------------------------------------------------------------------------

    def test_vectors_come_back_in_the_requested_order(self, store: Store) -> None:
        """They are float16, equal to the bit, in any order and selection, also one twice."""
        vectors = unit(20)
        space, pks, _ = filled(store, vectors)

        with store.read() as snapshot:
            for places in ([3], [7, 2, 19, 0], [5, 5, 1], [], list(range(20))[::-1]):
                found = snapshot.vectors(space, pks[places])

                assert found.dtype == np.float16
                assert found.shape == (len(places), DIMENSION)
                assert np.array_equal(found, vectors[places])

    def test_a_document_without_a_vector_is_named(self, store: Store) -> None:
        """NotFound names the document and the space."""
        space, pks, _ = filled(store, unit(2))

        with store.read() as snapshot, pytest.raises(NotFound) as caught:
            snapshot.vectors(space, np.append(pks, 987_654))

        assert "987654" in str(caught.value)
        assert space.name in str(caught.value)

    def test_a_new_vector_replaces_the_old_one(self, store: Store) -> None:
        """Every search finds only the new vector of the document."""
        vectors = unit(5)
        space, pks, _ = filled(store, vectors)
        vectors[[1, 4]] = unit(2, seed=7)

        with store.write() as txn:
            txn.append_vectors(space, pks[[4, 1]], vectors[[4, 1]])

        with store.read() as snapshot:
            assert np.array_equal(snapshot.vectors(space, pks), vectors)
            assert sorted(snapshot.slots(space)[1].tolist()) == pks.tolist()
            for query in vectors:
                assert_same(snapshot.above(space, query, -1), above(vectors, pks, query, -1))

    def test_spaces_are_independent(self, store: Store) -> None:
        """A document has one vector in each space, of that space's dimension."""
        with store.write() as txn:
            one, two = make_space(txn, "one"), make_space(txn, "two", dimension=3)
            pks = add_documents(txn, one, unit(4))
            txn.append_vectors(two, pks[:2], unit(2, dimension=3))

        with store.write() as txn:
            txn.erase_vectors(one, pks[:1])

        with store.read() as snapshot:
            assert np.array_equal(snapshot.vectors(two, pks[:2]), unit(2, dimension=3))
            assert np.array_equal(snapshot.vectors(one, pks[1:]), unit(4)[1:])
            assert snapshot.above(two, unit(2, dimension=3)[0], -2)[0].tolist() == pks[:2].tolist()

    def test_slots_name_every_document_with_a_vector_once(self, store: Store) -> None:
        """Slots are ascending, one for each document, also after replacing and erasing."""
        space, pks, _ = filled(store, unit(6))
        with store.write() as txn:
            txn.append_vectors(space, pks[2:3], unit(1, seed=5))
            txn.erase_vectors(space, pks[:1])

        with store.read() as snapshot:
            slots, owners = snapshot.slots(space)

        assert slots.dtype == owners.dtype == np.int64
        assert slots.tolist() == sorted(set(slots.tolist()))
        assert sorted(owners.tolist()) == pks[1:].tolist()

    # --- search ---------------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", ["random", "clustered", "tied"])
    def test_nearest_equals_brute_force(self, store: Store, kind: str) -> None:
        """Pks and similarities are equal to the digit; the lower pk wins a tie."""
        vectors = KINDS[kind](60)
        space, pks, _ = filled(store, vectors)
        chance = np.random.default_rng(0)

        with store.read() as snapshot:
            for count, k in ((60, 5), (7, 7), (3, 10), (1, 2), (60, 60)):
                among = np.sort(chance.choice(pks, count, replace=False))
                rows = vectors[np.searchsorted(pks, among)]

                found = snapshot.nearest(space, vectors[:9], k, among)

                assert_same(found, nearest(vectors[:9], rows, among, k))

    def test_nearest_without_candidates_and_without_queries(self, store: Store) -> None:
        """Empty entries are NO_ID and NO_SIMILARITY; no queries give no rows."""
        space, pks, vectors = filled(store, unit(4))

        with store.read() as snapshot:
            ids, values = snapshot.nearest(space, vectors[:2], 3, pks[:0])
            none, _ = snapshot.nearest(space, vectors[:0], 3, pks)

        assert ids.tolist() == [[NO_ID] * 3] * 2
        assert values.tolist() == [[NO_SIMILARITY] * 3] * 2
        assert none.shape == (0, 3)

    @pytest.mark.parametrize("kind", ["random", "clustered", "tied"])
    def test_above_equals_brute_force(self, store: Store, kind: str) -> None:
        """It returns every document at or above the floor, by ascending pk."""
        vectors = KINDS[kind](80)
        space, pks, _ = filled(store, vectors)
        with store.write() as txn:
            txn.append_vectors(space, pks[[3, 50]], vectors[[3, 50]])

        with store.read() as snapshot:
            for query in vectors[:6]:
                exact = similarities(query, vectors)
                for floor in (-2.0, 0.0, float(np.sort(exact)[40]), float(exact[0]), 1.5):
                    found = snapshot.above(space, query, floor)

                    assert_same(found, above(vectors, pks, query, floor))

    def test_above_in_an_empty_space_finds_nothing(self, store: Store) -> None:
        """A space without vectors, or with all of them erased, has no document above any floor."""
        with store.write() as txn:
            space = make_space(txn)
        with store.read() as snapshot:
            empty = snapshot.above(space, unit(1)[0], -2)
        with store.write() as txn:
            txn.erase_vectors(space, add_documents(txn, space, unit(2)))
        with store.read() as snapshot:
            erased = snapshot.above(space, unit(1)[0], -2)

        assert [len(part) for part in (*empty, *erased)] == [0, 0, 0, 0]

    @pytest.mark.parametrize("kind", ["random", "clustered", "tied"])
    def test_above_floors_equals_brute_force(self, store: Store, kind: str) -> None:
        """Each slot has its own floor; +inf excludes a slot, −2 includes it."""
        vectors = KINDS[kind](80)
        space, pks, _ = filled(store, vectors)
        chance = np.random.default_rng(1)

        with store.read() as snapshot:
            slots, owners = snapshot.slots(space)
            rows = vectors[np.searchsorted(pks, owners)]
            for query in vectors[:6]:
                exact = similarities(query, rows)
                choice = chance.choice(4, len(slots))
                floors = np.full(int(slots[-1]) + 1, np.inf, np.float32)
                floors[slots] = np.choose(choice, [exact, exact + 1, np.inf, -2])

                found, values = snapshot.above_floors(space, query, floors)

                expected = np.flatnonzero(exact >= floors[slots])
                order = np.argsort(found)
                assert found[order].tolist() == slots[expected].tolist()
                assert values[order].tolist() == exact[expected].tolist()

    # --- erasing --------------------------------------------------------------------------------

    def test_erased_vectors_are_gone_and_the_others_stay(self, store: Store) -> None:
        """No search finds the erased vectors."""
        space, pks, vectors = filled(store, unit(6))
        gone, kept = [0, 3, 5], [1, 2, 4]

        with store.write() as txn:
            txn.erase_vectors(space, pks[gone])

        with store.read() as snapshot:
            for pk in pks[gone]:
                with pytest.raises(NotFound):
                    snapshot.vectors(space, np.array([pk]))
            assert np.array_equal(snapshot.vectors(space, pks[kept]), vectors[kept])
            assert snapshot.above(space, vectors[0], -2)[0].tolist() == pks[kept].tolist()
            assert sorted(snapshot.slots(space)[1].tolist()) == pks[kept].tolist()

    def test_an_erased_document_can_have_a_vector_again(self, store: Store) -> None:
        """Searches find its new vector like any other."""
        space, pks, _ = filled(store, unit(3))
        with store.write() as txn:
            txn.erase_vectors(space, pks)

        with store.write() as txn:
            txn.append_vectors(space, pks, unit(3, seed=4))

        with store.read() as snapshot:
            assert np.array_equal(snapshot.vectors(space, pks), unit(3, seed=4))
            assert snapshot.above(space, unit(3, seed=4)[2], 0.999)[0].tolist() == [pks[2]]
        assert store.check() == []

    def test_erased_bytes_cannot_be_read(
        self, store: Store, bytes_kept: Callable[[], bytes]
    ) -> None:
        """After `tidy` no bytes of erased rows and vectors are left, nor of replaced vectors."""
        old, new = unit(3, seed=1), unit(3, seed=2)
        space, pks, _ = filled(store, old)
        with store.write() as txn:
            txn.append_vectors(space, pks, new)
            txn.upsert(schema.meta, [{"key": "test", "value": "a secret name"}])
        store.tidy()
        kept = bytes_kept()
        assert b"a secret name" in kept
        assert all(vector.tobytes() in kept for vector in new), "the fixture reads what is kept"

        with store.write() as txn:
            txn.erase_vectors(space, pks[:2])
            txn.execute(delete(schema.meta).where(schema.meta.c.key == "test"))
        store.tidy()

        kept = bytes_kept()
        assert not any(vector.tobytes() in kept for vector in (*old, *new[:2]))
        assert new[2].tobytes() in kept
        assert b"a secret name" not in kept

    # --- compaction -----------------------------------------------------------------------------

    def test_compaction_keeps_all_vectors_and_searches(self, store: Store) -> None:
        """Vectors, searches and new vectors are as before; compaction only frees space."""
        vectors = unit(3000, seed=1)
        space, pks = with_a_gap(store, vectors, slice(100, 2900))
        progress: list[tuple[int, int]] = []

        done = store.compact(lambda *so_far: progress.append(so_far))

        kept = np.concatenate([pks[:100], pks[2900:]])
        rows = np.concatenate([vectors[:100], vectors[2900:]])
        assert done.bytes_after < done.bytes_before
        assert progress and progress[-1][0] == progress[-1][1]
        assert store.check() == []
        with store.write() as txn:
            now = space_now(txn, space)
            assert np.array_equal(txn.vectors(now, kept), rows)
            assert txn.above(now, rows[150], 0.999)[0].tolist() == [kept[150]]
            txn.append_vectors(now, pks[500:502], vectors[500:502])
        with store.read() as snapshot:
            now = space_now(snapshot, space)
            assert snapshot.above(now, vectors[501], 0.999)[0].tolist() == [pks[501]]
            assert np.array_equal(snapshot.vectors(now, kept), rows)
        assert store.check() == []

    def test_a_space_from_before_a_compaction_can_still_be_used(self, store: Store) -> None:
        """Reads, writes and erasures with it use the new file, also while the old one exists."""
        vectors, more = unit(60, seed=1), unit(5, seed=4)
        space, pks = with_a_gap(store, vectors, slice(20))
        with store.read() as reader:  # the old file stays for it
            assert len(reader.slots(space)[0]) == 40
            store.compact(lambda *_: None)

            with store.write() as txn:
                txn.append_vectors(space, pks[:5], more)
                txn.erase_vectors(space, pks[30:32])
            with store.read() as snapshot:
                assert np.array_equal(snapshot.vectors(space, pks[:5]), more)
                assert np.array_equal(snapshot.vectors(space, pks[32:]), vectors[32:])
                assert snapshot.above(space, more[3], 0.999)[0].tolist() == [pks[3]]
                assert len(snapshot.above(space, vectors[30], 0.999)[0]) == 0
            assert np.array_equal(reader.vectors(space, pks[20:]), vectors[20:])
        assert store.check() == []

    def test_packed_maps_old_slots_to_new_ones(self, store: Store) -> None:
        """`moved` returns the new slots of old ones, or None if one of them is erased."""
        space, pks, _ = filled(store, unit(10))
        with store.write() as txn:
            before = slots_by_pk(txn, space)
            txn.erase_vectors(space, pks[[0, 4]])
        left = np.delete(pks, [0, 4])

        for packed in store.compact(lambda *_: None).packed:
            old = np.array([before[pk] for pk in left.tolist()])
            moved = packed.moved(old)
            assert moved is not None
            with store.read() as snapshot:
                assert packed.space == space_now(snapshot, space)
                now = slots_by_pk(snapshot, packed.space)
            assert moved.tolist() == [now[pk] for pk in left.tolist()]
            two = packed.moved(np.array([-1, old[3]]))
            assert two is not None and two.tolist() == [-1, moved[3]]
            assert packed.moved(np.array([before[int(pks[4])]])) is None

    def test_a_snapshot_stays_valid_through_a_compaction(self, store: Store) -> None:
        """A snapshot from before sees its rows and vectors; compacting twice is harmless."""
        vectors = unit(40, seed=2)
        space, pks = with_a_gap(store, vectors, slice(10))

        with store.read() as snapshot:
            assert len(snapshot.slots(space)[0]) == 30
            store.compact(lambda *_: None)
            store.compact(lambda *_: None)
            assert np.array_equal(snapshot.vectors(space, pks[10:]), vectors[10:])

        assert store.compact(lambda *_: None).packed == ()
        assert store.check() == []

    # --- checks ---------------------------------------------------------------------------------

    def test_an_intact_store_has_no_problems(self, store: Store) -> None:
        """`check` finds nothing in an empty store, nor after adding, replacing and erasing."""
        assert store.check() == []
        space, pks, _ = filled(store, unit(5))
        assert store.check() == []
        with store.write() as txn:
            txn.append_vectors(space, pks[:2], unit(2, seed=3))
            txn.erase_vectors(space, pks[4:])
        assert store.check() == []

    def test_a_vector_without_its_document_is_reported(self, store: Store) -> None:
        """`check` names the space and the missing document."""
        space, pks, _ = filled(store, unit(4))
        with store.write() as txn:
            txn.execute(delete(schema.document).where(schema.document.c.pk == int(pks[2])))

        (problem,) = store.check()

        assert space.name in problem
        assert f"document {pks[2]}" in problem

    def test_a_vector_that_is_not_of_length_1_is_reported(self, store: Store) -> None:
        """`check` names the space and the length."""
        space, pks, _ = filled(store, unit(4))
        with store.write() as txn:
            txn.append_vectors(space, pks[:1], np.full((1, DIMENSION), 0.5, np.float16))

        (problem,) = store.check()

        assert space.name in problem
        assert "2.0" in problem

    def test_lost_vectors_are_reported(
        self, store: Store, lose_vectors: Callable[[], None]
    ) -> None:
        """`check` reports the missing vectors; it does not raise or crash."""
        filled(store, unit(50))
        assert store.check() == []

        lose_vectors()

        assert store.check() != []

    def test_closing_twice_is_harmless(self, open_store: Callable[[], Store]) -> None:
        """A handle may be closed again, also after another one was opened."""
        store = open_store()
        store.close()
        other = open_store()

        store.close()

        with other.write() as txn:
            txn.insert(schema.meta, [{"key": "test", "value": "1"}])
        other.close()
        other.close()

    def test_the_engine_has_a_version(self, store: Store) -> None:
        """Bug reports need it."""
        assert store.engine_version()[:1].isdigit()


# --- example vectors ----------------------------------------------------------------------------


def unit(count: int, *, seed: int = 0, dimension: int = DIMENSION) -> Vectors:
    """Return random unit vectors."""
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float16)


def clustered(count: int) -> Vectors:
    """Return unit vectors that are all nearly equal."""
    rows = unit(1).astype(np.float64) + 0.02 * unit(count, seed=1)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float16)


def tied(count: int) -> Vectors:
    """Return vectors with many ties: few distinct similarities, and equal vectors."""
    signs = np.random.default_rng(2).choice([-0.25, 0.25], (count // 3, DIMENSION))
    return signs[np.arange(count) % (count // 3)].astype(np.float16)


KINDS: dict[str, Callable[[int], Vectors]] = {
    "random": unit,
    "clustered": clustered,
    "tied": tied,
}


# --- brute force --------------------------------------------------------------------------------


def similarities(query: Vectors, rows: Vectors) -> Floats:
    """Return the exact similarities of a query and rows: exact sums, rounded once."""
    products = rows.astype(np.float64) * query.astype(np.float64)
    return np.array([math.fsum(row) for row in products.tolist()], np.float32)


def above(vectors: Vectors, pks: Ids, query: Vectors, floor: float) -> tuple[Ids, Floats]:
    """Return the pks at or above a floor, ascending, and their similarities."""
    exact = similarities(query, vectors)
    kept = exact >= np.float32(floor)
    return pks[kept], exact[kept]


def nearest(queries: Vectors, rows: Vectors, pks: Ids, k: int) -> tuple[Ids, Floats]:
    """Return the k nearest by descending similarity, then by ascending pk."""
    ids = np.full((len(queries), k), NO_ID, np.int64)
    values = np.full((len(queries), k), NO_SIMILARITY, np.float32)
    for row, query in enumerate(queries):
        exact = similarities(query, rows)
        order = sorted(range(len(rows)), key=lambda index: (-exact[index], pks[index]))[:k]
        ids[row, : len(order)] = pks[order]
        values[row, : len(order)] = exact[order]
    return ids, values


def assert_same(found: tuple[Ids, Floats], expected: tuple[Ids, Floats]) -> None:
    """Assert that pks and similarities are equal to the digit."""
    assert found[0].tolist() == expected[0].tolist()
    assert found[1].dtype == np.float32
    assert found[1].tolist() == expected[1].tolist()


# --- rows ---------------------------------------------------------------------------------------


def filled(store: Store, vectors: Vectors) -> tuple[StoredSpace, Ids, Vectors]:
    """Fill a store with one space of documents; return it, their pks and a copy of the vectors."""
    with store.write() as txn:
        space = make_space(txn)
        pks = add_documents(txn, space, vectors)
    return space, pks, vectors.copy()


def with_a_gap(store: Store, vectors: Vectors, gone: slice) -> tuple[StoredSpace, Ids]:
    """Fill a store with one space, and erase the vectors of some of its documents."""
    space, pks, _ = filled(store, vectors)
    with store.write() as txn:
        txn.erase_vectors(space, pks[gone])
    return space, pks


def make_space(txn: Txn, name: str = "test", *, dimension: int = DIMENSION) -> StoredSpace:
    """Make a space."""
    values = {"collection_pk": 1, "name": name, "dimension": dimension, "generation": 0}
    pk = txn.insert_one(schema.space, **values, next_slot=0)
    return StoredSpace(pk, name, dimension, 0)


def space_now(snapshot: Snapshot, space: StoredSpace) -> StoredSpace:
    """Return a space as a snapshot sees it."""
    (row,) = snapshot.rows(select(schema.space).where(schema.space.c.pk == space.pk))
    return stored_space(row)


def slots_by_pk(snapshot: Snapshot, space: StoredSpace) -> dict[int, int]:
    """Return the slot of each document of a space."""
    slots, pks = snapshot.slots(space)
    return dict(zip(pks.tolist(), slots.tolist(), strict=True))


def add_documents(txn: Txn, space: StoredSpace, vectors: Vectors) -> Ids:
    """Add a document for each vector; return their pks."""
    (newest,) = txn.rows(select(func.max(schema.document.c.pk).label("pk")))
    start = newest.pk or 0
    rows: list[dict[str, Any]] = [
        {
            "collection_pk": 1,
            "object_pk": start + place,
            "part": "",
            "id": f"document {start + place}",
            "file_name": "x",
            "sha256": bytes(32),
            "metadata": {},
            "attributes": {},
        }
        for place in range(len(vectors))
    ]
    pks = np.array(txn.insert_returning(schema.document, rows), np.int64)
    txn.append_vectors(space, pks, vectors)
    return pks


def resource(name: str) -> dict[str, Any]:
    """Return a row of `resource`."""
    return {"namespace": "n", "kind": "bucket", "name": name, "spec": {}, "created_at": 1.5}


def event(document_pk: int, *, label: str) -> dict[str, Any]:
    """Return a row of `event`, without its number."""
    return {
        "operation_pk": 1,
        "kind": "labelled",
        "field_pk": 1,
        "document_pk": document_pk,
        "label": label,
        "origin": "human",
        "detail": None,
    }


def standing(field_pk: int, document_pk: int, *, label: str | None = None) -> dict[str, Any]:
    """Return a row of `standing`."""
    return {
        "field_pk": field_pk,
        "document_pk": document_pk,
        "label": label,
        "votes": False,
        "confidence": 0.125,
        "revision": 1,
    }


def labels_in(snapshot: Snapshot) -> dict[tuple[int, int], str | None]:
    """Return the current labels, by field and document."""
    rows: Sequence[Any] = snapshot.rows(select(schema.standing))
    return {(row.field_pk, row.document_pk): row.label for row in rows}


def set_value(store: Store, value: str) -> None:
    """Commit one small value."""
    with store.write() as txn:
        txn.upsert(schema.meta, [{"key": "test", "value": value}])


def value_in(snapshot: Snapshot) -> str | None:
    """Return the value that `set_value` wrote."""
    rows = snapshot.rows(select(schema.meta).where(schema.meta.c.key == "test"))
    return rows[0].value if rows else None
