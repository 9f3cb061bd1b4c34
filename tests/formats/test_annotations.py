"""Annotations of elsewhere: read with all their corners, written, and read back the same."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lookalike.cli import transfer
from lookalike.content.boxes import same
from lookalike.errors import BadInput
from lookalike.formats import coco as coco_module
from lookalike.formats import cvat as cvat_module
from lookalike.formats import label_studio
from lookalike.formats import voc as voc_module
from lookalike.formats import yolo as yolo_module
from lookalike.formats.base import Dataset, Example, Region, copied
from lookalike.formats.coco import write_coco
from lookalike.formats.files import inner_path
from lookalike.formats.registry import FORMATS
from lookalike.formats.yolo import write_yolo

ONE_BOX = (10.0, 20.0, 30.0, 40.0)


@dataclass(frozen=True)
class Found:
    """All that a reader gives."""

    pictures: list[Example]
    refused: dict[str, str]


def all_of(dataset: Dataset) -> Found:
    return Found(list(dataset), dataset.refused)


def read_coco(path: Path, images: Path | None = None) -> Found:
    return all_of(coco_module.read_coco(path, images))


def read_cvat(path: Path, images: Path | None = None) -> Found:
    return all_of(cvat_module.read_cvat(path, images))


def read_label_studio(path: Path, images: Path | None = None) -> Found:
    return all_of(label_studio.read_label_studio(path, images))


def read_voc(path: Path, images: Path | None = None) -> Found:
    return all_of(voc_module.read_voc(path, images))


def read_yolo(path: Path, images: Path | None = None) -> Found:
    return all_of(yolo_module.read_yolo(path, images))


def regions(found: Found) -> list[tuple[Any, str | None]]:
    """Return box and label of all regions."""
    return [(one.box, one.label) for each in found.pictures for one in each.regions or ()]


def write_json(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data), "utf-8")
    return path


def coco(tmp_path: Path, *annotations: Any, **changes: Any) -> Path:
    """Write a COCO file of one picture."""
    data: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 80}],
        "annotations": [{"id": n, "image_id": 7, **one} for n, one in enumerate(annotations, 1)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}],
    }
    return write_json(tmp_path / "a.json", data | changes)


# --- COCO ---------------------------------------------------------------------------------------


def test_coco_boxes_are_read_with_their_categories(tmp_path: Path) -> None:
    """Category ids need not be in a row; a score and who gave the label are kept."""
    first = {"bbox": [10, 20, 30, 40], "category_id": 90, "score": 0.5, "label_source": "auto"}
    found = read_coco(coco(tmp_path, first, {"bbox": [1, 2, 3.5, 4], "category_id": 3}))

    (picture,) = found.pictures
    assert (picture.file_name, picture.width, picture.height) == ("a.jpg", 100, 80)
    assert (picture.regions or ())[0] == Region(ONE_BOX, "dog", "1", 0.5, "auto")
    assert (picture.regions or ())[1] == Region((1.0, 2.0, 3.5, 4.0), "cat", "2")


def test_coco_polygons_have_a_box_around_them(tmp_path: Path) -> None:
    polygons = [[10, 20, 40, 20, 40, 60], [15, 30, 20, 60, 10, 60]]
    found = read_coco(coco(tmp_path, {"category_id": 3, "segmentation": polygons}))

    assert regions(found) == [(ONE_BOX, "cat")]


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ({"bbox": [0, 0, 9, 9], "category_id": 3, "iscrowd": 1}, "is a crowd"),
        ({"bbox": [0, 0, 9, 9], "category_id": 4}, "category_id 4 is no category"),
        ({"bbox": [0, 0, 9, 9], "category_id": [3]}, r"category_id \[3\] is no category"),
        ({"bbox": [0, 0, 0, 9], "category_id": 3}, "has no size"),
        ({"bbox": "0 0 9 9", "category_id": 3}, "its box is '0 0 9 9'"),
        ({"category_id": 3, "segmentation": {"counts": "a", "size": [1, 1]}}, "its box is None"),
        ({"bbox": [0, 0, 9, 9], "category_id": 3, "image_id": 8}, "image_id 8 is no image"),
        ({"bbox": [0, 0, 9, 9], "category_id": 3, "image_id": None}, "has no image_id"),
        (7, "has no image_id"),
    ],
)
def test_a_coco_annotation_that_is_no_region_is_refused_by_its_place(
    tmp_path: Path, annotation: Any, said: str
) -> None:
    good = {"bbox": [10, 20, 30, 40], "category_id": 3}
    path = coco(tmp_path, good)
    data = json.loads(path.read_text())
    other = {"id": 2, "image_id": 7, **annotation} if isinstance(annotation, dict) else annotation
    data["annotations"].append(other)

    found = read_coco(write_json(path, data))

    assert regions(found) == [(ONE_BOX, "cat")]
    with pytest.raises(BadInput, match=said):
        raise BadInput(found.refused["a.json annotations[1]"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "is not COCO: it has no list images and no list annotations and no list categories"),
        ('{"images": [], "annotations": {}, "categories": []}', "no list annotations"),
        ('{"images": [\n', "a.json line 2 is not JSON"),
        ("[" * 100_000, "is nested too deeply"),
    ],
)
def test_what_is_no_coco_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_text(text)

    with pytest.raises(BadInput, match=said):
        read_coco(tmp_path / "a.json")


def test_a_published_reader_loads_our_coco(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    region = Region(ONE_BOX, "Animal > Cat", "r1", 0.9, "auto")
    write_coco(tmp_path / "a.json", [Example("a.jpg", [region], 100, 80)])

    loaded = api.COCO(str(tmp_path / "a.json"))

    (one,) = loaded.loadAnns(loaded.getAnnIds(catIds=loaded.getCatIds(catNms=["Animal > Cat"])))
    assert (one["bbox"], one["area"], one["score"]) == ([10.0, 20.0, 30.0, 40.0], 1200.0, 0.9)
    assert loaded.loadCats(one["category_id"])[0]["supercategory"] == "Animal"
    assert loaded.loadImgs(one["image_id"])[0]["file_name"] == "a.jpg"
    assert "index created" in capsys.readouterr().out


# --- YOLO ---------------------------------------------------------------------------------------


def yolo(tmp_path: Path, lines: str, settings: str = "names: [cat, dog]\n") -> Path:
    """Write a YOLO data set of one picture of 100 x 80 pixels."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 80)).save(tmp_path / "images" / "a.png")
    (tmp_path / "labels" / "a.txt").write_text(lines)
    (tmp_path / "data.yaml").write_text(settings)
    return tmp_path


