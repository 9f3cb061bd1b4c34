"""The door: a store with its buckets and collections."""

from __future__ import annotations

import getpass
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import select

from lookalike.access import Access
from lookalike.collection import Collection
from lookalike.errors import BadInput, BadSetting, Conflict, NotFound
from lookalike.fields import taxonomy_to
from lookalike.model import Taxonomy
from lookalike.plugins import extractor_name
from lookalike.reading import FieldRow, fields_of
from lookalike.rules import Rule, check_rule, rule_of, taxonomy_of
from lookalike.settings import Settings, read_settings
from lookalike.stores import schema
from lookalike.stores.base import Snapshot, Txn
from lookalike.stores.sqlite import SqliteStore
from lookalike.workshop import CollectionRow, Workshop, collection_from

_NAME = re.compile(r"[A-Za-z0-9_-]{3,100}")


def open(
    store: str | Path | None = None,
    *,
    actor: str = "",
    namespace: str = "",
    settings: Settings | None = None,
    clock: Callable[[], float] = time.time,
) -> Library:
    """Open a store, made when it is not there: a directory (default: LOOKALIKE_STORE).

    `actor` is recorded with everything that is said (default: LOOKALIKE_ACTOR, else the user).

    Raises NotAStore, StoreTooNew, StoreUnwritable or StoreCorrupt, each with its cure.
    """
    root = Path(settings.store) if settings and store is None else store_path(store)
    if settings is None:
        settings = read_settings(os.environ, root / "lookalike.toml")
    actor = actor or settings.actor or _user()
    workshop = Workshop(SqliteStore(root), root, settings, actor, clock)
    return Library(workshop, namespace or settings.namespace)


def store_path(store: str | Path | None = None) -> Path:
    """Return where a store is, or would be made. Raises BadSetting for what is no directory."""
    place = read_settings(os.environ).store if store is None else str(store)
    if "://" in place:
        raise BadSetting(f"{place!r} is no directory; a store is a directory in this version")
    return Path(place)


