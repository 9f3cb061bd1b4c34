"""The JSON shapes of documents and objects, and how requests say filters, order and ETags."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import SerializerFunctionWrapHandler, model_serializer

from lookalike.catalog.pages import ARRIVAL, Sort, sort_from
from lookalike.catalog.resources import Kind, resource
from lookalike.content.boxes import can_show, view_of
from lookalike.errors import BadInput, Stale
from lookalike.model import Blob, Changed, Document, Origin, Standing
from lookalike.server.context import Context
from lookalike.server.shapes import ListBody, Reply, read_json

_T = TypeVar("_T")
_FAMILIES = ("image", "text", "audio", "video")
_NOT_AUTOMATIC = (Origin.HUMAN, Origin.IMPORT)


class BlobDetails(Reply):
    """Size, type and digest of a file."""

    size_bytes: int
    mime_type: str
    hash: str


class BlobReply(Reply):
    """A blob of an object; `presigned_url` needs no key until it expires."""

    property: str
    type: str
    media_type: str
    size_bytes: int
    sha256: str
    url: str
    presigned_url: str | None
    details: BlobDetails


class DocumentBlob(Reply):
    """A blob of the object that a document was extracted from."""

    field: str
    role: str = "source"
    type: str
    url: str
    presigned_url: str | None


class Neighbor(Reply):
    """A reference similar to a document; `share` is its part of the evidence."""

    document_id: str
    label: str
    similarity: float
    share: float


class MatchReply(Reply):
    """The automatic decision. `confidence` is a probability, or with a
    `confidence_threshold` the similarity.
    """

    matched: bool
    confidence: float | None
    margin: float | None
    threshold: float | None
    runner_up: str | None
    reason: str | None
    source_document_id: str | None = None
    policy: str
    taxonomy_version: int
    neighbors: list[Neighbor]

    @model_serializer(mode="wrap")
    def _without_source(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        if not self.matched:
            values.pop("source_document_id", None)
        return values


class LabelReply(Reply):
    """The state of a label field: the label, its origin and actor, answers and rejections."""

    label: str | None
    origin: str | None
    actor: str | None
    is_reference: bool
    answer: str | None
    suggestion: str | None
    rejected: list[str]
    revision: int
    match: MatchReply | None


class DocumentReply(Reply):
    """A document.

    `taxonomy_match` is the decision in the collection's first label field, null where a person or
    an import gave the label; `labels` has all fields. `metadata` includes the current labels.
    """

    document_id: str
    collection_id: str
    object_id: str
    part: str
    file_name: str
    sha256: str
    metadata: dict[str, Any]
    attributes: dict[str, Any]
    taxonomy_match: MatchReply | None
    labels: dict[str, LabelReply]
    revision: int
    created_at: datetime | None
    document_blobs: list[DocumentBlob]
    thumbnail_url: str | None
    changed: dict[str, Any] | None = None
    score: float | None = None
    taxonomies: dict[str, Any] | None = None


class ChangedReply(Reply):
    """What an operation changed; `ripple` counts the automatic changes that followed from it."""

    revision: int
    operation_id: str
    changed: Changed
    ripple: int


def document_reply(here: Context, bucket: str, one: Document, *, signed: bool) -> DocumentReply:
    """Return a document as JSON; with `signed`, the URLs of its blobs need no key."""
    labels = {name: _label(standing) for name, standing in one.standings.items()}
    first = labels.get(one.field)
    metadata = dict(one.metadata)
    for standing in one.standings.values():
        metadata |= standing.enriched
    metadata |= {name: label.label for name, label in labels.items()}
    blobs = blob_replies(here, bucket, one.object_id, one.blobs, signed=signed)
    pictures = [blob for blob in blobs if can_show(blob.media_type)]
    thumbnail = min(pictures, key=lambda blob: blob.sha256 != one.sha256, default=None)
    return DocumentReply(
        document_id=one.id,
        collection_id=Kind.COLLECTION.prefix + one.collection,
        object_id=one.object_id,
        part=one.part,
        file_name=one.file_name,
        sha256=one.sha256,
        metadata=metadata,
        attributes=dict(one.attributes),
        taxonomy_match=None if first is None else first.match,
        labels=labels,
        revision=max((label.revision for label in labels.values()), default=0),
        created_at=one.created_at,
        document_blobs=[
            DocumentBlob(
                field=blob.property,
                type=blob.type if blob.type in (*_FAMILIES, "pdf") else "other",
                url=blob.url,
                presigned_url=blob.presigned_url,
            )
            for blob in blobs
        ],
        thumbnail_url=None
        if thumbnail is None
        else _thumbnail(here, bucket, one, thumbnail, signed),
    )


def blob_replies(
    here: Context, bucket: str, object_id: str, blobs: Iterable[Blob], *, signed: bool
) -> list[BlobReply]:
    """Return the blobs of an object as JSON; with `signed`, also URLs that need no key."""
    return [_blob(here, bucket, object_id, blob, signed=signed) for blob in blobs]


def _blob(here: Context, bucket: str, object_id: str, blob: Blob, *, signed: bool) -> BlobReply:
    path, params = f"/v1/blobs/{blob.sha256}", {"bucket": bucket, "object": object_id}
    return BlobReply(
        property=blob.property,
        type=_type(blob.media_type),
        media_type=blob.media_type,
        size_bytes=blob.size_bytes,
        sha256=blob.sha256,
        url=f"{path}?bucket={bucket}&object={_quoted(object_id)}",
        presigned_url=here.signed(path, params) if signed else None,
        details=BlobDetails(
            size_bytes=blob.size_bytes, mime_type=blob.media_type, hash=blob.sha256
        ),
    )


def with_blob_urls(one: Document, template: str) -> Document:
    """Return a document with the server's URLs of its blobs, made from `blob_url_template`."""
    object_id = _quoted(one.object_id)
    blobs = (
        replace(blob, uri=f"{template.format(sha256=blob.sha256)}&object={object_id}")
        for blob in one.blobs
    )
    return replace(one, blobs=tuple(blobs))


