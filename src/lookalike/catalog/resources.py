"""Buckets, collections, retrievers and taxonomies: named resources of a namespace."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, select

from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.extractors.registry import options_stored
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn

_NAME = re.compile(r"[A-Za-z0-9_-]{3,100}")


class Kind(StrEnum):
    """The kinds of named resources."""

    BUCKET = "bucket"
    COLLECTION = "collection"
    RETRIEVER = "retriever"
    TAXONOMY = "taxonomy"

    @property
    def prefix(self) -> str:
        """Return the prefix of an id, which is followed by the name."""
        return {"bucket": "bkt_", "collection": "col_", "retriever": "ret_", "taxonomy": "tax_"}[
            self.value
        ]


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A collection in the store.

    `options` are those of its extractor. Its objects are those of its buckets, the first of which
    is where `add` puts new ones, or those of the collection `source_pk`, after that one has
    extracted them. `inputs` maps the extractor's input names to properties of an object;
    `passthrough` maps metadata names of documents to paths in the object's metadata (None: copy
    all). `about` holds notes of its creator.
    """

    pk: int
    name: str
    bucket_pks: tuple[int, ...]
    extractor: str
    options: Mapping[str, Any]
    source_pk: int | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    passthrough: Mapping[str, str] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = 0.0

    @property
    def bucket_pk(self) -> int:
        """Return the bucket where `add` puts new objects."""
        return self.bucket_pks[0]

    def passed(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metadata that documents get from their object, by name."""
        if self.passthrough is None:
            return dict(metadata)
        found = {name: dig(metadata, path) for name, path in self.passthrough.items()}
        return {name: value for name, value in found.items() if value is not None}

    def source_of(self, name: str) -> str:
        """Return the path in an object's metadata of a document's metadata `name`."""
        return (self.passthrough or {}).get(name, name)

    @property
    def spec(self) -> dict[str, Any]:
        """Return the stored form; `collection_from` reads it."""
        return {
            "bucket_pk": self.bucket_pk,
            "bucket_pks": list(self.bucket_pks),
            "extractor": self.extractor,
            "options": dict(self.options),
            "source_pk": self.source_pk,
            "inputs": dict(self.inputs),
            "passthrough": None if self.passthrough is None else dict(self.passthrough),
            "about": dict(self.about),
        }


def dig(metadata: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path such as `brand` or `brand.name`; None if there is none."""
    if path in metadata:
        return metadata[path]
    value: Any = metadata
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def collection_from(row: Any) -> CollectionRow:
    """Return the collection of a row of `resource`."""
    spec = row.spec
    return CollectionRow(
        pk=row.pk,
        name=row.name,
        bucket_pks=tuple(spec.get("bucket_pks") or (spec["bucket_pk"],)),
        extractor=spec["extractor"],
        options=options_stored(spec["extractor"], spec["options"]),
        source_pk=spec.get("source_pk"),
        inputs=spec.get("inputs") or {},
        passthrough=spec.get("passthrough"),
        about=spec.get("about") or {},
        created_at=row.created_at,
    )


def collection_row(snapshot: Snapshot, pk: int) -> CollectionRow:
    """Return a collection by its pk."""
    return collection_from(resource(snapshot, pk))


def collections_over(
    snapshot: Snapshot, bucket_pk: int, *, derived: bool = False
) -> list[CollectionRow]:
    """Return the collections over a bucket; with `derived` those over another collection, too."""
    found = [collection_from(row) for row in _all(snapshot, Kind.COLLECTION)]
    return [
        one for one in found if bucket_pk in one.bucket_pks and (derived or one.source_pk is None)
    ]


def collections_from(snapshot: Snapshot, collection_pk: int) -> list[CollectionRow]:
    """Return the collections that use the objects of another one."""
    found = [collection_from(row) for row in _all(snapshot, Kind.COLLECTION)]
    return [one for one in found if one.source_pk == collection_pk]


def alike(snapshot: Snapshot, row: CollectionRow) -> list[int]:
    """Return the pks of all collections with the same extractor and options."""
    found = [collection_from(one) for one in _all(snapshot, Kind.COLLECTION)]
    return [one.pk for one in found if (one.extractor, one.options) == (row.extractor, row.options)]


def resource(snapshot: Snapshot, pk: int) -> Row[Any]:
    """Return a row of `resource` by its pk."""
    table = schema.resource
    return snapshot.rows(select(table).where(table.c.pk == pk))[0]


def check_there(snapshot: Snapshot, *pks: int) -> None:
    """Raise NotFound if a bucket or collection was removed after its pk was read."""
    table = schema.resource
    if len(snapshot.rows(select(table.c.pk).where(table.c.pk.in_(pks)))) < len(set(pks)):
        raise NotFound("the collection or its bucket was removed meanwhile; make it again first")


def find(snapshot: Snapshot, namespace: str, kind: Kind, name: str) -> Row[Any] | None:
    """Return a resource by its name or id, or None."""
    table = schema.resource
    here = (table.c.namespace == namespace) & (table.c.kind == kind)
    named = table.c.name.in_([name, name.removeprefix(kind.prefix)])
    rows = snapshot.rows(select(table).where(here, named))
    return rows[0] if rows else None


def named(snapshot: Snapshot, namespace: str, kind: Kind, name: str) -> Row[Any]:
    """Return a resource by its name or id. Raises NotFound, listing the known ones."""
    row = find(snapshot, namespace, kind, name)
    if row is None:
        raise NotFound.named(kind.value, name, names(snapshot, namespace, kind))
    return row


def names(snapshot: Snapshot, namespace: str, kind: Kind) -> list[str]:
    """Return the names of all resources of a kind, sorted."""
    return sorted(row.name for row in listed(snapshot, namespace, kind))


def listed(snapshot: Snapshot, namespace: str, kind: Kind) -> Sequence[Row[Any]]:
    """Return all resources of a kind in a namespace, oldest first."""
    table = schema.resource
    here = (table.c.namespace == namespace) & (table.c.kind == kind)
    return snapshot.rows(select(table).where(here).order_by(table.c.pk))


def make(
    txn: Txn, namespace: str, kind: Kind, name: str, spec: Mapping[str, Any], *, at: float
) -> int:
    """Create a resource and return its pk. Raises Conflict if the name is taken, BadInput."""
    check_name(kind, name)
    if find(txn, namespace, kind, name) is not None:
        raise Conflict(f"there is a {kind.value} {name!r} already; choose another name")
    return txn.insert_one(
        schema.resource,
        namespace=namespace,
        kind=kind.value,
        name=name,
        spec=dict(spec),
        created_at=at,
    )


def change(txn: Txn, pk: int, spec: Mapping[str, Any]) -> None:
    """Write another spec for a resource."""
    txn.update(schema.resource, [{"pk": pk, "spec": dict(spec)}])


def remove(txn: Txn, pk: int) -> None:
    """Remove a resource that nothing depends on."""
    txn.execute(schema.resource.delete().where(schema.resource.c.pk == pk))


def check_name(kind: Kind, name: str) -> None:
    """Raise BadInput for an invalid resource name."""
    if not _NAME.fullmatch(name):
        shown = repr(name[:100]) + ("…" if len(name) > 100 else "")
        raise BadInput(
            f"{shown} is not a valid name for a {kind.value}: use 3 to 100 letters, digits, '_' "
            "and '-'"
        )
    if name.startswith(kind.prefix):
        raise BadInput(
            f"{name!r} starts like an id of a {kind.value}; use a name without {kind.prefix!r}"
        )


def _all(snapshot: Snapshot, kind: Kind) -> Sequence[Row[Any]]:
    table = schema.resource
    return snapshot.rows(select(table).where(table.c.kind == kind).order_by(table.c.pk))


# --- field types of a bucket ---------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_time(read: Callable[[str], Any]) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        try:
            read(value)
        except (TypeError, ValueError):
            return False
        return True

    return fits


def _any(_value: Any) -> bool:
    return True


TYPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "string": (_is_text, "a text"),
    "text": (_is_text, "a text"),
    "number": (_is_number, "a number"),
    "float": (_is_number, "a number"),
    "integer": (_is_whole, "a whole number"),
    "boolean": (lambda value: isinstance(value, bool), "true or false"),
    "object": (lambda value: isinstance(value, Mapping), "an object"),
    "array": (lambda value: isinstance(value, list), "a list"),
    "date": (_is_time(date.fromisoformat), "a date such as 2026-01-31"),
    "datetime": (_is_time(datetime.fromisoformat), "a time such as 2026-01-31T12:00:00Z"),
    "image": (_any, "a picture"),
    "audio": (_any, "a sound"),
    "video": (_any, "a film"),
    "pdf": (_any, "a PDF"),
    "vector": (_any, "a vector"),
}
"""Each field type: its check, and its name in messages. Null fits all types."""


def check_types(properties: Mapping[str, str]) -> dict[str, str]:
    """Return the types of fields. Raises BadInput for an unknown one, naming the known ones."""
    for name, kind in properties.items():
        if kind not in TYPES:
            raise BadInput(
                f"the property {name!r} has the type {kind!r}; known: {', '.join(TYPES)}"
            )
    return dict(properties)


def check_values(metadata: Mapping[str, Any], properties: Mapping[str, str]) -> None:
    """Raise BadInput for a value that does not have the type of its field in the bucket."""
    for name, value in metadata.items():
        fits, what = TYPES[properties[name]] if name in properties else (_any, "")
        if value is not None and not fits(value):
            shown = repr(value)
            raise BadInput(
                f"the field {name!r} is {shown[:80]}{'…' if len(shown) > 80 else ''}, and its type "
                f"is {properties[name]}: give {what}"
            )
