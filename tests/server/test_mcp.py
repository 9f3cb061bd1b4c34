"""`lookalike mcp`: what an assistant may read and record, through the official client."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Awaitable, Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, TextContent
from PIL import Image

import lookalike
from goods import BALLOON, bytes_of, pictures
from lookalike.library.library import Library
from lookalike.server.mcp import ASSISTANT, mcp_server

WAIT_S = 60.0


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with lookalike.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def letters(library: Library) -> Any:
    """Letters about parcels and bills, two of each labelled by a person."""
    texts = [
        "Where is my parcel, it is late",
        "The parcel has not come yet",
        "My bill is too high this month",
        "There is an error on the bill",
        "The parcel came broken and late",
        "Please send the bill again",
    ]
    collection = library.labeler("letters", extractor="text")
    collection.add([{"text": text, "id": f"letter-{n}"} for n, text in enumerate(texts)])
    ids = collection.ids()
    collection.label(dict(zip(ids, ["Parcel", "Parcel", "Bill", "Bill"], strict=False)))
    return collection


def asked(library: Library, do: Callable[[Client], Awaitable[Any]], key: str = "") -> Any:
    """Return what `do` returns of a client of the server over a library."""
    caller = library.access().caller(f"Bearer {key}", loopback=False) if key else None

    async def run() -> Any:
        async with Client(mcp_server(library, caller)) as client:
            return await asyncio.wait_for(do(client), WAIT_S)

    return asyncio.run(run())


def call(library: Library, tool: str, key: str = "", **given: Any) -> Any:
    """Return the structured result of a tool; a ToolError fails."""
    told: CallToolResult = asked(library, lambda client: client.call_tool(tool, given), key)
    assert not told.is_error, told.content
    assert told.structured_content is not None
    return told.structured_content.get("result", told.structured_content)


def refused(library: Library, tool: str, key: str = "", **given: Any) -> str:
    """Return the error of a tool."""
    told: CallToolResult = asked(library, lambda client: client.call_tool(tool, given), key)
    (error,) = told.content
    assert told.is_error and isinstance(error, TextContent)
    return error.text


def tools(library: Library, key: str = "") -> set[str]:
    found = asked(library, lambda client: client.list_tools(), key)
    return {tool.name for tool in found.tools}


READING = {
    "list_collections",
    "list_documents",
    "search_documents",
    "show_documents",
    "next_questions",
    "explain_label",
}


def test_a_key_says_what_may_be_recorded(library: Library) -> None:
    keys = {scope: library.access().create(scope, scope) for scope in ("read", "label", "admin")}

    assert tools(library) == READING | {"suggest_labels"}
    assert tools(library, keys["read"]) == READING
    labels = READING | {"label_documents", "reject_labels", "undo"}
    assert tools(library, keys["label"]) == tools(library, keys["admin"]) == labels


def test_an_assistant_reads_searches_and_explains(library: Library, letters: Any) -> None:
    (state,) = call(library, "list_collections")
    first, *_ = letters.ids()

    assert (state["collection"], state["documents"], state["waiting"]) == ("letters", 6, 2)
    assert state["labels"] == {"Bill": 2, "Parcel": 2}
    by_text = call(library, "search_documents", collection="letters", text="a lost parcel")
    assert by_text[0]["label"] in ("Parcel", None)
    assert by_text[0]["similarity"] >= by_text[-1]["similarity"]
    like = call(library, "search_documents", collection="letters", like=first, label=None)
    assert len(like) == 2
    assert {one["label"] for one in like} == {None}
    bills = call(library, "search_documents", collection="letters", like=first, label="Bill")
    assert [one["label"] for one in bills] == ["Bill", "Bill"]
    given = call(library, "list_documents", collection="letters", origin="human")
    assert [one["label"] for one in given] == ["Parcel", "Parcel", "Bill", "Bill"]
    why = call(library, "explain_label", collection="letters", id=letters.ids()[4])
    assert {one["label"] for one in why["references"]} <= {"Parcel", "Bill"}
    assert why["references"][0]["actor"] == library.runtime.actor


def test_questions_come_with_the_label_that_each_document_would_get(
    library: Library, letters: Any
) -> None:
    questions = call(library, "next_questions", collection="letters", limit=5)

    waiting = set(letters.ids(label=None))
    assert {one["id"] for question in questions for one in question["documents"]} <= waiting
    assert all(len(one["labels"]) == len(one["documents"]) for one in questions)


def test_a_suggestion_changes_nothing_until_a_person_confirms_it(
    library: Library, letters: Any
) -> None:
    *_, waiting = letters.ids(label=None)
    person = letters.ids()[0]

    told = call(
        library, "suggest_labels", collection="letters", labels={waiting: "Bill", "doc_no": "Bill"}
    )
    call(library, "suggest_labels", collection="letters", labels={person: "Bill"})

    document = letters.document(waiting)
    assert (told["recorded"], list(told["refused"])) == (1, ["row 2 (doc_no)"])
    assert (document.label, document.standing.suggestion) == (None, "Bill")
    assert letters.document(person).label == "Parcel"
    assert letters.operations(limit=2)[1].actor == ASSISTANT
    shown = call(library, "list_documents", collection="letters", label=None)
    assert "Bill" in {one["id"]: one["suggestions"] for one in shown}[waiting]


def test_a_key_with_scope_label_labels_as_its_holder_and_undoes_its_own(
    library: Library, letters: Any
) -> None:
    key = library.access().create("claude", "label")
    waiting = letters.ids(label=None)
    by_person = letters.operations(limit=1)[0].id

    told = call(
        library, "label_documents", key, collection="letters", labels={waiting[0]: "Parcel"}
    )
    document = letters.document(waiting[0])
    assert (document.label, document.standing.actor) == ("Parcel", "claude")
    refusal = refused(library, "undo", key, collection="letters", operation=by_person)
    assert "none of your latest operations" in refusal
    call(library, "undo", key, collection="letters", operation=told["operation"])
    call(library, "reject_labels", key, collection="letters", labels={waiting[0]: "Bill"})

    document = letters.document(waiting[0])
    assert (document.label, document.standing.rejected) == (None, ("Bill",))


def test_pictures_are_shown_as_pictures_and_texts_as_texts(
    library: Library, letters: Any, tmp_path: Path
) -> None:
    balloons = library.labeler("balloons", extractor="image")
    name = pictures(BALLOON)[0]
    (tmp_path / name).write_bytes(bytes_of(name))
    balloons.add(tmp_path / name)
    (picture,) = balloons.ids()

    def show(collection: str, id: str) -> Any:
        given = {"collection": collection, "ids": [id]}
        return asked(library, lambda client: client.call_tool("show_documents", given)).content

    head, shown = show("balloons", picture)
    assert head.text.startswith(picture)
    assert shown.mime_type == "image/jpeg"
    assert max(Image.open(BytesIO(base64.b64decode(shown.data))).size) <= 256
    assert show("letters", letters.ids()[0])[1].text == "Where is my parcel, it is late"


def test_an_id_in_two_collections_shows_that_of_the_one_asked_for(
    library: Library, letters: Any
) -> None:
    first, *_ = letters.ids()
    others = library.labeler("others", extractor="text")
    others.add([{"text": "Quite another letter", "id": first}])

    given = {"collection": "others", "ids": [first]}
    shown = asked(library, lambda client: client.call_tool("show_documents", given)).content

    assert shown[1].text == "Quite another letter"


def test_as_many_look_alikes_are_found_as_are_asked_for(library: Library) -> None:
    many = library.labeler("many", extractor="text")
    many.add([{"text": f"Letter number {n} about parcels"} for n in range(41)])

    found = call(library, "search_documents", collection="many", like=many.ids()[0], limit=40)

    assert len(found) == 40


def test_errors_name_the_value_and_the_cure(library: Library, letters: Any) -> None:
    assert "letters" in refused(library, "list_documents", collection="leters")
    assert "doc_no" in refused(library, "explain_label", collection="letters", id="doc_no")
    assert "either a text or" in refused(library, "search_documents", collection="letters")
    ids = ["a"] * 13
    assert "12" in refused(library, "show_documents", collection="letters", ids=ids)


def test_a_key_for_a_namespace_sees_no_other(library: Library, letters: Any) -> None:
    key = library.access().create("shop", "label", "shop")

    assert call(library, "list_collections", key) == []
    assert letters.name in refused(library, "list_documents", collection="leters")
    assert "letters" in refused(library, "list_documents", key, collection="letters")


def test_the_command_serves_a_store_on_stdio(library: Library, letters: Any) -> None:
    key = library.access().create("reader", "read")
    command = ["-m", "lookalike", "--store", str(library.path), "mcp"]
    server = StdioServerParameters(
        command=sys.executable, args=command, env={"LOOKALIKE_KEY": key, "OMP_NUM_THREADS": "1"}
    )

    async def run() -> tuple[list[str], Any]:
        async with Client(server) as client:
            found = await client.list_tools()
            told = await client.call_tool("list_collections", {})
            return [tool.name for tool in found.tools], told.structured_content

    names, told = asyncio.run(asyncio.wait_for(run(), WAIT_S))
    assert set(names) == READING
    assert [one["collection"] for one in told["result"]] == [letters.name]