@pytest.mark.parametrize(
    "names",
    [
        "names: [cat, dog]",
        "names:\n- cat\n- dog",
        "names: {0: cat, 1: dog}",
        "names:\n  0: cat\n  1: dog",
    ],
)
def test_yolo_names_are_a_list_or_a_mapping(tmp_path: Path, names: str) -> None:
    found = read_yolo(yolo(tmp_path, "1 0.25 0.5 0.3 0.5\n\n", f"train: images\n{names}\n"))

    (picture,) = found.pictures
    assert (picture.file_name, picture.width, picture.height) == ("a.png", 100, 80)
    assert regions(found) == [(ONE_BOX, "dog")]


def test_yolo_polygons_have_a_box_around_them_and_scores_are_kept(tmp_path: Path) -> None:
    lines = "0 0.1 0.25 0.4 0.25 0.4 0.75\n0 0.25 0.5 0.3 0.5 0.75\n"
    found = read_yolo(yolo(tmp_path, lines))

    assert regions(found) == [(ONE_BOX, "cat")] * 2
    assert [one.score for one in found.pictures[0].regions or ()] == [None, 0.75]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.2", "write class x y width height"),
        ("cat 0.5 0.5 0.2 0.2", "write class x y width height"),
        ("0.5 0.5 0.5 0.2 0.2", "write class x y width height"),
        ("2 0.5 0.5 0.2 0.2", "class 2 has no name"),
        ("0 nan 0.5 0.2 0.2", "write class x y width height"),
        ("0 0.5 0.5 0 0.2", "has no size"),
    ],
)
def test_a_yolo_line_that_is_no_region_is_refused_by_its_number(
    tmp_path: Path, line: str, said: str
) -> None:
    found = read_yolo(yolo(tmp_path, f"0 0.25 0.5 0.3 0.5\n{line}\n"))

    assert regions(found) == [(ONE_BOX, "cat")]
    assert said in found.refused["a.txt line 2"]


