"""A store that the first edition made, with what that edition answered about it.

`tools/make_old_store.py` made the archive.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lookalike

NAMES = ("calibrated", "similar")


@pytest.fixture
def older(tmp_path: Path) -> Iterator[tuple[lookalike.Library, dict[str, Any]]]:
    """The store, opened by this version, and the older version's answers by collection."""
    with zipfile.ZipFile(Path(__file__).parent / "first_edition.zip") as archive:
        archive.extractall(tmp_path)
    answers = json.loads((tmp_path / "answers.json").read_text())
    with lookalike.open(tmp_path / "store", actor="bob") as library:
        yield library, answers


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_with_the_same_labels_and_the_same_evidence(
    older: tuple[lookalike.Library, dict[str, Any]], name: str
) -> None:
    library, answers = older

    rows = json.loads(json.dumps(list(library.collection(name).rows())))

    known = answers[name]["rows"]
    assert [{column: row[column] for column in known[0]} for row in rows] == known


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_with_the_same_history(
    older: tuple[lookalike.Library, dict[str, Any]], name: str
) -> None:
    library, answers = older
    collection = library.collection(name)

    history = collection.history("d-23") + collection.history("a-20")

    assert [[one.kind, one.label, one.actor] for one in history] == answers[name]["history"]
    assert [one.id for one in collection.operations()] == answers[name]["operations"]
    assert [one.name for one in collection.versions()] == answers[name]["versions"]


@pytest.mark.parametrize("name", NAMES)
def test_a_label_in_it_decides_as_from_scratch_and_an_old_operation_can_be_undone(
    older: tuple[lookalike.Library, dict[str, Any]], name: str
) -> None:
    library, _ = older
    collection = library.collection(name)

    collection.label({"d-30": "d", "a-30": "a"})
    step_by_step = list(collection.rows())
    collection.run()
    assert list(collection.rows()) == step_by_step

    imported = next(one.id for one in collection.operations() if one.kind == "import")
    collection.undo(imported)
    assert collection.document("d-25").origin != "import"
    assert collection.document("c-30").origin != "import"
