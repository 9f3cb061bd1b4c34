"""Annotations taken into a collection and given back: nothing doubled, nothing overwritten."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

import lookalike
from films import film
from lookalike.cli.group import cli
from lookalike.content.boxes import same
from lookalike.errors import BadInput
from lookalike.formats.base import Example, Region, copied
from lookalike.formats.coco import write_coco
from lookalike.formats.registry import FORMATS
from lookalike.library.annotations import (
    Annotated,
    annotated_pictures,
    export_annotations,
    import_annotations,
)
from lookalike.model import Origin
from pictured import BOXES, COLOURS, SIZE, shapes, write_pictures

NAMES = ("a.png", "inner/b.png")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "photos", NAMES)
    return tmp_path / "photos"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


@pytest.fixture
def things(library: lookalike.Library) -> lookalike.Collection:
    return library.labeler("things", extractor="region")


def annotated(*changes: Region) -> list[Example]:
    """Return both pictures with three labelled regions each; `changes` replace the first ones."""
    boxes = zip(BOXES, COLOURS, strict=True)
    regions = [Region(box, colour, f"r{place}") for place, (box, colour) in enumerate(boxes)]
    return [Example(name, [*changes, *regions[len(changes) :]], *SIZE) for name in NAMES]


def take(
    collection: lookalike.Collection,
    photos: Path,
    pictures: Sequence[Example],
    trusted: bool = True,
) -> Annotated:
    path = photos.parent / "boxes.json"
    write_coco(path, pictures)
    return import_annotations(collection, path, "coco", images=photos, trusted=trusted)


def labels(collection: lookalike.Collection) -> dict[tuple[str, str], str | None]:
    return {(one.file_name, one.part): one.label for one in collection.documents()}


EXPECTED = {(name, f"r{place}"): colour for name in NAMES for place, colour in enumerate(COLOURS)}


def test_pictures_come_in_with_their_regions_and_labels(
    things: lookalike.Collection, photos: Path
) -> None:
    done = take(things, photos, annotated())

    assert (done.regions, done.added.added, done.added.documents) == (6, 2, 6)
    assert done.refused == {}
    assert labels(things) == EXPECTED
    assert {one.origin for one in things.documents()} == {Origin.IMPORT}
    assert all(one.standing.is_reference for one in things.documents())


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_importing_again_doubles_nothing_whatever_the_format(
    things: lookalike.Collection, photos: Path, kind: str
) -> None:
    take(things, photos, annotated())
    path = photos.parent / ("out.json" if kind == "coco" else f"out-{kind}")
    assert export_annotations(things, path, kind) == 6

    again = import_annotations(things, path, kind, images=photos)

    assert (again.added.added, again.added.changed, again.regions) == (0, 0, 6)
    assert again.labelled is not None
    assert again.labelled.by_person == 0
    assert labels(things) == EXPECTED


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_an_export_comes_back_elsewhere_with_boxes_labels_and_ids(
    library: lookalike.Library, things: lookalike.Collection, photos: Path, kind: str
) -> None:
    take(things, photos, annotated())
    path = photos.parent / ("out.json" if kind == "coco" else f"out-{kind}")
    export_annotations(things, path, kind)
    other = library.labeler("other", extractor="region")

    import_annotations(other, path, kind, images=photos)

    assert labels(other) == EXPECTED
    for one, back in zip(annotated_pictures(things), annotated_pictures(other), strict=True):
        pairs = zip(one.regions or (), back.regions or (), strict=True)
        assert all(same(a.box, b.box) for a, b in pairs)


def test_a_moved_box_is_extracted_anew_and_keeps_a_persons_label(
    things: lookalike.Collection, photos: Path
) -> None:
    take(things, photos, annotated())
    first = next(one for one in things.documents() if one.part == "r0")
    things.label({first.id: "mine"})

    moved = Region((25.0, 35.0, 80.0, 60.0), "red", "r0")
    done = take(things, photos, annotated(moved))

    now = things.document(first.id)
    assert done.added.changed == 2
    assert now.attributes["box"] == [25.0, 35.0, 80.0, 60.0]
    assert now.label == "mine"
    assert len(things) == 6
    assert "a person answered 'mine'" in " ".join(done.refused.values())


def test_ids_that_moved_to_another_box_do_not_take_its_label_along(
    things: lookalike.Collection, photos: Path
) -> None:
    """Some tools count anew with every export: the box tells which region it is."""
    take(things, photos, annotated())
    turned = [
        replace(
            one,
            regions=[
                replace(each, id=f"r{2 - place}") for place, each in enumerate(one.regions or ())
            ],
        )
        for one in annotated()
    ]

    done = take(things, photos, turned)

    assert done.added.changed == 0
    assert labels(things) == EXPECTED


def test_regions_without_ids_are_known_by_their_boxes(
    things: lookalike.Collection, photos: Path
) -> None:
    bare = [
        replace(one, regions=[replace(each, id="") for each in one.regions or ()])
        for one in annotated()
    ]
    twice = [replace(one, regions=[*(one.regions or ()), *(one.regions or ())[:1]]) for one in bare]
    path = photos.parent / "voc"
    FORMATS["voc"].write(path, twice, copied)

    import_annotations(things, path, "voc", images=photos)
    import_annotations(things, path, "voc", images=photos)

    parts = sorted(one.part for one in things.documents() if one.file_name == "a.png")
    first = "box-20-30-80-60"
    assert parts == sorted([first, f"{first}-2", "box-150-40-90-90", "box-60-130-70-80"])


def test_suggestions_do_not_vote_nor_do_labels_of_a_machine(
    things: lookalike.Collection, photos: Path
) -> None:
    automatic = Region(BOXES[0], "red", "r0", 0.9, "auto")

    take(things, photos, annotated(automatic), trusted=True)

    found = {one.part: one for one in things.documents()}
    assert (found["r0"].label, found["r0"].standing.suggestion) == (None, "red")
    assert found["r1"].standing.is_reference
    things.undo(things.operations(limit=1)[0].id)
    take(things, photos, annotated(), trusted=False)
    assert {one.label for one in things.documents()} == {None}
    assert {one.standing.suggestion for one in things.documents()} == set(COLOURS)


def test_pictures_that_are_here_need_no_file(things: lookalike.Collection, photos: Path) -> None:
    """By their names, as an export has them."""
    take(things, photos, annotated())
    path = photos.parent / "elsewhere" / "out.json"
    new = Region((200.0, 150.0, 40.0, 40.0), "grey", "r9")
    write_coco(path, [replace(one, regions=[new]) for one in annotated()])

    done = import_annotations(things, path, "coco")

    assert done.refused == {}
    assert len(things) == 8
    assert labels(things)["a.png", "r9"] == "grey"


def test_regions_come_to_a_picture_in_which_nothing_was_found(
    things: lookalike.Collection, tmp_path: Path
) -> None:
    """It is here already, without a document."""
    Image.new("RGB", SIZE).save(tmp_path / "black.png")
    assert things.add(tmp_path / "black.png").documents == 0
    path = tmp_path / "boxes.json"
    write_coco(path, [Example("black.png", [Region(BOXES[0], "hole", "h")], *SIZE)])

    done = import_annotations(things, path, "coco")

    assert (done.added.added, done.added.changed) == (0, 1)
    assert labels(things) == {("black.png", "h"): "hole"}


def test_what_is_not_taken_is_told_by_picture(things: lookalike.Collection, photos: Path) -> None:
    """No such picture; a picture of another size, in which the boxes would be off."""
    good, other = annotated()
    wrong = replace(other, width=other.height, height=other.width)
    gone = replace(other, file_name="gone.png")

    done = take(things, photos, [good, wrong, gone])

    assert done.added.added == 1
    assert "is annotated as 240 x 320 pixels, and has 320 x 240" in done.refused["inner/b.png"]
    assert "nor in the collection" in done.refused["gone.png"]


def test_a_region_outside_its_picture_fails_alone(
    things: lookalike.Collection, photos: Path
) -> None:
    done = take(things, photos, annotated(Region((900.0, 0.0, 5.0, 5.0), "red", "far")))

    assert len(things) == 4
    assert sorted(done.added.failed) == ["a.png far", "inner/b.png far"]
    assert things.report().failed == 2


def test_only_labelled_regions_are_exported_unless_all_are_asked_for(
    things: lookalike.Collection, photos: Path
) -> None:
    take(things, photos, annotated(Region(BOXES[0], None, "r0")))
    path = photos.parent / "out.json"

    assert export_annotations(things, path, "coco") == 4
    assert export_annotations(things, path, "coco", unlabelled=True) == 6

    data = json.loads(path.read_text())
    assert [one["name"] for one in data["categories"]] == ["blue", "green", "unlabelled"]
    first = next(iter(FORMATS["coco"].read(path, None)))
    assert [one.label for one in first.regions or ()].count(None) == 1


def test_the_score_is_that_of_what_labelled_itself(
    library: lookalike.Library, photos: Path
) -> None:
    things = library.labeler("exact", extractor="region", confidence_threshold=0.5)
    take(things, photos, annotated(Region(BOXES[0], None, "r0")))

    (first, _) = annotated_pictures(things)

    by_id = {one.id: one for one in first.regions or ()}
    assert by_id["r0"].origin == "auto"
    assert by_id["r0"].score is not None
    assert by_id["r0"].score >= 0.5
    assert (by_id["r1"].origin, by_id["r1"].score) == ("import", None)


def test_a_collection_without_regions_says_so(library: lookalike.Library, tmp_path: Path) -> None:
    whole = library.labeler("whole", extractor="image")

    with pytest.raises(
        BadInput, match="has the extractor image_extractor, whose documents are not"
    ):
        import_annotations(whole, tmp_path / "boxes.json", "coco")
    with pytest.raises(BadInput, match="--extractor region"):
        export_annotations(whole, tmp_path / "boxes.json", "coco")


# --- on the command line ------------------------------------------------------------------------


def command(store: Path, *words: str) -> str:
    result = CliRunner().invoke(cli, ["--store", str(store), *words])
    assert result.exit_code == 0, f"{result.output}{result.exception!r}"
    return result.stdout


def test_the_command_line_imports_draws_and_exports(photos: Path, tmp_path: Path) -> None:
    store, boxes = tmp_path / "store", tmp_path / "boxes.json"
    write_coco(boxes, annotated())
    command(store, "create", "things", "--extractor", "region", "--option", "min_score=0.5")
    taken = ("import", "things", str(boxes), "--labels-from", "coco", "--images", str(photos))

    shown = command(store, *taken)
    again = command(store, *taken, "--suggestions")

    assert shown.startswith("6 regions\n2 added, 0 changed, 0 unchanged; 6 documents")
    assert "6 by you" in shown
    assert again.startswith("6 regions\n0 added, 0 changed, 0 unchanged")
    with lookalike.open(store) as library:
        first = next(iter(library.collection("things").documents()))
    command(store, "draw", "things", first.id, "mine", "1", "2", "30", "40")
    command(store, "draw", "things", first.object_id, "r1")
    out = tmp_path / "out.json"
    assert command(store, "export", "things", str(out), "--format", "coco").startswith("5 regions")
    folder = tmp_path / "yolo"
    assert command(store, "export", "things", str(folder), "--format", "yolo", "--all").startswith(
        "6"
    )
    assert (folder / "labels" / "inner" / "b.txt").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "things", "--format", "voc"), "give a place to write voc: a folder"),
        (("export", "things", "--format", "parquet"), "give the file to write parquet to"),
        (("export", "things", "--all"), "--all is for formats of other tools"),
        (("export", "things", "--link"), "--link is for formats of other tools"),
    ],
)
def test_options_that_do_not_fit_are_told(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    command(tmp_path, "create", "things", "--extractor", "region")

    result = CliRunner().invoke(cli, ["--store", str(tmp_path), *words])

    assert isinstance(result.exception, BadInput)
    assert said in str(result.exception)


def test_regions_of_frames_are_pictures_of_their_own_and_not_drawn_on(
    library: lookalike.Library, tmp_path: Path
) -> None:
    (tmp_path / "clip.mp4").write_bytes(film([(shapes(BOXES[:count]), 1.0) for count in (1, 3)]))
    options: dict[str, Any] = {"min_score": 0.02, "max_regions": 1, "frames": {"every_s": 1}}
    clips = library.labeler("clips", extractor="region", **options)
    clips.add(tmp_path / "clip.mp4")
    found = list(clips.documents())

    names = [one.file_name for one in annotated_pictures(clips, unlabelled=True)]

    assert len({one.attributes["time_ms"] for one in found}) == len(names) > 1
    assert names[0] == "clip.t0.png"
    with pytest.raises(BadInput, match="draw on pictures only"):
        clips.draw({found[0].object_id: {"r1": [1, 2, 3, 4]}})
