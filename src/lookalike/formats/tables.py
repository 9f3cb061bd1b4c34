"""Rows as CSV, JSONL or Parquet: one mapping a row; and what of a dataset a row says.

A row names its document by `id`, `sha256` or `file_name`, or holds its `text` or `image`. The
column `label` is its label; those of `extras.py` have the names that they have everywhere.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

from lookalike.content.frames import arrow_rows, is_missing
from lookalike.errors import BadInput, MissingExtra
from lookalike.formats.base import (
    DOCUMENTS,
    LABEL,
    Dataset,
    Example,
    Format,
    Put,
    copied,
    label_in,
)
from lookalike.formats.extras import COLUMNS, SOURCE, extras_of, label_from
from lookalike.formats.files import inner_path, label_of, split_of

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
"""Formats by file suffix."""

_BATCH_ROWS = 1000

_LINE_END = "\r\n"
_DELIMITERS = (",", ";", "\t")

Row = dict[str, Any]


def format_of(path: Path) -> str:
    """Return the format that a file's suffix names. Raises BadInput, listing the known ones."""
    if path.suffix.lower() not in SUFFIXES:
        raise BadInput(f"{path.name!r} has no known suffix; use {', '.join(SUFFIXES)}")
    return SUFFIXES[path.suffix.lower()]


def read_rows(path: Path, kind: str | None = None) -> Iterator[Row]:
    """Yield the rows of a file; `kind` is `csv`, `jsonl` or `parquet`, else its suffix tells.

    CSV may be separated by commas, semicolons or tabs: the head line tells. Raises BadInput for a
    file that is not there or not of that kind, naming the line.
    """
    if not path.is_file():
        raise BadInput(f"there is no file {str(path)!r}; check the path")
    readers = {"csv": _read_csv, "jsonl": _read_json_lines, "parquet": _read_parquet}
    try:
        yield from readers[kind or format_of(path)](path)
    except UnicodeDecodeError as error:
        raise BadInput(f"{path.name}{_not_utf_8(path)} is not UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise BadInput(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def write_rows(
    path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str], kind: str | None = None
) -> int:
    """Write rows to a file; return how many. `kind` as in `read_rows`.

    The file is replaced at the end, when all is written: a failure leaves the old one. Raises
    BadInput where it cannot be written.
    """
    writers = {"csv": _text_writer(write_csv), "jsonl": _text_writer(write_json_lines)}
    write = writers.get(kind or format_of(path), write_parquet)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        count = write(draft, rows, list(columns))
        draft.replace(path)
    except OSError as error:
        raise BadInput(
            f"cannot write {str(path)!r}: {error.strerror or error}; choose another place"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return count


def write_csv(file: IO[str], rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> int:
    """Write rows as CSV with a head line; lists become JSON. Return how many."""
    writer = csv.writer(_UnixLines(file), lineterminator=_LINE_END)
    names, count = list(columns), 0
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in names])
        count += 1
    return count


def write_json_lines(
    file: IO[str], rows: Iterable[Mapping[str, Any]], columns: Iterable[str]
) -> int:
    """Write rows as one JSON object a line. Return how many."""
    names, count = list(columns), 0
    for row in rows:
        file.write(json.dumps({name: row.get(name) for name in names}, ensure_ascii=False) + "\n")
        count += 1
    return count


class _UnixLines:
    """Ends lines as Unix does; told to end them so itself, the writer leaves a CR unquoted."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, line: str) -> int:
        """Write one line."""
        return self._file.write(line.removesuffix(_LINE_END) + "\n")


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        file.seek(0)
        delimiter = max(_DELIMITERS, key=head.count)
        reader = csv.DictReader(file, delimiter=delimiter, restkey="", strict=True)
        try:
            for row in reader:
                if "" in row and isinstance(row[""], list):
                    wanted = len(reader.fieldnames or ())
                    raise BadInput(
                        f"{path.name} line {reader.line_num} has {wanted + len(row[''])} values "
                        f"for {wanted} columns; put values with {delimiter!r} into quotes"
                    )
                yield row
        except csv.Error as error:
            raise BadInput(
                f"{path.name} line {reader.line_num + 1} is not CSV: {error}; check its quotes"
            ) from error


def _read_json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise BadInput(f"{path.name} line {number} is not JSON: {error.msg}") from error
            if not isinstance(row, dict):
                raise BadInput(f'{path.name} line {number} is no JSON object; write {{"id": …}}')
            yield row


def _read_parquet(path: Path) -> Iterator[Row]:
    parquet = arrow_parquet()
    try:
        with parquet.ParquetFile(path) as file:
            yield from arrow_rows(file.schema_arrow, file.iter_batches(_BATCH_ROWS))
    except ValueError as error:  # pyarrow's own are of this kind
        raise BadInput(f"{path.name} is not Parquet: {error}") from error


def _text_writer(
    write: Callable[[IO[str], Iterable[Mapping[str, Any]], Iterable[str]], int],
) -> Callable[[Path, Iterable[Mapping[str, Any]], list[str]], int]:
    def write_to(path: Path, rows: Iterable[Mapping[str, Any]], columns: list[str]) -> int:
        with path.open("w", encoding="utf-8", newline="") as file:
            return write(file, rows, columns)

    return write_to


def write_parquet(path: Path, rows: Iterable[Mapping[str, Any]], columns: list[str]) -> int:
    """Write rows as Parquet. Return how many."""
    parquet = arrow_parquet()
    import pyarrow

    listed = list(rows)
    arrays = {name: [row.get(name) for row in listed] for name in columns}
    parquet.write_table(pyarrow.table(arrays), path)
    return len(listed)


def arrow_parquet() -> Any:
    """Return the module that reads and writes Parquet. Raises MissingExtra without pyarrow."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra.named("Parquet", "parquet") from error
    return parquet


