"""Regions: proposed, given, drawn, moved and taken away; each a document of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select

import lookalike
from lookalike.catalog.fields import space_of
from lookalike.catalog.resources import resource
from lookalike.content.boxes import read_box, same, turned
from lookalike.errors import BadContent, BadInput, BadSetting, NotFound
from lookalike.extractors.base import Content, Extractor, Part
from lookalike.extractors.image import image_extractor
from lookalike.extractors.region import FILE, region_extractor
from lookalike.library.bucket import Bucket, BucketRow, bucket_from
from lookalike.model import EventKind, Origin, Status
from lookalike.stores import schema
from lookalike.testing.extractors import ExtractorContract
from pictured import BOXES, SIZE, content, png, shapes

GIVEN = [{"id": f"r{number}", "box": list(box)} for number, box in enumerate(BOXES)]


class TestRegionContract(ExtractorContract):
    """The region extractor passes the contract."""

    @pytest.fixture
    def make(self) -> Callable[[], Extractor]:
        return region_extractor

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [
            content(GIVEN),
            content(GIVEN[:1]),
            content(GIVEN[1:], shapes(size=(200, 200))),
        ]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        return [
            Content(b"", "image/png", name="empty.png"),
            Content(png(shapes())[:300], "image/png", name="cut.png", regions=GIVEN),
        ]


def parts_of(extractor: Extractor, one: Content) -> dict[str, Part]:
    (parts,) = extractor.extract([one])
    assert not isinstance(parts, BadContent), parts
    return {part.key: part for part in parts}


def sample(name: str) -> Image.Image:
    path = files("lookalike.library.samples") / "pictures" / name
    return Image.open(str(path)).convert("RGB")


def test_given_regions_are_taken_and_nothing_is_proposed() -> None:
    parts = parts_of(region_extractor(), content(GIVEN))

    assert list(parts) == ["r0", "r1", "r2"]
    assert parts["r1"].attributes == {"box": list(BOXES[1]), "picture_size": list(SIZE)}


def test_no_given_region_is_no_region() -> None:
    """An empty list was given: nothing is there, and nothing is looked for."""
    assert parts_of(region_extractor(), content([])) == {}


def test_a_region_looks_like_its_crop() -> None:
    left, top, width, height = BOXES[0]
    crop = shapes().crop((int(left), int(top), int(left + width), int(top + height)))
    whole = {"id": "all", "box": [0, 0, *crop.size]}

    one = parts_of(region_extractor(), content(GIVEN))["r0"].vector
    other = parts_of(region_extractor(), content([whole], crop))["all"].vector

    assert one @ other > 0.98


def test_context_is_part_of_the_space() -> None:
    names = [region_extractor(context=share).space.name for share in (0.0, 0.1)]

    assert names[0] != names[1]
    assert names[1] == "region_extractor.v1/efficientnet-lite2-context10@58723d90"
    assert region_extractor(min_score=0.9, max_regions=3).space.name == names[0]


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ([400, 10, 20, 20], "lies outside the picture of 320 x 240 pixels"),
        ([10, 10, 0, 20], "has no size"),
        ([10, 10, -5, 20], "has no size"),
        ([10, 10, math.nan, 20], "must be finite numbers"),
        ([10, 10, math.inf, 20], "must be finite numbers"),
        ([10, 10, True, 20], "must be finite numbers"),
        ([10, 10, 20], r"write \[left, top, width, height\]"),
        ("10 10 20 20", r"write \[left, top, width, height\]"),
        (None, r"its box is None"),
    ],
)
def test_a_region_that_is_none_fails_alone(box: object, said: str) -> None:
    one = content([GIVEN[0], {"id": "wrong", "box": box}])

    parts = parts_of(region_extractor(), one)

    assert list(parts) == ["r0"]
    with pytest.raises(BadContent, match=said):
        raise BadContent(one.refused["wrong"])


def test_a_region_at_the_border_is_clipped() -> None:
    parts = parts_of(region_extractor(), content([{"id": "r", "box": [-10, 220, 50.5, 1e12]}]))

    assert parts["r"].attributes["box"] == [0.0, 220.0, 40.5, 20.0]


def test_two_regions_of_one_id_are_one_and_a_refusal() -> None:
    one = content([GIVEN[0], {**GIVEN[1], "id": "r0"}, {"box": list(BOXES[2])}])

    parts = parts_of(region_extractor(), one)

    assert list(parts) == ["r0", "region-2"]
    assert "each one needs its own id" in one.refused["r0"]


def test_things_are_proposed_with_box_class_and_score() -> None:
    """A drawn bus is found where it stands; the surest comes first, the same each time."""
    canvas = Image.new("RGB", (500, 400), "white")
    canvas.paste(sample("bus1-jarno-vasamaa-01.png").resize((240, 200)), (200, 150))
    extractor = region_extractor(min_score=0.2)

    first = parts_of(extractor, content(None, canvas))
    again = parts_of(extractor, content(None, canvas))

    assert list(first) == list(again) == [f"region-{number}" for number in range(len(first))]
    best = first["region-0"].attributes
    assert best["detected"] == "bus"
    assert same(read_box(best["box"]), (202, 161, 228, 168), pixels=6)
    scores = [float(str(part.attributes["score"])) for part in first.values()]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.7


def test_an_empty_picture_has_no_regions() -> None:
    assert parts_of(region_extractor(), content(None, Image.new("RGB", (90, 60)))) == {}


def test_at_most_so_many_are_proposed() -> None:
    parts = parts_of(region_extractor(min_score=0.0, max_regions=4), content())

    assert len(parts) == 4


@pytest.mark.parametrize(
    "options",
    [
        {"context": -0.1},
        {"context": 0.123},
        {"context": "much"},
        {"min_score": 2},
        {"max_regions": 0},
        {"max_regions": True},
        {"suggest": "yes"},
    ],
)
def test_an_impossible_option_is_named(options: dict[str, object]) -> None:
    (name,) = options

    with pytest.raises(BadSetting, match=name):
        region_extractor(**options)  # type: ignore[arg-type]


def test_the_detector_in_the_package_is_the_one_that_is_documented() -> None:
    readme = files("lookalike.extractors.onnx").joinpath("weights", "README.md").read_text("utf-8")

    assert FILE.sha256 in readme
    assert len(FILE.read()) < 8_000_000


def test_turned_boxes_have_the_upright_one_around_them() -> None:
    assert turned((0, 0, 10, 10), 45, (5, 5)) == pytest.approx(
        (-2.071, -2.071, 14.142, 14.142), abs=1e-3
    )
    assert same(turned((3, 4, 10, 20), 360, (0, 0)), (3, 4, 10, 20))


# --- in a collection ----------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


@pytest.fixture
def things(library: lookalike.Library) -> lookalike.Collection:
    made = library.labeler("things", extractor="region")
    made.add([{"content": png(shapes()), "id": "photo", "regions": GIVEN}])
    return made


def labels_of(collection: lookalike.Collection) -> dict[str, str | None]:
    return {one.part: one.label for one in collection.documents()}


def label_all(collection: lookalike.Collection) -> None:
    collection.label({one.id: f"kind {one.part}" for one in collection.documents()})


def test_a_drawn_region_is_a_document_and_the_others_stay(things: lookalike.Collection) -> None:
    label_all(things)

    things.draw({"photo": {"mine": [100, 100, 50, 50]}})

    assert labels_of(things) == {"r0": "kind r0", "r1": "kind r1", "r2": "kind r2", "mine": None}
    drawn = things.document("photo#mine")
    assert drawn.attributes["box"] == [100.0, 100.0, 50.0, 50.0]


def test_a_moved_region_gets_another_vector_and_keeps_its_label(
    library: lookalike.Library, things: lookalike.Collection
) -> None:
    label_all(things)
    before = vector_of(library, "photo#r0")

    things.draw({"photo": {"r0": [150, 40, 90, 90]}})

    after = vector_of(library, "photo#r0")
    assert things.document("photo#r0").attributes["box"] == [150.0, 40.0, 90.0, 90.0]
    assert labels_of(things)["r0"] == "kind r0"
    assert after @ before < 0.99
    assert after @ vector_of(library, "photo#r1") > 0.999


def test_a_region_taken_away_goes_with_its_label_and_vector(
    library: lookalike.Library, things: lookalike.Collection
) -> None:
    label_all(things)

    things.draw({"photo": {"r1": None}})

    assert labels_of(things) == {"r0": "kind r0", "r2": "kind r2"}
    with pytest.raises(NotFound):
        things.document("photo#r1")
    assert library.check() == []


def test_undoing_a_drawing_brings_the_region_back(things: lookalike.Collection) -> None:
    """It comes back as it was drawn; the label that went with it does not."""
    label_all(things)
    taken = things.draw({"photo": {"r1": None}})

    things.undo(taken.operation)
    things.extract()

    assert labels_of(things) == {"r0": "kind r0", "r2": "kind r2", "r1": None}


def test_drawing_keeps_what_the_detector_had_proposed(library: lookalike.Library) -> None:
    found = library.labeler("found", extractor="region", min_score=0.05, max_regions=2)
    found.add([{"content": png(shapes()), "id": "photo"}])
    before = {one.part: one.attributes for one in found.documents()}
    assert list(before) == ["region-0", "region-1"]

    found.draw({"photo": {"mine": [0, 0, 30, 30]}})

    after = {one.part: one.attributes for one in found.documents()}
    assert after.pop("mine")["box"] == [0.0, 0.0, 30.0, 30.0]
    assert after == before


@pytest.mark.parametrize(
    ("regions", "error", "said"),
    [
        ({"photo": {"r9": None}}, NotFound, "no region 'r9' to remove"),
        ({"nobody": {"r0": None}}, NotFound, "no object 'nobody'"),
        ({"photo": {"r0": [1, 2, 3]}}, BadInput, "region 'r0': its box is"),
        ({"photo": {"r0": [1, 2, 0, 3]}}, BadInput, "has no size"),
        ({"photo": {"": [1, 2, 3, 4]}}, BadInput, "is not a valid region id"),
        ({"photo": {"a/b": [1, 2, 3, 4]}}, BadInput, "is not a valid region id"),
    ],
)
def test_what_cannot_be_drawn_changes_nothing(
    things: lookalike.Collection,
    regions: dict[str, dict[str, list[float] | None]],
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error, match=said):
        things.draw(regions)

    assert list(labels_of(things)) == ["r0", "r1", "r2"]


def test_only_regions_can_be_drawn(library: lookalike.Library) -> None:
    library.labeler("whole", extractor="image")

    with pytest.raises(
        BadInput, match=r"'whole' has the extractor image_extractor.*--extractor region"
    ):
        library.collection("whole").draw({"photo": {"r": [1, 2, 3, 4]}})


def test_a_bad_region_is_told_by_name_and_stays_told(things: lookalike.Collection) -> None:
    """The object keeps its good regions; what is missing is told by `add`, and by the object."""
    wrong = {"id": "far", "box": [999, 0, 5, 5]}
    added = things.add(
        [{"content": png(shapes(BOXES[:1])), "id": "other", "regions": [GIVEN[0], wrong]}]
    )

    assert added.documents == 1
    assert list(added.failed) == [f"{things.document('other#r0').file_name} far"]
    assert things.report().failed == 1

    things.draw({"other": {"far": None}})

    assert things.report().failed == 0
    assert [one.part for one in things.documents() if one.object_id == "other"] == ["r0"]


def test_what_is_no_region_at_all_fails_alone(things: lookalike.Collection) -> None:
    added = things.add([{"content": png(shapes(BOXES[:1])), "id": "b", "regions": [GIVEN[0], 7]}])

    assert added.documents == 1
    assert ["its box is 7" in reason for reason in added.failed.values()] == [True]


def test_metadata_of_an_object_draw_as_well(things: lookalike.Collection) -> None:
    """The server's PATCH of an object goes this way: the object waits for extraction again."""
    home = Bucket(things._runtime, bucket_row(things))
    label_all(things)

    home.amend({"photo": {"regions": [GIVEN[2], {"id": "new", "box": [1, 1, 40, 40]}]}})
    assert home.object("photo").status is Status.PENDING
    things.extract()

    assert labels_of(things) == {"r2": "kind r2", "new": None}


