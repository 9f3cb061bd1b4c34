"""Import annotated boxes into a collection of regions, and export its labels as training data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from lookalike.catalog.objects import REGIONS
from lookalike.content.boxes import Box, read_box, same
from lookalike.content.pictures import upright_size
from lookalike.content.sources import Item
from lookalike.errors import BadContent
from lookalike.formats.annotations import Annotations, Picture, Region, inner_path
from lookalike.formats.coco import read_coco, write_coco
from lookalike.formats.cvat import read_cvat
from lookalike.formats.label_studio import read_label_studio
from lookalike.formats.voc import read_voc, write_voc
from lookalike.formats.yolo import read_yolo, write_yolo
from lookalike.library.collection.collection import Collection
from lookalike.library.metadata import check_reads_regions
from lookalike.model import Added, Changed, Document, Origin, Progress, quiet

READERS: Mapping[str, Callable[[Path, Path | None], Annotations]] = {
    "coco": lambda path, _: read_coco(path),
    "yolo": read_yolo,
    "voc": lambda path, _: read_voc(path),
    "cvat": lambda path, _: read_cvat(path),
    "label-studio": lambda path, _: read_label_studio(path),
}
"""The readers by format; arguments: file or folder, and the folder of the pictures."""

WRITERS: Mapping[str, Callable[[Path, Sequence[Picture]], int]] = {
    "coco": write_coco,
    "yolo": write_yolo,
    "voc": write_voc,
}
"""The writers by format; arguments: file or folder, and the pictures."""

_PICTURE_FOLDERS = ("", "images", "JPEGImages", "../images", "../JPEGImages")
"""The folders of pictures in the usual layouts, relative to the annotations."""

_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")


@dataclass(frozen=True, slots=True)
class Annotated:
    """The result of an import of annotations: added objects, labels, regions, and refusals."""

    added: Added
    labelled: Changed | None
    regions: int
    refused: Mapping[str, str]


@dataclass(slots=True)
class _Known:
    """An object that is already in the collection, with its regions."""

    object_id: str
    name: str
    uris: set[str]
    size: tuple[int, int] = (0, 0)
    regions: dict[str, Box] = field(default_factory=dict)


@dataclass(slots=True)
class _Plan:
    """The steps of an import: items to add, boxes to draw, labels to give, and refusals."""

    items: list[Item] = field(default_factory=list)
    drawn: dict[str, dict[str, Box]] = field(default_factory=dict)
    labels: dict[tuple[str, str], Region] = field(default_factory=dict)
    regions: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def add_labels(self, picture: str, regions: Mapping[str, Region]) -> None:
        """Plan the labels of a picture, given by its object's id or its URI."""
        self.regions += len(regions)
        for id, region in regions.items():
            if region.label is not None:
                self.labels[picture, id] = region


def import_annotations(
    collection: Collection,
    path: Path,
    kind: str,
    *,
    images: Path | None = None,
    field: str | None = None,
    trusted: bool = True,
    progress: Progress = quiet,
) -> Annotated:
    """Add annotated pictures with their regions, and import the regions' labels.

    `kind` is one of READERS. It searches the pictures in `images`, else near the annotations, else
    among the collection's objects. A region with the box of an existing one (±0.5 pixels) is that
    one, so a repeated import adds nothing; an existing id with another box is extracted again.
    Labels become references if `trusted`, and never overwrite a person's; automatic labels (origin
    `auto`) are always suggestions.

    Raises BadInput for a collection without regions, or a file that cannot be read.
    """
    check_reads_regions(collection.name, collection.extractor)
    found = READERS[kind](path, images)
    base = path if path.is_dir() else path.parent
    folders = [images] if images else [base / name for name in _PICTURE_FOLDERS]
    plan = _plan(found, list(_known(collection)), folders)
    added = Added(0, 0, 0, 0, (), {}, {})
    if plan.items:
        added = collection.add(plan.items, progress=progress)
    if plan.drawn:
        collection.draw(plan.drawn)
        added = replace(added, changed=added.changed + len(plan.drawn))
    rows = list(_rows(collection, plan)) if plan.labels else []
    labelled = collection.import_labels(rows, field=field, trusted=trusted) if rows else None
    refused = plan.refused | (dict(labelled.refused) if labelled else {})
    return Annotated(added, labelled, plan.regions, refused)


def export_annotations(
    collection: Collection,
    path: Path,
    kind: str,
    *,
    field: str | None = None,
    unlabelled: bool = False,
) -> int:
    """Write the labelled regions of a collection; return their number. `kind` is one of WRITERS.

    With `unlabelled` it also writes the others. Raises BadInput for a collection without regions,
    or a place that cannot be written.
    """
    check_reads_regions(collection.name, collection.extractor)
    return WRITERS[kind](path, annotated_pictures(collection, field=field, unlabelled=unlabelled))


def annotated_pictures(
    collection: Collection, *, field: str | None = None, unlabelled: bool = False
) -> list[Picture]:
    """Return the pictures of a collection with labelled regions, or with any if `unlabelled`.

    Regions have the origin of their label, and the confidence of an automatic one as score. A frame
    of a video is its own picture: `clip.t1200.png` is `clip.mp4` at 1,200 ms.
    """
    pictures: dict[tuple[str, Any], tuple[Document, list[Region]]] = {}
    for one in collection.documents(field=field):
        standing = one.standings[field or one.field]
        if "box" not in one.attributes or (standing.label is None and not unlabelled):
            continue
        automatic = standing.origin is Origin.AUTO
        region = Region(
            read_box(one.attributes["box"]),
            standing.label,
            one.part,
            standing.decision.confidence if automatic else None,
            None if standing.origin is None else standing.origin.value,
        )
        key = one.object_id, one.attributes.get("time_ms")
        pictures.setdefault(key, (one, []))[1].append(region)
    return [
        Picture(_picture_name(first), regions, *first.attributes.get("picture_size", (0, 0)))
        for first, regions in pictures.values()
    ]


