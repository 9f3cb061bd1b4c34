"""Tables in memory as rows: pandas and polars DataFrames, tables of Arrow, Hugging Face datasets.

Nothing of these packages is imported: a table is recognised by what it can do. A column of class
numbers that knows their names gives the names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def is_frame(source: object) -> bool:
    """Return whether something is a table whose rows `frame_rows` yields."""
    return _kind(source) != ""


def frame_rows(source: Any) -> Iterator[Row]:
    """Yield the rows of a table as mappings.

    >>> list(frame_rows([1]))
    Traceback (most recent call last):
    TypeError: a list is not a table
    """
    kind = _kind(source)
    if kind == "pandas":
        yield from source.to_dict("records")
    elif kind == "polars":
        collected = source.collect() if hasattr(source, "collect") else source
        yield from collected.iter_rows(named=True)
    elif kind == "arrow":
        yield from arrow_rows(source.schema, source.to_batches(max_chunksize=1000))
    elif kind == "datasets":
        names = class_names(source.features)
        for row in source:
            yield _with_names(row, names)
    else:
        raise TypeError(f"a {type(source).__name__} is not a table")


def arrow_rows(schema: Any, batches: Iterable[Any]) -> Iterator[Row]:
    """Yield the rows of batches of Arrow; class numbers of Hugging Face become names."""
    names = _stored_names(schema.metadata or {})
    for batch in batches:
        for row in batch.to_pylist():
            yield _with_names(row, names)


def class_names(features: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """Return the names of classes by column, from the features of a Hugging Face dataset."""
    found = {name: getattr(feature, "names", None) for name, feature in features.items()}
    return {name: names for name, names in found.items() if isinstance(names, list)}


def _kind(source: Any) -> str:
    """Return which package a table is of, "" for what is none."""
    if hasattr(source, "itertuples") and hasattr(source, "to_dict"):
        return "pandas"
    if hasattr(source, "iter_rows") or (hasattr(source, "collect") and hasattr(source, "lazy")):
        return "polars"
    if hasattr(source, "to_batches") and hasattr(source, "schema"):
        return "arrow"
    if hasattr(source, "features") and hasattr(source, "with_format"):
        return "datasets"
    return ""


def _stored_names(metadata: Mapping[bytes, bytes]) -> dict[str, Sequence[str]]:
    """Return the names of classes by column that a schema of Arrow keeps for Hugging Face."""
    try:
        stored = json.loads(metadata.get(b"huggingface", b"{}"))
        features = stored.get("info", {}).get("features", {})
        pairs = {name: feature.get("names") for name, feature in features.items()}
    except (ValueError, AttributeError):
        return {}
    return {name: names for name, names in pairs.items() if isinstance(names, list)}


def _with_names(row: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> Row:
    named = {
        column: known[row[column]] if 0 <= row[column] < len(known) else None
        for column, known in names.items()
        if isinstance(row.get(column), int)
    }
    return {**row, **named}
