"""What comes in as an object: its bytes from the body, from an address, or from an upload."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import PurePosixPath
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import numpy as np
from pydantic import Field
from sqlalchemy import select
from ulid import ULID

from lookalike.catalog.filters import MAX_FIELD_CHARACTERS
from lookalike.catalog.idempotency import Request
from lookalike.errors import BadContent, BadInput, Conflict
from lookalike.library.bucket import Bucket, NewBlob, NewObject
from lookalike.server.context import Asked
from lookalike.server.routes.uploaded import uploaded
from lookalike.server.shapes import Body, OpenBody
from lookalike.stores import schema

_ADDRESSES = ("http://", "https://", "file://", "s3://", "gs://", "data:")
_TEXTS = ("text", "string")
_ID = re.compile(r"(?!\.{1,2}$)[^/\x00-\x1f\x7f]{1,200}")


class BlobData(Body):
    """Where the bytes of a blob are, or they themselves."""

    url: str | None = None
    base64: str | None = None
    filename: str | None = None


class NewBlobBody(Body):
    """The bytes of one property of an object: `data` is a URL, a data: URL, a text or numbers."""

    idle: ClassVar = frozenset(
        {"key_prefix", "checksum", "metadata", "canonicalize_source", "force_remirror", "details"}
    )
    property: str = Field(min_length=1, max_length=MAX_FIELD_CHARACTERS)
    type: str = ""
    data: str | BlobData | list[float] | None = None
    url: str | None = None
    upload_id: str | None = None
    filename: str | None = None


class NewObjectBody(OpenBody):
    """An object to be: blobs by property, and metadata, flat or under `metadata`."""

    idle: ClassVar = frozenset(
        {"skip_duplicates", "canonicalize_source", "force_remirror", "edges"}
    )
    key_prefix: str | None = Field(None, max_length=500)
    object_id: str | None = Field(None, min_length=1, max_length=200)
    idempotency_key: str | None = Field(None, max_length=100)
    blobs: list[NewBlobBody] = Field(default_factory=list, max_length=100)


class _Unfetched(Exception):
    """An address gave nothing: the object is there, and has failed."""


def incoming(here: Asked, home: Bucket, body: NewObjectBody, key: str) -> NewObject:
    """Return what a body says of an object to be; what cannot be fetched is its error.

    Raises FetchRefused for an address that must not be fetched, BadInput, BadContent.
    """
    id = body.object_id or f"obj_{ULID()}"
    if not _ID.fullmatch(id):
        raise BadInput(f"{id!r} cannot be an object_id, which stands in addresses: leave '/' away")
    if not key and body.idempotency_key:
        key = once_key(here, home, body.idempotency_key, body)
    prefix = (body.key_prefix or "").strip("/")
    blobs, error = [], None
    for one in body.blobs:
        try:
            blobs.append(_blob(here, home, one))
        except _Unfetched as failure:
            error = str(failure)
    named = key or (f"{prefix}/{id}" if prefix else None)
    return NewObject(body.all_metadata(), blobs, id, named, "", error)


def once_key(here: Asked, home: Bucket, name: str, body: Body) -> str:
    """Return the key of objects that a request of this name makes; "" without a name.

    Raises BadInput for what is no name, Conflict where another body was sent under it.
    """
    asked = body.model_dump(mode="json", exclude={"idempotency_key"})
    request = Request.of(name, asked)
    if request is None:
        return ""
    mine, theirs = f"idem:{name}/{request.digest[:32]}/", schema.object_.c.key
    same_name = theirs.between(f"idem:{name}/", f"idem:{name}0")  # "0" comes after "/"
    query = select(theirs).where(schema.object_.c.bucket_pk == home.row.pk, same_name)
    with here.workshop.store.read() as snapshot:
        made = snapshot.rows(query.limit(1))
    if made and not made[0].key.startswith(mine):
        raise Conflict(f"the request {name!r} was another one; give each a name of its own")
    return mine


def _blob(here: Asked, home: Bucket, body: NewBlobBody) -> NewBlob:
    data = body.url if body.data is None else body.data
    name = body.filename or ""
    if body.upload_id is not None:
        return uploaded(here, home, body.upload_id, body.property)
    if isinstance(data, BlobData):
        name = name or data.filename or ""
        if data.base64 is not None:
            decoded = _decoded(data.base64, body.property)
            return NewBlob(body.property, decoded, body.type, "", name)
        data = data.url
    if isinstance(data, list):
        numbers = np.asarray(data, "<f4").tobytes()
        return NewBlob(body.property, numbers, "vector", "", name)
    if data is None or data == "":
        raise BadInput(f"the blob {body.property!r} has no data: give a url, base64 or a text")
    kind = "vector" if body.type in ("vector", "array") else body.type
    if _is_address(data, kind):
        return _fetched(here, body, data, name)
    if kind == "text" or (not kind and home.row.properties.get(body.property) in _TEXTS):
        return NewBlob(body.property, data.encode(), "text", "", name)
    return NewBlob(body.property, _decoded(data, body.property), kind, "", name)


def _fetched(here: Asked, body: NewBlobBody, address: str, name: str) -> NewBlob:
    """Read what an address names, under the guard. Files and object stores stay where they are."""
    is_data = address.startswith("data:")
    uri = address if is_data or "://" in address else f"file://{address}"
    fetcher = here.context.fetcher
    fetcher.check(uri)
    if not is_data:
        name = name or unquote(PurePosixPath(urlsplit(uri).path).name)
    try:
        data, _ = fetcher.fetch(uri)
    except BadContent as error:
        if is_data:
            raise
        raise _Unfetched(str(error)) from error
    return NewBlob(body.property, data, body.type, "" if is_data else uri, name)


def _is_address(data: str, kind: str) -> bool:
    if kind == "text":
        return data.startswith(("http://", "https://", "data:")) and not any(map(str.isspace, data))
    if data.startswith("/"):  # so begin some files in base64, too: a JPEG for one
        return kind != "vector" and not _is_base64(data)
    return data.startswith(_ADDRESSES)


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _decoded(text: str, property: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(
            f"the blob {property!r} is neither an address nor base64: {text[:40]!r}"
        ) from error
