"""With a real Label Studio: its backend, corrections, and labels there and back.

`make test-clients` makes its environment. Without it these tests are skipped.
"""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from labelling import PROGRAM, LabelStudio

import lookalike
from lookalike.library.annotations import export_annotations, import_annotations
from lookalike.model import Document
from pictured import BOXES, png, shapes
from serving import Served

pytestmark = pytest.mark.skipif(
    not PROGRAM.exists(), reason="there is no .venv-label-studio; `make test-clients` makes it"
)

SAMPLES = Path(str(files("lookalike.library.samples")))
KINDS = ("Animal > Cat", "Household > Clock", "Party > Balloon", "Food > Drink")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    with LabelStudio(tmp_path_factory.mktemp("studio") / "data") as started:
        yield started


@pytest.fixture
def truth(tmp_path: Path) -> dict[str, str]:
    """Copy pictures of four kinds to a folder `photos`, and return the label of each."""
    with (SAMPLES / "truth.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in KINDS]
    (tmp_path / "photos").mkdir()
    for row in rows:
        shutil.copy(SAMPLES / "pictures" / row["file_name"], tmp_path / "photos")
    return {row["file_name"]: row["label"] for row in rows}


def things_in(place: Path, truth: Mapping[str, str], each: int = 2) -> dict[str, Document]:
    """Make a collection of the photos with some labels; return its documents by name."""
    with lookalike.open(place, actor="ann") as library:
        things = library.labeler(
            "things", extractor="image", field="kind", confidence_threshold=0.5
        )
        things.add(place.parent / "photos")
        ids = {one.file_name: one.id for one in things.documents()}
        few = [name for kind in KINDS for name in sorted(truth) if truth[name] == kind]
        some = [[name for name in few if truth[name] == kind][:each] for kind in KINDS]
        if each:
            things.label({ids[name]: truth[name] for names in some for name in names})
        return {one.file_name: one for one in things.documents()}


def exported(place: Path) -> tuple[str, list[dict[str, Any]]]:
    """Return the configuration and the tasks of a project, without what is said about them."""
    with lookalike.open(place) as library:
        export_annotations(
            library.collection("things"), place.parent / "t.json", "label-studio", unlabelled=True
        )
    tasks = json.loads((place.parent / "t.json").read_text("utf-8"))
    bare = [{"data": one["data"], "meta": one["meta"]} for one in tasks]
    return (place.parent / "t.config.xml").read_text("utf-8"), bare


def path_of(label: str) -> list[dict[str, Any]]:
    value = {"taxonomy": [label.split(" > ")]}
    return [{"from_name": "kind", "to_name": "image", "type": "taxonomy", "value": value}]


def predicted(task: Mapping[str, Any]) -> str | None:
    """Return the label of the latest prediction of a task."""
    if not task["predictions"]:
        return None
    latest = max(task["predictions"], key=lambda one: int(one["id"]))
    return " > ".join(latest["result"][0]["value"]["taxonomy"][0])


def name_of(task: Mapping[str, Any]) -> str:
    return str(task["data"]["image"]).rpartition("=")[2].rpartition("/")[2]


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something holds; webhooks come a moment later."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def test_predictions_come_from_the_collection_and_annotations_go_back(
    studio: LabelStudio, tmp_path: Path, truth: dict[str, str]
) -> None:
    place = tmp_path / "store"
    here = things_in(place, truth)
    config, tasks = exported(place)
    with Served(place) as served, lookalike.connect(served.url) as library:
        things = library.collection("things")
        project = studio.project(config, tasks)
        assert project.connect(f"{served.url}/v1/label-studio/things")["state"] == "CO"
        project.retrieve_predictions()

        seen = {name_of(one): predicted(one) for one in project.tasks()}
        assert seen == {name: one.label for name, one in here.items()}
        nulls = [name for name, one in here.items() if one.label is None]
        assert len(nulls) > 5

        by_name = {name_of(one): one["id"] for one in project.tasks()}
        first, name = nulls[0], here[nulls[0]].id
        annotation = project.annotate(by_name[first], path_of(truth[first]))
        until(lambda: things.document(name).label == truth[first])
        assert things.document(name).standing.actor == "label-studio-1"

        project.retrieve_predictions()
        after = {name_of(one): predicted(one) for one in project.tasks()}
        assert after == {one.file_name: one.label for one in things.documents()}

        project.change(annotation, path_of("Party > Balloon"))
        until(lambda: things.document(name).label == "Party > Balloon")
        project.delete(annotation)
        until(lambda: things.document(name).origin != "human")
        assert {one.file_name: one.label for one in things.documents()} == seen


def test_uploaded_pictures_are_known_by_their_names(
    studio: LabelStudio, tmp_path: Path, truth: dict[str, str]
) -> None:
    place = tmp_path / "store"
    here = things_in(place, truth)
    config, _ = exported(place)
    chosen = sorted(here)[:6]
    with Served(place) as served:
        project = studio.project(config)
        for name in chosen:
            project.upload(tmp_path / "photos" / name)
        project.connect(f"{served.url}/v1/label-studio/things")
        project.retrieve_predictions()

        found = sorted(str(predicted(one)) for one in project.tasks())

    assert found == sorted(str(here[name].label) for name in chosen)