def _picture_name(document: Document) -> str:
    time_ms = document.attributes.get("time_ms")
    if time_ms is None:
        return document.file_name
    return str(PurePosixPath(document.file_name).with_suffix(f".t{time_ms}.png"))


def _known(collection: Collection) -> Iterator[_Known]:
    """Yield the objects of a collection that have regions."""
    found: dict[str, _Known] = {}
    for one in collection.documents():
        known = found.get(one.object_id)
        if known is None:
            known = _Known(one.object_id, one.file_name, {blob.uri for blob in one.blobs})
            found[one.object_id] = known
        if "box" in one.attributes and "time_ms" not in one.attributes:
            known.regions[one.part] = read_box(one.attributes["box"])
            width, height = one.attributes.get("picture_size", (0, 0))
            known.size = (width, height)
    yield from found.values()


def _plan(found: Annotations, known: Sequence[_Known], folders: Sequence[Path]) -> _Plan:
    plan = _Plan(refused=dict(found.refused))
    by_uri = {uri: one for one in known for uri in one.uris}
    by_name: dict[str, list[_Known]] = {}
    for one in known:
        by_name.setdefault(PurePosixPath(one.name).name, []).append(one)
    for picture in found.pictures:
        name = inner_path(picture.file_name)
        path = _file(name, folders)
        here = by_uri.get(path.as_uri()) if path else None
        fitting = [one for one in by_name.get(name.name, []) if _ends_alike(one.name, name)]
        if here is None and path is None and len(fitting) > 1:
            plan.refused[picture.file_name] = f"fits {len(fitting)} objects; give --images"
            continue
        here = here or (fitting[0] if len(fitting) == 1 else None)
        try:
            _check_size(picture, path, here)
        except (BadContent, OSError) as error:
            plan.refused[picture.file_name] = str(error)
            continue
        if here is not None:
            _redraw(plan, picture, here)
        elif path is not None:
            named = _named(picture.regions, {})
            listed = [{"id": id, "box": list(one.box)} for id, one in named.items()]
            uri = path.as_uri()
            plan.items.append(Item(uri, str(name), uri=uri, metadata={REGIONS: listed}))
            plan.add_labels(uri, named)
        else:
            plan.refused[picture.file_name] = (
                f"is not in {', '.join(str(one) for one in folders[:1])} nor in the collection; "
                "give the folder of the pictures (--images)"
            )
    return plan


def _redraw(plan: _Plan, picture: Picture, here: _Known) -> None:
    """Plan the changes of regions of a picture that is already in the collection."""
    named = _named(picture.regions, here.regions)
    moved = {
        id: one.box
        for id, one in named.items()
        if id not in here.regions or not same(here.regions[id], one.box)
    }
    if moved:
        plan.drawn[here.object_id] = moved
    plan.add_labels(here.object_id, named)


def _named(regions: Sequence[Region], known: Mapping[str, Box]) -> dict[str, Region]:
    """Return regions by id: the id of a known region with the same box, else their own or a new."""
    free, rest, found = dict(known), [], dict[str, Region]()
    for one in regions:
        own_box = free.get(one.id)
        match = next((id for id, box in free.items() if same(box, one.box)), None)
        if own_box is not None and same(own_box, one.box):
            match = one.id
        if match is None:
            rest.append(one)
        else:
            del free[match]
            found[match] = one
    for one in rest:
        own = one.id.replace("/", "_")[:200]
        box = "-".join(str(round(edge)) for edge in one.box)
        id, count = own or f"box-{box}", 1
        while id in found or (id in free and not own):
            count += 1
            id = f"{own or f'box-{box}'}-{count}"
        found[id] = one
    return found


def _file(name: PurePosixPath, folders: Sequence[Path]) -> Path | None:
    """Return the picture with a name: with its folders, without, or without an upload prefix."""
    names = dict.fromkeys((str(name), name.name, _UPLOADED.sub("", name.name)))
    near = (folder / one for one in names for folder in folders)
    found = next((path for path in near if path.is_file()), None)
    return None if found is None else found.parent.resolve() / found.name


def _ends_alike(one: str, other: PurePosixPath) -> bool:
    shorter, longer = sorted((PurePosixPath(one).parts, other.parts), key=len)
    return longer[len(longer) - len(shorter) :] == shorter


def _check_size(picture: Picture, path: Path | None, here: _Known | None) -> None:
    """Raise BadContent for annotations of a picture of another size: the boxes would be wrong."""
    size = (0, 0) if here is None else here.size
    if path is not None and picture.width:
        size = upright_size(path.read_bytes(), name=path.name)
    given = (picture.width, picture.height)
    if all(given) and all(size) and given != size:
        raise BadContent(
            f"is annotated as {given[0]} x {given[1]} pixels, and has {size[0]} x {size[1]} upright"
        )


def _rows(collection: Collection, plan: _Plan) -> Iterator[dict[str, Any]]:
    """Yield the labels as rows that name documents."""
    for one in collection.documents():
        keys = [(name, one.part) for name in (one.object_id, *(blob.uri for blob in one.blobs))]
        region = next((plan.labels[key] for key in keys if key in plan.labels), None)
        if region is not None:
            yield {"id": one.id, "label": region.label, "label_source": region.origin}
