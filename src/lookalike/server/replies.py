"""How objects and documents are shown over HTTP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, TypeVar

from pydantic import SerializerFunctionWrapHandler, model_serializer

from lookalike.catalog.pages import ARRIVAL, Sort, sort_from
from lookalike.catalog.resources import Kind, resource
from lookalike.content.boxes import can_show, view_of
from lookalike.errors import BadInput, Stale
from lookalike.model import Blob, Changed, Document, Origin, Standing
from lookalike.server.context import Asked
from lookalike.server.shapes import ListBody, Reply, read_json

_T = TypeVar("_T")
_FAMILIES = ("image", "text", "audio", "video")
_GIVEN = (Origin.HUMAN, Origin.IMPORT)


class BlobDetails(Reply):
    """What a file is."""

    size_bytes: int
    mime_type: str
    hash: str


class BlobReply(Reply):
    """A blob of an object; `presigned_url` needs no key, for a while."""

    property: str
    type: str
    media_type: str
    size_bytes: int
    sha256: str
    url: str
    presigned_url: str | None
    details: BlobDetails


class DocumentBlob(Reply):
    """A blob of the object that a document is of."""

    field: str
    role: str = "source"
    type: str
    url: str
    presigned_url: str | None


class Neighbor(Reply):
    """A reference near a document; `share` is its part of the evidence."""

    document_id: str
    label: str
    similarity: float
    share: float


class MatchReply(Reply):
    """What the machine decided. `confidence` is a probability, or under a
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
        shown: dict[str, Any] = handler(self)
        if not self.matched:
            shown.pop("source_document_id", None)
        return shown


class LabelReply(Reply):
    """What stands in a label field, who said so, and what else was said."""

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
    an import has given the label; `labels` has all fields. `metadata` holds the labels in force.
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
    """What an operation changed: by the person, and as a consequence by itself (`ripple`)."""

    revision: int
    operation_id: str
    changed: Changed
    ripple: int


