"""The map: where documents lie, how it follows a collection, and how it is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import lookalike
from goods import ok, refused
from lookalike import Collection
from lookalike.catalog.embedding_map import (
    Map,
    MapLabel,
    State,
    listed_labels,
    packed,
    scores,
    unpacked,
)
from lookalike.classifier.graph import projection
from lookalike.classifier.graph.neighbours import approximate_neighbours, neighbours
from lookalike.classifier.graph.projection import (
    Layout,
    Phase,
    affinities,
    lay_out,
    optimised,
    shuffled,
)
from lookalike.errors import LookalikeError, NotFound
from serving import Served

Array = NDArray[Any]


def heard(_done: float) -> None:
    """Hear of progress, and do nothing."""


def laid(vectors: Array, pks: Array | None = None) -> Layout:
    """Return the layout of vectors; those of pks are at their places."""
    pks = np.arange(len(vectors)) if pks is None else pks
    half = vectors.astype(np.float16)
    return lay_out(pks, pks, lambda some: half[some], None, heard)


def same_label(places: Array, labels: Array, count: int = 10) -> float:
    """Return which share of each point's nearest `count` has its label."""
    distances = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    near = np.argpartition(distances, count, axis=1)[:, :count]
    return float((labels[near] == labels[:, None]).mean())


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array]:
    data = load_digits()
    return data.data[:1200].astype(np.float32), data.target[:1200]


def kinds(count: int, *, seed: int = 0, of: int = 5) -> Array:
    """Return vectors of a few kinds, number n of kind n modulo `of`."""
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((of, 24))
    return centres[np.arange(count) % of] + 0.4 * chance.standard_normal((count, 24))


