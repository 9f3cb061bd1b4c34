"""Rows as CSV, JSONL or Parquet: one mapping a row."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from lookalike.errors import BadInput, MissingExtra
from lookalike.model import LABEL_SEPARATOR

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
"""Formats by file suffix."""

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


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> int:
    """Write rows to a file whose suffix names the format; return how many.

    The file is replaced at the end, when all is written: a failure leaves the old one. Raises
    BadInput where it cannot be written.
    """
    writers = {"csv": _text_writer(write_csv), "jsonl": _text_writer(write_json_lines)}
    write = writers.get(format_of(path), _write_parquet)
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
        writer.writerow([_cell(row[name]) for name in names])
        count += 1
    return count


def write_json_lines(
    file: IO[str], rows: Iterable[Mapping[str, Any]], columns: Iterable[str]
) -> int:
    """Write rows as one JSON object a line. Return how many."""
    names, count = list(columns), 0
    for row in rows:
        file.write(json.dumps({name: row[name] for name in names}, ensure_ascii=False) + "\n")
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
    parquet = _parquet()
    try:
        table = parquet.read_table(path)
    except ValueError as error:  # pyarrow's own are of this kind
        raise BadInput(f"{path.name} is not Parquet: {error}") from error
    yield from table.to_pylist()


def _text_writer(
    write: Callable[[IO[str], Iterable[Mapping[str, Any]], Iterable[str]], int],
) -> Callable[[Path, Iterable[Mapping[str, Any]], list[str]], int]:
    def write_to(path: Path, rows: Iterable[Mapping[str, Any]], columns: list[str]) -> int:
        with path.open("w", encoding="utf-8", newline="") as file:
            return write(file, rows, columns)

    return write_to


def _write_parquet(path: Path, rows: Iterable[Mapping[str, Any]], columns: list[str]) -> int:
    parquet = _parquet()
    import pyarrow

    listed = list(rows)
    arrays = {name: [row[name] for row in listed] for name in columns}
    parquet.write_table(pyarrow.table(arrays), path)
    return len(listed)


def _parquet() -> Any:
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


# --- class folders: `shoes/running/7.jpg` --------------------------------------------------------


def read_folders(root: Path) -> Iterator[dict[str, Any]]:
    """Yield file name (relative to `root`) and label of every file in a subfolder.

    Raises BadInput when `root` is no folder, or has no subfolder with files.
    """
    if not root.is_dir():
        raise BadInput(f"there is no folder {str(root)!r}; check the path")
    empty = True
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root)
        hidden = any(part.startswith(".") for part in inner.parts)
        if path.is_file() and not hidden and len(inner.parts) > 1:
            label = LABEL_SEPARATOR.join(inner.parts[:-1])
            empty = False
            yield {"file_name": inner.as_posix(), "label": label}
    if empty:
        raise BadInput(
            f"the folder {str(root)!r} has no class folders: put each file into a folder that is "
            "named like its label, such as shoes/running/7.jpg"
        )
