"""Tables of pandas, polars and Arrow: items, vectors and labels come in, exports go out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import lookalike
from lookalike.content.frames import vectors_in
from lookalike.errors import BadInput
from lookalike.quality.reports import EXPORT_COLUMNS

Made = Callable[[dict[str, Any]], Any]

MAKERS: dict[str, Made] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "polars, lazy": pl.LazyFrame,
    "arrow": pa.table,
}
NUMBERS = np.array([[1, 0, 0], [1, 0.1, 0], [0, 1, 0], [0, 1, 0.1]], np.float32)

anyone = pytest.mark.parametrize("made", MAKERS.values(), ids=MAKERS)


@pytest.fixture
def library(tmp_path: Path) -> lookalike.Library:
    return lookalike.open(tmp_path / "store", actor="ann")


def points_in(library: lookalike.Library) -> lookalike.Collection:
    return library.labeler("points", extractor="passthrough", confidence_threshold=0.9)


@anyone
def test_texts_and_their_labels_come_from_tables(library: lookalike.Library, made: Made) -> None:
    notes = library.labeler("notes", extractor="text")

    notes.add(made({"id": ["x", "y", "z"], "text": ["A fine day", "It rains", "Snow"]}))
    notes.label(made({"id": ["x", "z"], "label": ["good", None]}))
    notes.import_labels(made({"id": ["y"], "label": ["bad"]}))

    assert [(one.label, one.origin) for one in notes.documents()] == [
        ("good", "human"),
        ("bad", "import"),
        (None, None),
    ]


@anyone
def test_a_column_of_vectors_is_added_and_the_others_are_metadata(
    library: lookalike.Library, made: Made
) -> None:
    points = points_in(library)

    table = {"id": list("abcd"), "vector": NUMBERS.tolist(), "price": [1, 2, 3, 4]}
    added = points.add(made(table))
    named = points.add(made({"id": ["e"], "embedding": [[1.0, 1, 1]]}), vectors="embedding")

    assert (added.added, named.added) == (4, 1)
    assert [one.id for one in points.documents()] == list("abcde")
    assert [one.metadata for one in points.documents(ids=["b", "e"])] == [{"price": 2}, {}]


@anyone
def test_given_ids_and_metadata_go_before_the_tables(
    library: lookalike.Library, made: Made
) -> None:
    table = made({"id": list("abcd"), "vector": NUMBERS.tolist(), "price": [1, 2, 3, 4]})

    points = points_in(library)
    points.add(table, ids=list("stuv"), metadata={"price": 0, "shop": "north"})

    assert {one.id: one.metadata for one in points.documents(ids=["s"])} == {
        "s": {"price": 0, "shop": "north"}
    }


def test_vectors_in_fixed_lists_are_not_copied() -> None:
    flat = pa.array(NUMBERS.reshape(-1))
    arrow = pa.table({"vector": pa.FixedSizeListArray.from_arrays(flat, 3)})
    polars = pl.DataFrame({"vector": pl.Series(NUMBERS, dtype=pl.Array(pl.Float32, 3))})

    of_arrow, of_polars = vectors_in(arrow).vectors, vectors_in(polars).vectors

    assert np.shares_memory(of_arrow, flat.to_numpy())
    assert np.shares_memory(of_polars, polars["vector"].to_numpy())
    assert of_polars.tolist() == of_arrow.tolist() == NUMBERS.tolist()


@anyone
def test_what_a_table_lacks_or_says_twice_is_named(library: lookalike.Library, made: Made) -> None:
    points = points_in(library)
    points.add(vectors=NUMBERS, ids=list("abcd"))

    mistakes: dict[Callable[[], object], str] = {
        (lambda: points.label(made({"id": ["a"], "lable": ["x"]}))): (
            "the table has no column 'label', only id, lable"
        ),
        (lambda: points.label(made({"id": ["a", "a"], "label": ["x", "y"]}))): (
            "'a' has the labels 'x' and 'y'; keep one of them"
        ),
        (lambda: points.add(made({"id": ["e"]}), vectors="vektor")): (
            "the table has no column 'vektor', only id"
        ),
        (lambda: points.add(made({"vector": [[1.0], [1.0, 2]]}))): (
            "the vectors in 'vector' have 1 to 2 numbers; give each row as many"
        ),
        (lambda: points.add(made({"vector": [[1.0]]}), metadata=[{}, {}])): (
            "there are 2 metadata rows for 1 vectors"
        ),
        (lambda: points.add(vectors="embedding")): (
            "vectors='embedding' names a column: give the DataFrame that has it, too"
        ),
    }

    for call, message in mistakes.items():
        with pytest.raises(BadInput) as refused:
            call()
        assert str(refused.value) == message
    assert points.report().per_label == {}


# --- out -----------------------------------------------------------------------------------------


@pytest.fixture
def labelled(library: lookalike.Library) -> lookalike.Collection:
    points = points_in(library)
    points.add(vectors=NUMBERS, ids=list("abcd"))
    points.label({"a": "x"})
    points.reject({"d": "x"})
    return points


def test_the_same_rows_come_out_as_each_kind_of_table(labelled: lookalike.Collection) -> None:
    rows = list(labelled.rows())

    polars, arrow, pandas = labelled.to_polars(), labelled.to_arrow(), labelled.to_pandas()

    assert [row["label"] for row in rows] == ["x", "x", None, None]
    assert polars.to_dicts() == rows
    assert arrow.to_pylist() == rows
    assert pandas.astype(object).where(pandas.notna(), None).to_dict("records") == rows
    assert polars.columns == arrow.column_names == list(pandas) == list(EXPORT_COLUMNS)


def test_vectors_come_out_at_unit_length_and_go_back(
    labelled: lookalike.Collection, library: lookalike.Library
) -> None:
    unit = NUMBERS / np.linalg.norm(NUMBERS, axis=1, keepdims=True)
    tables = [labelled.to_pandas(vectors=True), labelled.to_polars(vectors=True)]
    tables.append(labelled.to_arrow(vectors=True))

    for number, table in enumerate(tables):
        assert np.allclose(vectors_in(table).vectors, unit, atol=1e-3)
        again = library.labeler(f"again_{number}", extractor="passthrough")
        assert again.add(table, vectors="vector").added == 4


def test_the_types_of_columns_do_not_depend_on_the_rows(library: lookalike.Library) -> None:
    empty = points_in(library)

    before = empty.to_arrow().schema, empty.to_polars().schema
    empty.add(vectors=NUMBERS, ids=list("abcd"))
    empty.label({"a": "x"})

    assert (empty.to_arrow().schema, empty.to_polars().schema) == before
    assert before[0].field("neighbor_scores").type == pa.list_(pa.float64())
    assert before[0].field("is_reference").type == pa.bool_()


def test_an_empty_collection_has_an_empty_column_of_vectors(library: lookalike.Library) -> None:
    empty = points_in(library)

    assert empty.to_pandas(vectors=True).shape == (0, len(EXPORT_COLUMNS) + 1)
    assert empty.to_arrow(vectors=True).num_rows == empty.to_polars(vectors=True).height == 0


def test_the_past_comes_out_too(labelled: lookalike.Collection) -> None:
    labelled.keep_version("v1")
    labelled.label({"c": "y"})

    assert labelled.as_of("v1").to_polars()["label"].to_list() == ["x", "x", None, None]
    assert labelled.to_polars()["label"].to_list()[2] == "y"