class Library:
    """An open store. Close it, or use it in a `with` block."""

    def __init__(self, workshop: Workshop, namespace: str) -> None:
        self._workshop = workshop
        self._namespace = namespace

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the store."""
        self._workshop.close()

    def check(self) -> list[str]:
        """Return what contradicts itself in the store; empty when it is sound."""
        return self._workshop.store.check()

    def access(self) -> Access:
        """Return the keys that a server over this store asks for."""
        return Access(self._workshop.store, self._workshop.settings, self._workshop.clock)

    @property
    def path(self) -> Path:
        """Return where the store is."""
        return self._workshop.root

    def engine_version(self) -> str:
        """Return the version of the database engine."""
        return self._workshop.store.engine_version()

    def spaces(self) -> dict[str, str]:
        """Return the space of each collection that has documents, by the collection's name."""
        table, resource = schema.space, schema.resource
        query = select(resource.c.name, table.c.name.label("space")).join(
            table, table.c.collection_pk == resource.c.pk
        )
        with self._workshop.store.read() as snapshot:
            rows = snapshot.rows(query.where(resource.c.namespace == self._namespace))
            return {row.name: row.space for row in rows}

    def labeler(
        self,
        name: str,
        /,
        source: Any = None,
        *,
        extractor: str | None = None,
        field: str | None = None,
        reference: str | None = None,
        confidence_threshold: float | None = None,
        target_precision: float | None = None,
        targets: Mapping[str, float] | None = None,
        top_k: int = 10,
        enrich: tuple[str, ...] = (),
        **options: Any,
    ) -> Collection:
        """Return a collection that labels itself, made in one call: bucket, collection, taxonomy.

        Without `reference` its own labels vote (unified); with it those of that collection
        (separate). A `confidence_threshold` makes the policy the known rule; otherwise the limit is
        computed for `target_precision` (0.95), or a label's own in `targets`. `enrich` names
        metadata fields that are copied from the matched reference. `extractor` is "image" and
        `field` "label" unless told. Other options go to the extractor; a `source` is added.

        Called again it returns the same collection; another policy is then a recorded `run`, and a
        field that it does not have is added. Raises Conflict for another extractor or reference.
        """
        chosen = (reference, confidence_threshold, target_precision, top_k, enrich)
        rule = Rule(*chosen, targets=targets)
        with self._workshop.store.write() as txn:
            row = self._find(txn, "collection", name)
            if row is None:
                bucket = self._find(txn, "bucket", name)
                bucket_pk = bucket.pk if bucket is not None else self._make(txn, "bucket", name, {})
                row = self._make_collection(txn, name, bucket_pk, extractor or "image", options)
                self._make_field(txn, row, taxonomy_of(name, field or "label", rule))
            else:
                row = _check_same(row, extractor, options)
        collection = Collection(self._workshop, row)
        if field is not None and field not in collection.fields:
            self.add_taxonomy(name, field, **asdict(rule))
        else:
            self._adopt_rule(collection, row, field, rule)
        if source is not None:
            collection.add(source)
        return collection

    def create_bucket(self, name: str, properties: Mapping[str, str] | None = None) -> None:
        """Make a bucket; `properties` gives the type of each field of its objects.

        Raises Conflict when the name is taken.
        """
        with self._workshop.store.write() as txn:
            if self._find(txn, "bucket", name) is not None:
                raise Conflict(f"there is a bucket {name!r} already; choose another name")
            self._make(txn, "bucket", name, {"properties": dict(properties or {})})

    def create_collection(
        self, name: str, /, *, bucket: str, extractor: str = "image", **options: Any
    ) -> Collection:
        """Make a collection over a bucket, without a label field; it extracts what is there.

        Raises NotFound for an unknown bucket or extractor, Conflict when the name is taken.
        """
        with self._workshop.store.write() as txn:
            if self._find(txn, "collection", name) is not None:
                raise Conflict(f"there is a collection {name!r} already; choose another name")
            home = self._find(txn, "bucket", bucket)
            if home is None:
                raise NotFound.named("bucket", bucket, self._names(txn, "bucket"))
            row = self._make_collection(txn, name, home.pk, extractor, options)
            waiting = _wait_for_extraction(txn, row)
        collection = Collection(self._workshop, row)
        if waiting:
            collection.extract()
        return collection

    def add_taxonomy(
        self,
        collection: str,
        field: str,
        *,
        reference: str | None = None,
        reference_field: str | None = None,
        confidence_threshold: float | None = None,
        target_precision: float | None = None,
        targets: Mapping[str, float] | None = None,
        top_k: int = 10,
        enrich: tuple[str, ...] = (),
    ) -> None:
        """Give a collection one more label field, with the rule that labels it.

        Raises NotFound for an unknown collection, Conflict when the field is there.
        """
        row = self._row(collection)
        rule = Rule(
            reference=reference,
            confidence_threshold=confidence_threshold,
            target_precision=target_precision,
            targets=targets,
            top_k=top_k,
            enrich=enrich,
            reference_field=reference_field,
        )
        taxonomy = taxonomy_of(collection, field, rule)
        operations = self._workshop.operations
        with operations.operate(row.pk, "create", self._workshop.actor) as running:
            field_pk = self._make_field(running.txn, row, taxonomy)
            table = schema.document
            query = select(table.c.pk).where(table.c.collection_pk == row.pk).order_by(table.c.pk)
            pks = [one.pk for one in running.txn.rows(query)]
            if pks:
                operations.arrive(running, field_pk, pks)

    def collection(self, name: str) -> Collection:
        """Return a collection. Raises NotFound, listing the known ones."""
        return Collection(self._workshop, self._row(name))

    def collections(self) -> list[str]:
        """Return the names of all collections, sorted."""
        with self._workshop.store.read() as snapshot:
            return self._names(snapshot, "collection")

    def buckets(self) -> list[str]:
        """Return the names of all buckets, sorted."""
        with self._workshop.store.read() as snapshot:
            return self._names(snapshot, "bucket")

    # --- inside ---------------------------------------------------------------------------------

    def _row(self, name: str) -> CollectionRow:
        with self._workshop.store.read() as snapshot:
            row = self._find(snapshot, "collection", name)
            if row is None:
                raise NotFound.named("collection", name, self._names(snapshot, "collection"))
            return collection_from(row)

    def _names(self, snapshot: Snapshot, kind: str) -> list[str]:
        table = schema.resource
        here = (table.c.namespace == self._namespace) & (table.c.kind == kind)
        return [
            row.name for row in snapshot.rows(select(table.c.name).where(here).order_by("name"))
        ]

    def _find(self, snapshot: Snapshot, kind: str, name: str) -> Any:
        table = schema.resource
        here = (table.c.namespace == self._namespace) & (table.c.kind == kind)
        rows = snapshot.rows(select(table).where(here, table.c.name == name))
        return rows[0] if rows else None

    def _make(self, txn: Txn, kind: str, name: str, spec: Mapping[str, Any]) -> int:
        if not _NAME.fullmatch(name):
            raise BadInput(
                f"{name!r} is no name for a {kind}: use 3 to 100 letters, digits, '_' and '-'"
            )
        return txn.insert_one(
            schema.resource,
            namespace=self._namespace,
            kind=kind,
            name=name,
            spec=dict(spec),
            created_at=self._workshop.clock(),
        )

    def _make_collection(
        self, txn: Txn, name: str, bucket_pk: int, extractor: str, options: Mapping[str, Any]
    ) -> CollectionRow:
        full = extractor_name(extractor)
        spec = {"bucket_pk": bucket_pk, "extractor": full, "options": dict(options)}
        if full != "passthrough" or "dimension" in options:
            self._workshop.extractor(full, options)
        pk = self._make(txn, "collection", name, spec)
        return CollectionRow(pk, name, bucket_pk, full, dict(options))

    def _make_field(self, txn: Txn, row: CollectionRow, taxonomy: Taxonomy) -> int:
        known = [field.name for field in fields_of(txn, row.pk)]
        if taxonomy.field in known:
            raise Conflict(
                f"the collection {row.name!r} has a label field {taxonomy.field!r} already"
            )
        pk = txn.insert_one(
            schema.field,
            collection_pk=row.pk,
            name=taxonomy.field,
            taxonomy=taxonomy_to(taxonomy),
            reference_field_pk=0,
            epoch=0,
        )
        reference_pk = pk
        if taxonomy.reference != row.name:
            reference_pk = self._reference_field(txn, row, taxonomy).pk
        chosen = schema.field.update().where(schema.field.c.pk == pk)
        txn.execute(chosen.values(reference_field_pk=reference_pk))
        return pk

    def _reference_field(self, txn: Txn, row: CollectionRow, taxonomy: Taxonomy) -> FieldRow:
        stored = self._find(txn, "collection", taxonomy.reference)
        if stored is None:
            names = self._names(txn, "collection")
            raise NotFound.named("reference collection", taxonomy.reference, names)
        curated = collection_from(stored)
        if (curated.extractor, curated.options) != (row.extractor, row.options):
            raise Conflict(
                f"{row.name!r} extracts with {row.extractor} {dict(row.options)}, its reference "
                f"{curated.name!r} with {curated.extractor} {dict(curated.options)}; "
                "vectors of two spaces cannot be compared: use one extractor for both"
            )
        fields = fields_of(txn, curated.pk)
        for field in fields:
            if field.name == taxonomy.reference_field:
                return field
        names = [field.name for field in fields]
        raise NotFound.named(f"label field of {curated.name!r}", taxonomy.reference_field, names)

    def _adopt_rule(
        self, collection: Collection, row: CollectionRow, field: str | None, rule: Rule
    ) -> None:
        """Let a field that is there follow another policy, as a run.

        Raises Conflict for what cannot change.
        """
        with self._workshop.store.read() as snapshot:
            fields = fields_of(snapshot, row.pk)
        now = next((one for one in fields if field in (None, one.name)), None)
        if now is None:
            return
        check_rule(row.name, now.taxonomy, rule)
        said = (rule.confidence_threshold, rule.target_precision, rule.targets)
        if rule_of(now.taxonomy, *said) != now.taxonomy:
            threshold, target, targets = said
            collection.run(
                field=now.name,
                confidence_threshold=threshold,
                target_precision=target,
                targets=targets,
            )


def _check_same(row: Any, extractor: str | None, options: Mapping[str, Any]) -> CollectionRow:
    known = collection_from(row)
    wanted = known.extractor if extractor is None else extractor_name(extractor)
    if known.extractor != wanted or (options and known.options != options):
        raise Conflict(
            f"the collection {known.name!r} is there with extractor {known.extractor!r} "
            f"{dict(known.options)}, not {wanted!r} {dict(options)}; choose another name"
        )
    return known


def _user() -> str:
    """Return the user's name; a process in a container may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _wait_for_extraction(txn: Txn, row: CollectionRow) -> int:
    """Let everything that the bucket holds wait for a new collection; return how much that is."""
    table = schema.object_
    objects = txn.rows(select(table.c.pk).where(table.c.bucket_pk == row.bucket_pk))
    txn.insert(
        schema.extraction,
        [{"collection_pk": row.pk, "object_pk": one.pk, "status": "PENDING"} for one in objects],
    )
    return len(objects)
