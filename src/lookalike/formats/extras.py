"""What most formats have no place for: who gave a label, how sure it is, why there is none.

It has the same names everywhere, those of the columns of a table: `label_source`, `score`,
`reason`, `suggestion`, `rejected`, `policy`. A format that has no place for them gets the side file
`lookalike.jsonl`: a line for each example or region, which other readers pass over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lookalike.content.boxes import Box, read_box, same
from lookalike.errors import BadContent
from lookalike.formats.base import UNLABELLED, Example, Label, Region, label_in
from lookalike.formats.files import label_of, number, read_text, write_text

SIDE_FILE = "lookalike.jsonl"

SOURCE = "label_source"
"""Where this stands, what was written is ours."""

COLUMNS = (SOURCE, "score", "reason", "suggestion", "rejected", "policy")


def extras_of(said: Label | Region) -> dict[str, Any]:
    """Return what is known besides the label, by column; without what is not known."""
    values = (said.origin, said.score, said.reason, said.suggestion, said.rejected, said.policy)
    found = dict(zip(COLUMNS, values, strict=True)) | {"rejected": list(said.rejected)}
    return {
        name: value for name, value in found.items() if name == SOURCE or value not in (None, [])
    }


def label_from(name: Any, extras: Mapping[str, Any]) -> Label:
    """Return the label that a class and its extras say.

    >>> label_from("unlabelled", {"label_source": None, "reason": "too_close"})
    Label(label=None, score=None, origin=None, reason='too_close', suggestion=None, rejected=(), \
policy=None)
    """
    origin = label_of(extras.get(SOURCE))
    label = label_of(name)
    if label == UNLABELLED and SOURCE in extras and origin is None:
        label = None
    return Label(
        label,
        number(extras.get("score")),
        origin,
        label_of(extras.get("reason")),
        label_of(extras.get("suggestion")),
        _texts(extras.get("rejected")),
        label_of(extras.get("policy")),
    )


def region_from(box: Box, name: Any, id: str, extras: Mapping[str, Any]) -> Region:
    """Return the region with a box whose class and extras these are."""
    said = label_from(name, extras)
    rest = (said.score, said.origin, said.reason, said.suggestion, said.rejected, said.policy)
    return Region(box, said.label, id, *rest)


def said_in(region: Region) -> Label:
    """Return the label of a region."""
    return Label(
        region.label,
        region.score,
        region.origin,
        region.reason,
        region.suggestion,
        region.rejected,
        region.policy,
    )


def _texts(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, which may be written as JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return (value,) if value.strip() else ()
    listed = value if isinstance(value, list | tuple) else ()
    return tuple(text for text in map(label_of, listed) if text is not None)


# --- the side file -------------------------------------------------------------------------------


def example_lines(name: str, example: Example) -> list[dict[str, Any]]:
    """Return the lines of the side file for an example that is called `name` in the dataset."""
    if example.regions is not None:
        return [
            {
                "file_name": name,
                "box": [round(edge, 2) for edge in one.box],
                "region_id": one.id,
                **extras_of(one),
            }
            for one in example.regions
        ]
    field, said = label_in(example)
    line: dict[str, Any] = {"file_name": name, **names_of(example), "field": field}
    line |= {"label": said.label, **extras_of(said)}
    return [line | ({} if name == example.file_name else {"added_as": example.file_name})]


def names_of(example: Example) -> dict[str, str]:
    """Return by what an example can be found again besides its file name."""
    found = {"id": example.id, "sha256": example.sha256}
    return {name: value for name, value in found.items() if value}


def write_side_file(folder: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write the side file into a folder."""
    text = "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in lines)
    write_text(folder / SIDE_FILE, text)


class SideFile:
    """What the side file of a folder says, by file name. Lines that say nothing are passed over."""

    def __init__(self, folder: Path) -> None:
        self._lines: dict[str, list[Mapping[str, Any]]] = {}
        file = folder / SIDE_FILE
        for line in _lines(file) if file.is_file() else ():
            name = line.get("file_name")
            if isinstance(name, str):
                self._lines.setdefault(name, []).append(line)

    def example(self, example: Example, label: str | None) -> Example:
        """Return an example with the `label` of its place, and with what is said about it here.

        A file that was moved since is not known here: then its place alone tells its label.
        """
        lines = self._lines.get(example.file_name, [{}])
        said = lines[0]
        field = label_of(said.get("field")) or "label"
        return Example(
            label_of(said.get("added_as")) or example.file_name,
            labels={field: label_from(said.get("label", label), said)},
            id=label_of(said.get("id")) or "",
            sha256=label_of(said.get("sha256")) or "",
            path=example.path,
            split=example.split,
        )

    def regions(self, name: str, regions: Iterable[Region]) -> list[Region]:
        """Return the regions of a file with what is said of the same boxes."""
        left = list(_boxes(self._lines.get(name, [])))
        found = []
        for one in regions:
            near = next((pair for pair in left if same(pair[0], one.box, pixels=1)), None)
            if near is None:
                found.append(one)
                continue
            left.remove(near)
            box, said = near
            found.append(region_from(box, one.label, str(said.get("region_id") or ""), said))
        return found


def _lines(file: Path) -> Iterator[Mapping[str, Any]]:
    for line in read_text(file).splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict):
            yield said


def _boxes(lines: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Box, Mapping[str, Any]]]:
    for line in lines:
        try:
            yield read_box(line.get("box")), line
        except BadContent:
            continue
