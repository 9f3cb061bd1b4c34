"""Uploads: a file is sent to a signed address, and becomes a blob when that is confirmed."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select, update
from ulid import ULID

from lookalike.content.pictures import sniff
from lookalike.errors import Conflict, NotFound
from lookalike.library.bucket import Bucket, NewBlob
from lookalike.library.forget import unheld
from lookalike.model import Blob
from lookalike.server.context import Asked
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn

PENDING, SENT, COMPLETED = "PENDING", "PROCESSING", "COMPLETED"
"""Nothing was sent yet; a file was; it is an object."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that is being sent, or was."""

    pk: int
    id: str
    bucket_pk: int
    spec: dict[str, Any]
    status: str
    blob: dict[str, Any] | None
    object_id: str | None
    created_at: float
    expires_at: float


def new_upload(here: Asked, home: Bucket, spec: dict[str, Any], lives_s: int) -> Upload:
    """Make an upload, which waits for its file."""
    now = here.workshop.clock()
    with here.workshop.store.write() as txn:
        id = f"upl_{ULID()}"
        txn.insert_one(
            schema.upload,
            id=id,
            bucket_pk=home.row.pk,
            spec=spec,
            status=PENDING,
            created_at=now,
            expires_at=now + lives_s,
        )
    return upload_of(here, home, id)


def upload_of(here: Asked, home: Bucket, id: str) -> Upload:
    """Return an upload of a bucket. Raises NotFound."""
    with here.workshop.store.read() as snapshot:
        found = find_upload(snapshot, id)
    if found is None or found.bucket_pk != home.row.pk:
        raise NotFound(f"the bucket {home.name!r} has no upload {id!r}; begin one")
    return found


def find_upload(snapshot: Snapshot, id: str) -> Upload | None:
    """Return an upload by its id."""
    rows = snapshot.rows(select(schema.upload).where(schema.upload.c.id == id))
    return Upload(**rows[0]._mapping) if rows else None


def receive(here: Asked, upload: Upload, data: bytes) -> None:
    """Keep the file of an upload, in the place of one that was sent before."""
    media_type = sniff(data[:4096], str(upload.spec.get("filename") or ""))
    uri = here.workshop.blobs.keep(data)
    blob = Blob("", media_type, uri, hashlib.sha256(data).hexdigest(), len(data))
    with here.workshop.store.write() as txn:
        table = schema.upload
        changed = update(table).where(table.c.pk == upload.pk)
        txn.execute(changed.values(status=SENT, blob=asdict(blob)))
        _erase_file(here, txn, upload)


def complete(here: Asked, upload: Upload, object_id: str | None) -> None:
    """Note what became of an upload."""
    table = schema.upload
    with here.workshop.store.write() as txn:
        changed = update(table).where(table.c.pk == upload.pk)
        txn.execute(changed.values(status=COMPLETED, object_id=object_id))


def remove(here: Asked, upload: Upload) -> None:
    """Forget an upload with its file; what became an object stays."""
    with here.workshop.store.write() as txn:
        txn.execute(schema.upload.delete().where(schema.upload.c.pk == upload.pk))
        _erase_file(here, txn, upload)


def uploaded(here: Asked, home: Bucket, id: str, property: str) -> NewBlob:
    """Return the file of an upload as a blob of an object. Raises NotFound, Conflict."""
    upload = upload_of(here, home, id)
    if upload.blob is None:
        raise Conflict(f"nothing was sent to the upload {id!r} yet; send the file first")
    data = here.workshop.blobs.read(Blob(**upload.blob))
    kind = str(upload.spec.get("blob_type") or "")
    return NewBlob(property, data, kind, "", str(upload.spec.get("filename") or ""))


def _erase_file(here: Asked, txn: Txn, upload: Upload) -> None:
    """Erase the file that an upload held, unless something else holds it."""
    if upload.blob is not None:
        here.workshop.blobs.forget(unheld(txn, [Blob(**upload.blob)]))
