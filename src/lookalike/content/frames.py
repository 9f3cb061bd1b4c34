"""Tables in memory, read and written: of pandas, polars, Arrow and Hugging Face `datasets`.

A table that is read is recognised by what it can do: nothing of these packages is imported. A
column of class numbers that knows their names gives the names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lookalike.errors import BadInput, MissingExtra

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VECTOR = "vector"
"""The column that holds vectors."""

Row = dict[str, Any]

ColumnType = Literal["text", "number", "truth", "texts", "numbers"]
"""What the cells of a column hold, apart from None."""


class _HasColumns(Protocol):
    @property
    def columns(self) -> Any:
        """The names of the columns."""


class _HasColumnNames(Protocol):
    @property
    def column_names(self) -> Any:
        """The names of the columns."""


Frame = _HasColumns | _HasColumnNames
"""A table in memory: `columns` of pandas and polars, `column_names` of Arrow and `datasets`."""


# --- read ----------------------------------------------------------------------------------------


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
        yield from _collected(source).iter_rows(named=True)
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


def column_names(source: Any) -> list[str]:
    """Return the names of the columns of a table."""
    if hasattr(source, "column_names"):
        return list(source.column_names)
    if hasattr(source, "collect_schema"):  # of polars: a lazy frame warns about its `columns`
        return list(source.collect_schema().names())
    return [str(name) for name in source.columns]


def is_missing(value: Any) -> bool:
    """Return whether a cell of a table is empty: None, NaN, or NA or NaT of pandas."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def labels_in(source: Mapping[str, str | None] | Frame) -> Mapping[str, str | None]:
    """Return the labels of a mapping, or of a table with the columns `id` and `label`, by id.

    Rows of a table that have no label are left out. Raises BadInput where a column is missing, and
    where one id has two labels.
    """
    if isinstance(source, Mapping):
        return source
    source = _collected(source)
    _check_columns(source, "id", "label")
    labels: dict[str, str | None] = {}
    for row in frame_rows(source):
        if is_missing(row["label"]):
            continue
        id, label = str(row["id"]), str(row["label"])
        if labels.setdefault(id, label) != label:
            raise BadInput(f"{id!r} has the labels {labels[id]!r} and {label!r}; keep one of them")
    return labels


@dataclass(frozen=True, slots=True)
class VectorRows:
    """The vectors (n, d) of a table, with the `id` and the other columns of each row."""

    vectors: NDArray[Any]
    ids: list[str] | None
    metadata: list[Row]


def vectors_in(source: Any, column: str = VECTOR) -> VectorRows:
    """Return the vectors in a column of a table; without copying them, where the table can.

    Raises BadInput where there is no such column, or where its vectors differ in length.
    """
    source = _collected(source)
    _check_columns(source, column)
    vectors = _matrix(source, column)
    rows = list(frame_rows(_without(source, column)))
    ids = [str(row.pop("id")) for row in rows] if "id" in column_names(source) else None
    return VectorRows(vectors, ids, rows or [{} for _ in vectors])


def _collected(source: Any) -> Any:
    """Return the frame of a lazy one of polars; any other table as it is."""
    return source.collect() if hasattr(source, "collect") else source


def _check_columns(source: Any, *wanted: str) -> None:
    if not is_frame(source):
        raise BadInput(f"a {type(source).__name__} is not a table; give a DataFrame")
    names = column_names(source)
    if missing := [name for name in wanted if name not in names]:
        raise BadInput(f"the table has no column {missing[0]!r}, only {', '.join(names) or 'none'}")


def _matrix(source: Any, column: str) -> NDArray[Any]:
    import numpy as np

    kind, cells = _kind(source), source[column]
    if kind == "polars" and hasattr(cells.dtype, "shape"):
        return np.asarray(cells.to_numpy())
    if kind == "arrow" and hasattr(cells.type, "list_size") and not cells.null_count:
        flat = (cells.chunk(0) if cells.num_chunks == 1 else cells.combine_chunks()).flatten()
        return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(-1, cells.type.list_size)
    listed = cells.to_pylist() if kind == "arrow" else list(cells)
    lengths = {0 if one is None or isinstance(one, float) else len(one) for one in listed}
    if len(lengths) > 1:
        short, long = min(lengths), max(lengths)
        raise BadInput(
            f"the vectors in {column!r} have {short} to {long} numbers; give each row as many"
        )
    return np.array([np.asarray(one) for one in listed]) if listed else np.empty((0, 0))


def _without(source: Any, column: str) -> Any:
    """Return a table without a column."""
    kind = _kind(source)
    if kind == "pandas":
        return source.drop(columns=[column])
    if kind == "datasets":
        return source.remove_columns([column])
    return source.drop_columns([column]) if kind == "arrow" else source.drop(column)


# --- write ---------------------------------------------------------------------------------------


def pandas_frame(
    rows: Iterable[Row], columns: Mapping[str, ColumnType], vectors: NDArray[np.float32] | None
) -> Any:
    """Return rows as a DataFrame of pandas; `vectors` (n, d) become its column `vector`.

    A vector is a view of the matrix. Raises MissingExtra without pandas.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra.named("to_pandas", "pandas") from error
    frame = pandas.DataFrame(list(rows), columns=list(columns))
    if vectors is not None:
        frame[VECTOR] = pandas.Series(list(vectors), index=frame.index, dtype=object)
    return frame


def polars_frame(
    rows: Iterable[Row], columns: Mapping[str, ColumnType], vectors: NDArray[np.float32] | None
) -> Any:
    """Return rows as a DataFrame of polars; `vectors` (n, d) become its column `vector`.

    Raises MissingExtra without polars.
    """
    try:
        import polars
    except ImportError as error:
        raise MissingExtra.named("to_polars", "polars") from error
    types: dict[ColumnType, Any] = {
        "text": polars.String,
        "number": polars.Float64,
        "truth": polars.Boolean,
        "texts": polars.List(polars.String),
        "numbers": polars.List(polars.Float64),
    }
    schema = {name: types[kind] for name, kind in columns.items()}
    frame = polars.DataFrame(_by_column(rows, columns), schema=schema)
    if vectors is None:
        return frame
    kind = polars.Array(polars.Float32, vectors.shape[1])
    return frame.with_columns(polars.Series(VECTOR, vectors, dtype=kind))


def arrow_table(
    rows: Iterable[Row], columns: Mapping[str, ColumnType], vectors: NDArray[np.float32] | None
) -> Any:
    """Return rows as a table of Arrow; `vectors` (n, d) become its column `vector`, not copied.

    Raises MissingExtra without pyarrow.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra.named("to_arrow", "parquet") from error
    types: dict[ColumnType, Any] = {
        "text": pyarrow.string(),
        "number": pyarrow.float64(),
        "truth": pyarrow.bool_(),
        "texts": pyarrow.list_(pyarrow.string()),
        "numbers": pyarrow.list_(pyarrow.float64()),
    }
    schema = pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])
    table = pyarrow.table(_by_column(rows, columns), schema=schema)
    if vectors is None:
        return table
    flat = pyarrow.array(vectors.reshape(-1))
    listed = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    return table.append_column(VECTOR, listed)


def _by_column(rows: Iterable[Row], columns: Iterable[str]) -> dict[str, list[Any]]:
    cells: dict[str, list[Any]] = {name: [] for name in columns}
    for row in rows:
        for name, values in cells.items():
            values.append(row[name])
    return cells