def test_regions_are_not_repeated_in_the_metadata_of_documents(
    things: lookalike.Collection,
) -> None:
    assert {str(dict(one.metadata)) for one in things.documents()} == {"{}"}


def test_adding_again_with_other_regions_extracts_again(things: lookalike.Collection) -> None:
    row = {"content": png(shapes()), "id": "photo"}

    same_again = things.add([{**row, "regions": GIVEN}])
    other = things.add([{**row, "regions": GIVEN[:1]}])

    assert (same_again.unchanged, same_again.documents) == (1, 0)
    assert (other.changed, other.documents) == (1, 1)
    assert list(labels_of(things)) == ["r0"]


def test_what_vanishes_by_itself_stays_where_a_person_has_spoken(
    library: lookalike.Library, tmp_path: Path
) -> None:
    """Other content under the same name has fewer things: a label is not lost by that."""
    path = tmp_path / "a.png"
    path.write_bytes(png(shapes()))
    found = library.labeler("found", extractor="region", min_score=0.05, max_regions=3)
    found.add(path)
    ids = {one.part: one.id for one in found.documents()}
    found.label({ids["region-1"]: "seen"})

    path.write_bytes(png(Image.new("RGB", SIZE)))
    found.add(path)

    assert labels_of(found) == {"region-1": "seen"}


