"""`Library`: an open store with its buckets and collections. `lookalike.open` returns one."""

from __future__ import annotations

import getpass
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import select

from lookalike.catalog.api_keys import Access
from lookalike.catalog.idempotency import Replayed, Request, idempotent
from lookalike.catalog.reader import fields_of
from lookalike.catalog.resources import (
    CollectionRow,
    Kind,
    collection_from,
    find,
    make,
    named,
    names,
)
from lookalike.catalog.taxonomies import POLICY, RuleArguments, check_rule, rule_of, taxonomy_of
from lookalike.catalog.vocabulary import Labels, LabelSet
from lookalike.extractors.registry import as_one
from lookalike.library.collection.collection import Collection
from lookalike.library.create import (
    CollectionPlan,
    add_field,
    check_same,
    make_collection,
    make_fields,
    making,
)
from lookalike.library.declared_labels import differs
from lookalike.library.forget import Receipt, receipt_again
from lookalike.library.migration import DroppedSpaces, Migration, drop_standby, migrated, prepare
from lookalike.library.remove import Removed, forget_objects, remove_bucket, remove_collections
from lookalike.library.runtime import Runtime
from lookalike.library.verb import verb
from lookalike.model import Changed, Progress, Taxonomy, quiet
from lookalike.settings import Settings, read_settings
from lookalike.stores import schema
from lookalike.stores.base import Txn, is_current_space
from lookalike.stores.open import StoreAddress


def open(
    store: str | Path | None = None,
    *,
    actor: str = "",
    namespace: str = "",
    settings: Settings | None = None,
    clock: Callable[[], float] = time.time,
) -> Library:
    """Open a store; create it if it does not exist (default: LOOKALIKE_STORE).

    It is a directory, or a database: "postgresql://USER:PASSWORD@HOST/NAME". `actor` is recorded
    with every label and operation (default: LOOKALIKE_ACTOR, else the user's name).

    Raises NotAStore, StoreTooNew, StoreUnwritable or StoreCorrupt, for a database also
    StoreUnreachable or StoreTooOld; each message tells what to do.
    """
    place = StoreAddress(settings.store) if settings and store is None else place_of(store)
    if settings is None:
        settings = place.settings(os.environ)
    actor = actor or settings.actor or _user()
    runtime = Runtime(place.open(settings, os.environ), settings, actor, clock)
    return Library(runtime, namespace or settings.namespace)


def place_of(store: str | Path | None = None) -> StoreAddress:
    """Return the address of a store that may not exist yet (default: LOOKALIKE_STORE)."""
    return StoreAddress(read_settings(os.environ).store if store is None else str(store))


