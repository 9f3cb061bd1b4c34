"""The parts of Label Studio's tasks: what a task shows, rows of its tables, boxes; and writing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from lookalike.content.boxes import Box, around, from_corners, turned
from lookalike.errors import BadContent, BadInput
from lookalike.formats.base import (
    AUTO,
    LABEL,
    UNLABELLED,
    Example,
    Label,
    Put,
    Region,
    copied,
)
from lookalike.formats.extras import extras_of, names_of, said_in
from lookalike.formats.files import PICTURE_SUFFIXES, number, pixels, write_text
from lookalike.formats.finding import UPLOADED
from lookalike.formats.label_studio_config import (
    CHOICES,
    RECTANGLES,
    TAXONOMY,
    Control,
    control_for,
    known_labels,
    write_config,
)
from lookalike.model import LABEL_SEPARATOR

OURS = "lookalike"
"""The key in `meta` under which the extras are."""

_MODEL = "lookalike"
_WHOLE = (CHOICES, TAXONOMY)
_RECTANGLES = Control(RECTANGLES, LABEL, "image")
_ADDRESSES = ("http://", "https://", "s3://", "gs://", "data:")
_META = frozenset(
    {"id", "annotation_id", "annotator", "created_at", "updated_at", "lead_time", "agreement"}
)
_SHOWN = ("image", "img", "picture", "photo", "text", "content", "url")
"""What the data of a task call the picture or the text, the first that there is."""


def mappings(listed: Any) -> list[Mapping[str, Any]]:
    """Return the mappings of a list."""
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def content_named(data: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """Return the file name of what a task shows, and its text where it holds that."""
    texts = {key: one for key, one in data.items() if isinstance(one, str) and one.strip()}
    for key in texts:
        if texts[key].startswith("data:"):
            return "", None
        if _is_place(texts[key]):
            return _file_name(texts[key]) or texts[key], None
    shown = next((one for one in (*_SHOWN, *texts) if one in texts), None)
    return None if shown is None else ("", texts[shown])


def address_in(data: Mapping[str, Any]) -> str:
    """Return the address of what a task shows that others can read, "" where it has none."""
    texts = (one for one in data.values() if isinstance(one, str))
    return next((one for one in texts if one.startswith(_ADDRESSES)), "")


def _is_place(text: str) -> bool:
    """Return whether a text is an address or a path, not something to read."""
    if "\n" in text or len(text) > 4000:
        return False
    parts = urlsplit(text) if "[" not in text else None
    if text.startswith("/data/") or (parts is not None and parts.scheme and "://" in text):
        return " " not in text or text.startswith(("/data/", "file:"))
    suffix = PurePosixPath(text.replace("\\", "/")).suffix.lower()
    return suffix in PICTURE_SUFFIXES or (suffix in (".txt", ".pdf", ".html") and " " not in text)


def _file_name(said: str) -> str | None:
    """Return the name of a picture: the end of a URL, without what an upload added."""
    parts = urlsplit(said)
    local = parse_qs(parts.query).get("d")
    uploaded = "/upload/" in parts.path
    whole = local[0] if local else unquote(parts.path)
    name = PurePosixPath(whole).name if parts.scheme or uploaded else whole.lstrip("/")
    return (UPLOADED.sub("", name) if uploaded else name) or None


# --- JSON-MIN and CSV ----------------------------------------------------------------------------


def is_min(row: Any) -> bool:
    """Return whether a task is a row of JSON-MIN or CSV: its data and results side by side."""
    return isinstance(row, dict) and not isinstance(row.get("data"), dict) and "annotator" in row


def tasks_of_rows(given: Sequence[Any]) -> Iterator[Any]:
    """Yield tasks; the rows of one task, one for each annotator, become one."""
    tasks: dict[str, dict[str, Any]] = {}
    for index, row in enumerate(given):
        if not is_min(row):
            yield row
            continue
        controls = _controls(row)
        task = tasks.setdefault(
            str(row.get("id") or index),
            {
                "id": row.get("id", index),
                "data": {
                    key: value
                    for key, value in row.items()
                    if key not in controls and key not in _META
                },
                "annotations": [],
            },
        )
        results = [one for name, value in controls.items() for one in _results(name, value)]
        if results or row.get("annotation_id"):
            said = {"result": results, "completed_by": row.get("annotator")}
            said |= {name: row.get(name) for name in ("created_at", "updated_at")}
            task["annotations"].append(said)
    yield from tasks.values()


def _controls(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the row says by the name of its control; the rest are the data of the task."""
    keys = [key for key in row if key not in _META]
    shown = [key for key in keys if isinstance(row[key], str) and _is_place(row[key])]
    shown = shown or [key for key in _SHOWN if key in keys][:1] or keys[:1]
    found = {}
    for key in keys:
        value = _parsed(row[key])
        if key not in shown and value not in (None, "", []):
            found[key] = value
    return found