def test_yolo_splits_are_found_where_they_are_said_to_be(tmp_path: Path) -> None:
    """Also by a path that is one folder too high, as one well-known exporter writes it."""
    for split in ("train", "valid"):
        inner = yolo(tmp_path / split, "0 0.25 0.5 0.3 0.5\n")
        (inner / "data.yaml").unlink()
    settings = "train: ../train/images\nval: ../valid/images\nnames: [cat]\n"
    (tmp_path / "data.yaml").write_text(settings)

    assert regions(read_yolo(tmp_path)) == [(ONE_BOX, "cat")] * 2


def test_yolo_pictures_may_be_elsewhere_or_listed(tmp_path: Path) -> None:
    base = yolo(tmp_path / "set", "0 0.25 0.5 0.3 0.5\n")
    elsewhere = (base / "images").rename(tmp_path / "photos")

    assert regions(read_yolo(base / "data.yaml", elsewhere)) == [(ONE_BOX, "cat")]
    with pytest.raises(BadInput, match="there is no picture in"):
        read_yolo(base)

    elsewhere.rename(base / "images")
    (base / "train.txt").write_text("images/a.png\nimages/gone.png\n")
    (base / "data.yaml").write_text("train: train.txt\nnames: [cat]\n")

    assert regions(read_yolo(base)) == [(ONE_BOX, "cat")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("names: [cat", "data.yaml line 1 is not YAML"),
        ("- cat", "is no data.yaml"),
        ("train: images", "has no names"),
        ("names: {cat: 0}", "names 'cat': 0"),
        ("names: !!python/object/apply:os.system [ls]", "is not YAML"),
    ],
)
def test_what_is_no_data_yaml_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read_yolo(yolo(tmp_path, "", text))


def test_yolo_boxes_are_shares_of_the_upright_picture(tmp_path: Path) -> None:
    base = yolo(tmp_path, "0 0.25 0.5 0.3 0.5\n")
    (base / "images" / "a.png").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (80, 100)).save(base / "images" / "a.jpg", exif=exif)

    found = read_yolo(base)

    assert (found.pictures[0].width, found.pictures[0].height) == (100, 80)
    assert regions(found) == [(ONE_BOX, "cat")]


def test_a_broken_picture_is_refused_alone(tmp_path: Path) -> None:
    base = yolo(tmp_path, "0 0.25 0.5 0.3 0.5\n")
    (base / "images" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")

    found = read_yolo(base)

    assert regions(found) == [(ONE_BOX, "cat")]
    assert "cannot decode the picture 'b.png'" in found.refused["b.png"]


def test_yolo_wants_sizes_and_one_file_for_each_picture(tmp_path: Path) -> None:
    region = Region(ONE_BOX, "cat")

    with pytest.raises(BadInput, match=r"size of 'a\.jpg' is not known"):
        write_yolo(tmp_path, [Example("a.jpg", [region])])
    with pytest.raises(BadInput, match=r"'b/a\.jpg' and 'b/a\.png' would both have b/a\.txt"):
        write_yolo(tmp_path, [Example(f"b/a.{end}", [], 9, 9) for end in ("jpg", "png")])


# --- Pascal VOC ---------------------------------------------------------------------------------


def voc(objects: str, root: str = "annotation") -> str:
    size = "<size><width>100</width><height>80</height><depth>3</depth></size>"
    return f"<{root}><filename>a.jpg</filename>{size}{objects}</{root}>"


def voc_object(box: str, name: str = "cat", more: str = "") -> str:
    edges = zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=False)
    inner = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges)
    return f"<object><name>{name}</name>{more}<bndbox>{inner}</bndbox></object>"


