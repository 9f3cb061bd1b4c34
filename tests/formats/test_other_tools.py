"""Files as other tools write them, with the faults that were found by trying it."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

import lookalike
from lookalike.cli.group import cli
from lookalike.errors import BadInput
from lookalike.formats.base import DOCUMENTS, REGIONS, Example, Label, Region, copied, label_in
from lookalike.formats.registry import FORMATS, recognised
from lookalike.library.annotations import export_annotations, import_annotations
from lookalike.model import Origin
from pictured import BOXES, SIZE, write_pictures


def read(kind: str, path: Path, images: Path | None = None) -> tuple[list[Example], dict[str, str]]:
    found = FORMATS[kind].read(path, images)
    return list(found), found.refused


def labels(found: list[Example]) -> list[str | None]:
    return [label_in(one)[1].label for one in found]


def write_json(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), "utf-8")
    return path


def write_squares(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (100, 80), (40 * number, 90, 200)).save(folder / name)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


# --- Label Studio -------------------------------------------------------------------------------


def choice(*names: str, kind: str = "choices", field: str = "kind") -> dict[str, Any]:
    return {"type": kind, "from_name": field, "to_name": "image", "value": {kind: list(names)}}


def task(id: int, *results: Any, **more: Any) -> dict[str, Any]:
    said = {"annotations": [{"result": list(results)}]} if results else {}
    return {"id": id, "data": {"image": f"/data/upload/3/0a1b2c3d-{id}.png"}, **said, **more}


def test_choices_and_taxonomies_are_labels_of_the_whole(tmp_path: Path) -> None:
    """Of a path its end counts, also where the tool gives the parents, too."""
    path = write_json(
        tmp_path / "a.json",
        [
            task(1, choice("Cat")),
            task(2, choice(["Animal", "Dog"], kind="taxonomy")),  # type: ignore[arg-type]
            task(3, choice(["Animal"], ["Animal", "Dog"], kind="taxonomy")),  # type: ignore[arg-type]
        ],
    )

    found, refused = read("label-studio", path)

    assert [(one.file_name, one.regions) for one in found] == [
        (f"{n}.png", None) for n in (1, 2, 3)
    ]
    assert labels(found) == ["Cat", "Animal > Dog", "Animal > Dog"]
    assert {field for one in found for field in one.labels} == {"kind"}
    assert refused == {}


def test_several_choices_are_no_label_and_are_told(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", [task(1, choice("Cat", "Dog")), task(2, choice("Cat"))])

    found, refused = read("label-studio", path)

    assert labels(found) == ["Cat"]
    assert refused["a.json task 1 kind"] == "a field has one label, not 'Cat', 'Dog'"


def test_a_task_that_nobody_annotated_says_nothing(tmp_path: Path) -> None:
    """Neither that there is nothing in the picture, nor a label; skipped ones likewise."""
    skipped = {"annotations": [{"result": [], "was_cancelled": True}]}
    path = write_json(tmp_path / "a.json", [task(1), task(2, **skipped), task(3, choice("Cat"))])

    found, refused = read("label-studio", path)

    assert [one.file_name for one in found] == ["3.png"]
    assert refused == dict.fromkeys(["a.json task 1", "a.json task 2"], "nobody has annotated it")


def test_predictions_that_are_only_ids_are_told(tmp_path: Path) -> None:
    path = write_json(
        tmp_path / "a.json", [task(1, predictions=[12]), task(2, choice("Cat"), predictions=[13])]
    )

    found, refused = read("label-studio", path)

    assert labels(found) == ["Cat"]
    assert "only ids of predictions" in refused["a.json task 1 predictions"]
    assert "only ids of predictions" in refused["a.json task 2 predictions"]


@pytest.mark.parametrize(
    ("votes", "label"),
    [(["Cat", "Cat", "Dog"], "Cat"), (["Dog", "Cat"], None), (["Dog"], "Dog")],
)
def test_of_people_who_disagree_most_decide(
    tmp_path: Path, votes: list[str], label: str | None
) -> None:
    """Each by the latest annotation; a draw gives no label, and is told with its votes."""
    listed = [
        {"result": [choice(vote)], "completed_by": person, "updated_at": f"2026-01-0{person + 1}"}
        for person, vote in enumerate(votes)
    ]
    earlier = {"result": [choice("Old")], "completed_by": 0, "updated_at": "2025-01-01"}
    path = write_json(tmp_path / "a.json", [task(1, annotations=[earlier, *listed])])

    found, refused = read("label-studio", path)

    assert labels(found) == ([label] if label else [])
    assert ("a.json task 1 kind" in refused) is (label is None)


JSON_MIN = [
    {
        "image": f"/data/upload/3/0a1b2c3d-{id}.png",
        "id": id,
        "kind": kind,
        "annotator": 1,
        "annotation_id": id,
        "created_at": "2026-01-01",
        "updated_at": "2026-01-02",
        "lead_time": 2.5,
    }
    for id, kind in (
        (1, "Cat"),
        (2, {"choices": ["Cat", "Dog"]}),
        (3, {"taxonomy": [["A", "B"]]}),
        (4, [{"taxonomy": [["A", "C"]]}]),  # as version 1.23.2 writes it
    )
]


def test_json_min_is_read(tmp_path: Path) -> None:
    path = write_json(tmp_path / "min.json", JSON_MIN)

    found, refused = read("label-studio", path)

    assert recognised(path).name == "label-studio"
    assert [one.file_name for one in found] == ["1.png", "3.png", "4.png"]
    assert labels(found) == ["Cat", "A > B", "A > C"]
    assert "min.json task 2 kind" in refused


@pytest.mark.parametrize("columns", [list(JSON_MIN[0]), sorted(JSON_MIN[0])])
def test_csv_of_label_studio_is_read_in_any_order_of_its_columns(
    tmp_path: Path, columns: list[str]
) -> None:
    box = {"x": 10, "y": 25, "width": 30, "height": 50, "rotation": 0, "rectanglelabels": ["Cat"]}
    size = {"original_width": 100, "original_height": 80}
    rows = [{**JSON_MIN[0], "kind": "Cat"}, {**JSON_MIN[1], "kind": json.dumps([{**box, **size}])}]
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)

    found, _ = read("label-studio", path)

    assert recognised(path).name == "label-studio"
    assert labels(found) == ["Cat", None]
    assert [one.box for one in found[1].regions or ()] == [(10.0, 20.0, 30.0, 40.0)]


def test_texts_come_in_with_their_choices(library: lookalike.Library, tmp_path: Path) -> None:
    notes = library.labeler("notes", extractor="text", field="mood")
    tasks = [
        {"id": n, "data": {"text": text}, "annotations": [{"result": [choice(mood, field="mood")]}]}
        for n, (text, mood) in enumerate([("What a fine day", "good"), ("It rains again", "bad")])
    ]

    done = import_annotations(notes, write_json(tmp_path / "a.json", tasks))
    again = import_annotations(notes, tmp_path / "a.json")

    assert (done.added.added, done.labels) == (2, 2)
    assert again.added.added == 0
    assert [(one.label, one.origin) for one in notes.documents()] == [
        ("good", Origin.IMPORT),
        ("bad", Origin.IMPORT),
    ]


def test_choices_are_no_regions_and_nothing_is_added(
    library: lookalike.Library, tmp_path: Path
) -> None:
    things = library.labeler("things", extractor="region")
    write_squares(tmp_path, "1.png")
    path = write_json(tmp_path / "a.json", [task(1, choice("Cat"))])

    with pytest.raises(BadInput, match="labels of the whole picture, and this collection labels"):
        import_annotations(things, path)

    assert things.add(tmp_path / "1.png").added == 1, "it had not been added"


def test_regions_are_no_labels_of_the_whole(library: lookalike.Library, tmp_path: Path) -> None:
    whole = library.labeler("whole", extractor="image")
    write_squares(tmp_path, "a.png")
    FORMATS["cvat"].write(
        tmp_path, [Example("a.png", [Region((1, 2, 30, 40), "Cat")], 100, 80)], copied
    )

    with pytest.raises(BadInput, match="has regions, and this collection labels whole files"):
        import_annotations(whole, tmp_path / "annotations.xml")

    assert len(whole) == 0


# --- YOLO ---------------------------------------------------------------------------------------


def yolo(folder: Path, pictures: tuple[str, ...], texts: tuple[str, ...]) -> Path:
    write_squares(folder / "images", *pictures)
    (folder / "labels").mkdir(parents=True)
    for name in texts:
        (folder / "labels" / name).write_text("0 0.25 0.5 0.3 0.5\n")
    (folder / "classes.txt").write_text("cat\ndog\n")
    return folder


def test_yolo_whose_names_do_not_match_adds_nothing(
    library: lookalike.Library, tmp_path: Path
) -> None:
    things = library.labeler("things", extractor="region")
    folder = yolo(tmp_path / "set", ("a.png", "b.png"), ("x.txt", "y.txt"))

    with pytest.raises(BadInput, match=r"no picture of 2 has a file of labels \(such as x\.txt;"):
        import_annotations(things, folder)

    done = CliRunner().invoke(
        cli, ["--store", str(tmp_path / "store"), "import", "things", str(folder)]
    )
    assert done.exit_code != 0
    assert len(list(things.documents())) == 0


def test_yolo_with_some_names_that_do_not_match_takes_the_others(tmp_path: Path) -> None:
    found, refused = read("yolo", yolo(tmp_path / "set", ("a.png", "b.png"), ("a.txt", "y.txt")))

    assert [one.file_name for one in found] == ["a.png"]
    assert "there is no picture of this name" in refused["y.txt"]
    assert "it has no file of labels" in refused["b.png"]


def test_a_picture_without_a_file_of_labels_is_empty_where_all_others_match(tmp_path: Path) -> None:
    """As those who train with it take it."""
    found, refused = read("yolo", yolo(tmp_path / "set", ("a.png", "b.png"), ("a.txt",)))

    assert [len(one.regions or ()) for one in found] == [1, 0]
    assert refused == {}


def test_yolo_with_classes_txt_is_recognised_and_read(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "set", ("a.png",), ("a.txt",))

    found, _ = read("yolo", folder)

    assert recognised(folder).name == "yolo"
    assert [one.label for one in found[0].regions or ()] == ["cat"]


def test_validation_pictures_are_not_those_of_training(tmp_path: Path) -> None:
    write_squares(tmp_path, *(f"{n}.png" for n in range(6)))
    region = Region((1, 2, 30, 40), "Cat")
    pictures = [
        Example(f"{n}.png", [region], 100, 80, path=tmp_path / f"{n}.png") for n in range(6)
    ]

    FORMATS["yolo"].write(tmp_path / "yolo", pictures, copied)
    FORMATS["voc"].write(tmp_path / "voc", pictures, copied)

    lists = tmp_path / "voc" / "ImageSets" / "Main"
    for train, val in (
        (tmp_path / "yolo" / "train.txt", tmp_path / "yolo" / "val.txt"),
        (lists / "train.txt", lists / "val.txt"),
    ):
        both = [set(file.read_text().split()) for file in (train, val)]
        assert len(both[0] | both[1]) == 6
        assert both[0] and both[1] and not both[0] & both[1]
    assert (tmp_path / "voc" / "labelmap.txt").read_text().endswith("\nCat:::\n")
    assert len((lists / "trainval.txt").read_text().split()) == 6


# --- COCO, CVAT, LabelMe --------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of the reader's own arrays
def test_a_published_reader_makes_masks_of_our_coco(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    path = tmp_path / "a.json"
    FORMATS["coco"].write(
        path, [Example("a.png", [Region((10, 20, 30, 40), "Cat")], 100, 80)], copied
    )

    loaded = api.COCO(str(path))
    mask = loaded.annToMask(loaded.loadAnns(loaded.getAnnIds())[0])

    assert "index created" in capsys.readouterr().out
    assert int(mask.sum()) == 1200
    assert mask[20:60, 10:40].all()


@pytest.mark.parametrize("kind", ["coco", "cvat"])
def test_a_folder_of_files_is_read(tmp_path: Path, kind: str) -> None:
    for split in ("train", "val"):
        write_squares(tmp_path / split / "images", f"{split}.png")
        target = tmp_path / split / ("a.json" if kind == "coco" else "annotations.xml")
        one = Example(f"{split}.png", [Region((1, 2, 30, 40), split)], 100, 80)
        FORMATS[kind].write(target, [one], copied)

    found, _ = read(kind, tmp_path)

    assert recognised(tmp_path).name == kind
    assert [[each.label for each in one.regions or ()] for one in found] == [["train"], ["val"]]
    assert all(one.path is not None for one in found)


@pytest.mark.parametrize(
    "name", ["photos/a.png", "/elsewhere/photos/a.png", "..\\photos\\a.png", "{whole}"]
)
def test_pictures_are_found_where_the_names_lead(tmp_path: Path, name: str) -> None:
    """Without being told: below the folder of the file, or the two above."""
    write_squares(tmp_path / "photos", "a.png")
    name = name.format(whole=tmp_path / "photos" / "a.png")
    one = Example(name, [Region((1, 2, 30, 40), "Cat")], 100, 80)
    FORMATS["coco"].write(tmp_path / "labels" / "a.json", [one], copied)

    (back,), _ = read("coco", tmp_path / "labels" / "a.json")

    assert back.path == (tmp_path / "photos" / "a.png").resolve()


def test_tags_of_cvat_are_labels_of_the_whole(tmp_path: Path) -> None:
    tags = '<tag label="Cat" source="manual"/>', '<tag label="Dog" source="auto"/>'
    images = "".join(
        f'<image id="{n}" name="{n}.png" width="100" height="80">{tag}</image>'
        for n, tag in enumerate((*tags, tags[0] + tags[1]))
    )
    (tmp_path / "annotations.xml").write_text(f"<annotations>{images}</annotations>")

    found, refused = read("cvat", tmp_path)

    assert labels(found) == ["Cat", "Dog", "Cat"]
    assert [label_in(one)[1].origin for one in found] == [None, "auto", None]
    assert "has the label 'Cat' already" in refused["annotations.xml 2.png shape 2"]


def test_shapes_and_flags_of_labelme_are_read(tmp_path: Path) -> None:
    write_squares(tmp_path, "a.png", "b.png")
    shapes = [
        {"label": "Cat", "points": [[40, 60], [10, 20]], "shape_type": "rectangle"},
        {"label": "Dog", "points": [[10, 20], [40, 30], [20, 60]], "shape_type": "polygon"},
        {"label": "Ball", "points": [[50, 40], [50, 50]], "shape_type": "circle"},
        {"label": "Way", "points": [[0, 0], [9, 9]], "shape_type": "line"},
    ]
    size = {"imageWidth": 100, "imageHeight": 80, "imageData": None, "version": "5.5.0"}
    write_json(tmp_path / "a.json", {"flags": {}, "shapes": shapes, "imagePath": "a.png", **size})
    flags = {"Cat": False, "Dog": True}
    write_json(tmp_path / "b.json", {"flags": flags, "shapes": [], "imagePath": "b.png", **size})

    (drawn, whole), refused = read("labelme", tmp_path)

    assert [(one.label, one.box) for one in drawn.regions or ()] == [
        ("Cat", (10.0, 20.0, 30.0, 40.0)),
        ("Dog", (10.0, 20.0, 30.0, 40.0)),
        ("Ball", (40.0, 30.0, 20.0, 20.0)),
    ]
    assert labels([whole]) == ["Dog"]
    assert "a line is no region" in refused["a.json shapes[3]"]


def test_labels_json_of_fiftyone_is_read(tmp_path: Path) -> None:
    """Class numbers, names, and what has a confidence; boxes are shares of the picture."""
    write_squares(tmp_path / "data", "a.png", "b.png", "c.png", "d.png")
    box = {"label": "Dog", "bounding_box": [0.1, 0.25, 0.3, 0.5], "confidence": 0.5}
    data = {"a": 1, "b": "Cat", "c": {"label": 0, "confidence": 0.25}, "d": [box]}
    write_json(tmp_path / "labels.json", {"classes": ["Cat", "Dog"], "labels": data})

    found, _ = read("fiftyone", tmp_path)

    assert recognised(tmp_path).name == "fiftyone"
    assert [one.file_name for one in found] == ["a.png", "b.png", "c.png", "d.png"]
    assert labels(found) == ["Dog", "Cat", "Cat", None]
    assert label_in(found[2])[1].score == 0.25
    (region,) = found[3].regions or ()
    assert (region.label, region.box, region.score) == ("Dog", (10.0, 20.0, 30.0, 40.0), 0.5)


# --- class folders, tables, Hugging Face ----------------------------------------------------------


def test_splits_above_class_folders_are_no_labels(
    library: lookalike.Library, tmp_path: Path
) -> None:
    names = [f"{split}/{kind}/1.png" for split in ("train", "test") for kind in ("Apple", "Pear")]
    write_squares(tmp_path / "fruit", *names)
    fruit = library.labeler("fruit", extractor="image")

    import_annotations(fruit, tmp_path / "fruit")

    found = {one.file_name: (one.label, one.metadata["split"]) for one in fruit.documents()}
    assert found["train/Apple/1.png"] == ("Apple", "train")
    assert found["test/Pear/1.png"] == ("Pear", "test")
    assert len(found) == 4


def test_a_class_called_train_is_one_among_others(tmp_path: Path) -> None:
    write_squares(tmp_path, "train/1.png", "bus/1.png")

    found, _ = read("folders", tmp_path)

    assert labels(found) == ["bus", "train"]


def test_classes_of_a_parquet_file_have_their_names(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    feature = {"label": {"names": ["Cat", "Dog"], "_type": "ClassLabel"}}
    stored = json.dumps({"info": {"features": feature}})
    table = pyarrow.table({"text": ["a", "b", "c"], "label": [1, 0, -1]})
    path = tmp_path / "data" / "train-00000-of-00001.parquet"
    path.parent.mkdir()
    parquet.write_table(table.replace_schema_metadata({"huggingface": stored}), path)

    found, _ = read("huggingface", tmp_path)
    also, _ = read("parquet", path)

    assert recognised(tmp_path).name == "huggingface"
    assert labels(found) == labels(also) == ["Dog", "Cat", None]
    assert {one.split for one in found} == {"train"}
    assert [one.text for one in found] == ["a", "b", "c"]


def test_pictures_of_a_table_are_added_where_they_are_there(
    library: lookalike.Library, tmp_path: Path
) -> None:
    """Separated by tabs, as the suffix says; names that lead out of the folder are not followed."""
    write_squares(tmp_path / "set", "a.png", "in/b.png")
    write_squares(tmp_path, "out.png")
    lines = ["file_name\tlabel", "a.png\tCat", "in/b.png\tDog", "../out.png\tCat", "c.png\tCat"]
    (tmp_path / "set" / "labels.tsv").write_text("\n".join(lines))
    pets = library.labeler("pets", extractor="image")

    done = import_annotations(pets, tmp_path / "set" / "labels.tsv")

    assert {one.file_name: one.label for one in pets.documents()} == {
        "a.png": "Cat",
        "in/b.png": "Dog",
    }
    assert done.refused == {
        "row 3 (../out.png)": "is not a document of this collection",
        "row 4 (c.png)": "is not a document of this collection",
    }


def test_a_large_table_is_read_as_it_is_used(tmp_path: Path) -> None:
    """100,000 rows never are in memory together."""
    path = tmp_path / "large.jsonl"
    with path.open("w") as file:
        for number in range(100_000):
            file.write(
                json.dumps({"id": f"doc_{number}", "label": "Cat", "note": "x" * 100}) + "\n"
            )

    tracemalloc.start()
    count = sum(1 for _ in FORMATS["jsonl"].read(path, None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count == 100_000
    assert peak < 2_000_000


# --- the whole way ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", sorted(name for name, one in FORMATS.items() if DOCUMENTS in one.reads & one.writes)
)
def test_labels_of_a_collection_go_out_and_come_back(
    library: lookalike.Library, tmp_path: Path, kind: str
) -> None:
    """Into another collection; rejections, too. Again changes nothing."""
    write_squares(tmp_path / "photos", "a.png", "b.png", "in/c.png")
    one = library.labeler("one", extractor="image")
    one.add(tmp_path / "photos")
    ids = {each.file_name: each.id for each in one.documents()}
    one.label({ids["a.png"]: "Fruit > Apple", ids["b.png"]: "梨"})
    one.reject({ids["b.png"]: "Fruit > Apple"})
    suffix = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet", "label-studio": ".json"}
    target = tmp_path / f"out{suffix.get(kind, '')}"
    export_annotations(one, target, kind)
    other = library.labeler("other", extractor="image")
    other.add(tmp_path / "photos")

    import_annotations(other, target, kind)
    again = import_annotations(other, target, kind)

    assert {each.file_name: each.label for each in other.documents()} == {
        "a.png": "Fruit > Apple",
        "b.png": "梨",
        "in/c.png": None,
    }
    rejected = {each.file_name: each.standing.rejected for each in other.documents()}
    assert rejected["b.png"] == ("Fruit > Apple",)
    assert again.rejected == 0
    assert again.changed_nothing


@pytest.mark.parametrize(
    "kind", sorted(name for name, one in FORMATS.items() if REGIONS in one.reads & one.writes)
)
def test_regions_of_a_collection_go_out_and_come_back(
    library: lookalike.Library, tmp_path: Path, kind: str
) -> None:
    write_pictures(tmp_path / "photos", ("a.png", "in/b.png"))
    things = library.labeler("things", extractor="region")
    listed = [
        Example(name, [Region(box, "Cat", f"r{n}") for n, box in enumerate(BOXES)], *SIZE)
        for name in ("a.png", "in/b.png")
    ]
    FORMATS["coco"].write(tmp_path / "boxes.json", listed, copied)
    import_annotations(things, tmp_path / "boxes.json", images=tmp_path / "photos")
    target = tmp_path / ("out.json" if kind in ("coco", "label-studio") else "out")

    assert export_annotations(things, target, kind) == 6
    other = library.labeler("other", extractor="region")
    images = None if kind == "yolo" else tmp_path / "photos"
    done = import_annotations(other, target, images=images)

    assert (done.regions, done.added.added) == (6, 2)
    found = [(one.file_name, one.part, one.label) for one in other.documents()]
    assert found == [(n, f"r{k}", "Cat") for n in ("a.png", "in/b.png") for k in range(3)]


def test_classes_that_may_be_one_are_told(library: lookalike.Library, tmp_path: Path) -> None:
    write_squares(tmp_path / "set", "cat/1.png", "Cat/2.png", "dog/3.png")
    pets = library.labeler("pets", extractor="image")

    done = import_annotations(pets, tmp_path / "set")

    assert done.notes == ("'Cat', 'cat' differ by case or white space only: are they one label?",)


def test_formats_for_regions_have_no_place_for_whole_files(
    library: lookalike.Library, tmp_path: Path
) -> None:
    things = library.labeler("things", extractor="region")

    with pytest.raises(BadInput, match="for which Class folders has no place; use huggingface"):
        export_annotations(things, tmp_path / "out", "folders")


def test_a_file_that_cannot_be_added_ends_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    store = ["--store", str(tmp_path / "store")]
    runner = CliRunner()
    runner.invoke(cli, [*store, "create", "things", "--extractor", "image"])

    done = runner.invoke(cli, [*store, "add", "things", str(tmp_path / "a.png")])

    assert "cannot decode the picture" in done.output
    assert done.exit_code == 1


def test_labels_of_the_machine_come_back_as_suggestions(
    library: lookalike.Library, tmp_path: Path
) -> None:
    write_squares(tmp_path, "a.png")
    said = Label("Cat", 0.9, "auto")
    FORMATS["label-studio"].write(
        tmp_path / "a.json", [Example("a.png", labels={"label": said})], copied
    )
    pets = library.labeler("pets", extractor="image")

    import_annotations(pets, tmp_path / "a.json")

    (one,) = pets.documents()
    assert (one.label, one.standing.suggestion) == (None, "Cat")
