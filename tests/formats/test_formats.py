"""Tables and class folders: what is written is read back; what is broken is named by its line."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lookalike
from lookalike.errors import BadInput
from lookalike.formats.base import label_in
from lookalike.formats.folders import read_folders
from lookalike.formats.tables import read_rows, write_csv, write_rows
from lookalike.quality.reports import EXPORT_COLUMNS

ODD = [
    "comma, semicolon; tab\t",
    "quote \" and '",
    "line\nbreak\r\nand\rreturn",
    "Ünïcode ナイキ 👟 \u202e rtl",
    " spaces around ",
    "=1+1",
    "\ufeffmark inside\ufeff",
    "\\n \\u0041",
    "null",
]


def csv_text(value: Any) -> str:
    """How CSV shows a value, which knows texts only."""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value or "")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".ndjson", ".parquet", ".CSV"])
def test_odd_texts_come_back_as_they_were(suffix: str, tmp_path: Path) -> None:
    rows = [{"id": str(number), "label": text} for number, text in enumerate(ODD)]

    count = write_rows(tmp_path / f"odd{suffix}", rows, ["id", "label"])

    assert count == len(ODD)
    assert list(read_rows(tmp_path / f"odd{suffix}")) == rows


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_numbers_lists_and_nothing_come_back(suffix: str, tmp_path: Path) -> None:
    """In CSV as texts: lists as JSON, nothing as the empty text."""
    row = {"score": 0.25, "none": None, "yes": True, "ids": ["a", "b"], "scores": []}

    write_rows(tmp_path / f"table{suffix}", [row], list(row))

    as_read = {name: csv_text(value) for name, value in row.items()} if suffix == ".csv" else row
    assert list(read_rows(tmp_path / f"table{suffix}")) == [as_read]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.fixed_dictionaries({"a": st.text(), "b": st.text()}), max_size=4))
def test_any_text_survives_csv(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    """Surrogates aside, which no file in UTF-8 can hold."""
    clean = [{name: _storable(text) for name, text in row.items()} for row in rows]

    write_rows(tmp_path / "any.csv", clean, ["a", "b"])

    assert list(read_rows(tmp_path / "any.csv")) == clean


def _storable(text: str) -> str:
    return text.encode("utf-8", "ignore").decode().replace("\0", "")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_without_rows_can_be_written_and_read(suffix: str, tmp_path: Path) -> None:
    write_rows(tmp_path / f"empty{suffix}", [], ["id", "label"])

    assert list(read_rows(tmp_path / f"empty{suffix}")) == []


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_an_export_has_all_columns_and_gives_its_labels_back(suffix: str, tmp_path: Path) -> None:
    def made(store: str) -> lookalike.Collection:
        library = lookalike.open(tmp_path / store)
        collection = library.labeler("things", extractor="passthrough", confidence_threshold=0.9)
        collection.add(vectors=[[1, 0], [1, 0.1], [0, 1]], ids=["a", "b", "c"])
        return collection

    labelled, other = made("one"), made("two")
    labelled.label({"a": ODD[0]})
    write_rows(tmp_path / f"out{suffix}", labelled.rows(), EXPORT_COLUMNS)

    rows = list(read_rows(tmp_path / f"out{suffix}"))
    changed = other.import_labels(rows)

    assert list(rows[0]) == list(EXPORT_COLUMNS)
    assert changed.by_person == 2, "one trusted, and one suggestion"
    assert [one.origin for one in other.documents()] == ["import", "auto", None]


def test_csv_of_other_programs_is_understood(tmp_path: Path) -> None:
    """With a byte order mark, with semicolons or tabs, with the line ends of Windows."""
    wanted = [{"file_name": "a,b.png", "label": "Shoes > Red"}]
    for name, text in {
        "mark.csv": '\ufefffile_name,label\r\n"a,b.png",Shoes > Red\r\n',
        "excel.csv": "\ufefffile_name;label\r\na,b.png;Shoes > Red\r\n",
        "tabs.csv": "file_name\tlabel\na,b.png\tShoes > Red\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")

        assert list(read_rows(tmp_path / name)) == wanted, name


def test_json_lines_may_have_a_mark_and_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('\ufeff{"id": "\u2028a"}\n\n  \n{"id": "b"}\n', "utf-8")

    assert list(read_rows(tmp_path / "x.jsonl")) == [{"id": "\u2028a"}, {"id": "b"}]


BROKEN = {
    "csv, too many values": ("x.csv", b"id,label\na,A\nb,B, too\n", r"line 3 has 3 values for 2"),
    "csv, open quote": ("x.csv", b'id,label\na,"A\nb,B\n', r"line 2 is not CSV: .*check its quot"),
    "csv, Latin-1": ("x.csv", b"id,label\na,A\nb,\xe9t\xe9\n", r"x\.csv line 3 is not UTF-8; save"),
    "jsonl, cut": ("x.jsonl", b'{"id": 1}\n{"id": \n', r"x\.jsonl line 2 is not JSON"),
    "jsonl, a list": ("x.jsonl", b"[1, 2]\n", r"line 1 is no JSON object; write \{"),
    "jsonl, UTF-16": ("x.jsonl", "{}".encode("utf-16"), r"x\.jsonl line 1 is not UTF-8; save it"),
    "parquet": ("x.parquet", b"id,label\n", r"x\.parquet is not Parquet"),
    "suffix": ("x.txt", b"", r"'x\.txt' has no known suffix; use \.csv, \.tsv, \.jsonl"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_with_its_line(name: str, tmp_path: Path) -> None:
    file_name, content, pattern = BROKEN[name]
    (tmp_path / file_name).write_bytes(content)

    with pytest.raises(BadInput, match=pattern):
        list(read_rows(tmp_path / file_name))


@pytest.mark.parametrize("place", ["nowhere.csv", "."])
def test_what_is_no_file_is_named(place: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there is no file .*; check the path"):
        list(read_rows(tmp_path / place))


def test_the_kind_may_be_told_against_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("id,label\na,A\n")

    assert list(read_rows(tmp_path / "labels.txt", "csv")) == [{"id": "a", "label": "A"}]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_write_that_fails_leaves_the_old_file(suffix: str, tmp_path: Path) -> None:
    def rows() -> Iterator[dict[str, str]]:
        yield {"id": "a"}
        raise BadInput("in the middle")

    path = tmp_path / f"out{suffix}"
    path.write_text("precious")

    with pytest.raises(BadInput, match="in the middle"):
        write_rows(path, rows(), ["id"])

    assert [one.read_text() for one in tmp_path.iterdir()] == ["precious"]


def test_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot write .*no/x\.csv': No such file.*choose another"):
        write_rows(tmp_path / "no" / "x.csv", [{"id": "a"}], ["id"])


def test_csv_can_go_to_any_open_file() -> None:
    file = io.StringIO()

    write_csv(file, [{"id": "a", "near": ["b"], "votes": False}], ["id", "near", "votes"])

    assert file.getvalue() == 'id,near,votes\na,"[""b""]",false\n'


# --- missing columns and labels ---------------------------------------------------------------


@pytest.fixture
def things(tmp_path: Path) -> Iterator[lookalike.Collection]:
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        made = library.labeler("things", extractor="passthrough", confidence_threshold=0.9)
        made.add(vectors=[[1, 0], [0, 1]], ids=["a", "b"])
        yield made


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,kind\na,A\n", r"row 1 \(a\) has no 'label' \(a row needs 'label' and one of id, sha"),
        ("name,label\na,A\n", r"row 1 \(without a name\) is not a document of this collection"),
        ("id,label\n", r"none of 0 rows gives a label; .*there are no rows"),
    ],
)
def test_a_table_that_gives_no_label_says_what_a_row_needs(
    things: lookalike.Collection, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "x.csv").write_text(text)

    with pytest.raises(BadInput, match=says):
        things.import_labels(read_rows(tmp_path / "x.csv"))


def test_a_row_that_a_person_outweighs_is_named_as_in_the_table(
    things: lookalike.Collection,
) -> None:
    things.label({"a": "Mine"})

    changed = things.import_labels([{"id": "b", "label": "B"}, {"id": "a", "label": "Other"}])

    assert changed.refused == {
        "row 2 (a)": "a person answered 'Mine'; an import never overwrites that"
    }
    assert things.document("a").label == "Mine"


def test_empty_cells_of_a_data_frame_are_no_labels(things: lookalike.Collection) -> None:
    rows = [{"id": "a", "label": float("nan")}, {"id": "b", "label": "B", "sha256": float("nan")}]

    changed = things.import_labels(rows)

    assert changed.refused == {"row 1 (a)": "has no 'label'"}
    assert things.document("b").label == "B"


# --- what is not installed --------------------------------------------------------------------

WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
import lookalike
from lookalike.formats.tables import write_rows
from pathlib import Path
try:
    exec(sys.argv[2])
except lookalike.LookalikeError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("module", "code", "extra"),
    [
        ("pyarrow", "write_rows(Path('x.parquet'), [{'id': 1}], ['id'])", "parquet"),
        (
            "pandas",
            "c = lookalike.open('s').labeler('abc', extractor='vectors'); c.to_pandas()",
            "pandas",
        ),
        (
            "polars",
            "c = lookalike.open('s').labeler('abc', extractor='vectors'); c.to_polars()",
            "polars",
        ),
        (
            "pyarrow",
            "c = lookalike.open('s').labeler('abc', extractor='vectors'); c.to_arrow()",
            "parquet",
        ),
        (
            "s3fs",
            "lookalike.open('s').labeler('abc', extractor='text').add('s3://bucket/x/')",
            "s3",
        ),
    ],
)
def test_what_is_not_installed_is_named_with_the_pip_line(
    module: str, code: str, extra: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, module, code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout.startswith("MissingExtra "), done.stderr
    assert f"pip install 'lookalike[{extra}]'" in done.stdout


# --- class folders ----------------------------------------------------------------------------


def test_a_class_folder_is_the_label_of_its_files(tmp_path: Path) -> None:
    for place in ("shoes/running/1.jpg", "shoes/2.jpg", "3.jpg", ".git/4.jpg", "hats/.5.jpg"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"")

    found = {one.file_name: label_in(one)[1].label for one in read_folders(tmp_path)}

    assert found == {
        "3.jpg": None,
        "shoes/2.jpg": "shoes",
        "shoes/running/1.jpg": "shoes > running",
    }


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"")

    with pytest.raises(BadInput, match=r"has no class folders: put each file into a folder"):
        list(read_folders(tmp_path))


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there is no folder .*; check the path"):
        list(read_folders(tmp_path / "nowhere"))