def test_voc_objects_are_read_difficult_ones_too(tmp_path: Path) -> None:
    """Parts of an object (a head) are no regions of their own; decimals are kept."""
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    objects = voc_object("10 20 40 60", more="<difficult>1</difficult>") + voc_object(
        "1.5 2.5 11.5 12.5", "dog"
    ).replace("</object>", f"{part}</object>")
    (tmp_path / "a.xml").write_text(voc(objects))

    found = read_voc(tmp_path / "a.xml")

    assert (found.pictures[0].file_name, found.pictures[0].width) == ("a.jpg", 100)
    assert regions(found) == [(ONE_BOX, "cat"), ((1.5, 2.5, 10.0, 10.0), "dog")]
    assert found.refused == {}


@pytest.mark.parametrize(
    ("object", "said"),
    [
        ("<object><name>cat</name></object>", "has no <bndbox>"),
        (voc_object("10 20 40"), "its <ymax> is None"),
        (voc_object("10 20 forty 60"), "its <xmax> is 'forty'"),
        (voc_object("40 20 10 60"), "has no size"),
    ],
)
def test_a_voc_object_that_is_no_region_is_refused(tmp_path: Path, object: str, said: str) -> None:
    (tmp_path / "a.xml").write_text(voc(voc_object("10 20 40 60") + object))

    found = read_voc(tmp_path)

    assert regions(found) == [(ONE_BOX, "cat")]
    assert said in found.refused["a.xml object 2"]


BOMB = '<!DOCTYPE a [<!ENTITY b "boom"><!ENTITY c "&b;&b;">]>' + voc("&c;")
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + voc("&b;")


@pytest.mark.parametrize("text", [BOMB, OUTSIDE, '<?xml version="1.0"?>\n' + BOMB])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("read", [read_voc, read_cvat])
def test_xml_with_entities_is_refused(
    tmp_path: Path, text: str, encoding: str, read: Callable[[Path], Found]
) -> None:
    (tmp_path / "a.xml").write_text(text, encoding)

    with pytest.raises(BadInput, match=r"a\.xml line \d has a document type"):
        read(tmp_path / "a.xml")


def test_a_broken_xml_file_spoils_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(voc(voc_object("10 20 40 60")))
    (tmp_path / "b.xml").write_text("<annotation>")
    (tmp_path / "c.xml").write_text(voc("", "something"))

    found = read_voc(tmp_path)

    assert regions(found) == [(ONE_BOX, "cat")]
    assert "b.xml is not XML: no element found: line 1" in found.refused["b.xml"]
    assert "begins with <something>" in found.refused["c.xml"]
    (tmp_path / "a.xml").unlink()
    with pytest.raises(BadInput, match=r"has no Pascal VOC annotations: b\.xml is not XML"):
        read_voc(tmp_path)


# --- CVAT ---------------------------------------------------------------------------------------


def cvat(tmp_path: Path, shapes: str) -> Path:
    text = f'<image id="0" name="a.jpg" width="100" height="80">{shapes}</image>'
    path = tmp_path / "annotations.xml"
    path.write_text(f"<annotations><version>1.1</version>{text}</annotations>")
    return path


@pytest.mark.parametrize(
    "shape",
    [
        '<box label="cat" xtl="10" ytl="20" xbr="40" ybr="60"/>',
        '<box label="cat" xtl="5" ytl="25" xbr="45" ybr="55" rotation="90"/>',
        '<polygon label="cat" points="10,20;40,30;25,60"/>',
        '<ellipse label="cat" cx="25" cy="40" rx="15" ry="20"/>',
        '<mask label="cat" left="10" top="20" width="30" height="40" rle="1, 2"/>',
    ],
)
def test_cvat_shapes_have_an_upright_box(tmp_path: Path, shape: str) -> None:
    assert regions(read_cvat(cvat(tmp_path, shape))) == [(ONE_BOX, "cat")]


