"""Bucket routes: create, list, read, change and delete; and a sample collection."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources
from typing import Any, ClassVar

from fastapi import APIRouter
from pydantic import Field

from lookalike.catalog.filters import MAX_FIELD_CHARACTERS
from lookalike.catalog.resources import Kind, change, check_types, listed, named
from lookalike.content.sources import Item
from lookalike.errors import BadInput, Conflict
from lookalike.ingest.items import Tally
from lookalike.library.bucket import Bucket, BucketRow, bucket_from
from lookalike.library.collection.items import take_in
from lookalike.library.remove import remove_bucket
from lookalike.server.context import Here, changed_about, make_once
from lookalike.server.listing import Search, select_resources
from lookalike.server.routes.collection_shapes import CollectionReply, collection_reply
from lookalike.server.shapes import (
    Body,
    Deleted,
    IdempotencyKey,
    JsonRoute,
    ListBody,
    Name,
    Pages,
    Pagination,
    Reply,
)

router = APIRouter(prefix="/v1/buckets", tags=["buckets"], route_class=JsonRoute)

_IDLE_FIELD = frozenset({"required", "default", "items", "properties", "examples", "enum"})


class Property(Body):
    """One field of a bucket's objects."""

    idle: ClassVar = _IDLE_FIELD
    type: str
    description: str | None = None


class Schema(Body):
    """The fields of a bucket's objects."""

    properties: dict[str, Property] = Field(default_factory=dict)


class NewBucket(Body):
    """A new bucket."""

    idle: ClassVar = frozenset({"unique_key", "tags", "schema_validation", "enabled"})
    bucket_name: Name
    schema_: Schema | None = Field(None, alias="schema")
    bucket_schema: Schema | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class BucketChange(Body):
    """Changes of a bucket; its name cannot change."""

    idle: ClassVar = NewBucket.idle
    bucket_name: str | None = None
    bucket_schema: Schema | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class PropertyReply(Reply):
    """One field of a bucket's objects."""

    type: str
    required: bool = False


class SchemaReply(Reply):
    """The fields of a bucket's objects."""

    properties: dict[str, PropertyReply]


class BucketReply(Reply):
    """A bucket."""

    bucket_id: str
    bucket_name: str
    bucket_schema: SchemaReply
    description: str | None
    metadata: dict[str, Any]
    object_count: int
    total_size_bytes: int
    status: str = "ACTIVE"
    created_at: datetime


class Buckets(Reply):
    """A page of buckets."""

    results: list[BucketReply]
    total_count: int
    pagination: Pagination


@router.post("")
def create_bucket(body: NewBucket, here: Here, idempotency_key: IdempotencyKey = "") -> BucketReply:
    """Create a bucket."""
    schema = body.bucket_schema or body.schema_ or Schema()
    properties = _types(schema)
    about = {"description": body.description, "metadata": body.metadata or {}}
    spec = {"properties": properties, "about": about}
    with here.runtime.store.write() as txn:
        make_once(txn, here, Kind.BUCKET, body.bucket_name, spec, idempotency_key)
    return _reply(here.bucket(body.bucket_name))


@router.post("/list")
def list_buckets(
    here: Here, paged: Pages, body: ListBody | None = None, search: Search = None
) -> Buckets:
    """List buckets that fit filters or a text in name, id or description; sorted."""
    with here.runtime.store.read() as snapshot:
        found = listed(snapshot, here.namespace, Kind.BUCKET)
    rows = [bucket_from(row) for row in select_resources(found, Kind.BUCKET, body, search)]
    page, pagination = paged.of(body).of_list(rows, lambda row: row.pk)
    results = [_reply(Bucket(here.runtime, row)) for row in page]
    return Buckets(results=results, total_count=len(rows), pagination=pagination)


@router.get("")
def list_buckets_get(here: Here, paged: Pages, search: Search = None) -> Buckets:
    """List buckets; with `search`, those with a text in name, id or description."""
    return list_buckets(here, paged, None, search)


@router.get("/{bucket}")
def get_bucket(bucket: str, here: Here) -> BucketReply:
    """Return a bucket by its name or id."""
    return _reply(here.bucket(bucket))


@router.patch("/{bucket}")
@router.put("/{bucket}")
def change_bucket(bucket: str, body: BucketChange, here: Here) -> BucketReply:
    """Change a bucket's description or metadata, or add properties; its name cannot change."""
    with here.runtime.store.write() as txn:
        row = named(txn, here.namespace, Kind.BUCKET, bucket)
        if body.bucket_name not in (None, row.name):
            raise Conflict(f"the name {row.name!r} cannot change; create another bucket instead")
        about = changed_about(row.spec.get("about"), body.description, body.metadata)
        properties = dict(row.spec.get("properties") or {})
        if body.bucket_schema is not None:
            properties |= _types(body.bucket_schema)
        change(txn, row.pk, {**row.spec, "about": about, "properties": properties})
    return _reply(here.bucket(bucket))


@router.delete("/{bucket}")
def delete_bucket(bucket: str, here: Here, cascade: bool = False) -> Deleted:
    """Erase a bucket with its objects. With `cascade` also the collections that use it."""
    with here.runtime.store.read() as snapshot:
        row = named(snapshot, here.namespace, Kind.BUCKET, bucket)
    removed = remove_bucket(here.runtime, row.pk, cascade=cascade)
    return Deleted(message=f"erased the bucket {row.name} with {removed.objects} objects")


def _types(schema: Schema) -> dict[str, str]:
    for name in schema.properties:
        if not 0 < len(name) <= MAX_FIELD_CHARACTERS or not name.isprintable():
            raise BadInput(
                f"{name[:80]!r} is no name of a property: give 1 to {MAX_FIELD_CHARACTERS} "
                "printable characters"
            )
    return check_types({name: one.type for name, one in schema.properties.items()})


def _reply(bucket: Bucket) -> BucketReply:
    row: BucketRow = bucket.row
    objects, size = bucket.size()
    return BucketReply(
        bucket_id=Kind.BUCKET.prefix + row.name,
        bucket_name=row.name,
        bucket_schema=SchemaReply(
            properties={
                name: PropertyReply(type="array" if kind == "vector" else kind)
                for name, kind in row.properties.items()
            }
        ),
        description=row.about.get("description"),
        metadata=row.about.get("metadata") or {},
        object_count=objects,
        total_size_bytes=size,
        created_at=datetime.fromtimestamp(row.created_at, UTC),
    )


# --- sample pictures -----------------------------------------------------------------------------

samples_router = APIRouter(prefix="/v1/samples", tags=["collections"], route_class=JsonRoute)

COLLECTION = "sample"


@samples_router.post("")
def make_sample(here: Here) -> CollectionReply:
    """Create the collection `sample` from the 533 pictures of the package, without labels."""
    pictures = resources.files("lookalike.library.samples") / "pictures"
    collection = here.library.labeler(COLLECTION, extractor="image")
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection.name)
    items = (Item(one.name, one.name, data=one.read_bytes()) for one in pictures.iterdir())
    take_in(here.runtime, row, sorted(items, key=lambda one: one.key), Tally(), copy=True)
    here.server.worker.wake()
    with here.runtime.store.read() as snapshot:
        return collection_reply(snapshot, here.row(snapshot, collection.name))