def test_detected_classes_are_suggestions_and_never_vote(library: lookalike.Library) -> None:
    found = library.labeler(
        "found", extractor="region", min_score=0.05, max_regions=3, suggest=True
    )
    found.add([{"content": png(shapes()), "id": "photo"}])

    for one in found.documents():
        assert one.label is None
        assert one.standing.suggestion == one.attributes["detected"]
        assert not one.standing.is_reference
        (event,) = [each for each in found.history(one.id) if each.kind is EventKind.SUGGESTED]
        assert event.origin is Origin.IMPORT


def vector_of(library: lookalike.Library, id: str) -> NDArray[np.float32]:
    """Return the stored vector of a document."""
    with library._runtime.store.read() as snapshot:
        table = schema.document
        row = snapshot.rows(select(table).where(table.c.id == id))[0]
        space = space_of(snapshot, row.collection_pk)
        vector: NDArray[np.float32] = snapshot.vectors(space, np.array([row.pk]))[0]
        return vector.astype(np.float32)


def bucket_row(collection: lookalike.Collection) -> BucketRow:
    """Return the bucket of a collection."""
    with collection._runtime.store.read() as snapshot:
        return bucket_from(resource(snapshot, collection._row.bucket_pk))


def test_the_whole_picture_and_its_regions_never_share_a_space() -> None:
    assert image_extractor().space.name != region_extractor().space.name