def _parsed(value: Any) -> Any:
    """Return a cell as it is, or what it holds as JSON."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _results(name: str, value: Any) -> Iterator[dict[str, Any]]:
    """Yield the results that a control has in a row."""
    if isinstance(value, dict):
        for kind in (CHOICES, TAXONOMY):
            if kind in value:
                yield {"type": kind, "from_name": name, "value": {kind: value[kind]}}
    elif isinstance(value, list) and any(kind in one for one in mappings(value) for kind in _WHOLE):
        for one in mappings(value):
            yield from _results(name, one)
    elif isinstance(value, str):
        yield {"type": "choices", "from_name": name, "value": {"choices": [value]}}
    elif isinstance(value, list) and all(isinstance(one, list) for one in value):
        yield {"type": "taxonomy", "from_name": name, "value": {"taxonomy": value}}
    elif isinstance(value, list):
        for one in mappings(value):
            kinds = [key for key in one if key.endswith("labels")]
            size = {key: one.get(key) for key in ("original_width", "original_height")}
            yield {"type": kinds[0] if kinds else "rectangle", "from_name": name, **size} | {
                "value": one
            }


# --- boxes ---------------------------------------------------------------------------------------


def box_of(one: Mapping[str, Any]) -> Box:
    """Return the upright box around a result. Raises BadContent for one that is no region."""
    kind, value = str(one.get("type")).removesuffix("labels"), one["value"]
    if kind not in ("polygon", "ellipse", "rectangle"):
        raise BadContent(f"a {one.get('type')} is no region; rectangles, polygons, ellipses are")
    width, height = size_of([one])
    if not (width and height):
        raise BadContent("it has no original_width and original_height")
    if kind == "polygon":
        return around(_points(value.get("points"), width, height))
    if kind == "ellipse":
        x, y, across, down = _numbers(value, "x", "y", "radiusX", "radiusY")
        box = from_corners(x - across, y - down, x + across, y + down)
        pivot = (x * width / 100, y * height / 100)
    else:
        left, top, across, down = _numbers(value, "x", "y", "width", "height")
        box = (left, top, across, down)
        pivot = (left * width / 100, top * height / 100)  # it turns about its first corner
    left, top, across, down = box
    whole = (
        round(left * width / 100, 3),
        round(top * height / 100, 3),
        round(across * width / 100, 3),
        round(down * height / 100, 3),
    )
    angle = number(value.get("rotation")) or 0.0
    return turned(whole, angle, pivot) if angle else whole


def size_of(results: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """Return width and height of the picture, as the results say them."""
    for one in results:
        width, height = pixels(one.get("original_width")), pixels(one.get("original_height"))
        if width and height:
            return width, height
    return 0, 0


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


# --- writing -------------------------------------------------------------------------------------


def write_tasks(path: Path, examples: Iterable[Example], _put: Put = copied) -> int:
    """Write tasks, and beside them the configuration of the project; return how many labels.

    The pictures stay where they are: a task names the address, or the path below the folder that
    Label Studio serves as local files. Raises BadInput for regions of a picture without a size.
    """
    listed = list(examples)
    regions = [one.label for each in listed for one in each.regions or ()]
    labels = [said.label or said.suggestion for each in listed for said in each.labels.values()]
    field = next((field for one in listed for field in one.labels), LABEL)
    shown = "text" if listed and listed[0].text is not None else "image"
    known = known_labels(regions, labels)
    control = control_for(field, shown, known, regions=bool(regions))
    tasks = [_task(one, is_tree=control.kind == TAXONOMY) for one in listed]
    write_text(path, json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")
    write_text(path.with_suffix(".config.xml"), write_config(control))
    return sum(len(one.regions or one.labels) for one in listed)


def _task(example: Example, *, is_tree: bool) -> dict[str, Any]:
    shown = "image" if example.text is None else "text"
    place = example.uri or "/data/local-files/?d=" + quote(example.file_name)
    ours: dict[str, Any] = {"file_name": example.file_name, **names_of(example)}
    if example.split is not None:
        ours["split"] = example.split
    said: list[dict[str, Any]] = []
    guessed: list[dict[str, Any]] = []
    policy = None
    size = (example.width, example.height)
    for count, region in enumerate(example.regions or (), 1):
        if not all(size):
            raise BadInput(
                f"the size of {example.file_name!r} is not known, and Label Studio needs it"
            )
        result = rectangle_result(_RECTANGLES, region, size, count)
        (guessed if region.origin == AUTO else said).append(result)
        policy = policy or region.policy
    for field, label in example.labels.items():
        name = label.label or label.suggestion
        policy = policy or label.policy
        if label.label is None:
            ours.setdefault("labels", {})[field] = extras_of(label)
        if name is not None:
            is_guess = label.label is None or label.origin == AUTO
            control = Control(TAXONOMY if is_tree else CHOICES, field, shown)
            (guessed if is_guess else said).append(choice_result(control, name, label))
    if example.regions is not None:
        ours["is_picture"] = True
    task: dict[str, Any] = {"data": {shown: place if example.text is None else example.text}}
    if said or (example.regions is not None and not guessed):
        task["annotations"] = [{"result": said}]
    if guessed:
        score = min((one["score"] for one in guessed if "score" in one), default=None)
        prediction = {"model_version": policy or _MODEL, "result": guessed}
        task["predictions"] = [prediction | ({} if score is None else {"score": score})]
    return task | {"meta": {OURS: ours}}


def choice_result(control: Control, value: str, said: Label) -> dict[str, Any]:
    """Return the result that a control has for the whole content: this value."""
    is_tree = control.kind == TAXONOMY
    return {
        "id": control.name,
        "from_name": control.name,
        "to_name": control.to_name,
        "type": control.kind,
        "value": {control.kind: [value.split(LABEL_SEPARATOR)] if is_tree else [value]},
        "meta": {OURS: extras_of(said)},
        **({} if said.score is None else {"score": said.score}),
    }


def rectangle_result(
    control: Control, region: Region, size: tuple[int, int], count: int
) -> dict[str, Any]:
    """Return the result that a control has for a region, the `count`-th of a picture of a size."""
    width, height = size
    left, top, across, down = region.box
    value = {
        "x": 100 * left / width,
        "y": 100 * top / height,
        "width": 100 * across / width,
        "height": 100 * down / height,
        "rotation": 0,
        RECTANGLES: [region.label or UNLABELLED],
    }
    return {
        "id": region.id or f"region-{count}",
        "from_name": control.name,
        "to_name": control.to_name,
        "type": RECTANGLES,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value,
        "meta": {OURS: {**extras_of(said_in(region)), "has_id": bool(region.id)}},
        **({} if region.score is None else {"score": region.score}),
    }