def document_reply(here: Asked, bucket: str, one: Document, *, signed: bool) -> DocumentReply:
    """Return a document as it is shown."""
    labels = {name: _label(standing) for name, standing in one.standings.items()}
    first = labels.get(one.field)
    metadata = dict(one.metadata)
    for standing in one.standings.values():
        metadata |= standing.enriched
    metadata |= {name: label.label for name, label in labels.items()}
    blobs = blob_replies(here, bucket, one.object_id, one.blobs, signed=signed)
    shown = [blob for blob in blobs if can_show(blob.media_type)]
    thumbnail = min(shown, key=lambda blob: blob.sha256 != one.sha256, default=None)
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
    here: Asked, bucket: str, object_id: str, blobs: Iterable[Blob], *, signed: bool
) -> list[BlobReply]:
    """Return the blobs of an object as they are shown."""
    shown = []
    for blob in blobs:
        path, params = f"/v1/blobs/{blob.sha256}", {"bucket": bucket, "object": object_id}
        shown.append(
            BlobReply(
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
        )
    return shown


def addressed(one: Document, place: str) -> Document:
    """Return a document whose blobs are at addresses of the server, as `blobs_at` gave them."""
    object_id = _quoted(one.object_id)
    blobs = (
        replace(blob, uri=f"{place.format(sha256=blob.sha256)}&object={object_id}")
        for blob in one.blobs
    )
    return replace(one, blobs=tuple(blobs))


def blobs_at(here: Asked, collection: str) -> str:
    """Return the address of the blobs of a collection, `{sha256}` in it, without the object."""
    with here.runtime.store.read() as snapshot:
        bucket = str(resource(snapshot, here.row(snapshot, collection).bucket_pk).name)
    return f"{here.base_url}/v1/blobs/{{sha256}}?bucket={bucket}"


def changed_reply(changed: Changed) -> dict[str, Any]:
    """Return what an operation changed, as it is shown."""
    return {
        **asdict(changed),
        "operation_id": changed.operation,
        "by_itself": changed.by_itself,
    }


def operation_reply(changed: Changed) -> ChangedReply:
    """Return what an operation changed as it is shown by itself."""
    return ChangedReply(
        revision=changed.revision,
        operation_id=changed.operation,
        changed=changed,
        ripple=changed.by_itself,
    )


def etag(value: Any) -> str:
    """Return what tells one state of a thing from another."""
    text = json.dumps(asdict(value), sort_keys=True, default=str)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'


def fresh(if_match: str, read: Callable[[], _T]) -> _T | None:
    """Return the thing as it is, where it is as an ETag says; None where no ETag was given."""
    if not if_match or if_match == "*":
        return None
    now = read()
    if etag(now) not in [tag.strip() for tag in if_match.split(",")]:
        raise Stale("it has changed since it was read: read it again", {"etag": etag(now)})
    return now


def filters_in(query: str | None, body: ListBody | None) -> Any:
    """Return the filters of a request, from its query as JSON or from its body."""
    if query:
        try:
            return read_json(query.encode())
        except ValueError as error:
            raise BadInput(f"filters={query[:80]!r} is not JSON: {error}") from error
    return None if body is None else body.filters


def sort_in(query: str | None, body: ListBody | None) -> Sort:
    """Return the order that a request asks for."""
    if query:
        return sort_from(query)
    if body is None:
        return ARRIVAL
    given: Any = body.sort_by or body.sort or body.sorts
    if isinstance(given, Sequence) and not isinstance(given, str):
        if len(given) > 1:
            raise BadInput(
                f"there are {len(given)} orders; give one: what is equal keeps its order"
            )
        given = given[0] if given else None
    if isinstance(given, Mapping):
        name, direction = given.get("field"), given.get("direction")
        if not isinstance(name, str) or not isinstance(direction, str | None):
            raise BadInput(f"{given!r} is no order; give {{field, direction: asc or desc}}")
        return sort_from(name, direction)
    if given is not None and not isinstance(given, str):
        raise BadInput(f"{given!r} is no order; give a field, or -field")
    return sort_from(given) if given else ARRIVAL


def _label(standing: Standing) -> LabelReply:
    return LabelReply(
        label=standing.label,
        origin=standing.origin,
        actor=standing.actor,
        is_reference=standing.is_reference,
        answer=standing.answer,
        suggestion=standing.suggestion,
        rejected=list(standing.rejected),
        revision=standing.revision,
        match=None if standing.origin in _GIVEN else _match(standing),
    )


def _match(standing: Standing) -> MatchReply:
    decision, has_label = standing.decision, standing.label is not None
    return MatchReply(
        matched=has_label,
        confidence=decision.confidence,
        margin=decision.margin,
        threshold=decision.threshold,
        runner_up=decision.runner_up,
        reason=None if has_label or standing.reason is None else standing.reason.value,
        source_document_id=standing.source if has_label else None,
        policy=decision.policy,
        taxonomy_version=decision.taxonomy_version,
        neighbors=[
            Neighbor(
                document_id=near.document_id,
                label=near.label,
                similarity=near.similarity,
                share=near.share,
            )
            for near in decision.matches
        ],
    )


def _thumbnail(here: Asked, bucket: str, one: Document, blob: BlobReply, signed: bool) -> str:
    path, view = f"/v1/blobs/{blob.sha256}/thumbnail", view_of(one.attributes)
    if signed:
        shown = {"view": view} if view else {}
        return here.signed(path, {"bucket": bucket, "object": one.object_id, **shown})
    query = f"?bucket={bucket}&object={_quoted(one.object_id)}"
    return f"{path}{query}&view={_quoted(view)}" if view else path + query


def _type(media_type: str) -> str:
    family = media_type.partition("/")[0]
    if media_type == "application/pdf":
        return "pdf"
    return family if family in _FAMILIES else "array"


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
