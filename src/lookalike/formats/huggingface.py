"""Hugging Face: a folder of pictures with `metadata.jsonl`, Parquet or Arrow files, or a Dataset.

Class numbers become their names. A column `objects` of `bbox` and `categories` has the regions of a
picture. Written are pictures with `metadata.jsonl` beside them, and texts as Parquet with their
classes; the extras are columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lookalike.content.boxes import read_box
from lookalike.content.frames import arrow_rows, frame_rows
from lookalike.errors import BadContent, BadInput, MissingExtra
from lookalike.formats.base import (
    BOTH,
    SPLITS,
    UNLABELLED,
    Dataset,
    Example,
    Format,
    Put,
    Region,
    content_of,
    copied,
    label_in,
)
from lookalike.formats.extras import COLUMNS, extras_of, label_from, region_from
from lookalike.formats.files import inner_path, label_of, split_of, write_text
from lookalike.formats.tables import arrow_parquet, example_of, read_rows, row_of

_METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
_CATEGORIES = ("categories", "category", "label", "labels")
_FOLDERS = {"val": "validation"}


def read_huggingface(path: Path, images: Path | None = None) -> Dataset:
    """Return the rows of a dataset: its folder, or one file of it.

    Raises BadInput where there is no file with rows.
    """
    refused: dict[str, str] = {}
    if not path.is_dir():
        return Dataset(_rows(path, path.parent, images, refused), refused)
    files = [one for one in sorted(path.rglob("*")) if one.name in _METADATA]
    if not files:
        files = sorted([*path.rglob("*.parquet"), *path.rglob("*.arrow")])
        files = [one for one in files if not one.name.startswith("cache-")]
    if not files:
        raise BadInput(
            f"{str(path)!r} is no dataset of Hugging Face: it has no metadata.jsonl, no Parquet "
            "and no Arrow files"
        )
    parts = (_rows(file, path, images, refused) for file in files)
    return Dataset((one for part in parts for one in part), refused)


def write_huggingface(folder: Path, examples: Iterable[Example], put: Put = copied) -> int:
    """Write pictures with `metadata.jsonl`, or texts as Parquet; return how many labels."""
    listed = list(examples)
    named = all(one.split in SPLITS for one in listed)
    parts: dict[str, list[Example]] = {}
    for one in listed:
        split = str(one.split) if named else ""
        parts.setdefault(_FOLDERS.get(split, split), []).append(one)
    is_text = any(one.text is not None for one in listed)
    for split, own in parts.items():
        if is_text:
            _write_texts(folder / "data" / f"{split or 'train'}-00000-of-00001.parquet", own)
        else:
            _write_pictures(folder / split, own, put)
    return sum(len(one.labels) if one.regions is None else len(one.regions) for one in listed)


def examples_of(dataset: Any) -> Dataset:
    """Return the rows of a `datasets.Dataset`, or of all splits of a `DatasetDict`."""
    refused: dict[str, str] = {}
    parts = dataset.items() if isinstance(dataset, Mapping) else [("", dataset)]
    return Dataset(_dataset_rows(parts, refused), refused)


def to_dataset(examples: Iterable[Example]) -> Any:
    """Return examples as a `datasets.Dataset`. Raises MissingExtra without the package."""
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra.named("a Hugging Face dataset", "huggingface") from error
    listed = list(examples)
    rows = [_row(one) | _picture(one) for one in listed]
    made = datasets.Dataset.from_list(rows)
    names = _names(listed)
    if names and all(row["label"] is None or row["label"] in names for row in rows):
        made = made.cast_column("label", datasets.ClassLabel(names=names))
    if any(one.text is None for one in listed):
        made = made.cast_column("image", datasets.Image())
    return made


def _recognises(path: Path) -> bool:
    if not path.is_dir():
        return path.suffix.lower() == ".arrow"
    near = [*path.glob("*"), *path.glob("*/*")]
    suffixes = (".parquet", ".arrow")
    return any(one.name in _METADATA or one.suffix.lower() in suffixes for one in near)


# --- reading -------------------------------------------------------------------------------------


def _rows(
    file: Path, root: Path, images: Path | None, refused: dict[str, str]
) -> Iterator[Example]:
    """Yield the rows of a file; the split is said by its name or its folders below the root."""
    inner = file.relative_to(root).parts
    words = [*reversed(inner[:-1]), file.name.partition("-")[0], file.stem]
    split = next((one for word in words if (one := split_of(word))), None)
    base = (images or file.parent).resolve()

    def find(name: str) -> Path | None:
        found = base / inner_path(name)
        return found if found.is_file() else None

    rows = _arrow(file) if file.suffix.lower() == ".arrow" else read_rows(file)
    for index, row in enumerate(rows):
        yield _example(row, find, split, f"{file.name} row {index}", refused)


def _dataset_rows(parts: Iterable[tuple[Any, Any]], refused: dict[str, str]) -> Iterator[Example]:
    for name, dataset in parts:
        plain = dataset
        for column, feature in dataset.features.items():
            if type(feature).__name__ == "Image":
                plain = plain.cast_column(column, type(feature)(decode=False))
        for index, row in enumerate(frame_rows(plain)):
            place = f"{name or 'dataset'} row {index}"
            yield _example(row, _there, split_of(str(name)), place, refused)


def _there(name: str) -> Path | None:
    found = Path(name)
    return found.resolve() if found.is_file() else None


def _arrow(file: Path) -> Iterator[dict[str, Any]]:
    arrow_parquet()
    import pyarrow

    try:
        with pyarrow.memory_map(str(file)) as source, pyarrow.ipc.open_stream(source) as stream:
            yield from arrow_rows(stream.schema, stream)
    except (ValueError, OSError) as error:
        raise BadInput(f"{file.name} is not Arrow: {error}") from error


def _example(
    row: Mapping[str, Any], find: Any, split: str | None, place: str, refused: dict[str, str]
) -> Example:
    one = example_of(row, find, split)
    labels = dict(one.labels) or {
        name: label_from(row[name], row) for name in ("labels",) if isinstance(row.get(name), str)
    }
    given = row.get("objects")
    name = one.file_name or _path_of(row.get("image"))
    regions = list(_regions(refused, place, given)) if isinstance(given, Mapping) else None
    field = label_of(row.get("field"))
    if field is not None and "label" in labels:
        labels[field] = labels.pop("label")
    metadata = {key: one.metadata[key] for key in one.metadata if key not in ("objects", "field")}
    return Example(
        name,
        regions,
        labels=labels,
        id=one.id,
        sha256=one.sha256,
        path=one.path,
        text=one.text,
        content=one.content,
        split=one.split,
        metadata=metadata,
    )


def _path_of(image: Any) -> str:
    path = image.get("path") if isinstance(image, Mapping) else image
    return Path(path).name if isinstance(path, str) else ""


def _regions(refused: dict[str, str], place: str, objects: Mapping[str, Any]) -> Iterator[Region]:
    boxes = objects.get("bbox")
    key = next((name for name in _CATEGORIES if name in objects), "categories")
    for index, box in enumerate(boxes if isinstance(boxes, list) else []):
        said = {
            name: values[index]
            for name, values in objects.items()
            if isinstance(values, list) and index < len(values)
        }
        try:
            found = read_box(box)
        except BadContent as error:
            refused[f"{place} object {index}"] = str(error)
            continue
        yield region_from(found, said.get(key), label_of(said.get("region_id")) or "", said)


# --- writing -------------------------------------------------------------------------------------


def _write_pictures(folder: Path, examples: Sequence[Example], put: Put) -> None:
    lines = []
    for one in examples:
        name = inner_path(one.file_name)
        put(one, folder / name)
        row = {"file_name": name.as_posix(), **_row(one)}
        if one.regions is not None:
            row["objects"] = _objects(one.regions)
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_text(folder / "metadata.jsonl", "".join(lines))


def _row(example: Example) -> dict[str, Any]:
    row = row_of(example)
    row.pop("file_name")
    field, _ = label_in(example)
    kept = {name: value for name, value in row.items() if name not in ("split", "vector")}
    kept = kept if example.text is not None else {k: v for k, v in kept.items() if k != "text"}
    if example.regions is not None:
        kept = {name: kept[name] for name in ("id", "sha256")}
    else:
        kept["field"] = field
    return kept


def _objects(regions: Sequence[Region]) -> dict[str, list[Any]]:
    extras = [extras_of(one) for one in regions]
    found: dict[str, list[Any]] = {
        "bbox": [[round(edge, 2) for edge in one.box] for one in regions],
        "categories": [one.label or UNLABELLED for one in regions],
        "region_id": [one.id for one in regions],
    }
    found |= {name: [one.get(name) for one in extras] for name in COLUMNS}
    return found | {"rejected": [list(one.rejected) for one in regions]}


def _names(examples: Iterable[Example]) -> list[str]:
    labels = (label_in(one)[1].label for one in examples)
    return sorted({label for label in labels if label is not None})


def _picture(example: Example) -> dict[str, Any]:
    if example.text is not None:
        return {"file_name": example.file_name}
    picture = {"bytes": content_of(example), "path": example.file_name}
    more = {} if example.regions is None else {"objects": _objects(example.regions)}
    return {"file_name": example.file_name, "image": picture, **more}


def _write_texts(file: Path, examples: Sequence[Example]) -> None:
    """Write texts as Parquet, whose schema has the names of the classes for Hugging Face."""
    parquet = arrow_parquet()
    import pyarrow

    names = _names(examples)
    numbers = {name: place for place, name in enumerate(names)}
    rows = [{"file_name": one.file_name, **_row(one)} for one in examples]
    columns = {name: [row.get(name) for row in rows] for name in rows[0]}
    types = {"rejected": pyarrow.list_(pyarrow.string()), "score": pyarrow.float64()}
    arrays = {
        name: pyarrow.array(values, types.get(name, pyarrow.string()))
        for name, values in columns.items()
        if name != "label"
    }
    arrays["label"] = pyarrow.array(
        [None if one is None else numbers[one] for one in columns["label"]], pyarrow.int64()
    )
    features: dict[str, dict[str, Any]] = {
        name: {"dtype": "string", "_type": "Value"} for name in arrays
    }
    features["score"] = {"dtype": "float64", "_type": "Value"}
    features["rejected"] = {"feature": features["text"], "_type": "List"}
    features["label"] = {"names": names, "_type": "ClassLabel"}
    stored = json.dumps({"info": {"features": features}})
    table = pyarrow.table(arrays).replace_schema_metadata({"huggingface": stored})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table, file)
    except OSError as error:
        raise BadInput(f"cannot write {str(file)!r}: {error.strerror or error}") from error


FORMAT = Format(
    name="huggingface",
    title="Hugging Face",
    reads=BOTH,
    writes=BOTH,
    target="a folder",
    keeps="columns",
    recognises=_recognises,
    read=read_huggingface,
    write=write_huggingface,
)
