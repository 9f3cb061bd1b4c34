"""Rows as CSV, JSONL or Parquet: one mapping a row."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from lookalike.errors import BadInput, MissingExtra

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
"""Formats by file suffix."""


def format_of(path: Path) -> str:
    """Return the format that a file's suffix names. Raises BadInput, listing the known ones."""
    if path.suffix.lower() not in SUFFIXES:
        raise BadInput(f"{path.name!r} has no known suffix; use {', '.join(SUFFIXES)}")
    return SUFFIXES[path.suffix.lower()]


def read_rows(path: Path, kind: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file; `kind` is `csv`, `jsonl` or `parquet`, else its suffix tells.

    Raises BadInput for a file that is not there or not of that kind, naming the line.
    """
    kind = kind or format_of(path)
    if not path.is_file():
        raise BadInput(f"there is no file {str(path)!r}; check the path")
    if kind == "parquet":
        yield from _parquet().read_table(path).to_pylist()
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield from csv.DictReader(file) if kind == "csv" else _json_lines(path, file)
        except UnicodeDecodeError as error:
            raise BadInput(f"{path.name} is not UTF-8: {error.reason}; save it as UTF-8") from error
        except csv.Error as error:
            raise BadInput(f"{path.name} is not CSV: {error}") from error


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> int:
    """Write rows to a file whose suffix names the format; return how many."""
    kind = format_of(path)
    if kind == "parquet":
        return _write_parquet(path, rows, list(columns))
    with path.open("w", encoding="utf-8", newline="") as file:
        write = write_csv if kind == "csv" else write_json_lines
        return write(file, rows, columns)


def write_csv(file: IO[str], rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> int:
    """Write rows as CSV with a head line; lists become JSON. Return how many."""
    writer = csv.writer(file, lineterminator="\n")
    names = list(columns)
    writer.writerow(names)
    count = 0
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


def _json_lines(path: Path, file: IO[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise BadInput(f"{path.name} line {number} is not JSON: {error.msg}") from error
        if not isinstance(row, dict):
            raise BadInput(f"{path.name} line {number} is no JSON object")
        yield row


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


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
