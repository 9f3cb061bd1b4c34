"""The published client sends files to signed addresses, and confirms them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import patient
from published import Published, mixpeek, picture, refused
from serving import Served

LARGE = "1989-chevrolet-celebrit-01"
"""A picture that is too large to be kept in the database."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("uploads") / "store") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Served) -> Published:
    return Published(server.url)


def send(client: Published, bucket: str, data: bytes, **more: Any) -> Any:
    """Send a file to a signed address, without a key."""
    body = {"filename": "car.png", "content_type": "image/png", "blob_property": "photo", **more}
    made = client.uploads.create_upload_buckets(bucket, mixpeek.CreateUploadRequest.from_dict(body))
    assert patient.put(made.presigned_url, content=data).status_code == 200
    return made


def copies(server: Served) -> list[bytes]:
    """Return the files that the store keeps."""
    return [path.read_bytes() for path in (server.store / "blobs").rglob("*") if path.is_file()]


def test_a_large_file_that_was_sent_becomes_an_object(client: Published) -> None:
    client.make_bucket("sending")
    data = picture(LARGE)
    made = send(client, "sending", data, object_metadata={"title": "car"})

    done = client.uploads.confirm_upload_buckets("sending", made.upload_id)
    found = client.objects.get_object_buckets("sending", done.object_id, return_presigned_urls=True)

    assert len(data) > 4096, "so large that it lies in a file of its own"
    assert done.status.value == "COMPLETED"
    assert found.additional_properties["metadata"]["title"] == "car"
    assert patient.get(found.blobs[0].presigned_url).content == data
    assert client.tasks.get_task(done.task_id).status.value == "COMPLETED"


def test_a_file_that_was_sent_can_be_the_blob_of_a_new_object(client: Published) -> None:
    client.make_bucket("borrowing")
    made = send(client, "borrowing", picture(LARGE), create_object_on_confirm=False)
    blob = {"property": "photo", "type": "image", "upload_id": made.upload_id}

    put = client.put("borrowing", [{"blobs": [blob], "title": "car"}])[0]

    assert put.blobs[0].details.size_bytes == len(picture(LARGE))


def test_a_batch_of_files_is_confirmed_at_once(client: Published) -> None:
    client.make_bucket("many")
    one = {"filename": "a.png", "content_type": "image/png", "blob_property": "photo"}
    body = {"uploads": [one, one], "shared_object_metadata": {"kind": "car"}}
    made = client.uploads.create_uploads_batch_buckets(
        "many", mixpeek.BatchUploadRequest.from_dict(body)
    )
    for upload, name in zip(made.uploads, ("apple", LARGE), strict=True):
        patient.put(upload.presigned_url, content=picture(name))

    done = client.uploads.confirm_uploads_batch_buckets(
        "many",
        mixpeek.BatchConfirmRequest(
            confirmations=[{"upload_id": upload.upload_id} for upload in made.uploads]
        ),
    )

    assert done.confirmations_count == 2
    assert client.buckets.get_bucket("many").object_count == 2


def test_uploads_are_listed_filtered_and_searched(client: Published) -> None:
    client.make_bucket("listing")
    send(client, "listing", picture("apple"), filename="one.png")
    open_one = client.uploads.create_upload_buckets(
        "listing",
        mixpeek.CreateUploadRequest.from_dict({"filename": "two.png", "content_type": "image/png"}),
    )

    def found(**asked: Any) -> list[str]:
        body = mixpeek.ListUploadsRequest.from_dict(asked)
        listed = client.uploads.list_uploads_buckets("listing", list_uploads_request=body)
        assert listed.stats.total_uploads == len(listed.results)
        return [one.filename for one in listed.results]

    assert found() == ["two.png", "one.png"], "the newest first"
    assert found(search="ONE") == ["one.png"]
    assert found(filters={"status": "PENDING"}) == ["two.png"]
    assert found(sort={"field": "filename", "direction": "asc"}) == ["one.png", "two.png"]
    assert client.uploads.get_upload_buckets("listing", open_one.upload_id)["status"] == "PENDING"


def test_a_deleted_upload_takes_its_file_with_it(client: Published, server: Served) -> None:
    client.make_bucket("trash")
    data = picture("chevrolet-celebirt")
    made = send(client, "trash", data)
    assert data in copies(server)

    client.uploads.delete_upload_buckets("trash", made.upload_id)

    assert data not in copies(server)
    assert refused(lambda: client.uploads.get_upload_buckets("trash", made.upload_id))[0] == 404


def test_a_deleted_upload_leaves_the_object_that_it_became(
    client: Published, server: Served
) -> None:
    client.make_bucket("kept")
    data = picture("cello-ganson")
    made = send(client, "kept", data)
    done = client.uploads.confirm_upload_buckets("kept", made.upload_id)

    client.uploads.delete_upload_buckets("kept", made.upload_id)

    assert data in copies(server)
    found = client.objects.get_object_buckets("kept", done.object_id, return_presigned_urls=True)
    assert patient.get(found.blobs[0].presigned_url).content == data


def test_a_file_that_is_sent_again_replaces_the_first_one(
    client: Published, server: Served
) -> None:
    client.make_bucket("twice")
    first, second = picture("hat-02"), picture("hat-01")
    made = send(client, "twice", first)

    assert patient.put(made.presigned_url, content=second).status_code == 200

    assert first not in copies(server)
    assert second in copies(server)


def test_a_bucket_is_erased_with_what_was_sent_to_it(client: Published) -> None:
    client.make_bucket("doomed")
    send(client, "doomed", picture(LARGE))

    client.short.buckets.delete("doomed")

    assert refused(lambda: client.buckets.get_bucket("doomed"))[0] == 404
