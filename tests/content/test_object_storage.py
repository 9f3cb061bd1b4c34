"""Uploads and copies on object storage: kept once, checked, erased, and safe from its outages."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import fsspec
import pytest

import lookalike
import patient
from buckets import (
    SECRET,
    Fault,
    Gate,
    client,
    contents,
    cut_off,
    environment,
    environs,
    half_an_answer,
    new_bucket,
    refusal,
    silence,
)
from databases import database, prepared
from lookalike.content.blobs import Blobs
from lookalike.content.fetch import FetchRules, GuardedFetcher
from lookalike.content.object_storage import ObjectStorage
from lookalike.content.storage import DirectoryStorage, LayeredStorage, Storage, file_name
from lookalike.errors import (
    BadContent,
    BadSetting,
    FetchRefused,
    MissingExtra,
    StoreUnreachable,
    StoreUnwritable,
)
from lookalike.library.worker import Worker
from lookalike.model import Blob
from lookalike.settings import read_settings
from lookalike.stores.copy import copy_store
from published import PICTURES
from serving import Served

DENIED = r"access is denied \(.*\); allow s3:GetObject"
SILENT = r"does not answer \(.*\); check the network and AWS_ENDPOINT_URL"
DATA = bytes(range(256)) * 40
DIGEST = hashlib.sha256(DATA).hexdigest()
ABSENT = hashlib.sha256(b"absent").hexdigest()
TEXTS = [{"text": f"a {word}{' ' * 5000}."} for word in ("cup", "mug", "jug")]
"""So long that they lie in files of their own."""


@pytest.fixture
def bucket() -> Iterator[str]:
    """The name of an empty bucket that the clients of this process know."""
    with environs():
        yield new_bucket()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """What the clients of this process reach object storage through."""
    with Gate() as gate, environs(gate.url):
        yield gate


def in_directory(folder: Path) -> Storage:
    return DirectoryStorage(folder / "kept")


def in_layers(folder: Path) -> Storage:
    return LayeredStorage(in_directory(folder), DirectoryStorage(folder / "older"))


def in_bucket(_folder: Path) -> Storage:
    return ObjectStorage(f"s3://{new_bucket()}/a/prefix")


@pytest.fixture(params=[in_directory, in_layers, in_bucket])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """An empty storage of each kind."""
    with environs():
        made: Callable[[Path], Storage] = request.param
        yield made(tmp_path)


class TestEveryStorage:
    """What holds wherever bytes are kept."""

    def test_what_is_kept_is_read(self, storage: Storage) -> None:
        storage.write(DIGEST, DATA)

        assert storage.read(DIGEST, len(DATA) + 1) == DATA
        assert storage.read(DIGEST, 10) == DATA[:10]

    def test_what_is_not_there_fails_alone(self, storage: Storage) -> None:
        storage.write(DIGEST, DATA)

        with pytest.raises(BadContent, match=f"{ABSENT}.*put it back, set LOOKALIKE_BLOBS"):
            storage.read(ABSENT, 10)

    def test_what_is_erased_is_told_and_gone(self, storage: Storage) -> None:
        storage.write(DIGEST, DATA)

        assert storage.erase([ABSENT, DIGEST]) == {DIGEST}
        assert storage.erase([ABSENT, DIGEST]) == set()
        with pytest.raises(BadContent):
            storage.read(DIGEST, 10)

    def test_many_threads_keep_at_once(self, storage: Storage) -> None:
        many = {hashlib.sha256(data).hexdigest(): data for data in (b"a", b"b", b"c", DATA)}
        with ThreadPoolExecutor(4) as pool:
            for _ in range(2):
                list(pool.map(storage.write, many, many.values()))

        assert {digest: storage.read(digest, 10**6) for digest in many} == many


class TestObjects:
    """How a store's bytes lie in a bucket."""

    def test_an_object_has_the_name_of_its_digest_and_is_written_once(self, gate: Gate) -> None:
        bucket = new_bucket()
        for _ in range(3):
            ObjectStorage(f"s3://{bucket}/kept").write(DIGEST, DATA)

        assert contents(bucket) == {f"kept/{DIGEST[:2]}/{DIGEST[2:]}": DATA}
        assert gate.methods.count("PUT") == 1

    def test_what_was_cut_short_by_somebody_is_written_again(self, bucket: str) -> None:
        client().put_object(Bucket=bucket, Key=file_name(DIGEST), Body=DATA[:-1])

        ObjectStorage(f"s3://{bucket}").write(DIGEST, DATA)

        assert contents(bucket) == {file_name(DIGEST): DATA}

    def test_what_somebody_changed_is_noticed(self, bucket: str) -> None:
        blobs = Blobs(ObjectStorage(f"s3://{bucket}"), max_bytes=10**6)
        blob = Blob("content", "text/plain", blobs.keep(DATA), DIGEST, len(DATA))
        client().put_object(Bucket=bucket, Key=file_name(DIGEST), Body=DATA[::-1])

        with pytest.raises(BadContent, match="has changed since"):
            blobs.read(blob)

    def test_what_is_too_large_is_refused_without_reading_all_of_it(self, bucket: str) -> None:
        storage = ObjectStorage(f"s3://{bucket}")
        storage.write(DIGEST, DATA)
        blob = Blob("content", "text/plain", f"blob:{DIGEST}", DIGEST, len(DATA))

        with pytest.raises(BadContent, match="LOOKALIKE_MAX_BLOB_BYTES"):
            Blobs(storage, max_bytes=100).read(blob)


