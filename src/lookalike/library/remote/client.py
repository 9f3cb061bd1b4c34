"""`RemoteLibrary`: a store behind a server, with the verbs of `Library`. `connect` returns one."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lookalike.errors import LookalikeError
from lookalike.library.remote.calls import arguments, as_declared
from lookalike.library.remote.collection import RemoteCollection
from lookalike.library.remote.connection import Connection, place
from lookalike.library.remote.upload import WAIT_S
from lookalike.library.remote.verbs import LibraryVerbs
from lookalike.model import Changed, Progress, quiet

if TYPE_CHECKING:
    from lookalike.library.migration import Migration, MigrationProgress
    from lookalike.library.remove import Removed


def connect(
    url: str, key: str | None = None, *, namespace: str = "default", patience_s: float = 30.0
) -> RemoteLibrary:
    """Connect to a server; use the result like the library that `lookalike.open` returns.

    `key` is an API key of `lookalike keys create`; a server on loopback may need none. A key for
    one namespace implies it. If no answer comes (the server is busy or restarts, or the network
    fails), a request is repeated for `patience_s` seconds; the server executes it once.

    Raises Unreachable if no server answers, Unauthorized, and BadSetting for an invalid address.
    """
    connection = Connection(url, key, namespace, patience_s)
    try:
        connection.greet()
    except LookalikeError:
        connection.close()
        raise
    return RemoteLibrary(connection)


class RemoteLibrary(LibraryVerbs):
    """A store behind a server. Close it, or use it in a `with` block; it is thread-safe.

    It has no access to the store's path, settings and API keys.
    """

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
        """Close the connection; the server keeps running."""
        self._connection.close()

    @as_declared(LibraryVerbs.labeler)
    def labeler(self, name: str, /, source: Any = None, **asked: Any) -> RemoteCollection:
        """Create or return a collection that is labelled automatically, as `Library.labeler`."""
        given = arguments(LibraryVerbs.labeler, self, name, **asked)
        collection = RemoteCollection(self._connection, self._ask("labeler", str, given))
        if source is not None:
            collection.add(source)
        return collection

    def create_bucket(self, name: str, properties: Mapping[str, str] | None = None) -> None:
        """Create a bucket; `properties` gives the type of each field of its objects."""
        self._ask("create_bucket", str, {"name": name, "properties": properties or {}})

    @as_declared(LibraryVerbs.create_collection)
    def create_collection(self, name: str, /, **asked: Any) -> RemoteCollection:
        """Create a collection without a label field, and extract the existing objects."""
        given = arguments(LibraryVerbs.create_collection, self, name, **asked)
        collection = RemoteCollection(self._connection, self._ask("create_collection", str, given))
        collection.extract()
        return collection

    @as_declared(LibraryVerbs.prepare_migration)
    def prepare_migration(
        self, *collections: str, progress: Progress = quiet, **asked: Any
    ) -> Migration:
        """Extract collections with another extractor into a new space, and compare the decisions.

        The server's worker does it, and continues even if the client stops waiting.
        """
        given = arguments(LibraryVerbs.prepare_migration, self, *collections, **asked)
        done = self._followed("prepare_migration", given, progress).migration
        assert done is not None, "a preparation ends with a comparison"
        return done

    @as_declared(LibraryVerbs.migrate)
    def migrate(self, *collections: str, progress: Progress = quiet, **asked: Any) -> Changed:
        """Switch collections to another extractor, in one step, and decide all documents again."""
        given = arguments(LibraryVerbs.migrate, self, *collections, **asked)
        done = self._followed("migrate", given, progress).changed
        assert done is not None, "a migration ends with what it changed"
        return done

    def remove_collection(self, *doomed: str) -> Removed:
        """Remove collections with documents, labels and history; bucket and objects stay.

        If the answer was lost, the result has only the names.
        """
        from lookalike.library.remove import Removed

        def gone() -> Removed | None:
            left = set(self.collections()) & set(doomed)
            return None if left else Removed(collections=tuple(doomed))

        path, body = self._place("remove_collection"), {"doomed": doomed}
        return self._connection.ask(path, Removed, body, once_gone=gone)

    def remove_bucket(self, name: str, *, cascade: bool = False) -> Removed:
        """Remove a bucket with its objects, and with `cascade` the collections that use it.

        If the answer was lost, the result has only the name.
        """
        from lookalike.library.remove import Removed

        def gone() -> Removed | None:
            return None if name in self.buckets() else Removed(buckets=(name,))

        path, body = self._place("remove_bucket"), {"name": name, "cascade": cascade}
        return self._connection.ask(path, Removed, body, once_gone=gone)

    def collection(self, name: str) -> RemoteCollection:
        """Return a collection. Raises NotFound, listing the known ones."""
        path = place("collections", name, "verbs", "name")
        return RemoteCollection(self._connection, self._connection.ask(path, str, {}))

    # --- helpers --------------------------------------------------------------------------------

    def _place(self, verb: str) -> str:
        return place("verbs", verb)

    def _followed(
        self, verb: str, asked: Mapping[str, Any], progress: Progress
    ) -> MigrationProgress:
        """Start a migration task on the server, and wait for its result."""
        from lookalike.library.migration import MigrationProgress

        task, total = self._ask(verb, str, asked), 0
        path = self._place("migration") + f"?wait={WAIT_S}"
        while True:
            found = self._connection.ask(path, MigrationProgress, {"task_id": task})
            if found.migration is not None or found.changed is not None:
                return found
            total = max(total, found.left)
            progress(total - found.left, total)