def test_what_cvat_labelled_by_itself_is_a_machines(tmp_path: Path) -> None:
    boxes = "".join(
        f'<box label="cat" source="{source}" xtl="10" ytl="20" xbr="40" ybr="60"/>'
        for source in ("manual", "auto")
    )
    (picture,) = read_cvat(cvat(tmp_path, boxes).parent).pictures

    assert [one.origin for one in picture.regions or ()] == [None, "auto"]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ('<points label="cat" points="1,2"/>', "a points is no region"),
        ('<box label="cat" xtl="10" ytl="20" xbr="40"/>', "its ybr is None"),
        ('<polygon label="cat" points="1,2;3"/>', "its points have '3'"),
        ('<box label="cat" xtl="10" ytl="20" xbr="10" ybr="30"/>', "has no size"),
    ],
)
def test_a_cvat_shape_that_is_no_region_is_refused(tmp_path: Path, shape: str, said: str) -> None:
    good = '<box label="dog" xtl="10" ytl="20" xbr="40" ybr="60"/>'
    found = read_cvat(cvat(tmp_path, good + shape))

    assert regions(found) == [(ONE_BOX, "dog")]
    assert said in found.refused["annotations.xml a.jpg shape 2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotations><track id='0'/></annotations>", "has tracks of a video"),
        ("<annotations/>", "has no <image>"),
        ("<annotation/>", "begins with <annotation>"),
    ],
)
def test_what_is_no_cvat_for_images_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "annotations.xml").write_text(text)

    with pytest.raises(BadInput, match=said):
        read_cvat(tmp_path)


# --- Label Studio -------------------------------------------------------------------------------


def rectangle(id: str = "r1", label: str = "cat", **value: Any) -> dict[str, Any]:
    box = {"x": 10, "y": 25, "width": 30, "height": 50, "rotation": 0}
    said = {"value": {**box, "rectanglelabels": [label], **value}, "type": "rectanglelabels"}
    return {"id": id, **said, "original_width": 100, "original_height": 80}


def tasks(tmp_path: Path, **task: Any) -> Path:
    data = {"image": "/data/upload/3/0a1b2c3d-a.jpg"}
    return write_json(tmp_path / "a.json", [{"id": 5, "data": data, **task}])


def test_label_studio_rectangles_are_per_cent(tmp_path: Path) -> None:
    found = read_label_studio(tasks(tmp_path, annotations=[{"result": [rectangle()]}]))

    (picture,) = found.pictures
    assert (picture.file_name, picture.width, picture.height) == ("a.jpg", 100, 80)
    assert picture.regions == [Region(ONE_BOX, "cat", "r1")]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/data/local-files/?d=photos/b%20c.jpg", "photos/b c.jpg"),
        ("https://example.org/x/b.jpg?token=1", "b.jpg"),
        ("s3://bucket/photos/b.jpg", "b.jpg"),
        ("photos/b.jpg", "photos/b.jpg"),
    ],
)
def test_label_studio_pictures_are_named_by_the_end_of_their_address(
    tmp_path: Path, url: str, name: str
) -> None:
    found = read_label_studio(
        tasks(tmp_path, data={"image": url}, annotations=[{"result": [rectangle()]}])
    )

    assert [one.file_name for one in found.pictures] == [name]


def test_label_studio_rectangles_turn_about_their_first_corner(tmp_path: Path) -> None:
    turned = rectangle(x=40, y=25, width=40, height=37.5, rotation=90)
    found = read_label_studio(tasks(tmp_path, annotations=[{"result": [turned]}]))

    assert regions(found) == [((10.0, 20.0, 30.0, 40.0), "cat")]


