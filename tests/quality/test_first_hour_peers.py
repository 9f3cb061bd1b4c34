"""The peers of the first hour: each labels what is easy rightly, and fails where it must."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SECTION = BENCHMARKS / "first_hour_peers.md"
PAGE = BENCHMARKS.parent / "docs" / "quality.md"
METHODS = ("margin + logistic", "PAC labelling", "Conformal Labeling", "Colander")

# The first ten answers may have more than five labels.
pytestmark = pytest.mark.filterwarnings("ignore:The number of unique classes")


@pytest.fixture(scope="module")
def peers() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("first_hour_peers")


def clusters(peers: ModuleType, labels: int, each: int, *, alike: float = 0.0) -> object:
    """Items of well-separated clusters in random order; `alike` moves all of them together."""
    chance = np.random.default_rng(3)
    codes = chance.permutation(np.repeat(np.arange(labels), each))
    vectors = np.eye(32)[codes] + chance.normal(0, 0.05, (len(codes), 32)) + alike
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return peers.Items(vectors.astype(np.float16), [f"label {code:02}" for code in codes.tolist()])


@pytest.mark.parametrize("method", METHODS)
def test_a_peer_labels_separate_clusters_rightly(peers: ModuleType, method: str) -> None:
    items = clusters(peers, 3, 200)

    end = peers.peer_hour(items, peers.PEERS[method], 0, 0.0)[-1]

    assert end.given + end.automatic >= 0.9 * 600
    assert end.automatic >= 300
    assert end.precision >= peers.TARGET


@pytest.mark.parametrize("method", METHODS)
def test_an_answer_costs_what_it_costs_in_the_first_hour(peers: ModuleType, method: str) -> None:
    items = clusters(peers, 3, 200)

    points = peers.peer_hour(items, peers.PEERS[method], 0, 0.0)

    assert [point.actions for point in points] == list(range(1, len(points) + 1))
    assert points[-1].seconds == pytest.approx(2.2 * len(points) + 2 * 3)


@pytest.mark.parametrize("method", METHODS)
def test_a_peer_labels_almost_nothing_where_vectors_say_nothing_of_labels(
    peers: ModuleType, method: str
) -> None:
    chance = np.random.default_rng(0)
    vectors = chance.normal(size=(300, 16)).astype(np.float16)
    items = peers.Items(vectors, [f"label {code}" for code in chance.integers(0, 2, 300).tolist()])

    end = peers.peer_hour(items, peers.PEERS[method], 0, 0.0)[-1]

    assert end.automatic <= 15


def test_the_known_rule_labels_categories_that_nobody_has_named(peers: ModuleType) -> None:
    items = clusters(peers, 4, 20, alike=0.3)

    first = peers.hour(items, 0, 0.0, confidence_threshold=peers.KNOWN_CUT)[0][0]

    assert first.given + first.automatic == 80
    assert first.precision < 0.3


def test_the_known_rule_goes_on_for_as_many_actions_as_are_asked_for(peers: ModuleType) -> None:
    items = clusters(peers, 4, 20, alike=0.3)

    points = peers.hour(items, 0, 0.0, confidence_threshold=peers.KNOWN_CUT, least_actions=6)[0]

    assert points[-1].actions >= 6
    assert points[-1].precision > points[0].precision


def test_pac_labelling_needs_59_random_answers_without_an_error(peers: ModuleType) -> None:
    items = clusters(peers, 3, 200)

    points = peers.peer_hour(items, peers.PEERS["PAC labelling"], 0, 0.0)

    begins = next(point for point in points if point.automatic)
    assert 10 + 2 * (59 - 1) <= begins.actions <= 10 + 2 * 59 + 15


def test_conformal_labeling_needs_19_random_answers_without_an_error(peers: ModuleType) -> None:
    items = clusters(peers, 3, 200)

    points = peers.peer_hour(items, peers.PEERS["Conformal Labeling"], 0, 0.0)

    begins = next(point for point in points if point.automatic)
    assert 10 + 2 * (19 - 1) <= begins.actions <= 10 + 2 * 19 + 5


def test_colander_labels_no_category_with_few_validation_answers(peers: ModuleType) -> None:
    items = clusters(peers, 12, 20)

    end = peers.peer_hour(items, peers.PEERS["Colander"], 0, 0.0)[-1]

    assert end.automatic == 0


def test_colander_keeps_what_it_has_labelled(peers: ModuleType) -> None:
    items = clusters(peers, 3, 200)

    points = peers.peer_hour(items, peers.PEERS["Colander"], 0, 0.0)

    counts = [point.automatic for point in points]
    assert counts == sorted(counts)


def test_a_wrong_answer_can_be_learned(peers: ModuleType) -> None:
    items = clusters(peers, 3, 200)

    clean, wrong = (
        peers.peer_hour(items, peers.PEERS["PAC labelling"], 0, errors)[-1]
        for errors in (0.0, 0.03)
    )

    assert wrong.actions > clean.actions


def test_the_quality_page_has_the_section_of_the_first_hour_first() -> None:
    section, page = SECTION.read_text("utf-8"), PAGE.read_text("utf-8")

    assert page[page.index("\n## ") + 1 :].startswith(section.strip() + "\n")
