"""Label Studio: a JSON list of tasks with rectangles in per cent of the picture.

Of a task's annotations the ground truth counts, else the latest that was not cancelled; without
one, the latest prediction, whose labels have the origin `auto`. A turned rectangle, a polygon and
an ellipse have the upright box around them. Brushes and key points are no regions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from lookalike.content.boxes import Box, around, from_corners, turned
from lookalike.errors import BadContent, BadInput
from lookalike.formats.annotations import (
    AUTO,
    Annotations,
    Picture,
    Region,
    label_of,
    number,
    pixels,
    read_json,
)

_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of a file that was uploaded."""


def read_label_studio(path: Path) -> Annotations:
    """Return the pictures of an export. Raises BadInput for what is none, naming the place."""
    data = read_json(path)
    tasks = data if isinstance(data, list) else [data]
    found = Annotations()
    for index, task in enumerate(tasks):
        place = f"{path.name} task {_id(task, index)}"
        name = _file_name(task)
        if name is None:
            found.refused[place] = "its data name no picture"
            continue
        results, origin = _chosen(found, place, task)
        regions = list(_regions(found, place, results, origin))
        found.pictures.append(Picture(name, regions, *_size(results)))
    if not found.pictures:
        first = next(iter(found.refused.values()), "there are no tasks")
        raise BadInput(f"{path.name} is no export of Label Studio as JSON: {first}")
    return found


def _id(task: Any, index: int) -> Any:
    return task.get("id", index) if isinstance(task, dict) else index


def _file_name(task: Any) -> str | None:
    """Return the name of a task's picture: the end of a URL, without what an upload added."""
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        return None
    texts = [one for one in data.values() if isinstance(one, str) and one.strip()]
    said = data.get("image") if isinstance(data.get("image"), str) else next(iter(texts), None)
    if not isinstance(said, str) or not said.strip():
        return None
    parts = urlsplit(said)
    local = parse_qs(parts.query).get("d")
    uploaded = "/upload/" in parts.path
    whole = local[0] if local else unquote(parts.path)
    name = PurePosixPath(whole).name if parts.scheme or uploaded else whole.lstrip("/")
    return (_UPLOADED.sub("", name) if uploaded else name) or None


def _chosen(
    found: Annotations, place: str, task: Mapping[str, Any]
) -> tuple[list[Mapping[str, Any]], str | None]:
    """Return the results that count, and the origin of their labels."""
    listed = _mappings(task.get("annotations") or task.get("completions"))
    valid = [one for one in listed if not one.get("was_cancelled")]
    if valid:
        truth = [one for one in valid if one.get("ground_truth")]
        chosen = max(truth or valid, key=_time)
        if len(valid) > 1:
            found.refused[f"{place} other annotations"] = (
                f"{len(valid) - 1} of {len(valid)} are not taken: the ground truth counts, "
                "else the latest"
            )
        return _mappings(chosen.get("result")), None
    predictions = _mappings(task.get("predictions"))
    if not predictions:
        return [], None
    latest = max(predictions, key=_time)
    results = _mappings(latest.get("result"))
    return [{"score": latest.get("score"), **one} for one in results], AUTO


def _time(one: Mapping[str, Any]) -> str:
    return str(one.get("updated_at") or one.get("created_at") or "")


def _regions(
    found: Annotations, place: str, results: Sequence[Mapping[str, Any]], origin: str | None
) -> Iterator[Region]:
    labels = {str(one.get("id")): _label(one) for one in results if one.get("type") == "labels"}
    for index, one in enumerate(results):
        if not isinstance(one.get("value"), dict) or one.get("type") in ("labels", "choices"):
            continue
        where = f"{place} result {one.get('id', index)}"
        try:
            box = _box(one)
        except BadContent as error:
            found.refused[where] = str(error)
            continue
        yield from found.region(
            where,
            list(box),
            label=_label(one) or labels.get(str(one.get("id"))),
            id=str(one.get("id") or ""),
            score=number(one.get("score")),
            origin=origin,
        )


def _label(one: Mapping[str, Any]) -> str | None:
    """Return the first label of a result; several labels of one rectangle are rare."""
    value = one.get("value")
    listed = value.get(str(one.get("type"))) if isinstance(value, dict) else None
    return label_of(listed[0]) if isinstance(listed, list) and listed else None


def _box(one: Mapping[str, Any]) -> Box:
    """Return the upright box around a result. Raises BadContent for one that is no region."""
    kind, value = str(one.get("type")).removesuffix("labels"), one["value"]
    width, height = _size([one])
    if not (width and height):
        raise BadContent("it has no original_width and original_height")
    if kind == "polygon":
        return around(_points(value.get("points"), width, height))
    if kind == "ellipse":
        x, y, across, down = _numbers(value, "x", "y", "radiusX", "radiusY")
        box = from_corners(x - across, y - down, x + across, y + down)
        pivot = (x * width / 100, y * height / 100)
    elif kind == "rectangle":
        left, top, across, down = _numbers(value, "x", "y", "width", "height")
        box = (left, top, across, down)
        pivot = (left * width / 100, top * height / 100)  # it turns about its first corner
    else:
        raise BadContent(f"a {one.get('type')} is no region; rectangles, polygons, ellipses are")
    left, top, across, down = box
    whole = (
        round(left * width / 100, 3),
        round(top * height / 100, 3),
        round(across * width / 100, 3),
        round(down * height / 100, 3),
    )
    angle = number(value.get("rotation")) or 0.0
    return turned(whole, angle, pivot) if angle else whole


def _numbers(value: Mapping[str, Any], *names: str) -> list[float]:
    found = []
    for name in names:
        one = number(value.get(name))
        if one is None:
            raise BadContent(f"its {name} is {value.get(name)!r}; write a number")
        found.append(one)
    return found


def _points(points: Any, width: int, height: int) -> list[tuple[float, float]]:
    found = []
    for pair in points if isinstance(points, list) else ():
        x, y = (
            (number(edge) for edge in pair)
            if isinstance(pair, list) and len(pair) == 2
            else (None, None)
        )
        if x is None or y is None:
            raise BadContent(f"its points have {pair!r}; write [x, y]")
        found.append((x * width / 100, y * height / 100))
    if not found:
        raise BadContent("it has no points")
    return found


def _size(results: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Return width and height of the picture, as the results say them."""
    for one in results:
        width, height = pixels(one.get("original_width")), pixels(one.get("original_height"))
        if width and height:
            return width, height
    return 0, 0


def _mappings(listed: Any) -> list[Mapping[str, Any]]:
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