def test_of_several_annotations_the_ground_truth_counts_else_the_latest(tmp_path: Path) -> None:
    """Cancelled ones never do; that others were left out is told."""
    listed: list[dict[str, Any]] = [
        {"result": [rectangle(label="old")], "updated_at": "2026-01-01"},
        {"result": [rectangle(label="new")], "updated_at": "2026-03-01"},
        {"result": [rectangle(label="no")], "updated_at": "2026-04-01", "was_cancelled": True},
    ]
    found = read_label_studio(tasks(tmp_path, annotations=listed))
    assert regions(found) == [(ONE_BOX, "new")]
    assert "1 of 2 are not taken" in found.refused["a.json task 5 other annotations"]

    listed[0]["ground_truth"] = True
    assert regions(read_label_studio(tasks(tmp_path, annotations=listed))) == [(ONE_BOX, "old")]


def test_predictions_count_where_nobody_annotated_and_are_a_machines(tmp_path: Path) -> None:
    predictions = [{"result": [{**rectangle(), "score": 0.75}], "score": 0.5}]
    skipped = [{"result": [rectangle(label="no")], "was_cancelled": True}]
    path = tasks(tmp_path, annotations=skipped, predictions=predictions)

    (picture,) = read_label_studio(path).pictures

    assert picture.regions == [Region(ONE_BOX, "cat", "r1", 0.75, "auto")]


def test_label_studio_joins_a_rectangle_with_its_labels(tmp_path: Path) -> None:
    """With `<Rectangle>` and `<Labels>` apart, two results of one id are one region."""
    bare = rectangle()
    bare["type"] = "rectangle"
    label = {"id": "r1", "type": "labels", "value": {"labels": ["dog"]}}
    found = read_label_studio(tasks(tmp_path, annotations=[{"result": [bare, label]}]))

    assert regions(found) == [(ONE_BOX, "dog")]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({**rectangle(), "original_width": None}, "no original_width"),
        ({**rectangle(x="left")}, "its x is 'left'"),
        ({**rectangle(width=0)}, "has no size"),
        ({**rectangle(), "type": "brushlabels"}, "a brushlabels is no region"),
        ({**rectangle(), "type": "polygonlabels"}, "has no points"),
        ({**rectangle(points=[[1]]), "type": "polygonlabels"}, r"points have \[1\]"),
    ],
)
def test_a_result_that_is_no_region_is_refused(tmp_path: Path, result: Any, said: str) -> None:
    found = read_label_studio(
        tasks(tmp_path, annotations=[{"result": [rectangle("good"), result]}])
    )

    assert regions(found) == [(ONE_BOX, "cat")]
    with pytest.raises(BadInput, match=said):
        raise BadInput(found.refused["a.json task 5 result r1"])


def test_label_studio_polygons_and_ellipses_have_a_box(tmp_path: Path) -> None:
    polygon = rectangle(points=[[10, 25], [40, 30], [20, 75]], polygonlabels=["cat"])
    ellipse = rectangle(x=25, y=50, radiusX=15, radiusY=25, ellipselabels=["cat"])
    polygon["type"], ellipse["type"] = "polygonlabels", "ellipselabels"
    found = read_label_studio(tasks(tmp_path, annotations=[{"result": [polygon, ellipse]}]))

    assert regions(found) == [(ONE_BOX, "cat")] * 2


@pytest.mark.parametrize("data", [[], [3], {"a": 1}, [{"id": 1, "data": {"image": 7}}]])
def test_what_is_no_export_of_label_studio_is_told(tmp_path: Path, data: Any) -> None:
    with pytest.raises(BadInput, match=r"a\.json is no export of Label Studio"):
        read_label_studio(write_json(tmp_path / "a.json", data))


WRONG: tuple[Any, ...] = (
    *(None, True, -1, 10**400, 1e308, float("nan"), float("inf"), "", "x", "1e999"),
    *([], {}, [1], [[1, 2], [3]], {"a": 1}, [1, 2, 3, 4]),
)