class TestFaults:
    """Object storage that does not do what it should: told with its cure, and never a secret."""

    @pytest.mark.parametrize(
        ("doing", "fault", "says"),
        [
            ("writing", refusal(403, "AccessDenied"), DENIED),
            ("reading", refusal(403, "AccessDenied"), DENIED),
            ("erasing", refusal(403, "AccessDenied"), DENIED),
            ("writing", refusal(500, "InternalError"), SILENT),
            ("reading", refusal(503, "SlowDown"), SILENT),
            ("erasing", refusal(503, "SlowDown"), SILENT),
            ("writing", cut_off, SILENT),
            ("reading", half_an_answer, SILENT),
        ],
    )
    def test_they_are_errors_of_the_storage(
        self, gate: Gate, doing: str, fault: Fault, says: str
    ) -> None:
        bucket = new_bucket()
        ObjectStorage(f"s3://{bucket}/kept").write(DIGEST, DATA)
        gate.fail(fault, "GET" if fault is half_an_answer else "")

        with pytest.raises(StoreUnreachable, match=says) as caught:
            do(doing, ObjectStorage(f"s3://{bucket}/kept"))

        assert str(caught.value).startswith(f"{doing} in s3://{bucket}/kept: ")
        assert SECRET not in str(caught.value)
        assert contents(bucket) == {f"kept/{file_name(DIGEST)}": DATA}

    @pytest.mark.usefixtures("bucket")
    def test_a_bucket_that_is_not_there_is_named(self) -> None:
        storage = ObjectStorage("s3://no-such-bucket/kept")

        for doing in ("writing", "reading"):
            with pytest.raises(StoreUnreachable, match="no bucket 'no-such-bucket'; make it"):
                do(doing, storage)

    @pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "RequestTimeTooSkewed"])
    def test_keys_that_do_not_hold_are_told(self, gate: Gate, code: str) -> None:
        gate.fail(refusal(403, code), "GET")

        with pytest.raises(StoreUnreachable, match=rf"\({code}\); set AWS_ACCESS_KEY_ID and"):
            do("reading", ObjectStorage("s3://somewhere"))

    def test_missing_keys_are_told(
        self, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

        with pytest.raises(StoreUnreachable, match=r"NoCredentialsError.*set AWS_ACCESS_KEY_ID"):
            do("writing", ObjectStorage(f"s3://{bucket}"))

    def test_nobody_at_the_address_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in environment("http://127.0.0.1:9").items():
            monkeypatch.setenv(name, value)

        with pytest.raises(StoreUnreachable, match=r"not answer \(EndpointConn.*AWS_ENDPOINT_URL"):
            do("writing", ObjectStorage("s3://somewhere"))

    def test_an_answer_that_takes_too_long_is_told(
        self, gate: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 0.2}})
        gate.fail(silence)

        with pytest.raises(StoreUnreachable, match=r"does not answer \(.*Time.*\); check"):
            do("writing", ObjectStorage("s3://somewhere"))

    @pytest.mark.parametrize(
        ("doing", "fault"),
        [
            ("writing", refusal(503, "SlowDown")),
            ("writing", cut_off),
            ("reading", cut_off),
            ("reading", half_an_answer),
            ("erasing", refusal(503, "SlowDown")),
        ],
    )
    def test_what_passes_is_tried_again(
        self, gate: Gate, doing: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
        bucket = new_bucket()
        storage = ObjectStorage(f"s3://{bucket}")
        storage.write(DIGEST, DATA)
        method = {"writing": "PUT", "reading": "GET", "erasing": "DELETE"}[doing]
        if doing == "writing":
            storage.erase([DIGEST])
        gate.fail(fault, method, times=1)

        do(doing, storage)

        assert contents(bucket) == ({} if doing == "erasing" else {file_name(DIGEST): DATA})

    def test_a_large_file_that_broke_off_leaves_nothing(self, gate: Gate) -> None:
        bucket, data = new_bucket(), bytes(101 * 2**20)
        gate.fail(cut_off, "PUT")

        with pytest.raises(StoreUnreachable):
            ObjectStorage(f"s3://{bucket}").write(hashlib.sha256(data).hexdigest(), data)

        assert contents(bucket) == {}
        assert "Uploads" not in client().list_multipart_uploads(Bucket=bucket)

    def test_a_directory_that_is_not_mounted_is_an_outage_too(self, tmp_path: Path) -> None:
        storage = DirectoryStorage(tmp_path / "mount")

        with pytest.raises(StoreUnreachable, match="mount the directory of uploads"):
            storage.read(DIGEST, 10)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may erase anywhere")
    def test_a_directory_that_is_read_only_is_told(self, tmp_path: Path) -> None:
        storage = DirectoryStorage(tmp_path)
        storage.write(DIGEST, DATA)
        (tmp_path / DIGEST[:2]).chmod(0o500)

        with pytest.raises(StoreUnwritable, match="cannot erase"):
            storage.erase([DIGEST])


class TestWork:
    """A store whose bytes are on object storage."""

    @pytest.fixture(params=["embedded", "database"])
    def place(
        self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[str]:
        """Where a store is, of each kind."""
        monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "derived"))
        if request.param == "embedded":
            yield str(tmp_path / "store")
            return
        with database(template=prepared()) as url:
            yield url

    def test_an_outage_lets_work_wait_and_fails_nothing(
        self, place: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LOOKALIKE_BLOBS", f"s3://{new_bucket()}/labels")
        with lookalike.open(place) as library:
            texts = library.labeler("texts", extractor="text")
            gate.fail(refusal(503, "SlowDown"), "GET")
            with pytest.raises(StoreUnreachable, match="reading in s3://"):
                texts.add(TEXTS, copy=True)
            logging.disable()
            assert Worker(library.runtime).work() is False
            logging.disable(logging.NOTSET)
            assert (texts.report().waiting, texts.report().failed) == (3, 0)
            gate.heal()

            while Worker(library.runtime).work():
                pass

            assert (texts.report().waiting, texts.report().failed, len(texts)) == (0, 0, 3)

    def test_one_missing_object_fails_alone(
        self, tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket = new_bucket()
        monkeypatch.setenv("LOOKALIKE_BLOBS", f"s3://{bucket}/labels")
        with lookalike.open(tmp_path / "store") as library:
            texts = library.labeler("texts", extractor="text")
            gate.fail(refusal(503, "SlowDown"), "GET")
            with pytest.raises(StoreUnreachable):
                texts.add(TEXTS, copy=True)
            gate.heal()
            client().delete_object(Bucket=bucket, Key=min(contents(bucket)))

            texts.extract()

            assert (texts.report().waiting, texts.report().failed, len(texts)) == (0, 1, 2)

    def test_an_upload_is_extracted_shown_and_forgotten(
        self, place: str, bucket: str, tmp_path: Path
    ) -> None:
        places = {"LOOKALIKE_CACHE": str(tmp_path / "derived")}
        places |= {"LOOKALIKE_BLOBS": f"s3://{bucket}/labels", **environment()}
        data = (PICTURES / "cello-ganson.png").read_bytes()
        with (
            Served(tmp_path / "store", address=place, environment=places) as served,
            lookalike.connect(served.url) as remote,
        ):
            pictures = remote.labeler("pictures", extractor="image")
            pictures.add([PICTURES / "cello-ganson.png"])
            assert list(contents(bucket).values()) == [data]
            (document,) = pictures.documents()
            assert document.blobs[0].sha256 == hashlib.sha256(data).hexdigest()
            assert patient.get(document.blobs[0].uri).content == data
            path, _, query = document.blobs[0].uri.partition("?")
            shown = patient.get(f"{path}/thumbnail?{query}")
            assert shown.headers["content-type"] == "image/jpeg"

            receipt = pictures.forget([document.id])

            assert (receipt.objects, receipt.copies) == (1, 1)
            assert contents(bucket) == {}
            assert patient.get(document.blobs[0].uri).status_code == 404

    def test_an_outage_while_forgetting_is_told_and_tried_again(
        self, tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket = new_bucket()
        monkeypatch.setenv("LOOKALIKE_BLOBS", f"s3://{bucket}/labels")
        with lookalike.open(tmp_path / "store") as library:
            texts = library.labeler("texts", extractor="text")
            texts.add(TEXTS, copy=True)
            gate.fail(refusal(500, "InternalError"), "DELETE")
            with pytest.raises(StoreUnreachable, match="erasing in s3://"):
                texts.forget(texts.ids())
            assert len(texts) == 3
            gate.heal()

            assert texts.forget(texts.ids()).copies == 3
            assert contents(bucket) == {}

    @pytest.mark.parametrize("place", ["database"], indirect=True)
    def test_a_copy_takes_blobs_along_either_way(
        self, place: str, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        first, last = str(tmp_path / "first"), str(tmp_path / "last")
        with lookalike.open(first) as library:
            library.labeler("texts", extractor="text").add(TEXTS, copy=True)
        monkeypatch.setenv("LOOKALIKE_BLOBS", f"s3://{bucket}/labels")

        there = copy_store(first, place)
        back = copy_store(place, last, blobs=f"{last}/blobs")

        assert (there.blobs, there.missing) == (back.blobs, back.missing) == (3, ())
        assert len(contents(bucket)) == 3
        monkeypatch.delenv("LOOKALIKE_BLOBS")
        with lookalike.open(last) as library:
            for document in library.labeler("texts").documents():
                assert library.runtime.blobs.read(document.blobs[0])


def test_an_embedded_store_that_moves_on_reads_what_it_kept_before(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with lookalike.open(tmp_path / "store") as library:
        library.labeler("texts", extractor="text").add(TEXTS[:1], copy=True)
    monkeypatch.setenv("LOOKALIKE_BLOBS", f"s3://{bucket}")
    with lookalike.open(tmp_path / "store") as library:
        texts = library.labeler("texts")
        texts.add(TEXTS, copy=True)
        assert len(contents(bucket)) == 2, "what the directory has is not kept twice"
        assert all(library.runtime.blobs.read(one.blobs[0]) for one in texts.documents())

        assert texts.forget(texts.ids()).copies == 3

    assert contents(bucket) == {}
    assert not [path for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file()]


def test_stores_that_are_set_alike_share_nothing(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOOKALIKE_BLOBS", f"s3://{bucket}/labels")
    with lookalike.open(tmp_path / "one") as one, lookalike.open(tmp_path / "other") as other:
        texts = one.labeler("texts", extractor="text")
        same = other.labeler("texts", extractor="text")
        for collection in (texts, same):
            collection.add(TEXTS, copy=True)
        assert len(contents(bucket)) == 6

        texts.forget(texts.ids())

        same.run()
        assert len(contents(bucket)) == 3
    with lookalike.open(tmp_path / "other") as again:
        blob = next(iter(again.labeler("texts").documents())).blobs[0]
        assert len(again.runtime.blobs.read(blob)) == blob.size_bytes


@pytest.mark.parametrize(
    "text",
    [
        "https://bucket.example.org/labels",
        "s3://",
        f"s3://key:{SECRET}@bucket/labels",
        f"s3://bucket/labels?secret={SECRET}",
    ],
)
def test_a_place_that_cannot_be_is_refused_without_telling_it(text: str) -> None:
    with pytest.raises(BadSetting, match="LOOKALIKE_BLOBS is unusable: must be") as caught:
        read_settings({"LOOKALIKE_BLOBS": text})

    assert SECRET not in str(caught.value)


def test_a_scheme_that_nobody_knows_is_refused_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOOKALIKE_BLOBS", "nowhere://bucket/labels")

    with pytest.raises(BadSetting, match="unknown scheme 'nowhere'; use s3:// or gs://"):
        lookalike.open(tmp_path / "store")


@pytest.mark.skipif(find_spec("gcsfs") is not None, reason="the extra gcs is installed")
def test_a_missing_package_is_told_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOOKALIKE_BLOBS", "gs://bucket/labels")

    with pytest.raises(MissingExtra, match=r"pip install 'lookalike\[gcs\]'"):
        lookalike.open(tmp_path / "store")


@pytest.mark.parametrize("url", ["s3://shop/kept/01/ab", "S3://shop/kept/", "s3://shop/kept"])
def test_a_request_cannot_read_what_the_server_keeps_there(url: str) -> None:
    rules = FetchRules(schemes=frozenset({"s3"}), storage_address="s3://shop/kept")

    with pytest.raises(FetchRefused, match="is in the store's own storage"):
        GuardedFetcher(rules).fetch(url)


def test_an_outage_of_the_users_own_object_storage_lets_work_wait(
    gate: Gate, tmp_path: Path
) -> None:
    bucket = new_bucket()
    for number, one in enumerate(TEXTS):
        client().put_object(Bucket=bucket, Key=f"{number}.txt", Body=one["text"].encode())
    with lookalike.open(tmp_path / "store") as library:
        texts = library.labeler("texts", extractor="text")
        gate.fail(refusal(503, "SlowDown"), "GET")

        with pytest.raises(StoreUnreachable, match=r"0.txt' now \(SlowDown\)"):
            texts.add(f"s3://{bucket}/0.txt")
        gate.heal()

        assert texts.add([f"s3://{bucket}/{number}.txt" for number in range(3)]).documents == 3


def do(doing: str, storage: Storage) -> None:
    """Do one thing with a storage."""
    if doing == "writing":
        storage.write(DIGEST, DATA)
    elif doing == "reading":
        assert storage.read(DIGEST, len(DATA) + 1) == DATA
    else:
        storage.erase([DIGEST])
