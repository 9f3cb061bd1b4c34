"""The door: a store with its buckets and collections."""

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
from lookalike.library.migration import DroppedSpaces, Migration, dropped, migrated, prepared
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
    """Open a store, made when it is not there (default: LOOKALIKE_STORE).

    It is a directory, or a database: "postgresql://USER:PASSWORD@HOST/NAME". `actor` is recorded
    with everything that is said (default: LOOKALIKE_ACTOR, else the user).

    Raises NotAStore, StoreTooNew, StoreUnwritable or StoreCorrupt, for a database StoreUnreachable
    or StoreTooOld as well, each with its cure.
    """
    place = StoreAddress(settings.store) if settings and store is None else place_of(store)
    if settings is None:
        settings = place.settings(os.environ)
    actor = actor or settings.actor or _user()
    runtime = Runtime(place.open(settings, os.environ), settings, actor, clock)
    return Library(runtime, namespace or settings.namespace)


def place_of(store: str | Path | None = None) -> StoreAddress:
    """Return where a store is, or would be made (default: LOOKALIKE_STORE)."""
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
        """Return what contradicts itself in the store; empty when it is sound."""
        return self._runtime.store.check()

    def access(self) -> Access:
        """Return the keys that a server over this store asks for."""
        return Access(self._runtime.store, self._runtime.settings, self._runtime.clock)

    @property
    def runtime(self) -> Runtime:
        """Return the open store with the parts around it, for the server and workers."""
        return self._runtime

    @property
    def workshop(self) -> Runtime:
        """Return `runtime`, under its name of the first edition."""
        warnings.warn("Library.workshop is now Library.runtime", DeprecationWarning, stacklevel=2)
        return self._runtime

    @property
    def settings(self) -> Settings:
        """Return the settings in force."""
        return self._runtime.settings

    @property
    def path(self) -> Path:
        """Return the store's directory; of a database, that of what is derived from it."""
        return self._runtime.root

    @property
    def place(self) -> str:
        """Return where the store is, without a password."""
        return self._runtime.place

    @verb("read")
    def engine_version(self) -> str:
        """Return the version of the database engine."""
        return self._runtime.store.engine_version()

    @verb("read")
    def spaces(self) -> dict[str, str]:
        """Return the space of each collection that has documents, by the collection's name."""
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
        """Return a collection that labels itself, made in one call: bucket, collection, taxonomy.

        Without `reference` its own labels vote (unified); with it those of that collection
        (separate). A `confidence_threshold` makes the policy the known rule; otherwise the limit is
        computed for `target_precision` (0.95), or a label's own in `targets`. `enrich` names
        metadata fields that are copied from the matched reference. With `exclusive` "image" each
        label goes to one document of an image at most; `low_quality` decides what was seen badly,
        too. Where labels are paths, their parents are given, too, unless `hierarchical` is False.
        `extractor` is "image", `field` "label" unless told; other options are the extractor's.
        Several (["image", {"extractor": "text", "model": …}]) give one decision, by weights that
        the references teach; `inputs` may say which property each reads ({"text": "description"}).
        `labels` (names, or each with its description) are there before anyone gives them;
        `closed_set` says that there are no others.

        Called again it returns the same collection; another policy is then a recorded `run`, and a
        field that it does not have is added. Raises Conflict for another extractor or reference.
        """
        chosen = (reference, confidence_threshold, target_precision, top_k, enrich, None, targets)
        rule = RuleArguments(*chosen, ">", exclusive, low_quality, hierarchical)
        taxonomy, said = taxonomy_of(name, field or "label", rule), LabelSet.of(labels, closed_set)
        row = self._there_or_made(name, extractor, options, inputs, taxonomy, said)
        collection = Collection(self._runtime, row)
        self._adopt_rule(collection, row, field, rule, said)
        if source is not None:
            collection.add(source)
        return collection

    @verb("admin", route=False)
    def create_bucket(self, name: str, properties: Mapping[str, str] | None = None) -> None:
        """Make a bucket; `properties` gives the type of each field of its objects.

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
        """Make a collection without a label field; it extracts what is there.

        It draws on a `bucket` or several, or on what the collection `source` has extracted.
        `inputs` names the property that is the extractor's input ({"image": "photo"}), where an
        object has several; several extractors (["image", "text"]) have an input each.
        `passthrough` says what documents keep of an object's metadata, by their own names
        ({"brand": "maker.brand"}); all of them, unless told.

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
        """Give a collection one more label field, with the rule that labels it.

        With another `separator`, "/" for one, "Shoes/Running" is said for `Shoes > Running`.
        The rest is as in `labeler`; `exclusive` and `low_quality` cannot change later, what `run`
        takes can.
        What was given an `op_id` is done once, however often it is asked for. Raises NotFound for
        an unknown collection, Conflict when the field is there.
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
        taxonomy, said = taxonomy_of(row.name, field, rule), LabelSet.of(labels, closed_set)
        operations, actor = self._runtime.operations, self._runtime.actor
        asked = (asdict(taxonomy), *([said.run_values()] if said.is_given else []))
        request = Request.of(op_id, row.pk, "create", *asked)
        with suppress(Replayed), operations.operate(row.pk, "create", actor, request) as running:
            add_field(self._runtime, running, self._namespace, row, taxonomy, said)

    @verb("admin", route=False)
    def prepare_migration(
        self,
        *collections: str,
        extractor: str,
        options: Mapping[str, Any] | None = None,
        confidence_threshold: float | None = None,
        progress: Progress = quiet,
    ) -> Migration:
        """Extract collections with another extractor, beside what is in force, and compare.

        Nothing that anyone sees changes; `migrate` does it. `options` go to the extractor; left
        out, they are those that it had here before, if it had. `confidence_threshold` is the limit
        there, for fields that decide by one. Interrupted, the same call goes on.

        Raises NotFound, BadInput where the vectors are your own, Conflict where the extractor is in
        force, where another process does the same, or where a collection that decides by the labels
        of another was not named with it.
        """
        asked = (collections, extractor, options, confidence_threshold, progress)
        return prepared(self._runtime, self._namespace, *asked)

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
        """Change collections to another extractor, in one step, and decide everything again.

        What people said stays as it is. Everything else is as `prepare_migration` tells; what is
        not extracted yet is extracted first. The space that was in force is kept beside, so that
        migrating back extracts only what came since; `drop_spaces` erases it.
        """
        asked = (collections, extractor, options, confidence_threshold, progress)
        return migrated(self._runtime, self._namespace, *asked, op_id=op_id)

    @verb("admin")
    def drop_spaces(self, *collections: str) -> DroppedSpaces:
        """Erase the vectors of collections in the spaces that are not in force, for good."""
        return dropped(self._runtime, [self._row(name) for name in collections])

    @verb("admin", client=False)
    def remove_collection(self, *doomed: str) -> Removed:
        """Remove collections with documents, labels and history; bucket and objects stay.

        Interrupted, the same call goes on. Raises NotFound, or Conflict while another collection
        refers to one of them: remove both together.
        """
        return remove_collections(self._runtime, [self._row(name).pk for name in doomed])

    @verb("admin", client=False)
    def remove_bucket(self, name: str, *, cascade: bool = False) -> Removed:
        """Remove a bucket with its objects, and with `cascade` the collections drawing on it.

        Interrupted, the same call goes on. The user's own files stay. Raises NotFound, or Conflict
        while collections draw on it.
        """
        return remove_bucket(self._runtime, self._bucket(name), cascade=cascade)

    @verb("admin")
    def forget_objects(self, bucket: str, ids: Sequence[str], *, op_id: str = "") -> Receipt:
        """Erase objects of a bucket with their documents in every collection, for good.

        Also those that failed or wait. The user's own files stay. What was given an `op_id` is done
        once, however often it is asked for, and has up to 5,000 objects; a server always gives one.
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

    # --- inside ---------------------------------------------------------------------------------

    def _row(self, name: str) -> CollectionRow:
        with self._runtime.store.read() as snapshot:
            return collection_from(named(snapshot, self._namespace, Kind.COLLECTION, name))

    def _make_bucket(self, txn: Txn, name: str, properties: Mapping[str, str]) -> None:
        spec = {"properties": dict(properties)}
        make(txn, self._namespace, Kind.BUCKET, name, spec, at=self._runtime.clock())

    def _bucket(self, name: str) -> int:
        with self._runtime.store.read() as snapshot:
            return int(named(snapshot, self._namespace, Kind.BUCKET, name).pk)

    def _there_or_made(
        self,
        name: str,
        extractor: str | Sequence[str | Mapping[str, Any]] | None,
        options: Mapping[str, Any],
        inputs: Mapping[str, str] | None,
        taxonomy: Taxonomy,
        said: LabelSet,
    ) -> CollectionRow:
        """Return a collection, made over the bucket of its name if it is not there.

        Raises Conflict for one with another extractor, BadInput for labels that cannot be declared.
        """
        with self._runtime.store.read() as snapshot:
            known = find(snapshot, self._namespace, Kind.COLLECTION, name)
        if known is not None:
            return check_same(known, extractor, options, inputs)
        with making(self._runtime, recorded=said.is_given) as begun:
            txn, _ = begun
            known = find(txn, self._namespace, Kind.COLLECTION, name)
            if known is not None:  # another process was quicker
                return check_same(known, extractor, options, inputs)
            if find(txn, self._namespace, Kind.BUCKET, name) is None:
                self._make_bucket(txn, name, {})
            plan = CollectionPlan(
                name, (name,), None, *as_one(extractor or "image", options), inputs or {}
            )
            row = make_collection(self._runtime, txn, self._namespace, plan, [taxonomy.reference])
            make_fields(self._runtime, begun, self._namespace, row, [(taxonomy, said)])
            return row

    def _adopt_rule(
        self,
        collection: Collection,
        row: CollectionRow,
        field: str | None,
        rule: RuleArguments,
        said: LabelSet,
    ) -> None:
        """Let a field that is there follow another policy, as a run; make it if it is not there.

        Raises Conflict for what cannot change.
        """
        if field is not None and field not in collection.fields:
            self.add_taxonomy(collection.name, field, **asdict(rule), **said.run_values())
            return
        with self._runtime.store.read() as snapshot:
            fields = fields_of(snapshot, row.pk)
            now = next((one for one in fields if field in (None, one.name)), None)
            if now is None:
                return
            check_rule(row.name, now.taxonomy, rule)
            policy = {name: getattr(rule, name) for name in POLICY}
            same = rule_of(now.taxonomy, **policy) == now.taxonomy
            if same and not differs(snapshot, now, said):
                return
        collection.run(field=now.name, **policy, **said.run_values())


def _user() -> str:
    """Return the user's name; a process in a container may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
