"""Content-addressed storage of a store's uploads and copies: a directory, or object storage.

The name of each file is its SHA-256, as `ab/cdef…`, so the same bytes are stored once and a stored
file never changes. The protocol `Storage` is common to all kinds.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lookalike.content.files import sync_folder
from lookalike.errors import BadContent, StoreUnreachable, StoreUnwritable

_UNREACHABLE = frozenset(
    {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN}
)
"""The errno values of a file system whose disk or server cannot be reached."""


class Storage(Protocol):
    """Stores bytes under their digest; safe for threads and for several processes."""

    def write(self, digest: str, data: bytes) -> None:
        """Store `data` durably and atomically, unless it is stored already.

        Raises StoreUnwritable or StoreUnreachable if that fails.
        """

    def read(self, digest: str, most: int) -> bytes:
        """Return the first `most` bytes, or all if there are fewer.

        Raises BadContent if nothing has that digest, StoreUnreachable if the storage does not
        answer.
        """

    def erase(self, digests: Sequence[str]) -> set[str]:
        """Erase what is stored under `digests`; return those that were. Raises as `write` does."""


class DirectoryStorage:
    """Stores bytes as files below the directory `root`, which the first write makes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def holds(self, digest: str) -> bool:
        """Return whether a file is stored under that digest."""
        return self._path(digest).exists()

    def write(self, digest: str, data: bytes) -> None:
        """Store `data` as a file, fsynced, unless it exists. Raises StoreUnwritable."""
        write_once(self._path(digest), data, durable=True)

    def read(self, digest: str, most: int) -> bytes:
        """Return the first `most` bytes, or all. Raises BadContent or StoreUnreachable."""
        try:
            with self._path(digest).open("rb") as file:
                return file.read(most)
        except OSError as error:
            if error.errno in _UNREACHABLE or not self._root.is_dir():
                raise StoreUnreachable(
                    f"{self._root} cannot be read ({error.strerror}): mount the directory of "
                    "uploads and copies again, or check LOOKALIKE_BLOBS"
                ) from error
            raise missing_blob(digest, str(self._root), error.strerror) from error

    def erase(self, digests: Sequence[str]) -> set[str]:
        """Erase files; return the digests of those that existed. Raises StoreUnwritable."""
        erased = set()
        try:
            for digest in digests:
                if self.holds(digest):
                    self._path(digest).unlink(missing_ok=True)
                    erased.add(digest)
        except OSError as error:
            raise StoreUnwritable(
                f"cannot erase in {self._root}: {error.strerror}; make it writable and try again"
            ) from error
        return erased

    def _path(self, digest: str) -> Path:
        return self._root / file_name(digest)


class LayeredStorage:
    """Writes new bytes to `storage`, and reads what an `older` directory still holds from there."""

    def __init__(self, storage: Storage, older: DirectoryStorage) -> None:
        self._storage = storage
        self._older = older

    def write(self, digest: str, data: bytes) -> None:
        """Store `data`, unless one of the two holds it already. Raises as both do."""
        if not self._older.holds(digest):
            self._storage.write(digest, data)

    def read(self, digest: str, most: int) -> bytes:
        """Return the first `most` bytes, or all. Raises as both do."""
        holder = self._older if self._older.holds(digest) else self._storage
        return holder.read(digest, most)

    def erase(self, digests: Sequence[str]) -> set[str]:
        """Erase in both; return the digests that one of them held. Raises as both do."""
        return self._older.erase(digests) | self._storage.erase(digests)


def file_name(digest: str) -> str:
    """Return the name of the file for a digest, relative to the storage's root."""
    return f"{digest[:2]}/{digest[2:]}"


def missing_blob(digest: str, where: str, reason: str | None = None) -> BadContent:
    """Return the error for bytes that the storage should hold and does not."""
    why = f" ({reason})" if reason else ""
    return BadContent(
        f"cannot read 'blob:{digest}' in {where}{why}; put it back, set LOOKALIKE_BLOBS to where "
        "it was kept, or forget the object"
    )


def write_once(path: Path, data: bytes, *, durable: bool) -> None:
    """Write a file atomically, by renaming, unless it exists: its name implies its content.

    Raises StoreUnwritable if the disk is full or read-only.
    """
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
        if durable:
            sync_folder(path.parent)
            sync_folder(path.parent.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StoreUnwritable(
            f"cannot write {path.name}: {error.strerror}; free some space and run it again"
        ) from error