@pytest.mark.parametrize("kind", ["JSON", "JSON_MIN", "CSV"])
def test_annotations_made_there_are_imported_here(
    studio: LabelStudio, tmp_path: Path, truth: dict[str, str], kind: str
) -> None:
    place = tmp_path / "store"
    things_in(place, truth)
    config, tasks = exported(place)
    project = studio.project(config, tasks)
    said = {}
    for task in project.tasks()[:12]:
        said[name_of(task)] = truth[name_of(task)]
        project.annotate(task["id"], path_of(truth[name_of(task)]))
    export = project.export(kind, tmp_path / f"made.{'csv' if kind == 'CSV' else 'json'}")

    with lookalike.open(tmp_path / "other", actor="bob") as library:
        other = library.labeler("other", extractor="image", field="kind")
        other.add(tmp_path / "photos")
        done = import_annotations(other, export)
        labels = {one.file_name: one.label for one in other.documents(origin="import")}

    assert labels == said
    assert done.labels == 12


def test_what_we_export_is_seen_there_as_predictions_and_annotations(
    studio: LabelStudio, tmp_path: Path, truth: dict[str, str]
) -> None:
    place = tmp_path / "store"
    here = things_in(place, truth)
    exported(place)
    tasks = json.loads((tmp_path / "t.json").read_text("utf-8"))
    config = (tmp_path / "t.config.xml").read_text("utf-8")

    project = studio.project(config, tasks)

    seen = project.tasks()
    auto = {name_of(one): predicted(one) for one in seen if one["predictions"]}
    given = {name_of(one) for one in seen if one["annotations"]}
    assert given == {name for name, one in here.items() if one.origin == "human"}
    assert {name: auto[name] for name, one in here.items() if one.origin == "auto"} == {
        name: one.label for name, one in here.items() if one.origin == "auto"
    }


def rectangle(box: Sequence[float], label: str, id: str) -> dict[str, Any]:
    left, top, width, height = box
    return {
        "id": id,
        "from_name": "label",
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": 320,
        "original_height": 240,
        "value": {
            "x": left / 3.2,
            "y": top / 2.4,
            "width": width / 3.2,
            "height": height / 2.4,
            "rotation": 0,
            "rectanglelabels": [label],
        },
    }


RECTANGLES = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="red"/><Label value="green"/>
<Label value="blue"/></RectangleLabels></View>"""


def test_rectangles_are_predicted_relabelled_and_drawn(studio: LabelStudio, tmp_path: Path) -> None:
    (tmp_path / "shapes.png").write_bytes(png(shapes()))
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        shop = library.labeler("shop", extractor="region", confidence_threshold=0.9)
        regions = [{"id": f"r{n}", "box": list(box)} for n, box in enumerate(BOXES[:2])]
        shop.add([{"file": str(tmp_path / "shapes.png"), "regions": regions}])
        ids = {one.part: one.id for one in shop.documents()}
        shop.label({ids["r0"]: "red"})
    with Served(tmp_path / "store") as served, lookalike.connect(served.url) as remote:
        there = remote.collection("shop")
        project = studio.project(RECTANGLES)
        project.upload(tmp_path / "shapes.png")
        project.connect(f"{served.url}/v1/label-studio/shop")
        project.retrieve_predictions()
        (task,) = project.tasks()
        (guess,) = task["predictions"]

        (box,) = [one["value"] for one in guess["result"] if one["id"] == "r0"]
        assert (box["x"], box["width"]) == pytest.approx((20 / 3.2, 80 / 3.2))
        assert box["rectanglelabels"] == ["red"]

        results = [
            rectangle(BOXES[0], "red", "r0"),
            rectangle(BOXES[1], "green", "r1"),
            rectangle(BOXES[2], "blue", "fresh"),
        ]
        project.annotate(task["id"], results)
        until(lambda: len(there) == 3)
        until(lambda: {one.label for one in there.documents()} == {"red", "green", "blue"})

        labels = {tuple(one.attributes["box"]): one.label for one in there.documents()}
        assert labels == {BOXES[0]: "red", BOXES[1]: "green", BOXES[2]: "blue"}


def test_a_project_that_asks_nothing_we_know_is_told_so(
    studio: LabelStudio, tmp_path: Path, truth: dict[str, str]
) -> None:
    place = tmp_path / "store"
    things_in(place, truth)
    with Served(place) as served:
        project = studio.project(RECTANGLES)
        asked = {"project": project.id, "url": f"{served.url}/v1/label-studio/things"}

        refused = studio.client.post("/api/ml", json=asked)

    assert refused.status_code == 400
    assert "incompatible with the current labeling configuration" in refused.text
