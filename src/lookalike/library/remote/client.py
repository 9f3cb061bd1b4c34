"""The door to a server: its buckets and collections, with the verbs that a library has."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lookalike.errors import LookalikeError
from lookalike.library.remote.calls import as_declared, said
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


class RemoteLibrary(LibraryVerbs):
    """A store behind a server. Close it, or use it in a `with` block; threads may share it.

    What belongs to the machine of the store stays there: its path, its settings, its keys.
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
        """End the connection; the server goes on."""
        self._connection.close()

    @as_declared(LibraryVerbs.labeler)
    def labeler(self, name: str, /, source: Any = None, **asked: Any) -> RemoteCollection:
        """Return a collection that labels itself, made in one call, as `Library.labeler` does."""
        made = self._ask("labeler", str, said(LibraryVerbs.labeler, self, name, **asked))
        collection = RemoteCollection(self._connection, made)
        if source is not None:
            collection.add(source)
        return collection

    def create_bucket(self, name: str, properties: Mapping[str, str] | None = None) -> None:
        """Make a bucket; `properties` gives the type of each field of its objects."""
        self._ask("create_bucket", str, {"name": name, "properties": properties or {}})

    @as_declared(LibraryVerbs.create_collection)
    def create_collection(self, name: str, /, **asked: Any) -> RemoteCollection:
        """Make a collection without a label field; it extracts what is there."""
        given = said(LibraryVerbs.create_collection, self, name, **asked)
        collection = RemoteCollection(self._connection, self._ask("create_collection", str, given))
        collection.extract()
        return collection

    @as_declared(LibraryVerbs.prepare_migration)
    def prepare_migration(
        self, *collections: str, progress: Progress = quiet, **asked: Any
    ) -> Migration:
        """Extract collections with another extractor, beside what is in force, and compare.

        The server's worker does it, and goes on with it whoever waits.
        """
        given = said(LibraryVerbs.prepare_migration, self, *collections, **asked)
        done = self._followed("prepare_migration", given, progress).migration
        assert done is not None, "a preparation ends with a comparison"
        return done

    @as_declared(LibraryVerbs.migrate)
    def migrate(self, *collections: str, progress: Progress = quiet, **asked: Any) -> Changed:
        """Change collections to another extractor, in one step, and decide everything again."""
        given = said(LibraryVerbs.migrate, self, *collections, **asked)
        done = self._followed("migrate", given, progress).changed
        assert done is not None, "a migration ends with what it changed"
        return done

    def remove_collection(self, *doomed: str) -> Removed:
        """Remove collections with documents, labels and history; bucket and objects stay.

        Where the answer was lost, only the names are told.
        """
        from lookalike.library.remove import Removed

        def gone() -> Removed | None:
            left = set(self.collections()) & set(doomed)
            return None if left else Removed(collections=tuple(doomed))

        path, body = self._place("remove_collection"), {"doomed": doomed}
        return self._connection.ask(path, Removed, body, once_gone=gone)

    def remove_bucket(self, name: str, *, cascade: bool = False) -> Removed:
        """Remove a bucket with its objects, and with `cascade` the collections drawing on it.

        Where the answer was lost, only the name is told.
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

    # --- inside ---------------------------------------------------------------------------------

    def _place(self, verb: str) -> str:
        return place("verbs", verb)

    def _followed(
        self, verb: str, asked: Mapping[str, Any], progress: Progress
    ) -> MigrationProgress:
        """Ask for a migration, and wait for what comes of it."""
        from lookalike.library.migration import MigrationProgress

        task, total = self._ask(verb, str, asked), 0
        path = self._place("migration") + f"?wait={WAIT_S}"
        while True:
            found = self._connection.ask(path, MigrationProgress, {"task_id": task})
            if found.migration is not None or found.changed is not None:
                return found
            total = max(total, found.left)
            progress(total - found.left, total)
