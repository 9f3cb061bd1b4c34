"""Regions taken in: pictures with boxes and labels, matched to those that are here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from lookalike.catalog.objects import REGIONS
from lookalike.content.boxes import Box, read_box, same
from lookalike.content.pictures import upright_size
from lookalike.content.sources import Item
from lookalike.errors import BadContent, BadInput
from lookalike.formats.base import Dataset, Example, Region
from lookalike.formats.files import inner_path
from lookalike.library.collection.collection import Collection
from lookalike.library.transfer.imported import NOTHING_ADDED, ends_alike
from lookalike.model import Added, Changed, Document, Progress


@dataclass(slots=True)
class _Known:
    """An object that is here already, with its regions."""

    object_id: str
    name: str
    uris: set[str]
    size: tuple[int, int] = (0, 0)
    regions: dict[str, Box] = field(default_factory=dict)


@dataclass(slots=True)
class _Plan:
    """What an import is about to do."""

    items: list[Item] = field(default_factory=list)
    drawn: dict[str, dict[str, Box]] = field(default_factory=dict)
    labels: dict[tuple[str, str], Region] = field(default_factory=dict)
    regions: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def say(self, picture: str, regions: Mapping[str, Region]) -> None:
        """Remember the labels of a picture, which is named by its object's id or its uri."""
        self.regions += len(regions)
        for id, one in regions.items():
            if one.label is not None or one.rejected:
                self.labels[picture, id] = one


def import_regions(
    collection: Collection,
    found: Dataset,
    place: Path,
    field: str | None,
    trusted: bool,
    progress: Progress,
) -> tuple[Added, Changed | None, int, dict[str, str]]:
    """Return what came in, what it labelled, how many regions there are, and what was refused."""
    plan = _plan(found, list(_known(collection.documents())), place)
    if not plan.regions:
        raise BadInput(_nothing_taken(plan.refused))
    added = NOTHING_ADDED
    if plan.items:
        added = collection.add(plan.items, progress=progress)
    if plan.drawn:
        collection.draw(plan.drawn)
        added = replace(added, changed=added.changed + len(plan.drawn))
    taken = list(_taken(collection, plan)) if plan.labels else []
    rows = [
        {"id": id, "label": one.label, "label_source": one.origin}
        for id, one in taken
        if one.label is not None
    ]
    labelled = collection.import_labels(rows, field=field, trusted=trusted) if rows else None
    if trusted:
        _reject(collection, taken, field)
    refused = plan.refused | (dict(labelled.refused) if labelled else {})
    return added, labelled, plan.regions, refused


def _nothing_taken(refused: Mapping[str, str]) -> str:
    name, reason = next(iter(refused.items()), ("", "there is no region in any picture"))
    return f"nothing was taken: there is no region for this collection; the first: {name} {reason}"


def regions_stated(
    example: Example, object_id: str, documents: Sequence[Document]
) -> tuple[dict[str, Box], dict[str, Region]]:
    """Return the boxes to draw and the labelled regions that an example states, by region id.

    `documents` are those that its picture has now. Raises BadInput where it is for another picture.
    """
    known = next(_known(documents), None) or _Known(object_id, example.file_name, set())
    try:
        _check(example, None, known, {})
    except BadContent as error:
        raise BadInput(f"{example.file_name!r} {error}") from error
    plan = _Plan()
    _redraw(plan, example, known)
    return plan.drawn.get(object_id, {}), {id: one for (_, id), one in plan.labels.items()}


def _known(documents: Iterable[Document]) -> Iterator[_Known]:
    """Yield the objects that documents are regions of."""
    found: dict[str, _Known] = {}
    for one in documents:
        known = found.get(one.object_id)
        if known is None:
            known = _Known(one.object_id, one.file_name, {blob.uri for blob in one.blobs})
            found[one.object_id] = known
        if "box" in one.attributes and "time_ms" not in one.attributes:
            known.regions[one.part] = read_box(one.attributes["box"])
            width, height = one.attributes.get("picture_size", (0, 0))
            known.size = (width, height)
    yield from found.values()


