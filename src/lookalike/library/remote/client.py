"""The door to a server: its buckets and collections, with the verbs that a library has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from lookalike.errors import LookalikeError
from lookalike.library.remote.connection import Connection, place
from lookalike.library.remote.remote_collection import RemoteCollection
from lookalike.library.remote.remote_opened import label_values
from lookalike.library.remote.upload import WAIT_S
from lookalike.model import Changed, Progress, quiet

if TYPE_CHECKING:
    from lookalike.catalog.vocabulary import Labels
    from lookalike.library.forget import Receipt
    from lookalike.library.migration import DroppedSpaces, Migration, MigrationProgress
    from lookalike.library.remove import Removed

_T = TypeVar("_T")


def connect(
    url: str, key: str | None = None, *, namespace: str = "default", patience_s: float = 30.0
) -> RemoteLibrary:
    """Connect to a server, to be used as the library that `lookalike.open` gives.

    `key` is one of `lookalike keys create`; on loopback a server may need none. A key that is for
    one namespace means that one. What is not answered, because the server is busy, is started
    again or is lost on the way, is asked again for `patience_s` seconds, and done once.

    Raises Unreachable where no server answers, Unauthorized, and BadSetting for no address.
    """
    connection = Connection(url, key, namespace, patience_s)
    try:
        connection.greet()
    except LookalikeError:
        connection.close()
        raise
    return RemoteLibrary(connection)


class RemoteLibrary:
    """A store behind a server. Close it, or use it in a `with` block; threads may share it.

    What belongs to the machine of the store stays there: its path, its settings, its keys.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

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
        """End the connection; the server goes on."""
        self._connection.close()

    def check(self) -> list[str]:
        """Return what contradicts itself in the store; empty when it is sound."""
        return self._ask("check", list[str])

    def engine_version(self) -> str:
        """Return the version of the database engine."""
        return self._ask("engine_version", str)

    def spaces(self) -> dict[str, str]:
        """Return the space of each collection that has documents, by the collection's name."""
        return self._ask("spaces", dict[str, str])

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
    ) -> RemoteCollection:
        """Return a collection that labels itself, made in one call, as `Library.labeler` does."""
        made = self._ask(
            "labeler",
            str,
            name=name,
            extractor=extractor,
            inputs=inputs,
            field=field,
            reference=reference,
            confidence_threshold=confidence_threshold,
            target_precision=target_precision,
            targets=targets,
            top_k=top_k,
            enrich=enrich,
            exclusive=exclusive,
            low_quality=low_quality,
            hierarchical=hierarchical,
            **label_values(closed_set, labels),
            options=options,
        )
        collection = RemoteCollection(self._connection, made)
        if source is not None:
            collection.add(source)
        return collection

    def create_bucket(self, name: str, properties: Mapping[str, str] | None = None) -> None:
        """Make a bucket; `properties` gives the type of each field of its objects."""
        self._ask("create_bucket", str, name=name, properties=properties or {})

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
    ) -> RemoteCollection:
        """Make a collection without a label field; it extracts what is there."""
        made = self._ask(
            "create_collection",
            str,
            name=name,
            bucket=bucket,
            source=source,
            extractor=extractor,
            inputs=inputs or {},
            passthrough=passthrough,
            options=options,
        )
        collection = RemoteCollection(self._connection, made)
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
        separator: str = ">",
        exclusive: str | None = None,
        low_quality: bool | None = None,
        hierarchical: bool | None = None,
        closed_set: bool | None = None,
        labels: Labels | None = None,
        op_id: str = "",
    ) -> None:
        """Give a collection one more label field, with the rule that labels it."""
        self._ask(
            "add_taxonomy",
            type(None),
            collection=collection,
            field=field,
            reference=reference,
            reference_field=reference_field,
            confidence_threshold=confidence_threshold,
            target_precision=target_precision,
            targets=targets,
            top_k=top_k,
            enrich=enrich,
            separator=separator,
            exclusive=exclusive,
            low_quality=low_quality,
            hierarchical=hierarchical,
            **label_values(closed_set, labels),
            op_id=op_id,
        )

    def prepare_migration(
        self,
        *collections: str,
        extractor: str,
        options: Mapping[str, Any] | None = None,
        confidence_threshold: float | None = None,
        progress: Progress = quiet,
    ) -> Migration:
        """Extract collections with another extractor, beside what is in force, and compare.

        The server's worker does it, and goes on with it whoever waits.
        """
        given = {"collections": list(collections), "extractor": extractor, "options": options}
        asked = given | {"confidence_threshold": confidence_threshold}
        done = self._followed("prepare_migration", asked, progress).migration
        assert done is not None, "a preparation ends with a comparison"
        return done

    def migrate(
        self,
        *collections: str,
        extractor: str,
        options: Mapping[str, Any] | None = None,
        confidence_threshold: float | None = None,
        op_id: str = "",
        progress: Progress = quiet,
    ) -> Changed:
        """Change collections to another extractor, in one step, and decide everything again."""
        given = {"collections": list(collections), "extractor": extractor, "options": options}
        asked = given | {"confidence_threshold": confidence_threshold, "op_id": op_id}
        done = self._followed("migrate", asked, progress).changed
        assert done is not None, "a migration ends with what it changed"
        return done

    def drop_spaces(self, *collections: str) -> DroppedSpaces:
        """Erase the vectors of collections in the spaces that are not in force, for good."""
        from lookalike.library.migration import DroppedSpaces

        return self._ask("drop_spaces", DroppedSpaces, collections=list(collections))

    def remove_collection(self, *doomed: str) -> Removed:
        """Remove collections with documents, labels and history; bucket and objects stay.

        Where the answer was lost, only the names are told.
        """
        from lookalike.library.remove import Removed

        def gone() -> Removed | None:
            left = set(self.collections()) & set(doomed)
            return None if left else Removed(collections=tuple(doomed))

        path, body = place("verbs", "remove_collection"), {"doomed": list(doomed)}
        return self._connection.ask(path, Removed, body, once_gone=gone)

    def remove_bucket(self, name: str, *, cascade: bool = False) -> Removed:
        """Remove a bucket with its objects, and with `cascade` the collections drawing on it.

        Where the answer was lost, only the name is told.
        """
        from lookalike.library.remove import Removed

        def gone() -> Removed | None:
            return None if name in self.buckets() else Removed(buckets=(name,))

        path, body = place("verbs", "remove_bucket"), {"name": name, "cascade": cascade}
        return self._connection.ask(path, Removed, body, once_gone=gone)

    def forget_objects(self, bucket: str, ids: Sequence[str], *, op_id: str = "") -> Receipt:
        """Erase up to 5,000 objects of a bucket with their documents everywhere, for good."""
        from lookalike.library.forget import Receipt

        return self._ask("forget_objects", Receipt, bucket=bucket, ids=list(ids), op_id=op_id)

    def collection(self, name: str) -> RemoteCollection:
        """Return a collection. Raises NotFound, listing the known ones."""
        path = place("collections", name, "verbs", "name")
        return RemoteCollection(self._connection, self._connection.ask(path, str, {}))

    def collections(self) -> list[str]:
        """Return the names of all collections, sorted."""
        return self._ask("collections", list[str])

    def buckets(self) -> list[str]:
        """Return the names of all buckets, sorted."""
        return self._ask("buckets", list[str])

    # --- inside ---------------------------------------------------------------------------------

    def _followed(
        self, verb: str, asked: Mapping[str, Any], progress: Progress
    ) -> MigrationProgress:
        """Ask for a migration, and wait for what comes of it."""
        from lookalike.library.migration import MigrationProgress

        task, total = self._ask(verb, str, **asked), 0
        path = place("verbs", "migration") + f"?wait={WAIT_S}"
        while True:
            found = self._connection.ask(path, MigrationProgress, {"task_id": task})
            if found.migration is not None or found.changed is not None:
                return found
            total = max(total, found.left)
            progress(total - found.left, total)

    def _ask(self, verb: str, reply: type[_T], **said: Any) -> _T:
        return self._connection.ask(place("verbs", verb), reply, said)
