"""Backup of an embedded store, byte by byte, while others read and write it.

1. Copy what never changes once written: vectors, and stored files by their digest.
2. Pause writers, begin a snapshot of the database, and copy what was added since.
3. Copy the database from the snapshot. Remove from the copy what the database does not name, so
   that nothing erased in between stays in it.
4. Read and check the copy; then give it its final name.

The store is not migrated, so a backup can be made before an upgrade.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from sqlalchemy import URL, Connection, Table, create_engine, func, inspect, select

from lookalike.content.files import atomic_directory
from lookalike.errors import NotAStore, StoreCorrupt, StoreUnwritable
from lookalike.stores import schema
from lookalike.stores.base import StoredSpace
from lookalike.stores.directory import open_lock
from lookalike.stores.migrations import check_version, version_of
from lookalike.stores.sqlite.engine import driver, open_engine, translated
from lookalike.stores.sqlite.maintenance import problems_of, spaces_of
from lookalike.stores.sqlite.snapshot import SqliteSnapshot
from lookalike.stores.vectors import VectorFile

_DATABASE = "lookalike.db"
_CHUNK_BYTES = 8 * 2**20
_PAGES = 4096
_ROWS = 5000
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SPARE_BYTES = 64 * 2**20
"""The minimum free space to leave on the disk for other programs."""


@dataclass(frozen=True, slots=True)
class Backup:
    """The result of a backup: rows, vectors, and files.

    `shared` files are hard links to an earlier backup. `missing` are files that the store names but
    that do not exist or are damaged; `elsewhere` counts files outside the directory, where a
    setting stores them.
    """

    source: str
    target: str
    documents: int
    events: int
    vectors: int
    files: int
    shared: int
    size_bytes: int
    missing: tuple[str, ...] = field(default=())
    elsewhere: int = 0


def copy_bytes(
    source: Path, target: Path, *, earlier: Path | None, progress: Callable[[int, int], None]
) -> Backup:
    """Copy the store in one directory to another, new or empty one. All paths are absolute.

    Files that the `earlier` backup has are shared with it, not copied. `progress` gets bytes.
    """
    with atomic_directory(target, last=_DATABASE) as draft:
        copying = _Copying(source, draft, earlier, progress)
        return copying.run(target)


class _Copying:
    def __init__(
        self,
        source: Path,
        draft: Path,
        earlier: Path | None,
        progress: Callable[[int, int], None],
    ) -> None:
        self._source, self._draft, self._earlier = source, draft, earlier
        self._progress = progress
        self._done = self._total = 0
        self._files: dict[bytes, int] = {}  # sizes, by digest
        self._shared: set[bytes] = set()
        self._damaged: set[bytes] = set()
        self._vectors: dict[str, Any] = {}  # digests of what was read, by file
        self._engine = open_engine(source / _DATABASE)

    def run(self, target: Path) -> Backup:
        try:
            for folder in ("vectors", "blobs"):
                (self._draft / folder).mkdir()
            with translated(self._source):
                with self._snapshot() as snapshot:
                    self._check_disk_space(snapshot)
                    spaces = spaces_of(snapshot)
                self._copy_vectors(spaces)
                self._copy_files()
                with self._writers_paused() as snapshot:
                    self._copy_database(snapshot.connection)
        finally:
            self._engine.dispose()
        settings = self._source / "lookalike.toml"
        if settings.exists():
            shutil.copy2(settings, self._draft)
        with translated(target), self._copy() as copy:
            self._compare_vectors(target)
            self._erase_unused_vectors(copy)
            missing = self._delete_unused_files(copy)
            problem = next(problems_of(copy), None)
            if problem:
                raise _damaged_copy(target, problem)
            return self._result(copy, target, missing)

    # --- copying --------------------------------------------------------------------------------

    @contextmanager
    def _snapshot(self) -> Iterator[SqliteSnapshot]:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT 1 FROM sqlite_schema"
            )  # BEGIN alone starts no snapshot
            version = version_of(connection)
            check_version(version)
            if not version:
                raise NotAStore(f"another process is creating {self._source}; try again later")
            yield SqliteSnapshot(connection, self._vector_file)

    @contextmanager
    def _writers_paused(self) -> Iterator[SqliteSnapshot]:
        """Begin a snapshot for which all vectors and files are copied; nobody writes meanwhile."""
        lock = open_lock(self._source)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self._snapshot() as snapshot:
                self._copy_vectors(spaces_of(snapshot))
                self._copy_files()
                fcntl.flock(lock, fcntl.LOCK_UN)
                yield snapshot
        finally:
            os.close(lock)

    def _check_disk_space(self, snapshot: SqliteSnapshot) -> None:
        vectors = sum(2 * space.dimension * slots for space, slots in spaces_of(snapshot))
        pages = snapshot.connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
        size = snapshot.connection.exec_driver_sql("PRAGMA page_size").scalar() or 0
        files = sum(
            entry.stat().st_size
            for _, entry in _stored_files(self._source / "blobs")
            if self._shareable(entry) is None
        )
        self._total = vectors + files + int(pages) * int(size)
        free = shutil.disk_usage(self._draft).free
        if free < self._total + _SPARE_BYTES:
            raise StoreUnwritable(
                f"the backup needs {self._total / 1e9:.2f} GB, and {self._draft.parent} has "
                f"{free / 1e9:.2f} GB free: free some space or choose another disk"
            )

    def _copy_vectors(self, spaces: Sequence[tuple[StoredSpace, int]]) -> None:
        """Copy the vectors of all slots given so far."""
        for space, slots in spaces:
            name = _name(space)
            source, end = self._source / "vectors" / name, 2 * space.dimension * slots
            if not end or not source.exists():
                continue
            digest = self._vectors.setdefault(name, hashlib.sha256())
            copy = self._draft / "vectors" / name
            with source.open("rb") as read_from, copy.open("ab") as write_to:
                read_from.seek(write_to.tell())
                while left := end - write_to.tell():
                    chunk = read_from.read(min(left, _CHUNK_BYTES))
                    if not chunk:
                        break
                    write_to.write(chunk)
                    digest.update(chunk)
                    self._step(len(chunk))

    def _copy_files(self) -> None:
        """Copy the stored files that were added since the last call."""
        for digest, entry in _stored_files(self._source / "blobs"):
            if digest in self._files or digest in self._damaged:
                continue
            target = self._draft / "blobs" / entry.path[-65:]
            with suppress(FileNotFoundError):  # another process has just erased it
                self._copy_file(digest, entry, target)

    def _copy_file(self, digest: bytes, entry: os.DirEntry[str], target: Path) -> None:
        size = entry.stat().st_size
        target.parent.mkdir(exist_ok=True)
        earlier = self._shareable(entry)
        if earlier is not None and _hard_link(earlier, target):
            self._shared.add(digest)
            self._files[digest] = size
            return
        shutil.copyfile(entry.path, target)
        self._step(size)
        with target.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
        if found == digest:
            self._files[digest] = size
        else:
            target.unlink()
            self._damaged.add(digest)

    def _shareable(self, entry: os.DirEntry[str]) -> Path | None:
        """Return the earlier copy of a file, or None."""
        if self._earlier is None:
            return None
        path = self._earlier / "blobs" / entry.path[-65:]
        with suppress(FileNotFoundError):
            return path if path.stat().st_size == entry.stat().st_size else None
        return None

    def _copy_database(self, connection: Connection) -> None:
        source: Any = connection.connection.driver_connection
        page = int(connection.exec_driver_sql("PRAGMA page_size").scalar() or 0)
        before = None

        def count_pages(_status: int, left: int, _all: int) -> None:
            nonlocal before
            self._step(0 if before is None else (before - left) * page)
            before = left

        with closing(driver().connect(str(self._draft / f"{_DATABASE}.part"))) as target:
            target.execute("PRAGMA synchronous=OFF")  # all files are synced at the end
            source.backup(target, pages=_PAGES, progress=count_pages, sleep=0)

    # --- checking the copy ----------------------------------------------------------------------

    @contextmanager
    def _copy(self) -> Iterator[SqliteSnapshot]:
        path = quote(str(self._draft / f"{_DATABASE}.part"))
        no_log_or_locks = {"mode": "ro", "immutable": "1", "uri": "true"}
        url = URL.create("sqlite", database=f"file:{path}", query=no_log_or_locks)
        engine = create_engine(url, module=driver())
        try:
            with engine.connect() as connection:
                yield SqliteSnapshot(connection, self._vector_file)
        finally:
            engine.dispose()

    def _vector_file(self, space: StoredSpace) -> VectorFile:
        return VectorFile(self._draft / "vectors" / _name(space), self._draft, space.dimension)

    def _compare_vectors(self, target: Path) -> None:
        for name, digest in self._vectors.items():
            with (self._draft / "vectors" / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").digest()
            if found != digest.digest():
                raise _damaged_copy(target, f"{name} is not what was written")

    def _erase_unused_vectors(self, copy: SqliteSnapshot) -> None:
        """Overwrite vectors without a document; delete files without a space."""
        spaces = spaces_of(copy)
        for name in self._vectors.keys() - {_name(space) for space, _ in spaces}:
            (self._draft / "vectors" / name).unlink()
        for space, count in spaces:
            path = self._draft / "vectors" / _name(space)
            if not path.exists():
                continue
            used, _ = copy.slots(space)
            size = 2 * space.dimension
            stored = np.arange(min(count, path.stat().st_size // size))
            with path.open("r+b", buffering=0) as file:
                for slot in np.setdiff1d(stored, used, assume_unique=True).tolist():
                    os.pwrite(file.fileno(), bytes(size), slot * size)

    def _delete_unused_files(self, copy: SqliteSnapshot) -> tuple[str, ...]:
        """Delete files that the database does not name; return named ones that are missing."""
        named = set(_named(copy.connection))
        for digest in self._files.keys() - named:
            text = digest.hex()
            (self._draft / "blobs" / text[:2] / text[2:]).unlink()
            del self._files[digest]
        return tuple(sorted(f"blob:{one.hex()}" for one in named - self._files.keys()))

    def _result(self, copy: SqliteSnapshot, target: Path, missing: tuple[str, ...]) -> Backup:
        def count(table: Table) -> int:
            return int(copy.rows(select(func.count().label("n")).select_from(table))[0].n)

        written = [*(self._draft / "vectors").iterdir(), self._draft / f"{_DATABASE}.part"]
        return Backup(
            str(self._source),
            str(target),
            documents=count(schema.document),
            events=count(schema.event),
            vectors=count(schema.embedding),
            files=len(self._files),
            shared=len(self._shared & self._files.keys()),
            size_bytes=sum(path.stat().st_size for path in written) + sum(self._files.values()),
            missing=missing,
        )

    def _step(self, count: int) -> None:
        self._done += count
        self._total = max(self._total, self._done)
        self._progress(self._done, self._total)


def _name(space: StoredSpace) -> str:
    return f"{space.pk}.{space.generation}.f16"


def _stored_files(folder: Path) -> Iterator[tuple[bytes, os.DirEntry[str]]]:
    """Yield digest and path of each stored file; a file being written has another name."""
    for part in os.scandir(folder) if folder.exists() else ():
        for entry in os.scandir(part.path) if part.is_dir() else ():
            name = part.name + entry.name
            if _DIGEST.fullmatch(name):
                yield bytes.fromhex(name), entry


def _hard_link(earlier: Path, target: Path) -> bool:
    """Create a hard link; return False if the file system has none."""
    try:
        os.link(earlier, target)
    except OSError:
        return False
    return True


def _named(connection: Connection) -> Iterator[bytes]:
    """Yield the digest of each file that objects and uploads have in the store."""
    for column in (schema.object_.c.blobs, schema.upload.c.blob):
        if not inspect(connection).has_table(column.table.name):  # of an older version
            continue
        found = connection.execution_options(yield_per=_ROWS).execute(select(column))
        for stored in found.scalars():
            for one in stored if isinstance(stored, list) else [stored or {"uri": ""}]:
                scheme, _, digest = one["uri"].partition(":")
                if scheme == "blob":
                    yield bytes.fromhex(digest)


def _damaged_copy(target: Path, problem: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{target} was not made, because the copy is not intact: {problem}; `lookalike doctor` "
        "checks the store itself"
    )
