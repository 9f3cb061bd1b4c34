"""What `add` can be pointed at: files, folders, URLs, bytes, pictures, rows, and lists of these."""

import base64
import datetime
import hashlib
import io
import logging
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import lookalike
from buckets import client, environs, new_bucket
from lookalike.content.sources import Item, items
from lookalike.errors import BadInput
from lookalike.library.collection.collection import Collection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files and one in a folder of its own."""
    inside = tmp_path / "Odd näme #1?" / "shoes"
    inside.mkdir(parents=True)
    (inside.parent / "b.txt").write_text("two words")
    (inside.parent / "a.txt").write_text("a b c")
    (inside / "c.txt").write_text("shoes")
    return inside.parent


def names(source: Any, **others: Any) -> list[str]:
    return [item.name for item in items(source, **others)]


def only(source: Any, **others: Any) -> Item:
    (item,) = items(source, **others)
    return item


def picture(mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", (6, 4), (200, 30, 60)).convert(mode)


def decoded(item: Item) -> Image.Image:
    assert item.data is not None, item.error
    return Image.open(io.BytesIO(item.data))


# --- files ------------------------------------------------------------------------------------


def test_a_folder_is_walked_in_order_by_its_inner_paths(folder: Path) -> None:
    found = list(items(folder))

    assert [item.name for item in found] == ["a.txt", "b.txt", "shoes/c.txt"]
    assert all(item.walked for item in found)


def test_hidden_files_and_folders_are_left_out(folder: Path) -> None:
    (folder / ".DS_Store").write_text("x")
    (folder / ".git").mkdir()
    (folder / ".git" / "config.txt").write_text("x")

    assert names(folder) == ["a.txt", "b.txt", "shoes/c.txt"]


@pytest.mark.parametrize("way", [Path, str, lambda path: path.as_uri()])
def test_a_file_has_one_key_however_it_is_named(folder: Path, way: Any) -> None:
    """By its path, as text, as a file:// URL or with its folder."""
    walked = next(iter(items(folder)))

    item = only(way(folder / "a.txt"))

    assert (item.key, item.name) == (walked.key, "a.txt")


def test_a_relative_path_has_the_same_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    assert only("shoes/../a.txt").key == only(folder / "a.txt").key


def test_a_link_keeps_its_own_name_and_key(folder: Path) -> None:
    (folder / "z.txt").symlink_to(folder / "a.txt")

    *_, walked = items(folder)

    assert only(folder / "z.txt").key == walked.key != only(folder / "a.txt").key


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("no/where.png", "no file or folder 'no/where.png'; check the path"),
        ("a text as long as no name is: " + "x" * 300, "give a text as {'text': '…'}"),
        ("null\0byte", "no file or folder"),
    ],
)
def test_what_is_not_there_is_an_item_that_says_so(missing: str, says: str) -> None:
    """So the others of a list go on, and ids stay paired."""
    item = only(missing)

    assert says in str(item.error)
    assert item.uri is None


def test_a_folder_without_files_says_so(tmp_path: Path) -> None:
    assert f"the folder '{tmp_path}' has no files" in str(only(tmp_path).error)


# --- content in hand --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_known_by_their_digest(kind: Any) -> None:
    item = only(kind(b"hello"))

    assert item.key == f"sha256:{hashlib.sha256(b'hello').hexdigest()}"
    assert item.data == b"hello"


def test_equal_bytes_are_told_apart_the_same_way_each_time() -> None:
    first = [item.key for item in items([b"a", b"a", b"b"])]

    assert len(set(first)) == 3
    assert first == [item.key for item in items([b"a", b"a", b"b"])]


def test_an_open_file_is_one_item_with_its_name(folder: Path) -> None:
    with (folder / "b.txt").open("rb") as binary, (folder / "b.txt").open() as text:
        one, two = items([binary, text])

    assert (one.name, one.data) == (two.name, two.data) == ("b.txt", b"two words")


def test_a_data_url_is_an_item() -> None:
    url = "data:text/plain;base64," + base64.b64encode(b"hello").decode()

    assert only(url).uri == url


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "HSV", "F"])
def test_a_picture_in_memory_of_any_mode_is_kept(mode: str) -> None:
    shown = decoded(only(picture(mode)))

    assert shown.size == (6, 4)
    if mode in ("CMYK", "RGB", "RGBA"):
        assert shown.convert("RGB").getpixel((0, 0)) == (200, 30, 60)


def test_a_picture_in_memory_keeps_what_is_up() -> None:
    """Its EXIF orientation is applied, as it is for a file."""
    turned, file = picture(), io.BytesIO()
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(file, "JPEG", exif=exif)

    shown = decoded(only(Image.open(io.BytesIO(file.getvalue()))))

    assert shown.size == (4, 6)


def test_a_truncated_picture_in_memory_fails_alone() -> None:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "JPEG")
    broken = Image.open(io.BytesIO(file.getvalue()[:500]))

    bad, good = items([broken, picture()])

    assert "truncated" in str(bad.error)
    assert good.error is None


