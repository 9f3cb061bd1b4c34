"""Bytes over HTTP: blobs and thumbnails, by the digest of their content, so they never change."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Response
from sqlalchemy import bindparam, select

from lookalike.catalog.resources import Kind, named
from lookalike.content.boxes import can_show, view_of
from lookalike.errors import BadContent, NotFound
from lookalike.extractors.base import Content
from lookalike.extractors.previews import render
from lookalike.model import Blob
from lookalike.server.context import Asked, Here
from lookalike.server.shapes import JsonRoute
from lookalike.stores import schema

router = APIRouter(prefix="/v1/blobs", tags=["blobs"], route_class=JsonRoute)

IfNoneMatch = Annotated[
    str, Header(alias="If-None-Match", description="the ETag of what one has already")
]

View = Annotated[str, Query(max_length=100, description="a part of it, such as p3 or b10,20,30,40")]

_FOREVER = "private, max-age=31536000, immutable"
_SHOWN = frozenset(
    {"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/bmp", "text/plain"}
)
"""What a browser may show; anything else, such as HTML or SVG, is only saved."""

_OBJECT = (
    select(schema.object_.c.name, schema.object_.c.blobs)
    .join(schema.resource, schema.resource.c.pk == schema.object_.c.bucket_pk)
    .where(
        schema.resource.c.namespace == bindparam("namespace"),
        schema.resource.c.kind == Kind.BUCKET.value,
        schema.resource.c.name.in_([bindparam("bucket"), bindparam("bare")]),
        schema.object_.c.id == bindparam("id"),
    )
)
"""A grid of thumbnails asks this a hundred times at once, so it is made once."""

_SAME: dict[int | str, dict[str, Any]] = {304: {"description": "it is what one has already"}}
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"*/*": {}}, "description": "the bytes"},
    **_SAME,
}
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}, "description": "a JPEG of at most 256 × 256"},
    **_SAME,
}


@router.get("/{sha256}", response_class=Response, responses=_BYTES)
def get_blob(
    sha256: str, bucket: str, object: str, here: Here, if_none_match: IfNoneMatch = ""
) -> Response:
    """Return a blob of an object, checked against its digest."""
    name, blob = _found(here, sha256, bucket, object)
    if _has(if_none_match, sha256):
        return _unchanged(sha256)
    data = here.workshop.blobs.read(blob)
    shown = blob.media_type in _SHOWN
    kind = "inline" if shown else "attachment"
    headers = {
        "cache-control": _FOREVER,
        "etag": f'"{sha256}"',
        "content-disposition": f"{kind}; filename*=utf-8''{quote(name.rsplit('/')[-1], safe='')}",
        "content-security-policy": "default-src 'none'; sandbox",
    }
    media_type = blob.media_type if shown else "application/octet-stream"
    return Response(data, media_type=media_type, headers=headers)


@router.get("/{sha256}/thumbnail", response_class=Response, responses=_JPEG)
def get_thumbnail(
    sha256: str,
    bucket: str,
    object: str,
    here: Here,
    view: View = "",
    if_none_match: IfNoneMatch = "",
) -> Response:
    """Return a small picture of a blob that has one, or of the part of it that `view` names."""
    _, blob = _found(here, sha256, bucket, object)
    if _has(if_none_match, sha256):
        return _unchanged(sha256)
    thumbnails = here.workshop.thumbnails
    data = thumbnails.read(sha256, view)
    if data is None:
        if not can_show(blob.media_type):
            raise NotFound(f"the blob is {blob.media_type}, and has no small picture")
        if view and view not in _views(here, sha256):
            raise NotFound(f"no document shows the part {view!r}; take it from a thumbnail_url")
        pixels = here.workshop.settings.max_pixels
        content = Content(here.workshop.blobs.read(blob), blob.media_type, max_pixels=pixels)
        thumbnails.keep(sha256, render(content, view), view)
        data = thumbnails.read(sha256, view)
    if data is None:
        raise BadContent("the picture could not be made smaller; get the blob itself")
    headers = {"cache-control": _FOREVER, "etag": f'"{sha256}"'}
    return Response(data, media_type="image/jpeg", headers=headers)


def _has(if_none_match: str, sha256: str) -> bool:
    """Return whether who asks has the content already, by the ETag that it came with."""
    return f'"{sha256}"' in if_none_match


def _unchanged(sha256: str) -> Response:
    return Response(status_code=304, headers={"cache-control": _FOREVER, "etag": f'"{sha256}"'})


def _views(here: Asked, sha256: str) -> set[str]:
    """Return the views of a content that documents show."""
    table = schema.document
    query = select(table.c.attributes).where(table.c.sha256 == bytes.fromhex(sha256))
    with here.workshop.store.read() as snapshot:
        return {view_of(row.attributes) for row in snapshot.rows(query)}


def _found(here: Asked, sha256: str, bucket: str, id: str) -> tuple[str, Blob]:
    """Return a blob with the name of its object. Raises NotFound."""
    asked = {"namespace": here.namespace, "id": id}
    names = {"bucket": bucket, "bare": bucket.removeprefix(Kind.BUCKET.prefix)}
    with here.workshop.store.read() as snapshot:
        rows = snapshot.rows(_OBJECT.params(**asked, **names))
        if not rows:
            named(snapshot, here.namespace, Kind.BUCKET, bucket)
    for row in rows:
        for blob in row.blobs:
            if blob["sha256"] == sha256:
                return row.name, Blob(**blob)
    raise NotFound(f"no object {id!r} of the bucket {bucket!r} has the content {sha256[:80]}")