def damaged(value: Any, chance: random.Random) -> Any:
    """Return a JSON value with other values in it, here and there, or without some."""
    if chance.random() < 0.1:
        return copy.deepcopy(chance.choice(WRONG))
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if chance.random() > 0.04}
        return {key: damaged(one, chance) for key, one in kept.items()}
    if isinstance(value, list):
        return [damaged(one, chance) for one in value if chance.random() > 0.04]
    return value


@pytest.mark.parametrize("kind", ["coco", "label-studio"])
def test_a_damaged_file_is_read_as_far_as_it_goes_or_refused(tmp_path: Path, kind: str) -> None:
    """Whatever stands where: no other error than ours."""
    chance = random.Random(0)
    polygon = {"category_id": 3, "segmentation": [[1, 2, 3, 4, 5, 6]]}
    whole = json.loads(
        coco(tmp_path, {"bbox": [1, 2, 3, 4], "category_id": 3}, polygon).read_text()
    )
    if kind == "label-studio":
        shape = {**rectangle(points=[[1, 2], [3, 4]], polygonlabels=["a"]), "type": "polygonlabels"}
        said = {"id": "r1", "type": "labels", "value": {"labels": ["dog"]}}
        made = [{"result": [rectangle(rotation=9), shape, said], "updated_at": "2026"}]
        whole = json.loads(tasks(tmp_path, annotations=made, predictions=made).read_text())
    path = tmp_path / "a.json"
    read = 0

    for _ in range(400):
        write_json(path, damaged(whole, chance))
        with suppress(BadInput):
            all_of(FORMATS[kind].read(path, None))
            read += 1

    assert 0 < read < 400


# --- all ----------------------------------------------------------------------------------------


def test_the_command_line_knows_what_can_be_read_and_written() -> None:
    assert set(transfer._FORMATS) == set(FORMATS)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for one in FORMATS.values():
        with pytest.raises(BadInput, match="nothing"):
            list(one.read(tmp_path / "nothing.x", None))


@pytest.mark.parametrize("name", ["../../a.jpg", "/a.jpg", "C:\\a.jpg", "..\\a.jpg", "./a.jpg"])
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    assert str(inner_path(name)) == "a.jpg"


_numbers = st.floats(0, 300).map(lambda number: round(number, 1))
_sizes = st.floats(1, 200).map(lambda number: round(number, 1))
_labels = st.sampled_from(
    ["cat", "Animal > Dog", "naïve & <b>", '"quoted": yes', "null", "7", None]
)
_regions = st.builds(
    Region,
    box=st.tuples(_numbers, _numbers, _sizes, _sizes),
    label=_labels,
    id=st.uuids().map(str),
    score=st.one_of(st.none(), st.floats(0, 1).map(lambda number: round(number, 4))),
    origin=st.sampled_from(["human", "import", "auto"]),
)


def _consistent(region: Region) -> Region:
    """Return a region without an origin where it has no label, as a collection has it."""
    if region.label is not None:
        return region
    return Region(region.box, None, region.id)


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(listed=st.lists(_regions.map(_consistent), max_size=4, unique_by=lambda one: one.box))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, kind: str, listed: Sequence[Region]
) -> None:
    """Boxes to half a pixel, labels, ids, scores and origins in full."""
    folder = tmp_path_factory.mktemp("written")
    path = folder / "a.json" if kind == "coco" else folder
    Image.new("1", (500, 501)).save(folder / "a.png")
    (folder / "images").mkdir()
    (folder / "a.png").rename(folder / "images" / "a.png")

    FORMATS[kind].write(path, [Example("a.png", listed, 500, 501)], copied)
    (picture,) = all_of(FORMATS[kind].read(path, None)).pictures

    assert picture.file_name == "a.png"
    assert [same(a.box, b.box) for a, b in zip(listed, picture.regions or (), strict=True)] == [
        True
    ] * len(listed)
    assert [(a.label, a.id, a.score, a.origin) for a in picture.regions or ()] == [
        (b.label, b.id, b.score, b.origin) for b in listed
    ]
