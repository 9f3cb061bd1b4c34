"""FiftyOne: `FiftyOneDataset`, a folder with `samples.json`, and datasets with one `labels.json`.

Read are fields that hold a Classification or Detections; boxes are shares of the picture. Written
is the layout of `FiftyOneDataset` that every version imports: `metadata.json`, `samples.json` and
the pictures in `data/`. The origin, or the reason for no label, is a tag of each label; the other
extras are attributes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lookalike.content.boxes import read_box
from lookalike.errors import BadContent, BadInput
from lookalike.formats.base import (
    BOTH,
    LABEL,
    UNLABELLED,
    Dataset,
    Example,
    Format,
    Label,
    Put,
    Region,
    copied,
    has_content,
)
from lookalike.formats.extras import SOURCE, extras_of, label_from, names_of, region_from, said_in
from lookalike.formats.files import (
    PICTURE_SUFFIXES,
    inner_path,
    label_of,
    number,
    peek,
    pixels,
    read_json,
    split_of,
    write_text,
)
from lookalike.formats.finding import Finder
from lookalike.model import Origin

_ORIGINS = frozenset(one.value for one in Origin)
_KINDS = ("Classification", "Detections")


def read_fiftyone(path: Path, images: Path | None = None) -> Dataset:
    """Return the samples of an exported dataset. Raises BadInput for what is none."""
    folder = path if path.is_dir() else path.parent
    samples = path if path.name == "samples.json" else folder / "samples.json"
    labels = path if path.is_file() and path != samples else folder / "labels.json"
    refused: dict[str, str] = {}
    finder = Finder(folder, images)
    if samples.is_file() and path != labels:
        return Dataset(_samples(samples, finder, refused), refused)
    if not labels.is_file():
        raise BadInput(
            f"{str(path)!r} is no dataset of FiftyOne: it has no samples.json and no labels.json"
        )
    data = read_json(labels)
    given = data.get("labels") if isinstance(data, dict) else None
    if not isinstance(given, dict):
        raise BadInput(f"{labels.name} is no dataset of FiftyOne: it has no labels by picture")
    classes = data.get("classes")
    names = classes if isinstance(classes, list) else []
    return Dataset(_labelled(labels, given, names, finder, refused), refused)


def write_fiftyone(folder: Path, examples: Iterable[Example], put: Put = copied) -> int:
    """Write a folder with the pictures; return how many labelled things."""
    samples = []
    count = 0
    for one in examples:
        name = Path("data") / inner_path(one.file_name)
        if has_content(one):
            put(one, folder / name)
        samples.append(_sample(name, one))
        count += len(one.regions) if one.regions is not None else len(one.labels)
    metadata = {
        "name": "lookalike",
        "media_type": "image",
        "info": {"description": "Exported by Lookalike"},
    }
    write_text(folder / "metadata.json", json.dumps(metadata) + "\n")
    text = json.dumps({"samples": samples}, ensure_ascii=False, indent=1)
    write_text(folder / "samples.json", text + "\n")
    return count


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return (path / "samples.json").is_file() or _recognises(path / "labels.json")
    begins = peek(path)
    if path.suffix.lower() != ".json" or not begins.startswith("{"):
        return False
    return '"samples"' in begins or (path.name == "labels.json" and '"labels"' in begins)


# --- reading -------------------------------------------------------------------------------------


def _samples(file: Path, finder: Finder, refused: dict[str, str]) -> Iterator[Example]:
    data = read_json(file)
    listed = data.get("samples") if isinstance(data, dict) else None
    if not isinstance(listed, list):
        raise BadInput(f"{file.name} is no dataset of FiftyOne: it has no list of samples")
    for index, one in enumerate(listed):
        place = f"{file.name} samples[{index}]"
        if not isinstance(one, dict) or not isinstance(one.get("filepath"), str):
            refused[place] = "it has no filepath"
            continue
        path = finder.find(one["filepath"])
        size = _size(one.get("metadata"), path)
        labels: dict[str, Label] = {}
        regions: list[Region] | None = None
        for field, value in one.items():
            kind = value.get("_cls") if isinstance(value, dict) else None
            if kind == "Classification":
                labels[field] = _label(value)
            elif kind == "Detections":
                given = value.get("detections")
                found = _regions(refused, f"{place} {field}", given, [], size)
                regions = [*(regions or []), *found]
        tags = one.get("tags") if isinstance(one.get("tags"), list) else []
        splits = (split for tag in tags or [] if (split := split_of(str(tag))))
        name = label_of(one.get("file_name")) or _below_data(one["filepath"])
        yield Example(
            name,
            regions,
            *size,
            labels=labels,
            id=label_of(one.get("document_id")) or "",
            sha256=label_of(one.get("sha256")) or "",
            path=path,
            split=next(splits, None),
        )


def _labelled(
    file: Path,
    given: Mapping[str, Any],
    classes: list[Any],
    finder: Finder,
    refused: dict[str, str],
) -> Iterator[Example]:
    """Yield the pictures of `labels.json`, which has their names without suffix."""
    for name, target in given.items():
        path = finder.find(name) or _with_suffix(finder, name)
        place = f"{file.name} {name}"
        called = path.name if path is not None and "/" not in name else name
        if isinstance(target, list) and all(isinstance(one, dict) for one in target):
            size = _size(None, path)
            regions = list(_regions(refused, place, target, classes, size))
            yield Example(called, regions, *size, path=path)
            continue
        said = target if isinstance(target, dict) else {"label": target}
        named = {**said, "label": _class(said.get("label"), classes)}
        label = _label(named)
        yield Example(called, labels={} if target is None else {LABEL: label}, path=path)


def _with_suffix(finder: Finder, name: str) -> Path | None:
    suffixes = (".jpg", ".png", ".jpeg", *sorted(PICTURE_SUFFIXES))
    return next((found for one in suffixes if (found := finder.find(name + one))), None)


def _class(value: Any, classes: list[Any]) -> Any:
    """Return the name of a class that may be given by its number."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return classes[value] if is_number and 0 <= value < len(classes) else value