def blob_url_template(here: Context, collection: str) -> str:
    """Return the URL of a collection's blobs, with the place `{sha256}`, without the object."""
    with here.runtime.store.read() as snapshot:
        bucket = str(resource(snapshot, here.row(snapshot, collection).bucket_pk).name)
    return f"{here.base_url}/v1/blobs/{{sha256}}?bucket={bucket}"


def changed_reply(changed: Changed) -> dict[str, Any]:
    """Return what an operation changed, as JSON within another reply."""
    return {
        **asdict(changed),
        "operation_id": changed.operation,
        "by_itself": changed.by_itself,
    }


def operation_reply(changed: Changed) -> ChangedReply:
    """Return what an operation changed, as a reply of its own."""
    return ChangedReply(
        revision=changed.revision,
        operation_id=changed.operation,
        changed=changed,
        ripple=changed.by_itself,
    )


def etag(value: Any) -> str:
    """Return the ETag of a dataclass value: a digest of its content."""
    text = json.dumps(asdict(value), sort_keys=True, default=str)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'


def fresh(if_match: str, read: Callable[[], _T]) -> _T | None:
    """Return what `read` returns if an ETag of `if_match` fits it; None without an ETag.

    Raises Stale where none fits: the value has changed.
    """
    if not if_match or if_match == "*":
        return None
    now = read()
    if etag(now) not in [tag.strip() for tag in if_match.split(",")]:
        raise Stale("it has changed since you read it; read it again", {"etag": etag(now)})
    return now


def filters_in(query: str | None, body: ListBody | None) -> Any:
    """Return the filters of a request, from its query (as JSON) or else from its body."""
    if query:
        try:
            return read_json(query.encode())
        except ValueError as error:
            raise BadInput(f"filters={query[:80]!r} is not JSON: {error}") from error
    return None if body is None else body.filters


def sort_in(query: str | None, body: ListBody | None) -> Sort:
    """Return the sort order of a request, from its query or else from its body."""
    if query:
        return sort_from(query)
    if body is None:
        return ARRIVAL
    given: Any = body.sort_by or body.sort or body.sorts
    if isinstance(given, Sequence) and not isinstance(given, str):
        if len(given) > 1:
            raise BadInput(f"{len(given)} sort orders are given; give one, as the sort is stable")
        given = given[0] if given else None
    if isinstance(given, Mapping):
        name, direction = given.get("field"), given.get("direction")
        if not isinstance(name, str) or not isinstance(direction, str | None):
            raise BadInput(f"{given!r} is no sort order; give {{field, direction: asc or desc}}")
        return sort_from(name, direction)
    if given is not None and not isinstance(given, str):
        raise BadInput(f"{given!r} is no sort order; give a field, or -field")
    return sort_from(given) if given else ARRIVAL


def _label(standing: Standing) -> LabelReply:
    match = None if standing.origin in _NOT_AUTOMATIC else _match(standing)
    return LabelReply.of(standing, match=match)


def _match(standing: Standing) -> MatchReply:
    decision, has_label = standing.decision, standing.label is not None
    return MatchReply.of(
        decision,
        matched=has_label,
        reason=None if has_label or standing.reason is None else standing.reason.value,
        source_document_id=standing.source if has_label else None,
        neighbors=[Neighbor.of(one) for one in decision.matches],
    )


def _thumbnail(here: Context, bucket: str, one: Document, blob: BlobReply, signed: bool) -> str:
    path, view = f"/v1/blobs/{blob.sha256}/thumbnail", view_of(one.attributes)
    if signed:
        params = {"bucket": bucket, "object": one.object_id}
        return here.signed(path, params | ({"view": view} if view else {}))
    query = f"?bucket={bucket}&object={_quoted(one.object_id)}"
    return f"{path}{query}&view={_quoted(view)}" if view else path + query


def _type(media_type: str) -> str:
    family = media_type.partition("/")[0]
    if media_type == "application/pdf":
        return "pdf"
    return family if family in _FAMILIES else "array"


def _quoted(text: str) -> str:
    return quote(text, safe="")