def test_arrays_are_pictures_and_a_stack_is_many() -> None:
    stack = np.random.default_rng(0).integers(0, 255, (3, 5, 7, 3), np.uint8)

    found = list(items(stack))

    assert len(found) == 3
    assert np.array_equal(np.asarray(decoded(found[1])), stack[1])


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (4, 5, 4)])
def test_an_array_may_be_grey_colour_or_transparent(shape: tuple[int, ...]) -> None:
    assert decoded(only(np.zeros(shape, np.uint8))).size == (5, 4)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((4, 5), np.float32), "an array of float32 is not a picture.*vectors="),
        (np.zeros((3, 5, 7), np.uint8), r"an array of shape \(3, 5, 7\) is not a picture"),
    ],
)
def test_an_array_that_is_no_picture_is_refused(array: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        list(items(array))


@pytest.mark.parametrize("source", [3, None, [b"a", 4.5], object()])
def test_what_cannot_be_added_is_named_by_its_type(source: Any) -> None:
    with pytest.raises(BadInput, match=r"cannot add a (int|NoneType|float|object); give a path"):
        list(items(source))


# --- rows -------------------------------------------------------------------------------------


def test_a_row_has_content_id_and_metadata(folder: Path) -> None:
    item = only({"id": 7, "file": folder / "a.txt", "price": 3, "color": "red"})

    assert (item.id, item.name) == ("7", "a.txt")
    assert item.metadata == {"price": 3, "color": "red"}


@pytest.mark.parametrize("key", ["text", "content"])
def test_a_text_is_given_as_a_row(key: str) -> None:
    item = only({key: "no/such/path.txt"})

    assert (item.data, item.media_type) == (b"no/such/path.txt", "text/plain")


def test_a_row_may_name_its_content() -> None:
    assert only({"image": picture(), "file_name": "shoe.png"}).name == "shoe.png"


@pytest.mark.parametrize("content", ["bytes", "picture", "array", "path"])
def test_a_row_holds_any_content(content: str, folder: Path) -> None:
    contents = {
        "bytes": b"x",
        "picture": picture(),
        "array": np.zeros((3, 3), np.uint8),
        "path": folder / "a.txt",
    }

    item = only({"image": contents[content], "price": 3})

    assert item.error is None
    assert item.metadata == {"price": 3}


def test_a_data_frame_gives_its_rows(folder: Path) -> None:
    paths = [str(folder / name) for name in ("a.txt", "b.txt")]
    frame = pd.DataFrame({"id": ["x", "y"], "file": paths, "price": [1, 2]})

    found = list(items(frame))

    assert [(item.id, item.name, item.metadata["price"]) for item in found] == [
        ("x", "a.txt", 1),
        ("y", "b.txt", 2),
    ]


@pytest.mark.parametrize("empty", [None, float("nan"), pd.NA, pd.NaT])
def test_a_row_with_an_empty_cell_fails_alone(empty: Any, folder: Path) -> None:
    rows = [{"id": "x", "file": empty}, {"id": "y", "file": folder / "a.txt"}]

    bad, good = items(rows)

    assert (bad.name, bad.error) == ("x", "its file is empty; fill it in")
    assert (good.id, good.error) == ("y", None)


def test_a_row_takes_the_first_content_that_it_has() -> None:
    assert only({"image": pd.NA, "text": "hello", "url": None}).data == b"hello"


def test_rows_without_a_content_column_are_refused_with_their_columns() -> None:
    with pytest.raises(
        BadInput, match=r"its keys are \['pic', 'price'\]; give one of image, text, file"
    ):
        list(items([{"pic": "a.png", "price": 2}]))


def test_a_column_of_paths_is_a_list_of_paths(folder: Path) -> None:
    frame = pd.DataFrame({"file": [str(folder / "a.txt"), str(folder / "b.txt")]})

    assert names(frame["file"]) == names(frame["file"].to_numpy()) == ["a.txt", "b.txt"]


def test_lists_and_generators_mix_everything(folder: Path) -> None:
    mixed = (part for part in [folder / "a.txt", b"bytes", [picture(), {"text": "t"}], folder])

    assert len(list(items(mixed))) == 4 + 3


# --- ids and metadata -------------------------------------------------------------------------


def test_ids_and_metadata_belong_to_one_item_each(folder: Path) -> None:
    found = list(items([folder / "a.txt", b"x"], ids=["1", "two"], metadata=[{"n": 1}, {"n": 2}]))

    assert [(item.id, item.metadata) for item in found] == [("1", {"n": 1}), ("two", {"n": 2})]


def test_one_mapping_of_metadata_is_for_all(folder: Path) -> None:
    date = datetime.date(2024, 5, 1)

    assert [item.metadata for item in items(folder, metadata={"on": date})] == [{"on": date}] * 3


@pytest.mark.parametrize("what", ["ids", "metadata"])
@pytest.mark.parametrize("count", [1, 3])
def test_other_counts_are_refused_with_both_numbers(what: str, count: int) -> None:
    given = {"ids": ["x", "y", "z"][:count], "metadata": [{}] * count}[what]

    with pytest.raises(BadInput, match=rf"{what} .*give one each"):
        list(items([b"a", b"b"], **{what: given}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "ids"),
    [([b"a", b"b"], ["x", "x"]), ([{"id": "x", "text": "a"}, {"id": "x", "text": "b"}], None)],
)
def test_an_id_may_come_once(source: Any, ids: Any) -> None:
    with pytest.raises(BadInput, match="the id 'x' is given twice; every item needs its own"):
        list(items(source, ids=ids))


# --- the network ------------------------------------------------------------------------------


@pytest.fixture
def collection(library: lookalike.Library) -> Collection:
    """An empty collection of texts."""
    return library.labeler("texts", extractor="word_lengths")


class Site(SimpleHTTPRequestHandler):
    """Serves the folder of the test; /private and /broken are what they are called."""

    def send_head(self) -> Any:
        status = {"/private": 403, "/broken": 500}.get(self.path)
        if status is None:
            return super().send_head()
        self.send_error(status)
        return None

    def log_message(self, format: str, *arguments: Any) -> None:
        logging.getLogger(__name__).debug(format, *arguments)


@pytest.fixture
def site(folder: Path) -> Iterator[str]:
    """The address of a web server over the folder."""

    def handler(*arguments: Any) -> Site:
        return Site(*arguments, directory=str(folder))

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_is_named_like_its_file(site: str) -> None:
    assert names([f"{site}/shoes/My%20shoe.jpg?size=2#top", f"{site}/"]) == [
        "My shoe.jpg",
        f"{site}/",
    ]


def test_urls_are_fetched(site: str, collection: Collection) -> None:
    added = collection.add([f"{site}/a.txt", f"{site}/shoes/c.txt?size=2"])

    assert (added.added, added.documents, added.failed) == (2, 2, {})


def test_a_url_whose_content_changed_is_extracted_again(
    site: str, folder: Path, collection: Collection
) -> None:
    collection.add(f"{site}/a.txt")
    before = next(collection.documents()).sha256
    (folder / "a.txt").write_text("quite another and much longer text")

    added = collection.add(f"{site}/a.txt")

    assert (added.added, added.changed) == (0, 1)
    assert next(collection.documents()).sha256 != before


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("/gone.txt", "there is nothing at 'http.*; check the address"),
        ("/private", "cannot read 'http.*403.*; check address and access"),
        ("/broken", "cannot read 'http.*500.*; check address and access"),
    ],
)
def test_a_url_that_cannot_be_read_fails_alone(
    site: str, collection: Collection, place: str, says: str
) -> None:
    added = collection.add([site + place, f"{site}/a.txt"])

    (reason,) = added.failed.values()
    assert added.documents == 1
    assert re.search(says, reason), reason