def _label(said: Mapping[str, Any]) -> Label:
    return label_from(said.get("label"), _extras(said))


def _extras(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a label says besides itself: its tags, its confidence, its attributes."""
    inner = said.get("attributes")
    given = {**said, **(inner if isinstance(inner, dict) else {})}
    tags = said.get("tags") if isinstance(said.get("tags"), list) else []
    origin = next((tag for tag in tags or [] if tag in _ORIGINS), None)
    known = {name: given.get(name) for name in ("reason", "suggestion", "rejected", "policy")}
    ours = origin is not None or SOURCE in given
    return {**known, "score": said.get("confidence"), **({SOURCE: origin} if ours else {})}


def _regions(
    refused: dict[str, str], place: str, given: Any, classes: list[Any], size: tuple[int, int]
) -> Iterator[Region]:
    width, height = size
    for index, one in enumerate(given if isinstance(given, list) else []):
        where = f"{place} {index}"
        box = one.get("bounding_box") if isinstance(one, dict) else None
        edges = [number(edge) for edge in box] if isinstance(box, list) else []
        shares = [edge for edge in edges if edge is not None]
        if len(shares) != 4 or len(edges) != 4:
            refused[where] = f"its bounding_box is {box!r}; write [left, top, width, height]"
            continue
        if not (width and height):
            refused[where] = "the size of its picture is not known; say where it is (--images)"
            continue
        left, top, across, down = shares
        in_pixels = [left * width, top * height, across * width, down * height]
        try:
            found = read_box([round(edge, 3) for edge in in_pixels])
        except BadContent as error:
            refused[where] = str(error)
            continue
        name = _class(one.get("label"), classes)
        yield region_from(found, name, label_of(one.get("region_id")) or "", _extras(one))


def _size(metadata: Any, path: Path | None) -> tuple[int, int]:
    """Return width and height of a picture: those that are said, else those of the file."""
    if isinstance(metadata, dict):
        said = pixels(metadata.get("width")), pixels(metadata.get("height"))
        if all(said):
            return said
    if path is None:
        return 0, 0
    from lookalike.content.pictures import upright_size

    try:
        return upright_size(path.read_bytes(), name=path.name)
    except (BadContent, OSError):
        return 0, 0


def _below_data(filepath: str) -> str:
    parts = inner_path(filepath).parts
    return str(Path(*parts[parts.index("data") + 1 :])) if "data" in parts[:-1] else filepath


# --- writing -------------------------------------------------------------------------------------


def _sample(name: Path, example: Example) -> dict[str, Any]:
    sample: dict[str, Any] = {"filepath": name.as_posix(), "file_name": example.file_name}
    sample["tags"] = [] if example.split is None else [example.split]
    if example.width and example.height:
        size = {"width": example.width, "height": example.height}
        sample["metadata"] = {"_cls": "ImageMetadata", **size}
    names = names_of(example)
    sample |= {"document_id": names.get("id"), "sha256": names.get("sha256")}
    if example.regions is not None:
        found = [_detection(example, one) for one in example.regions]
        sample["detections"] = {"_cls": "Detections", "detections": found}
    for field, said in example.labels.items():
        sample[field] = {"_cls": "Classification", **_said(said, said.label)}
    return sample


def _detection(example: Example, region: Region) -> dict[str, Any]:
    width, height = example.width, example.height
    if not (width and height):
        raise BadInput(f"the size of {example.file_name!r} is not known, and FiftyOne needs it")
    left, top, across, down = region.box
    box = [left / width, top / height, across / width, down / height]
    said = _said(said_in(region), region.label or UNLABELLED)
    return {"_cls": "Detection", **said, "bounding_box": box, "region_id": region.id}


def _said(said: Label, label: str | None) -> dict[str, Any]:
    extras = extras_of(said)
    origin, score = extras.pop(SOURCE), extras.pop("score", None)
    tag = origin or said.reason
    found = {"label": label, "tags": [] if tag is None else [tag], **extras, SOURCE: origin}
    return found if score is None else {**found, "confidence": score}


FORMAT = Format(
    name="fiftyone",
    title="FiftyOne",
    reads=BOTH,
    writes=BOTH,
    target="a folder",
    keeps="tags and attributes of each label",
    recognises=_recognises,
    read=read_fiftyone,
    write=write_fiftyone,
    needs_size=True,
)