def _not_utf_8(path: Path) -> str:
    """Return ` line n` for the first line that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8-sig")
            except UnicodeDecodeError:
                return f" line {number}"
    return ""


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


# --- rows as examples ----------------------------------------------------------------------------

_NAMES = ("id", "sha256", "file_name", "split", "text", "image", "vector", LABEL, *COLUMNS)
"""Columns that are not metadata."""


def row_of(example: Example) -> Row:
    """Return an example as a row."""
    _, said = label_in(example)
    extras = extras_of(said)
    row: Row = {"id": example.id or None, "file_name": example.file_name or None}
    row |= {"sha256": example.sha256 or None, LABEL: said.label}
    row |= {name: extras.get(name) for name in COLUMNS}
    row |= {"rejected": list(said.rejected), "split": example.split, "text": example.text}
    if example.vector is not None:
        row["vector"] = [float(number) for number in example.vector]
    return row


def example_of(
    row: Mapping[str, Any], find: Callable[[str], Path | None], split: str | None = None
) -> Example:
    """Return what a row says; `find` gives the file of a name."""
    given = {name: value for name, value in row.items() if not is_missing(value) and value != ""}
    path, content = _content(given.get("image"), find)
    name = str(given.get("file_name") or "")
    text = given.get("text")
    own = split_of(str(given.get("split"))) if "split" in given else None
    return Example(
        name,
        labels=_labels(given),
        id=str(given.get("id", "")),
        sha256=str(given.get("sha256", "")).lower(),
        path=path or (find(name) if name and content is None else None),
        content=content,
        text=str(text) if text is not None else None,
        split=own or split,
        vector=given.get("vector"),
        metadata={key: value for key, value in given.items() if key not in _NAMES},
    )


def _labels(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the label of a row, which is there if any column speaks about it."""
    known = [name for name in (LABEL, *COLUMNS) if name in given]
    if not known or (known == [SOURCE] and label_of(given[SOURCE]) is None):
        return {}
    return {LABEL: label_from(given.get(LABEL), given)}


def _content(
    image: Any, find: Callable[[str], Path | None]
) -> tuple[Path | None, Callable[[], bytes] | None]:
    """Return where a picture is, or what gives its bytes."""
    if isinstance(image, str):
        return find(image), None
    if isinstance(image, bytes):
        return None, partial(bytes, image)
    if isinstance(image, Mapping):
        data, path = image.get("bytes"), image.get("path")
        if isinstance(data, bytes):
            return None, partial(bytes, data)
        return (find(path) if isinstance(path, str) else None), None
    return None, None


def _read_table(kind: str, path: Path, images: Path | None) -> Dataset:
    base = path.parent if images is None else images

    def find(name: str) -> Path | None:
        inner = base / inner_path(name)
        return inner.resolve() if inner.is_file() else None

    return Dataset(example_of(row, find) for row in read_rows(path, kind))


def _write_table(kind: str, path: Path, examples: Iterable[Example], _put: Put = copied) -> int:
    """Write examples as rows; the columns are those of the first one. Return how many."""
    rows = [row_of(one) for one in examples]
    columns = list(dict.fromkeys(name for row in rows[:1] for name in row)) or list(_NAMES)
    return write_rows(path, rows, columns, kind)


def _recognises(kind: str, path: Path) -> bool:
    return not path.is_dir() and SUFFIXES.get(path.suffix.lower()) == kind


def _table(kind: str, title: str) -> Format:
    return Format(
        name=kind,
        title=title,
        reads=frozenset({DOCUMENTS}),
        writes=frozenset({DOCUMENTS}),
        target="a file",
        keeps="columns",
        recognises=partial(_recognises, kind),
        read=partial(_read_table, kind),
        write=partial(_write_table, kind),
    )


CSV, JSONL, PARQUET = (
    _table("csv", "CSV"),
    _table("jsonl", "JSON lines"),
    _table("parquet", "Parquet"),
)