def test_a_url_that_failed_is_read_by_the_next_add(
    site: str, folder: Path, collection: Collection
) -> None:
    first = collection.add([f"{site}/late.txt", f"{site}/a.txt"])
    again = collection.add(f"{site}/late.txt")
    (folder / "late.txt").write_text("here at last")

    collection.add(f"{site}/late.txt")

    assert first.failed == again.failed
    assert {document.file_name for document in collection.documents()} == {"a.txt", "late.txt"}


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The name of a bucket in object storage on this machine."""
    with environs():
        yield new_bucket("shop")


def put(bucket: str, **contents: bytes) -> None:
    there = client()
    for key, content in contents.items():
        there.put_object(Bucket=bucket, Key=key.replace("__", "/").replace("_", "."), Body=content)


def test_a_folder_of_object_storage_is_listed(bucket: str) -> None:
    put(bucket, photos__a_txt=b"one", photos__in__b_txt=b"two", photos2__c_txt=b"three")
    put(bucket, photos__=b"", photos___hidden_txt=b"x")

    found = list(items(f"s3://{bucket}/photos/"))

    assert [item.name for item in found] == ["a.txt", "in/b.txt"]
    assert [item.uri for item in found] == ["s3://shop/photos/a.txt", "s3://shop/photos/in/b.txt"]


def test_object_storage_is_read_and_listed_anew_each_time(
    bucket: str, collection: Collection
) -> None:
    put(bucket, new__a_txt=b"some words", new__b_txt=b"others and more")
    first = collection.add(f"s3://{bucket}/new/")
    put(bucket, new__a_txt=b"changed and longer than before", new__c_txt=b"third")

    second = collection.add(f"s3://{bucket}/new/")

    assert (first.added, first.documents, first.failed) == (2, 2, {})
    assert (second.added, second.changed, second.unchanged) == (1, 1, 1)
    assert second.failed == {}


def test_a_missing_object_fails_alone(bucket: str, collection: Collection) -> None:
    put(bucket, one_txt=b"some words")

    added = collection.add([f"s3://{bucket}/one.txt", f"s3://{bucket}/two.txt"])

    assert added.documents == 1
    assert "there is nothing at 's3://shop/two.txt'" in added.failed["two.txt"]


@pytest.mark.parametrize("place", ["s3://shop/nothing/", "s3://no-such-bucket/x/"])
def test_a_folder_of_object_storage_without_files_is_refused(
    bucket: str, collection: Collection, place: str
) -> None:
    with pytest.raises(BadInput, match=r"no files; check the address|nothing at|cannot read"):
        collection.add(place)
