"""A library over PostgreSQL: the same answers as over the embedded store, by the same doors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from sqlalchemy import select
from test_check_sheets import fill, kind_of, other_than

import lookalike
from databases import database, prepared
from lookalike.cli.group import cli
from lookalike.errors import BadInput, Conflict, NotAStore
from lookalike.stores import schema
from lookalike.stores.copy import copy_store
from serving import Served

KINDS = ("cup", "mug", "jug")
GOODS = 90
CLOCK = 1_800_000_000.0


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of a database with an empty store; what is local is below `tmp_path`."""
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "derived"))
    monkeypatch.setenv("LOOKALIKE_BLOBS", str(tmp_path / "blobs"))
    with database(template=prepared()) as made:
        yield made


def vectors() -> NDArray[np.float32]:
    """Return goods of three kinds, each near a direction of its own."""
    chance = np.random.default_rng(5)
    centres = np.repeat(np.eye(3, 24), GOODS // 3, axis=0)
    return np.asarray(centres + 0.15 * chance.standard_normal((GOODS, 24)), np.float32)


def open_at(store: str | Path, *, actor: str = "ann") -> lookalike.Library:
    return lookalike.open(store, actor=actor, clock=lambda: CLOCK)


def worked_on(library: lookalike.Library) -> dict[str, Any]:
    """Go round the loop once, and return everything that was answered, without what is random."""
    goods = library.labeler("goods", extractor="passthrough", confidence_threshold=0.8)
    metadata = [
        {"price": number / 4, "colour": KINDS[number % 3], "tags": ["a", number], "Ü": None}
        for number in range(GOODS)
    ]
    ids = [f"good {number:03}" for number in range(GOODS)]
    told: dict[str, Any] = {}
    added = goods.add(vectors=vectors(), ids=ids, metadata=metadata)
    names = {one.id: one.object_id for one in goods.documents()}
    by_object = {one: id for id, one in names.items()}

    def shown(changed: Any) -> Any:
        return (changed.by_person, changed.labelled, changed.relabelled, changed.unlabelled)

    chosen = [by_object[id] for id in sorted(by_object)]
    told["added"] = (added.added, added.documents)
    first = goods.label({chosen[0]: "cup", chosen[30]: "mug", chosen[60]: "jug > Große"})
    told["labelled"] = shown(first)
    goods.keep_version("first")
    then = list(goods.rows())
    told["rejected"] = shown(goods.reject({chosen[5]: "cup"}))
    told["moved"] = shown(goods.label({chosen[1]: "mug"}))
    told["undone"] = shown(goods.undo(first.operation))
    told["again"] = shown(goods.undo(goods.operations()[0].id))
    told["rows"] = [_by_object(row, names) for row in goods.rows()]
    told["rows"].sort(key=lambda row: str(row["id"]))
    told["history"] = [(one.kind, one.actor) for one in goods.operations()]
    learned = library.labeler("learned", extractor="passthrough", target_precision=0.9)
    learned.add(vectors=vectors(), ids=ids)
    own = {one.object_id: one.id for one in learned.documents()}
    learned.label({own[f"good {number:03}"]: KINDS[number // 30] for number in range(0, 90, 6)})
    told["report"] = learned.report()
    told["learned"] = sorted((one.object_id, one.label) for one in learned.documents())
    told["asked"] = len(learned.queue())
    audit = goods.audit(8)
    goods.answer_audit(audit.id, right=audit.waiting)
    goods.close_audit(audit.id)
    (closed,) = goods.audits()
    told["audit"] = (len(closed.answered), closed.estimate)
    told["monitor"] = goods.monitor()
    told["past"] = goods.as_of(first.operation).report()
    assert list(goods.as_of("first").rows()) == then
    told["now"] = goods.as_of(closed.id).report()
    return told


def _by_object(row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Return a row that names documents by their objects, which are the same in both stores."""
    near = [names[one] for one in row["neighbor_ids"] or ()]
    return {**row, "id": names[row["id"]], "neighbor_ids": near}


class TestLoop:
    """What comes in, is labelled, undone, asked and reported is the same as embedded."""

    def test_the_answers_are_those_of_the_embedded_store(self, url: str, tmp_path: Path) -> None:
        with open_at(tmp_path / "embedded") as embedded:
            expected = worked_on(embedded)
        with open_at(url) as library:
            told = worked_on(library)

            assert library.check() == []

        assert told == expected

    def test_another_process_sees_what_was_said_and_goes_on(self, url: str) -> None:
        """Opened again with an empty cache, it decides by what the database holds."""
        with open_at(url) as library:
            before = worked_on(library)["rows"]
            path = library.path
        shutil.rmtree(path)
        with open_at(url) as library, open_at(url, actor="bob") as other:
            goods, theirs = library.collection("goods"), other.collection("goods")
            first, second = list(goods.ids())[:2]
            goods.label({first: "vase"})
            theirs.label({second: "vase"})

            assert goods.document(second).label == theirs.document(first).label == "vase"
            assert len(list(goods.rows())) == len(before)
            assert library.check() == other.check() == []

    def test_two_processes_write_and_nothing_is_lost(self, url: str) -> None:
        """Each labels a half, one document at a time, and adds goods of its own."""
        code = (
            "import sys, numpy as np, lookalike\n"
            "part, url = int(sys.argv[1]), sys.argv[2]\n"
            "with lookalike.open(url, actor=f'p{part}') as library:\n"
            "    goods = library.collection('goods')\n"
            "    ids = sorted(goods.ids())[part:24:2]\n"
            "    for number, id in enumerate(ids):\n"
            "        goods.label({id: f'kind {part}'})\n"
            "        row = np.eye(1, 24, number) + 0.01 * part\n"
            "        goods.add(vectors=row, ids=[f'new {part} {number}'])\n"
        )
        with open_at(url) as library:
            goods = library.labeler("goods", extractor="passthrough", confidence_threshold=0.99)
            goods.add(vectors=vectors(), ids=[f"good {number:03}" for number in range(GOODS)])
            processes = [
                subprocess.Popen([sys.executable, "-c", code, str(part), url]) for part in range(2)
            ]
            ended = [process.wait(timeout=120) for process in processes]

            documents = {one.id: one for one in goods.documents()}
            said = [one for one in documents.values() if one.standing.origin == "human"]
            assert ended == [0, 0]
            assert len(documents) == GOODS + 24
            assert sorted(str(one.label) for one in said) == ["kind 0"] * 12 + ["kind 1"] * 12
            assert library.check() == []
            assert goods.run().by_itself == 0, "what the processes decided is what is right"

    def test_a_server_and_the_command_line_work_on_it(self, url: str, tmp_path: Path) -> None:
        with open_at(url) as library:
            worked_on(library)
        places = {name: os.environ[name] for name in ("LOOKALIKE_CACHE", "LOOKALIKE_BLOBS")}
        with (
            Served(tmp_path / "served", address=url, environment=places) as served,
            lookalike.connect(served.url) as remote,
        ):
            goods = remote.collection("goods")
            labelled = goods.label({goods.ids()[-1]: "from afar"})
        assert labelled.by_person == 1
        assert "postgresql://" in served.log
        done = CliRunner().invoke(cli, ["--store", url, "report", "goods"])
        assert done.exit_code == 0, done.output


def asked_of(library: lookalike.Library) -> list[Any]:
    """Answer a sheet, close the set and find a new kind, undo each; return all that was told."""
    things = library.labeler("things", extractor="passthrough")
    told: list[Any] = []

    def tell(changed: Any = None) -> None:
        sheet, report = things.check(), things.report()
        shown = sheet and sorted(
            (one.id, label) for one, label in zip(sheet.documents, sheet.suggestions, strict=True)
        )
        told.append((shown, sheet and sheet.worth, report))
        if changed is not None:
            told.append((changed.by_person, changed.by_itself, changed.reopened))

    fill(things)
    tell()
    sheet = things.check()
    assert sheet is not None
    ids = [one.id for one in sheet.documents]
    answer = {id: kind_of(id) for id in ids} | {ids[0]: other_than(kind_of(ids[0]))}
    answered = things.label(answer, asked=True)
    tell(answered)
    closed = things.run(closed_set=True)
    tell(closed)
    with pytest.raises(BadInput, match="did you mean 'Kind 1'") as refused:
        things.label({"v399": "Knid 1"})
    told.append(str(refused.value))
    opened = things.new_kind(["v399"])
    tell(opened)
    for said in (opened, closed, answered):
        undone = things.undo(said.operation)
        tell(undone)
    tell(things.undo(undone.operation))
    return told


class TestChecks:
    """A sheet, its answer, a closed set and a new kind are the same as embedded."""

    def test_what_is_asked_answered_and_undone_is_the_same(self, url: str, tmp_path: Path) -> None:
        with open_at(tmp_path / "embedded") as embedded:
            expected = asked_of(embedded)
        with open_at(url) as library:
            told = asked_of(library)

            assert library.check() == []

        assert told == expected
        (first, _, _), _, (by_person, by_itself, _), *_ = told
        assert len(first) == by_person == 24
        assert by_itself > 200, "the sheet certifies the rest"

    def test_what_one_process_answers_the_other_is_not_asked(self, url: str) -> None:
        with open_at(url) as library, open_at(url, actor="ben") as other:
            ann = library.labeler("things", extractor="passthrough")
            fill(ann)
            ben, sheet = other.collection("things"), ann.check()
            assert sheet is not None
            assert sheet == ben.check()
            ids = [one.id for one in sheet.documents]

            first = ann.label({id: kind_of(id) for id in ids[:12]}, asked=True)
            left = ben.check()
            assert left is not None
            second = ben.label({one.id: kind_of(one.id) for one in left.documents}, asked=True)

            assert [one.id for one in left.documents] == ids[12:]
            assert (first.by_itself, second.by_itself > 200) == (0, True)
            undone = ann.undo(second.operation)
            waiting = ben.check()
            assert waiting is not None
            assert [one.id for one in waiting.documents] == ids[12:]
            ben.undo(undone.operation)
            assert ann.run(closed_set=True).operation == ben.operations()[0].id
            assert ben.new_kind(["v399"]).reopened
            assert not ann.label_tree().closed_set


class TestCopy:
    """A store moves either way, with its numbers and its ledger."""

    def test_there_and_back_is_the_same(self, url: str, tmp_path: Path) -> None:
        with open_at(tmp_path / "first") as library:
            worked_on(library)
            files = library.labeler("files", extractor="text", confidence_threshold=0.8)
            files.add([{"text": "a word " * 1000}, {"text": "other things " * 600}], copy=True)
            library.remove_collection("learned")

        there = copy_store(str(tmp_path / "first"), url)
        back = copy_store(url, str(tmp_path / "second"))

        assert there.rows == back.rows
        assert (there.vectors, there.missing) == (back.vectors, ()) == (GOODS + 2, ())
        assert "postgres@" in there.target
        with open_at(tmp_path / "first") as one, open_at(tmp_path / "second") as other:
            assert everything(one) == everything(other)
            with open_at(url) as between:
                assert everything(one) == everything(between)
                goods = between.collection("goods")
                first = one.collection("goods").label({goods.ids()[7]: "new"})
                assert goods.label({goods.ids()[7]: "new"}).revision == first.revision
                assert goods.run().by_itself == 0, "decisions are those of the copied labels"

    def test_a_place_that_holds_something_is_refused(self, url: str, tmp_path: Path) -> None:
        with open_at(url) as library, open_at(tmp_path / "store") as other:
            library.create_bucket("ours")
            other.create_bucket("theirs")

        with pytest.raises(Conflict, match="is not empty"):
            copy_store(str(tmp_path / "store"), url)
        with pytest.raises(BadInput, match="onto itself"):
            copy_store(url, url)
        with pytest.raises(NotAStore, match="no store in"):
            copy_store(str(tmp_path / "nothing"), url)


def everything(library: lookalike.Library) -> dict[str, list[Any]]:
    """Return all rows of a store by table, but for slots and what it says of itself."""
    with library.runtime.store.read() as snapshot:
        rows = {
            name: [tuple(row) for row in snapshot.rows(select(table).order_by(*table.primary_key))]
            for name, table in schema.metadata.tables.items()
            if name not in ("meta", "embedding", "space")
        }
    return rows | {"named": [library.collections(), library.buckets()]}