class TestLayout:
    def test_look_alikes_lie_together_much_more_than_on_two_principal_components(
        self, digits: tuple[Array, Array]
    ) -> None:
        vectors, labels = digits
        centred = vectors - vectors.mean(axis=0)
        plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T

        places = laid(vectors).places

        assert same_label(plane, labels) < 0.65
        assert same_label(places, labels) > 0.93

    def test_the_same_items_lie_at_the_same_places_in_the_square(
        self, digits: tuple[Array, Array]
    ) -> None:
        vectors, _ = digits

        first, second = laid(vectors[:300]), laid(vectors[:300])

        assert np.array_equal(first.square(), second.square())
        assert first.places.min() >= 0
        assert first.places.max() <= 1
        assert np.ptp(first.places, axis=0).max() == pytest.approx(0.96, abs=1e-4)

    def test_what_comes_later_is_placed_among_its_look_alikes_and_moves_nothing(
        self, digits: tuple[Array, Array]
    ) -> None:
        vectors, labels = digits
        half = vectors.astype(np.float16)
        pks = np.arange(0, 2400, 2)
        before = lay_out(pks[:1000], pks[:1000], lambda some: half[some // 2], None, heard)

        after = before.with_more(pks[1000:], pks[1000:], lambda some: half[some // 2])

        assert np.array_equal(after.places[:1000], before.places)
        distances = ((after.places[1000:, None] - before.places[None]) ** 2).sum(axis=2)
        near = np.argsort(distances, axis=1)[:, :10]
        assert (labels[:1000][near] == labels[1000:, None]).mean() > 0.85
        assert len(after.without(pks[:1000])) == 200

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 13])
    def test_few_items_have_places_too(self, count: int) -> None:
        places = laid(kinds(count)).places

        assert places.shape == (count, 2)
        assert np.isfinite(places).all()

    @settings(max_examples=8, deadline=None)
    @given(
        count=st.integers(4, 40), copies=st.integers(1, 12), dimension=st.sampled_from([1, 2, 40])
    )
    def test_copies_and_narrow_vectors_are_no_trouble(
        self, count: int, copies: int, dimension: int
    ) -> None:
        vectors = np.random.default_rng(count).standard_normal((count, dimension))

        places = laid(np.tile(vectors, (copies, 1))).places

        assert np.isfinite(places).all()
        assert ((places >= 0) & (places <= 1)).all()

    def test_a_large_collection_is_laid_out_in_part_and_the_rest_placed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The limits are lowered: what they part is the same code."""
        for name, limit in {
            "LAID_ITEMS": 1500,
            "_COARSE_ABOVE": 1000,
            "_COARSE_ITEMS": 400,
            "_EXACT_ITEMS": 300,
            "_EXACT_PAIRS": 100_000,
            "_PLACED_BLOCK": 1000,
        }.items():
            monkeypatch.setattr(projection, name, limit)

        made = laid(kinds(3500, of=20))

        assert len(made) == 3500
        assert len(made.anchors) == 1500
        assert same_label(made.places[::2], (np.arange(3500) % 20)[::2]) > 0.95

    def test_who_hears_of_the_progress_can_end_it(self) -> None:
        shares: list[float] = []

        def tell(done: float) -> None:
            shares.append(done)
            if done > 0.3:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            lay_out(
                np.arange(50),
                np.arange(50),
                lambda some: kinds(50).astype(np.float16)[some],
                None,
                tell,
            )

        assert shares == sorted(shares)

    def test_it_is_outgrown_when_a_fifth_came_or_went(self) -> None:
        made, more = laid(kinds(100)), kinds(200).astype(np.float16)

        grown = made.with_more(np.arange(100, 120), np.arange(100, 120), lambda some: more[some])
        outgrown = grown.with_more(
            np.arange(120, 122), np.arange(120, 122), lambda some: more[some]
        )

        assert not made.is_outgrown
        assert not grown.is_outgrown
        assert outgrown.is_outgrown
        assert made.without(np.arange(20)).is_outgrown

    def test_a_first_part_of_the_order_is_a_sample_and_newcomers_leave_it(self) -> None:
        pks = np.arange(10_000)

        order = shuffled(pks)
        without_last = [pk for pk in order.tolist() if pk < 9_900]

        assert 4_500 < np.mean(order[:1000]) < 5_500
        assert without_last == shuffled(pks[:9_900]).tolist()


def test_the_gradient_on_the_grid_is_that_of_all_pairs() -> None:
    """One small step by hand: 4 Σ (ρ p q − q²/Z)(y_i − y_j), against every pair."""
    chance = np.random.default_rng(0)
    vectors = chance.standard_normal((80, 8)).astype(np.float32)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -2)
    near = np.argsort(-cosines, axis=1)[:, :9]
    lists = near.astype(np.int64), np.take_along_axis(cosines, near, axis=1)
    y = chance.standard_normal((80, 2)).astype(np.float32) * 4
    p = affinities(*lists)
    dense = np.zeros((80, 80))
    dense[np.repeat(np.arange(80), p.counts), p.columns] = p.values
    apart = y[:, None] - y[None]
    q = 1 / (1 + (apart**2).sum(axis=2))
    np.fill_diagonal(q, 0)
    gradient = 4 * ((2 * dense * q - q**2 / q.sum())[:, :, None] * apart).sum(axis=1)

    step = optimised(y, p, Phase(1, 2, 0.0, 256)) - (y - y.mean(axis=0))

    # gains grow by 0.2 or shrink to 0.8 in the first step, and the least step size is 50
    expected = -gradient * 50 * np.where(gradient > 0, 1.2, 0.8)
    expected -= expected.mean(axis=0)
    assert dense.sum() == pytest.approx(1, abs=1e-5)
    assert np.abs(step - expected).max() < 0.05 * np.abs(expected).max()


def test_approximate_neighbours_are_nearly_the_nearest() -> None:
    chance = np.random.default_rng(1)
    rows = (chance.standard_normal((3000, 16)) * 300).astype(np.int16)
    queries = (chance.standard_normal((200, 16)) * 300).astype(np.int16)

    near, _ = approximate_neighbours(queries, rows, 5, cells_tried=16)
    exact, _ = neighbours(queries, rows, 5)

    found = [len(set(a) & set(b)) for a, b in zip(near.tolist(), exact.tolist(), strict=True)]
    assert np.mean(found) > 4


class TestWire:
    def test_what_is_unpacked_is_what_was_packed(self) -> None:
        told = Map(
            collection="things",
            field="label",
            ids=("a", "b", "ç"),
            x=np.array([0, 1, 65_535], np.uint16),
            y=np.array([5, 6, 7], np.uint16),
            label=np.array([0, 254, 255], np.uint8),
            state=np.array([1, 2, 0], np.uint8),
            score=np.array([254, 0, 255], np.uint8),
            labels=(MapLabel("Fruit > Äpfel", 1),),
            snapshot="abc",
            made_of=2,
            outgrown=True,
        )

        data = packed(told)
        back = unpacked(data)

        assert int.from_bytes(data[:4], "little") == 3
        assert data[4:10] == bytes([0, 0, 1, 0, 255, 255])
        for name in ("x", "y", "label", "state", "score"):
            assert getattr(back, name).tolist() == getattr(told, name).tolist()
            assert getattr(back, name).dtype == getattr(told, name).dtype
        assert (back.ids, back.labels, back.snapshot) == (told.ids, told.labels, told.snapshot)
        assert (back.made_of, back.outgrown, back.field) == (2, True, "label")

    def test_the_commonest_labels_are_listed_and_the_others_are_one(self) -> None:
        names = [f"kind {n}" for n in range(300)]
        codes = np.array([-1, *range(300), *range(100, 300), 299])

        labels, places = listed_labels(codes, names)

        assert len(labels) == 254
        assert labels[0] == MapLabel("kind 299", 3)
        assert labels[1] == MapLabel("kind 100", 2)
        assert places[0] == 255
        assert places[300] == 0
        assert (places == 254).sum() == 300 - 254

    def test_scores_are_confidences_in_bytes(self) -> None:
        assert scores(np.array([0, 0.5, 1, 1.2, -1, np.nan])).tolist() == [0, 127, 254, 254, 0, 255]


@pytest.fixture
def things(tmp_path: Path) -> Iterator[Collection]:
    with lookalike.open(tmp_path / "store") as library:
        made = library.labeler("things", extractor="passthrough", confidence_threshold=0.6)
        made.add(vectors=kinds(60), ids=[f"v{n}" for n in range(60)])
        made.label({"v0": "zero", "v1": "one", "v2": "two"})
        yield made


class TestCollection:
    def test_the_map_has_every_document_with_its_label_state_and_score(
        self, things: Collection
    ) -> None:
        told = things.map()

        assert sorted(told.ids) == sorted(things.ids())
        states = dict(zip(told.ids, told.state.tolist(), strict=True))
        labels = dict(zip(told.ids, told.label.tolist(), strict=True))
        for document in things.documents():
            own = labels[document.id]
            assert document.label == (None if own == 255 else told.labels[own].name)
        assert states["v0"] == State.GIVEN
        assert states["v5"] == State.AUTO
        assert states["v3"] == State.NULL
        assert sum(one.count for one in told.labels) == 36

    def test_documents_that_come_are_there_at_once_and_what_was_there_stays(
        self, things: Collection
    ) -> None:
        before = things.map()

        things.add(vectors=kinds(70)[60:], ids=[f"v{n}" for n in range(60, 70)])
        after = things.map()

        here = dict(zip(after.ids, zip(after.x, after.y, strict=True), strict=True))
        assert len(after) == 70
        assert all(
            here[id] == (x, y) for id, x, y in zip(before.ids, before.x, before.y, strict=True)
        )
        assert (after.made_of, after.outgrown) == (60, False)
        assert after.snapshot != before.snapshot

    def test_it_is_made_again_when_the_collection_has_grown_by_a_fifth(
        self, things: Collection
    ) -> None:
        things.map()
        told: list[int] = []

        things.add(vectors=kinds(80)[60:], ids=[f"v{n}" for n in range(60, 80)])
        again = things.map(progress=lambda done, _total: told.append(done))

        assert (again.made_of, again.outgrown) == (80, False)
        assert told[-1] == 100
        assert told == sorted(told)

    def test_what_is_forgotten_is_in_no_map_and_in_no_file(
        self, things: Collection, tmp_path: Path
    ) -> None:
        things.map()
        file = next((tmp_path / "store" / "cache").glob("map-*.npz"))
        known = np.load(file)["pks"].tolist()

        things.forget(["v7"])
        kept = np.load(file)

        assert "v7" not in things.map().ids
        assert len(kept["pks"]) == len(kept["anchors"]) == len(kept["reduced"]) == 59
        assert set(kept["pks"].tolist()) < set(known)

    def test_what_is_forgotten_while_it_is_laid_out_is_in_no_file_either(
        self, things: Collection, tmp_path: Path
    ) -> None:
        def forget(done: int, _total: int) -> None:
            if done > 50 and "v7" in things.ids():
                things.forget(["v7"])

        told = things.map(progress=forget)

        file = next((tmp_path / "store" / "cache").glob("map-*.npz"))
        assert "v7" not in told.ids
        assert len(np.load(file)["reduced"]) == 59

    def test_the_file_goes_with_the_collection(self, things: Collection, tmp_path: Path) -> None:
        things.map()

        with lookalike.open(tmp_path / "store") as library:
            library.remove_collection("things")

        assert not list((tmp_path / "store" / "cache").glob("map-*"))

    def test_another_process_goes_on_from_the_file_and_does_without_it(
        self, things: Collection, tmp_path: Path
    ) -> None:
        first = things.map()
        file = next((tmp_path / "store" / "cache").glob("map-*.npz"))

        with lookalike.open(tmp_path / "store") as library:
            second = library.collection("things").map()
        file.write_bytes(b"no archive at all")
        with lookalike.open(tmp_path / "store") as library:
            third = library.collection("things").map()

        for other in (second, third):
            assert other.ids == first.ids
            assert other.x.tolist() == first.x.tolist()
            assert other.y.tolist() == first.y.tolist()

    def test_a_collection_without_documents_has_an_empty_map(self, tmp_path: Path) -> None:
        with lookalike.open(tmp_path / "other") as library:
            made = library.labeler("empty", extractor="passthrough", confidence_threshold=0.6)

            assert len(made.map()) == 0

    def test_an_unknown_field_is_named(self, things: Collection) -> None:
        with pytest.raises(NotFound, match="colour"):
            things.map(field="colour")

    def test_many_threads_make_it_once(self, things: Collection) -> None:
        told: list[float] = []
        threads = [
            threading.Thread(target=lambda: things.map(progress=lambda done, _: told.append(done)))
            for _ in range(4)
        ]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert told.count(100) == 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store: Path = tmp_path_factory.mktemp("map") / "store"
    with lookalike.open(store) as library:
        made = library.labeler("things", extractor="passthrough", confidence_threshold=0.6)
        made.add(vectors=kinds(90), ids=[f"v{n}" for n in range(90)])
        made.label({"v0": "zero", "v1": "one"})
        library.labeler("empty", extractor="passthrough", confidence_threshold=0.6)
    with Served(store) as served:
        yield served


def get_map(client: httpx2.Client, **query: str) -> httpx2.Response:
    """Ask for the map until it is made."""
    end = time.monotonic() + 60
    while (answer := client.get("/v1/collections/things/map", params=query)).status_code == 202:
        assert 0 <= answer.json()["done"] <= 1
        assert time.monotonic() < end
        time.sleep(0.05)
    return answer


class TestServer:
    def test_points_become_documents_and_an_unchanged_map_is_not_sent_again(
        self, server: Served
    ) -> None:
        with httpx2.Client(base_url=server.url, timeout=60) as client:
            answer = get_map(client)
            told = unpacked(answer.content)
            tag = {"if-none-match": answer.headers["etag"]}
            again = client.get("/v1/collections/things/map", headers=tag)
            body = {"snapshot": told.snapshot, "rows": [5, 0, 7], "limit": 2}
            chosen = ok(client.post("/v1/collections/things/map/documents", json=body))
            named = unpacked(get_map(client, ids="true").content)
            patched = client.patch(
                f"/v1/collections/things/documents/{named.ids[0]}",
                json={"metadata": {"label": "new"}},
            )
            after = get_map(client)

        assert len(told) == 90
        assert told.ids == ()
        assert again.status_code == 304
        assert chosen["document_ids"] == [named.ids[place] for place in (5, 0, 7)]
        assert [one["document_id"] for one in chosen["results"]] == chosen["document_ids"][:2]
        assert patched.status_code == 200
        assert after.headers["etag"] != answer.headers["etag"]
        assert unpacked(after.content).state[0] == State.GIVEN

    def test_the_order_of_a_map_outlives_the_server_while_nothing_came(
        self, server: Served
    ) -> None:
        with httpx2.Client(base_url=server.url, timeout=60) as client:
            told = unpacked(get_map(client).content)
        server.restart()
        with httpx2.Client(base_url=server.url, timeout=60) as client:
            body: dict[str, Any] = {"snapshot": told.snapshot, "rows": [3]}
            route = "/v1/collections/things/map/documents"

            chosen = ok(client.post(route, json=body))
            beyond = refused(client.post(route, json=body | {"rows": [90]}), 422)
            unknown = refused(client.post(route, json=body | {"snapshot": "old"}), 404)

        assert len(chosen["document_ids"]) == 1
        assert "90 points" in beyond["message"]
        assert "get the map again" in unknown["message"]

    def test_an_empty_collection_has_an_empty_map_and_an_unknown_field_is_told(
        self, server: Served
    ) -> None:
        with httpx2.Client(base_url=server.url, timeout=60) as client:
            empty = client.get("/v1/collections/empty/map")
            refusal = refused(client.get("/v1/collections/things/map?field=colour"), 404)

        assert len(unpacked(empty.content)) == 0
        assert "label" in refusal["message"]

    def test_a_client_gets_what_the_library_gives(self, server: Served) -> None:
        told: list[int] = []
        with lookalike.connect(server.url) as library:
            remote = library.collection("things").map(progress=lambda done, _: told.append(done))
            with pytest.raises(LookalikeError) as unknown:
                library.collection("things").map(field="no")
        server.stop()
        try:
            with lookalike.open(server.store) as library:
                local = library.collection("things").map()
        finally:
            server.start()

        assert remote.ids == local.ids
        assert remote.x.tolist() == local.x.tolist()
        assert remote.label.tolist() == local.label.tolist()
        assert remote.labels == local.labels
        assert "no" in str(unknown.value)