def _plan(found: Dataset, known: Sequence[_Known], place: Path) -> _Plan:
    plan = _Plan()
    by_uri = {uri: one for one in known for uri in one.uris}
    by_name: dict[str, list[_Known]] = {}
    for one in known:
        by_name.setdefault(PurePosixPath(one.name).name, []).append(one)
    files: dict[Path, str] = {}
    for example in found:
        name = inner_path(example.file_name)
        path = example.path
        here = by_uri.get(path.as_uri()) if path else None
        fitting = [
            one for one in by_name.get(name.name, []) if ends_alike(PurePosixPath(one.name), name)
        ]
        if here is None and path is None and len(fitting) > 1:
            plan.refused[example.file_name] = f"fits {len(fitting)} objects; give --images"
            continue
        here = here or (fitting[0] if len(fitting) == 1 else None)
        try:
            _check(example, path, here, files)
        except (BadContent, OSError) as error:
            plan.refused[example.file_name] = str(error)
            continue
        if here is not None:
            _redraw(plan, example, here)
        elif path is not None:
            named = _named(example.regions or (), {})
            listed = [{"id": id, "box": list(one.box)} for id, one in named.items()]
            uri = path.as_uri()
            metadata: dict[str, Any] = {REGIONS: listed}
            if example.split is not None:
                metadata["split"] = example.split
            plan.items.append(Item(uri, str(name), uri=uri, metadata=metadata))
            plan.say(uri, named)
        else:
            plan.refused[example.file_name] = (
                f"is not in {place} nor in the collection; say where the pictures are (--images)"
            )
    plan.refused = found.refused | plan.refused
    return plan


def _redraw(plan: _Plan, example: Example, here: _Known) -> None:
    """Plan what changes in the regions of a picture that is here already."""
    named = _named(example.regions or (), here.regions)
    moved = {
        id: one.box
        for id, one in named.items()
        if id not in here.regions or not same(here.regions[id], one.box)
    }
    if moved:
        plan.drawn[here.object_id] = moved
    plan.say(here.object_id, named)


def _named(regions: Sequence[Region], known: Mapping[str, Box]) -> dict[str, Region]:
    """Return regions by id: that of the same box if it is known, else their own, else a new one."""
    free, rest, found = dict(known), [], dict[str, Region]()
    for one in regions:
        at_hand = free.get(one.id)
        near = next((id for id, box in free.items() if same(box, one.box)), None)
        if at_hand is not None and same(at_hand, one.box):
            near = one.id
        if near is None:
            rest.append(one)
        else:
            del free[near]
            found[near] = one
    for one in rest:
        own = one.id.replace("/", "_")[:200]
        box = "-".join(str(round(edge)) for edge in one.box)
        id, count = own or f"box-{box}", 1
        while id in found or (id in free and not own):
            count += 1
            id = f"{own or f'box-{box}'}-{count}"
        found[id] = one
    return found


def _check(
    example: Example, path: Path | None, here: _Known | None, files: dict[Path, str]
) -> None:
    """Raise BadContent where an example is none of regions, or is for another picture.

    Annotations for a picture of another size would have their boxes in wrong places.
    """
    if example.regions is None:
        raise BadContent(
            "has labels of the whole picture, and this collection labels regions"
            if example.labels
            else "has no regions"
        )
    if path is not None and files.setdefault(path, example.file_name) != example.file_name:
        raise BadContent(f"would be the same file as {files[path]!r}: {path.name}")
    size = (0, 0) if here is None else here.size
    if path is not None and example.width:
        size = upright_size(path.read_bytes(), name=path.name)
    said = (example.width, example.height)
    if all(said) and all(size) and said != size:
        raise BadContent(
            f"is annotated as {said[0]} x {said[1]} pixels, and has {size[0]} x {size[1]} upright"
        )


def _taken(collection: Collection, plan: _Plan) -> Iterator[tuple[str, Region]]:
    """Yield the ids of documents with what is said about them."""
    for one in collection.documents():
        keys = [(name, one.part) for name in (one.object_id, *(blob.uri for blob in one.blobs))]
        region = next((plan.labels[key] for key in keys if key in plan.labels), None)
        if region is not None:
            yield one.id, region


def _reject(collection: Collection, taken: Sequence[tuple[str, Region]], field: str | None) -> None:
    """Reject what was rejected there, as the person who imports; nothing twice."""
    wanted = {id: list(one.rejected) for id, one in taken if one.rejected}
    if not wanted:
        return
    for one in collection.documents(ids=list(wanted), field=field):
        here = one.standings[field or one.field]
        wanted[one.id] = [
            label for label in wanted[one.id] if label not in (*here.rejected, here.label)
        ]
    while left := {id: labels.pop() for id, labels in wanted.items() if labels}:
        collection.reject(left, field=field)
