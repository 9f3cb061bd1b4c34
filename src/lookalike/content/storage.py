"""Where a store keeps bytes by their digest: a directory, or object storage such as S3.

The name of what is kept is `ab/cdef…`, its SHA-256, so the same bytes are kept once and what is
there never changes. Both kinds are read and written through the protocol `Storage`.
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

_GONE_AWAY = frozenset({errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN})
"""What a file system answers whose disk or server cannot be reached."""


class Storage(Protocol):
    """Keeps bytes by their digest; safe for threads and for several processes."""

    def write(self, digest: str, data: bytes) -> None:
        """Keep `data`, durably and as a whole, unless it is there.

        Raises StoreUnwritable or StoreUnreachable where that cannot be done.
        """

    def read(self, digest: str, most: int) -> bytes:
        """Return the first `most` bytes, or all if there are fewer.

        Raises BadContent where it is not there, StoreUnreachable where nobody can tell now.
        """

    def erase(self, digests: Sequence[str]) -> set[str]:
        """Erase, and return which of them there were. Raises as `write` does."""


class DirectoryStorage:
    """A directory. `root` is made when something is first kept."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def holds(self, digest: str) -> bool:
        """Return whether something is kept by that digest."""
        return self._path(digest).exists()

    def write(self, digest: str, data: bytes) -> None:
        """Keep `data` as a file, fsynced, unless it is there. Raises StoreUnwritable."""
        write_once(self._path(digest), data, durable=True)

    def read(self, digest: str, most: int) -> bytes:
        """Return the first `most` bytes, or all. Raises BadContent or StoreUnreachable."""
        try:
            with self._path(digest).open("rb") as file:
                return file.read(most)
        except OSError as error:
            if error.errno in _GONE_AWAY or not self._root.is_dir():
                raise StoreUnreachable(
                    f"{self._root} cannot be read ({error.strerror}): mount the directory of "
                    "uploads and copies again, or check LOOKALIKE_BLOBS"
                ) from error
            raise not_kept(digest, str(self._root), error.strerror) from error

    def erase(self, digests: Sequence[str]) -> set[str]:
        """Erase files, and return which there were. Raises StoreUnwritable."""
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
        return self._root / name_of(digest)


class LayeredStorage:
    """Keeps what is new in `storage`, and reads what an `older` directory still has from there."""

    def __init__(self, storage: Storage, older: DirectoryStorage) -> None:
        self._storage = storage
        self._older = older

    def write(self, digest: str, data: bytes) -> None:
        """Keep `data`, unless it is there or in the older directory. Raises as both do."""
        if not self._older.holds(digest):
            self._storage.write(digest, data)

    def read(self, digest: str, most: int) -> bytes:
        """Return the first `most` bytes, or all. Raises as both do."""
        holder = self._older if self._older.holds(digest) else self._storage
        return holder.read(digest, most)

    def erase(self, digests: Sequence[str]) -> set[str]:
        """Erase in both, and return which there were. Raises as both do."""
        return self._older.erase(digests) | self._storage.erase(digests)


def name_of(digest: str) -> str:
    """Return the name that bytes are kept under."""
    return f"{digest[:2]}/{digest[2:]}"


def not_kept(digest: str, where: str, reason: str | None = None) -> BadContent:
    """Return the error for bytes that are not where they should be kept."""
    said = f" ({reason})" if reason else ""
    return BadContent(
        f"cannot read 'blob:{digest}' in {where}{said}; put it back, set LOOKALIKE_BLOBS to where "
        "it was kept, or forget the object"
    )


def write_once(path: Path, data: bytes, *, durable: bool) -> None:
    """Write a file whose name says its content, unless it is there: atomically, by renaming.

    Raises StoreUnwritable when the disk is full or read-only.
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
