"""`lookalike demo`: the main job on the pictures of the package, as a user runs it first."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lookalike
from lookalike.library.collection.collection import Collection
from lookalike.library.demo import COLLECTION, LABELS_EACH


def demo(store: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if "LOOKALIKE" not in name}
    return subprocess.run(
        [sys.executable, "-m", "lookalike", "--store", str(store), "demo", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout


@dataclass(frozen=True)
class Ran:
    """A demo that has been run once."""

    store: Path
    result: dict[str, Any]
    took_s: float


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    store = tmp_path_factory.mktemp("demo") / "store"
    started = time.perf_counter()
    result = json.loads(demo(store, "--json"))
    return Ran(store, result, time.perf_counter() - started)


@pytest.fixture
def collection(ran: Ran) -> Iterator[Collection]:
    with lookalike.open(ran.store) as library:
        yield library.collection(COLLECTION)


def test_the_demo_takes_less_than_a_minute_and_says_how_long(ran: Ran) -> None:
    told_s = ran.result["extract_s"] + ran.result["decide_s"]

    assert ran.took_s < 60
    assert 0.5 * ran.took_s < told_s < ran.took_s


def test_the_figures_are_those_of_the_store_that_it_leaves(
    ran: Ran, collection: Collection
) -> None:
    report = collection.report()

    assert ran.result["pictures"] == report.documents == len(collection)
    assert ran.result["labelled"] == report.labelled["human"] == report.references
    assert ran.result["automatic"] == report.labelled["auto"]
    assert ran.result["nulls"] == report.nulls
    assert ran.result["limit"] == report.limit
    assert report.failed == report.waiting == 0


def test_the_figures_agree_with_one_another(ran: Ran) -> None:
    figures = ran.result

    rest = figures["pictures"] - figures["labelled"]
    assert figures["known"] + figures["unseen"] == figures["pictures"]
    assert figures["automatic"] + sum(figures["nulls"].values()) == rest
    assert figures["coverage"] == pytest.approx(figures["automatic"] / rest)
    assert figures["precision"] == pytest.approx(figures["right"] / figures["automatic"])


def test_ten_pictures_of_each_kind_are_labelled_as_a_person_would(collection: Collection) -> None:
    counts = [one["human"] for one in collection.report().per_label.values() if "human" in one]

    assert len(counts) >= 10
    assert set(counts) == {LABELS_EACH}


def test_the_demo_reaches_what_it_promises(ran: Ran) -> None:
    """Most labels are right, a good part labels itself, and the unknown stays unknown."""
    figures = ran.result

    assert figures["precision"] >= 0.9
    assert figures["coverage"] >= 0.2
    assert figures["unseen"] > 20
    assert figures["unseen_labelled"] <= 0.05 * figures["unseen"]


def test_each_picture_has_a_thumbnail(ran: Ran, collection: Collection) -> None:
    made = {path.stem for path in (ran.store / "cache" / "thumbnails").rglob("*.jpg")}

    assert made == {document.sha256[2:] for document in collection.documents()}


def test_a_second_run_changes_nothing(ran: Ran, collection: Collection) -> None:
    operations = collection.operations()
    documents = list(collection.documents())

    text = demo(ran.store)

    assert collection.operations() == operations
    assert list(collection.documents()) == documents
    assert f"({ran.result['automatic']} labelled automatically)" in text
    assert f"lookalike --store {ran.store} report demo" in text


def test_what_a_person_corrected_stays(ran: Ran, collection: Collection) -> None:
    """The demo's examples never overwrite a person's label, whatever its seed chooses."""
    document = next(collection.documents(origin="human"))
    corrected = collection.label({document.id: "My own > Kind"})

    demo(ran.store)

    assert collection.document(document.id).label == "My own > Kind"
    collection.undo(corrected.operation)
