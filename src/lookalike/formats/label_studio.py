"""Label Studio: tasks as JSON, JSON-MIN or CSV, with choices, taxonomies and rectangles.

Of a task's annotations the ground truth counts; else of choices what most people chose, and of
regions the latest annotation that was not cancelled. Without one, the latest prediction counts,
whose labels have the origin `auto`. A turned rectangle, a polygon and an ellipse have the upright
box around them. A task that nobody annotated says nothing. Written are tasks with `annotations`
for what people said, and `predictions` for what the machine says; the extras are in `meta`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lookalike.content.boxes import read_box
from lookalike.errors import BadContent, BadInput
from lookalike.formats.base import (
    AUTO,
    BOTH,
    Dataset,
    Example,
    Format,
    Label,
    Region,
)
from lookalike.formats.extras import SOURCE, label_from, region_from
from lookalike.formats.files import label_of, peek, read_json
from lookalike.formats.finding import Finder
from lookalike.formats.label_studio_tasks import (
    OURS,
    address_in,
    box_of,
    content_named,
    mappings,
    size_of,
    tasks_of_rows,
    write_tasks,
)
from lookalike.formats.tables import SUFFIXES, read_rows
from lookalike.model import LABEL_SEPARATOR

_WHOLE = ("choices", "taxonomy")
"""Types of results that say something about the whole picture or text."""

_COLUMNS = ("annotation_id", "lead_time")
"""Columns that every table of Label Studio has."""


def read_label_studio(path: Path, images: Path | None = None) -> Dataset:
    """Return the tasks of an export. Raises BadInput for what is none, naming the place."""
    tasks = list(tasks_of_rows(_given(path)))
    refused: dict[str, str] = {}
    find = Finder(path.parent, images).find
    reader = _Reader(path.name, find, refused, _has_regions(tasks))
    examples = iter([one for index, task in enumerate(tasks) for one in reader.read(index, task)])
    if not any(isinstance(task, dict) and content_named(_data(task)) for task in tasks):
        raise _no_export(path, next(iter(refused.values()), "there are no tasks"))
    return Dataset(examples, refused)


def shown_in(task: Mapping[str, Any]) -> Example | None:
    """Return what a task shows, without labels: a file by its name, or a text; None for neither."""
    named = content_named(_data(task))
    if named is None:
        return None
    ours = _ours(task.get("meta"))
    name, text = named
    return Example(
        str(ours.get("file_name") or name),
        id=str(ours.get("id") or ""),
        sha256=str(ours.get("sha256") or ""),
        text=text,
        uri=address_in(_data(task)),
        split=label_of(ours.get("split")),
    )


def read_annotation(
    task: Mapping[str, Any], annotation: Mapping[str, Any]
) -> tuple[Example | None, dict[str, str]]:
    """Return what one annotation says about its task, and by its place why something is not taken.

    The example is None where the annotation says nothing.
    """
    refused: dict[str, str] = {}
    told = {**task, "annotations": [annotation], "predictions": []}
    reader = _Reader("Label Studio", lambda _: None, refused, _has_regions([told]))
    return next(reader.read(0, told), None), refused


def _no_export(path: Path, reason: str) -> BadInput:
    return BadInput(f"{path.name} is no export of Label Studio: {reason}")


def _given(path: Path) -> list[Any]:
    """Return the tasks, or the rows of a table, of a file."""
    if path.suffix.lower() in SUFFIXES:
        return list(read_rows(path))
    data = read_json(path)
    return data if isinstance(data, list) else [data]


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return False
    begins = peek(path)
    suffix = path.suffix.lower()
    if SUFFIXES.get(suffix) == "csv":
        return all(name in begins.partition("\n")[0] for name in _COLUMNS)
    is_json = suffix == ".json" and begins.startswith(("[", "{"))
    is_task = '"data"' in begins and any(
        f'"{name}"' in begins for name in ("annotations", "predictions", "completions")
    )
    return is_json and (is_task or all(f'"{name}"' in begins for name in _COLUMNS))


def _data(task: Mapping[str, Any]) -> Mapping[str, Any]:
    data = task.get("data")
    return data if isinstance(data, dict) else {}


def _has_regions(tasks: Iterable[Any]) -> bool:
    """Return whether any result of any task is about a region."""
    results = (
        one
        for task in mappings(tasks)
        for name in ("annotations", "completions", "predictions")
        for said in mappings(task.get(name))
        for one in mappings(said.get("result"))
    )
    return any(str(one.get("type")) not in _WHOLE for one in results)


class _Reader:
    """Reads tasks one by one; why something is not taken goes to `refused`."""

    def __init__(
        self,
        place: str,
        find: Callable[[str], Path | None],
        refused: dict[str, str],
        has_regions: bool,
    ) -> None:
        self._place = place
        self._find = find
        self._refused = refused
        self._has_regions = has_regions

    def read(self, index: int, task: Any) -> Iterator[Example]:
        """Yield the example of a task, or note why there is none."""
        number = task.get("id", index) if isinstance(task, dict) else index
        place = f"{self._place} task {number}"
        shown = shown_in(task) if isinstance(task, dict) else None
        if shown is None:
            self._refused[place] = "its data name no picture and have no text"
            return
        said = self._said(place, task, _ours(task.get("meta")))
        if said is None:
            return
        labels, regions, (width, height) = said
        yield replace(
            shown,
            regions=regions,
            width=width,
            height=height,
            labels=labels,
            path=None if shown.text is not None else self._find(shown.file_name),
        )

    def _said(
        self, place: str, task: Mapping[str, Any], ours: Mapping[str, Any]
    ) -> tuple[dict[str, Label], list[Region] | None, tuple[int, int]] | None:
        """Return what is said about a task, or None where that is nothing."""
        annotations, predictions = self._annotations(place, task), self._predictions(place, task)
        is_written = bool(ours) and not any(one.get("completed_by") for one in annotations)
        if not (annotations or predictions or (is_written and "labels" in ours)):
            self._refused[place] = "nobody has annotated it"
            return None
        voted = self._votes(place, annotations)
        labels = dict(voted)
        regions: list[Region] = []
        results: list[Mapping[str, Any]] = []
        if annotations:
            latest = max(annotations, key=_time)
            results = mappings(latest.get("result"))
            regions += self._regions(place, results, None)
            told = [one for one in results if str(one.get("type")) not in _WHOLE]
            if len(annotations) > 1 and (told or not labels):
                self._refused[f"{place} other annotations"] = (
                    f"{len(annotations) - 1} of {len(annotations)} are not taken: the ground "
                    "truth counts, else the latest"
                )
        if predictions and (not annotations or is_written):
            latest = max(predictions, key=_time)
            guessed = _with_score(latest)
            results = [*results, *guessed]
            regions += self._regions(place, guessed, AUTO)
            labels = self._labels(place, guessed, AUTO) | labels
        if is_written and isinstance(ours.get("labels"), dict):
            for field, extras in ours["labels"].items():
                if isinstance(extras, dict) and str(field) not in voted:
                    labels[str(field)] = label_from(None, extras)
        return self._judged(place, labels, regions, results, bool(ours.get("is_picture")))

    def _judged(
        self,
        place: str,
        labels: dict[str, Label],
        regions: list[Region],
        results: Sequence[Mapping[str, Any]],
        is_picture: bool,
    ) -> tuple[dict[str, Label], list[Region] | None, tuple[int, int]] | None:
        if labels and not regions:
            return labels, None, size_of(results)
        if not labels and not regions and not (self._has_regions or is_picture):
            self._refused.setdefault(place, "its annotation has no label")
            return None
        return labels, regions, size_of(results)

    def _annotations(self, place: str, task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the annotations that count: those that are the ground truth, or all."""
        listed = mappings(task.get("annotations") or task.get("completions"))
        valid = [one for one in listed if not one.get("was_cancelled")]
        truth = [one for one in valid if one.get("ground_truth")]
        if truth and len(valid) > len(truth):
            self._refused[f"{place} other annotations"] = (
                f"{len(valid) - len(truth)} of {len(valid)} are not taken: the ground truth "
                "counts, else the latest"
            )
        return truth or valid

    def _predictions(self, place: str, task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        given = task.get("predictions")
        listed = mappings(given)
        if isinstance(given, list) and len(listed) < len(given):
            self._refused[f"{place} predictions"] = (
                "there are only ids of predictions; export a snapshot with full predictions "
                "(only_id: false)"
            )
        return listed

    def _votes(self, place: str, annotations: Sequence[Mapping[str, Any]]) -> dict[str, Label]:
        """Return the label of each field that most people gave, each by their latest annotation."""
        people: dict[Any, Mapping[str, Any]] = {}
        for count, one in enumerate(sorted(annotations, key=_time)):
            person = one.get("completed_by")
            people[str(person) if person is not None else count] = one
        given: dict[str, list[Label]] = {}
        for one in people.values():
            labels = self._labels(place, mappings(one.get("result")), None)
            for field, said in labels.items():
                given.setdefault(field, []).append(said)
        found = {}
        for field, listed in given.items():
            counts = Counter(said.label for said in listed).most_common()
            if len(counts) > 1 and counts[0][1] == counts[1][1]:
                shown = ", ".join(f"{label!r} {count}" for label, count in counts)
                self._refused[f"{place} {field}"] = f"people disagree: {shown}"
            else:
                found[field] = next(said for said in listed if said.label == counts[0][0])
        return found

    def _labels(
        self, place: str, results: Sequence[Mapping[str, Any]], origin: str | None
    ) -> dict[str, Label]:
        """Return the labels of a whole task by field, of which each has one."""
        found: dict[str, Label] = {}
        for one in results:
            kind = str(one.get("type"))
            value = one.get("value")
            if kind not in _WHOLE or not isinstance(value, dict):
                continue
            field = label_of(one.get("from_name")) or "label"
            chosen = _chosen(value.get(kind))
            if len(chosen) != 1:
                shown = ", ".join(map(repr, chosen)) or "none"
                self._refused[f"{place} {field}"] = f"a field has one label, not {shown}"
                continue
            found[field] = label_from(chosen[0], _extras(one, origin))
        return found

    def _regions(
        self, place: str, results: Sequence[Mapping[str, Any]], origin: str | None
    ) -> Iterator[Region]:
        labels = {str(one.get("id")): _label(one) for one in results if one.get("type") == "labels"}
        for index, one in enumerate(results):
            kind = str(one.get("type"))
            if not isinstance(one.get("value"), dict) or kind == "labels" or kind in _WHOLE:
                continue
            where = f"{place} result {one.get('id', index)}"
            try:
                box = read_box(list(box_of(one)))
            except BadContent as error:
                self._refused[where] = str(error)
                continue
            label = _label(one) or labels.get(str(one.get("id")))
            yield region_from(box, label, str(one.get("id") or ""), _extras(one, origin))


def _ours(meta: Any) -> Mapping[str, Any]:
    """Return what we wrote into a `meta`."""
    found = meta.get(OURS) if isinstance(meta, dict) else None
    return found if isinstance(found, dict) else {}


def _extras(result: Mapping[str, Any], origin: str | None) -> dict[str, Any]:
    """Return what a result says besides its label; a machine's has that `origin` at least."""
    found = {"score": result.get("score"), **_ours(result.get("meta"))}
    return found if origin is None or found.get(SOURCE) else {**found, SOURCE: origin}


def _with_score(prediction: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    results = mappings(prediction.get("result"))
    return [{"score": prediction.get("score"), **one} for one in results]


def _chosen(value: Any) -> list[str]:
    """Return the labels that are chosen; of a path in a taxonomy, its end only."""
    listed = value if isinstance(value, list) else [value]
    if listed and all(isinstance(one, str) for one in listed):
        paths = [one for one in map(label_of, listed) if one]
    else:
        parts = [one for one in listed if isinstance(one, list) and one]
        paths = [LABEL_SEPARATOR.join(str(part) for part in one) for one in parts]
    return [
        one
        for one in dict.fromkeys(paths)
        if not any(other.startswith(one + LABEL_SEPARATOR) for other in paths)
    ]


def _time(one: Mapping[str, Any]) -> str:
    return str(one.get("updated_at") or one.get("created_at") or "")


def _label(one: Mapping[str, Any]) -> str | None:
    """Return the first label of a result; several labels of one rectangle are rare."""
    value = one.get("value")
    listed = value.get(str(one.get("type"))) if isinstance(value, dict) else None
    return label_of(listed[0]) if isinstance(listed, list) and listed else None


FORMAT = Format(
    name="label-studio",
    title="Label Studio",
    reads=BOTH,
    writes=BOTH,
    target="a JSON file",
    keeps="`meta` of tasks and results",
    recognises=_recognises,
    read=read_label_studio,
    write=write_tasks,
)