class Library:
    """An open store. Close it, or use it in a `with` block."""

    def __init__(self, runtime: Runtime, namespace: str) -> None:
        self._runtime = runtime
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
        self._runtime.close()

    @verb("admin")
    def check(self) -> list[str]:
        """Return the inconsistencies of the store; an empty list if it is sound."""
        return self._runtime.store.check()

    def access(self) -> Access:
        """Return the API keys of a server over this store."""
        return Access(self._runtime.store, self._runtime.settings, self._runtime.clock)

    @property
    def runtime(self) -> Runtime:
        """Return the runtime (store, extractors, operations), for the server and workers."""
        return self._runtime

    @property
    def workshop(self) -> Runtime:
        """Return `runtime`; this is its deprecated name."""
        warnings.warn("Library.workshop is now Library.runtime", DeprecationWarning, stacklevel=2)
        return self._runtime

    @property
    def settings(self) -> Settings:
        """Return the current settings."""
        return self._runtime.settings

    @property
    def namespace(self) -> str:
        """Return the namespace whose collections this library has."""
        return self._namespace

    @property
    def path(self) -> Path:
        """Return the store's directory; for a database the directory of its caches."""
        return self._runtime.root

    @property
    def place(self) -> str:
        """Return the address of the store, without a password."""
        return self._runtime.place

    @verb("read")
    def engine_version(self) -> str:
        """Return the version of the database engine."""
        return self._runtime.store.engine_version()

    @verb("read")
    def spaces(self) -> dict[str, str]:
        """Return the embedding space of each collection that has documents, by its name."""
        table, resource = schema.space, schema.resource
        query = select(resource.c.name, table.c.name.label("space")).join(
            table, is_current_space(table, resource.c.pk)
        )
        with self._runtime.store.read() as snapshot:
            rows = snapshot.rows(query.where(resource.c.namespace == self._namespace))
            return {row.name: row.space for row in rows}

    @verb("admin", client=False)
    def labeler(
        self,
        name: str,
        /,
        source: Any = None,
        *,
        extractor: str | Sequence[str | Mapping[str, Any]] | None = None,
        inputs: Mapping[str, str] | None = None,
        field: str | None = None,
        reference: str | None = None,
        confidence_threshold: float | None = None,
        target_precision: float | None = None,
        targets: Mapping[str, float] | None = None,
        top_k: int = 10,
        enrich: tuple[str, ...] = (),
        exclusive: str | None = None,
        low_quality: bool | None = None,
        hierarchical: bool | None = None,
        closed_set: bool | None = None,
        labels: Labels | None = None,
        **options: Any,
    ) -> Collection:
        """Create or return a collection with a label field that is labelled automatically.

        Its own labels are the references (unified), or those of the collection `reference`
        (separate). `confidence_threshold` sets the policy `threshold`; otherwise the threshold is
        computed for `target_precision` (0.95), or a label's own in `targets`. `enrich` names
        metadata fields to copy from the matched reference. `exclusive="image"` gives each label to
        at most one document per image; `low_quality` also decides low-quality items. If labels are
        paths, parents are given as a fallback unless `hierarchical` is False. `extractor` is
        "image" and `field` "label" by default; other `options` go to the extractor. Several
        extractors (["image", {"extractor": "text", "model": …}]) give one decision, with weights
        fitted to the references; `inputs` gives the property each reads ({"text": "description"}).
        `labels` (names, or a mapping name → description) declares labels; `closed_set` allows no
        others.

        A repeated call returns the same collection; another policy is then a recorded `run`, and a
        missing field is added. Raises Conflict for another extractor or reference.
        """
        chosen = (reference, confidence_threshold, target_precision, top_k, enrich, None, targets)
        rule = RuleArguments(*chosen, ">", exclusive, low_quality, hierarchical)
        taxonomy = taxonomy_of(name, field or "label", rule)
        label_set = LabelSet.of(labels, closed_set)
        row = self._found_or_created(name, extractor, options, inputs, taxonomy, label_set)
        collection = Collection(self._runtime, row)
        self._adopt_rule(collection, row, field, rule, label_set)
        if source is not None:
            collection.add(source)
        return collection

    @verb("admin", route=False)
    def create_bucket(self, name: str, properties: Mapping[str, str] | None = None) -> None:
        """Create a bucket; `properties` gives the type of each field of its objects.

        Raises Conflict when the name is taken.
        """
        with self._runtime.store.write() as txn:
            self._make_bucket(txn, name, properties or {})

    @verb("admin", route=False)
    def create_collection(
        self,
        name: str,
        /,
        *,
        bucket: str | Sequence[str] = (),
        source: str | None = None,
        extractor: str | Sequence[str | Mapping[str, Any]] = "image",
        inputs: Mapping[str, str] | None = None,
        passthrough: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Collection:
        """Create a collection without a label field, and extract the existing objects.

        Its objects come from one `bucket` or several, or from the collection `source`. `inputs`
        gives the property that an extractor reads ({"image": "photo"}) if objects have several;
        each of several extractors (["image", "text"]) has its own input. `passthrough` selects and
        names the metadata that documents copy from objects ({"brand": "maker.brand"}); by default
        all of it.

        Raises NotFound for an unknown bucket or extractor, Conflict when the name is taken.
        """
        buckets = (bucket,) if isinstance(bucket, str) else tuple(bucket)
        own, options = as_one(extractor, options)
        plan = CollectionPlan(name, buckets, source, own, options, inputs or {}, passthrough)
        with self._runtime.store.write() as txn:
            row = make_collection(self._runtime, txn, self._namespace, plan)
        collection = Collection(self._runtime, row)
        collection.extract()
        return collection

    @verb("admin")
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
        separator: str = ">",
        exclusive: str | None = None,
        low_quality: bool | None = None,
        hierarchical: bool | None = None,
        closed_set: bool | None = None,
        labels: Labels | None = None,
        op_id: str = "",
    ) -> None:
        """Add a label field with its policy to a collection.

        Another `separator`, such as "/", means that "Shoes/Running" is `Shoes > Running`. The other
        arguments are as in `labeler`; `run` can change its own later, but `exclusive` and
        `low_quality` are fixed. A repeated call with the same `op_id` changes nothing. Raises
        NotFound for an unknown collection, Conflict if the field exists.
        """
        row = self._row(collection)
        rule = RuleArguments(
            reference=reference,
            confidence_threshold=confidence_threshold,
            target_precision=target_precision,
            targets=targets,
            top_k=top_k,
            enrich=enrich,
            reference_field=reference_field,
            separator=separator,
            exclusive=exclusive,
            low_quality=low_quality,
            hierarchical=hierarchical,
        )
        taxonomy, label_set = taxonomy_of(row.name, field, rule), LabelSet.of(labels, closed_set)
        operations, actor = self._runtime.operations, self._runtime.actor
        arguments = (asdict(taxonomy), *([label_set.run_values()] if label_set.is_given else []))
        request = Request.of(op_id, row.pk, "create", *arguments)
        with suppress(Replayed), operations.operate(row.pk, "create", actor, request) as running:
            add_field(self._runtime, running, self._namespace, row, taxonomy, label_set)

    @verb("admin", route=False)
    def prepare_migration(
        self,
        *collections: str,
        extractor: str,
        options: Mapping[str, Any] | None = None,
        confidence_threshold: float | None = None,
        progress: Progress = quiet,
    ) -> Migration:
        """Extract collections with another extractor into a new space, and compare the decisions.

        The current labels and vectors do not change; `migrate` switches. `options` go to the
        extractor; by default those that it last had here. `confidence_threshold` is the new
        similarity threshold of fields with the policy `threshold`. If interrupted, the same call
        continues.

        Raises NotFound, BadInput for a collection of your own vectors, Conflict if the extractor is
        the current one, another process prepares the same, or `collections` lacks a collection that
        has the references of another, or that refers to it.
        """
        arguments = (collections, extractor, options, confidence_threshold, progress)
        return prepare(self._runtime, self._namespace, *arguments)

    @verb("admin", route=False)
    @idempotent
    def migrate(
        self,
        *collections: str,
        extractor: str,
        options: Mapping[str, Any] | None = None,
        confidence_threshold: float | None = None,
        op_id: str = "",
        progress: Progress = quiet,
    ) -> Changed:
        """Switch collections to another extractor, in one step, and decide all documents again.

        People's labels and answers stay. It first extracts what is not prepared yet; arguments and
        errors are those of `prepare_migration`. The old vectors are kept, so that migrating back
        extracts only newer objects; `drop_spaces` erases them.
        """
        arguments = (collections, extractor, options, confidence_threshold, progress)
        return migrated(self._runtime, self._namespace, *arguments, op_id=op_id)

    @verb("admin")
    def drop_spaces(self, *collections: str) -> DroppedSpaces:
        """Erase the vectors of collections in embedding spaces other than the current, for good."""
        return drop_standby(self._runtime, [self._row(name) for name in collections])

    @verb("admin", client=False)
    def remove_collection(self, *doomed: str) -> Removed:
        """Remove collections with documents, labels and history; bucket and objects stay.

        If interrupted, the same call continues. Raises NotFound, or Conflict while another
        collection refers to one of them: remove both together.
        """
        return remove_collections(self._runtime, [self._row(name).pk for name in doomed])

    @verb("admin", client=False)
    def remove_bucket(self, name: str, *, cascade: bool = False) -> Removed:
        """Remove a bucket with its objects, and with `cascade` the collections that use it.

        If interrupted, the same call continues. The user's own files stay. Raises NotFound, or
        Conflict while collections use it.
        """
        return remove_bucket(self._runtime, self._bucket(name), cascade=cascade)

    @verb("admin")
    def forget_objects(self, bucket: str, ids: Sequence[str], *, op_id: str = "") -> Receipt:
        """Erase objects of a bucket with their documents in every collection, for good.

        Also objects that failed or wait. The user's own files stay. A repeated call with the same
        `op_id` changes nothing; with an `op_id`, and so on a server, the limit is 5,000 objects.
        Raises NotFound.
        """
        try:
            return forget_objects(self._runtime, self._bucket(bucket), ids, op_id=op_id)
        except Replayed as done:
            return receipt_again(done)

    @verb("read", route=False)
    def collection(self, name: str) -> Collection:
        """Return a collection. Raises NotFound, listing the known ones."""
        return Collection(self._runtime, self._row(name))

    @verb("read")
    def collections(self) -> list[str]:
        """Return the names of all collections, sorted."""
        with self._runtime.store.read() as snapshot:
            return names(snapshot, self._namespace, Kind.COLLECTION)

    @verb("read")
    def buckets(self) -> list[str]:
        """Return the names of all buckets, sorted."""
        with self._runtime.store.read() as snapshot:
            return names(snapshot, self._namespace, Kind.BUCKET)

    # --- helpers --------------------------------------------------------------------------------

    def _row(self, name: str) -> CollectionRow:
        with self._runtime.store.read() as snapshot:
            return collection_from(named(snapshot, self._namespace, Kind.COLLECTION, name))

    def _make_bucket(self, txn: Txn, name: str, properties: Mapping[str, str]) -> None:
        spec = {"properties": dict(properties)}
        make(txn, self._namespace, Kind.BUCKET, name, spec, at=self._runtime.clock())

    def _bucket(self, name: str) -> int:
        with self._runtime.store.read() as snapshot:
            return int(named(snapshot, self._namespace, Kind.BUCKET, name).pk)

    def _found_or_created(
        self,
        name: str,
        extractor: str | Sequence[str | Mapping[str, Any]] | None,
        options: Mapping[str, Any],
        inputs: Mapping[str, str] | None,
        taxonomy: Taxonomy,
        label_set: LabelSet,
    ) -> CollectionRow:
        """Return a collection; create it over the bucket of its name if it does not exist.

        Raises Conflict for one with another extractor, BadInput for labels that cannot be declared.
        """
        with self._runtime.store.read() as snapshot:
            known = find(snapshot, self._namespace, Kind.COLLECTION, name)
        if known is not None:
            return check_same(known, extractor, options, inputs)
        with making(self._runtime, recorded=label_set.is_given) as begun:
            txn, _ = begun
            known = find(txn, self._namespace, Kind.COLLECTION, name)
            if known is not None:  # another process created it meanwhile
                return check_same(known, extractor, options, inputs)
            if find(txn, self._namespace, Kind.BUCKET, name) is None:
                self._make_bucket(txn, name, {})
            plan = CollectionPlan(
                name, (name,), None, *as_one(extractor or "image", options), inputs or {}
            )
            row = make_collection(self._runtime, txn, self._namespace, plan, [taxonomy.reference])
            make_fields(self._runtime, begun, self._namespace, row, [(taxonomy, label_set)])
            return row

    def _adopt_rule(
        self,
        collection: Collection,
        row: CollectionRow,
        field: str | None,
        rule: RuleArguments,
        label_set: LabelSet,
    ) -> None:
        """Give an existing field another policy, as a run; add the field if it does not exist.

        Raises Conflict for a setting that cannot change.
        """
        if field is not None and field not in collection.fields:
            self.add_taxonomy(collection.name, field, **asdict(rule), **label_set.run_values())
            return
        with self._runtime.store.read() as snapshot:
            fields = fields_of(snapshot, row.pk)
            now = next((one for one in fields if field in (None, one.name)), None)
            if now is None:
                return
            check_rule(row.name, now.taxonomy, rule)
            policy = {name: getattr(rule, name) for name in POLICY}
            same = rule_of(now.taxonomy, **policy) == now.taxonomy
            if same and not differs(snapshot, now, label_set):
                return
        collection.run(field=now.name, **policy, **label_set.run_values())


def _user() -> str:
    """Return the user's name; a process in a container may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
