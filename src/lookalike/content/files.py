"""Atomic writes: a directory that appears complete or not at all, and cache files of arrays.

Both are written under another name, then renamed. A killed process leaves a directory `NAME.part`,
which is not taken for a store; the next process that writes NAME empties it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any

from lookalike.errors import Conflict, StoreUnwritable

if TYPE_CHECKING:
    from numpy.typing import NDArray


@contextmanager
def atomic_directory(target: Path, *, last: str) -> Iterator[Path]:
    """Yield a directory to write to; at the end it is renamed to `target`, on an error deleted.

    The caller writes the file `last` as `LAST.part`; it is renamed when all is on the disk.
    `target` is absolute, and does not exist or is empty. Raises Conflict if it is not empty or
    another process is writing it, StoreUnwritable if it cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Conflict(f"{target} is not empty; name a new directory")
    draft = target.with_name(f"{target.name}.part")
    with _explained(target):
        draft.mkdir(parents=True, exist_ok=True)
        lock = os.open(draft, os.O_RDONLY)
    try:
        _lock(lock, target)
        try:
            with _explained(target):
                _clear(draft)
                yield draft
                os.sync()  # to sync a million files one by one would take an hour
                (draft / f"{last}.part").rename(draft / last)
                draft.rename(target)
                sync_folder(target.parent)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    finally:
        os.close(lock)


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    """Turn an OSError into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise Conflict(f"{target} is not empty any more; name a new directory") from error
        where = f" ({error.filename})" if error.filename else ""
        raise StoreUnwritable(
            f"cannot write {target}: {error.strerror}{where}; choose a directory that you can "
            "write to, with enough space: no files were left there"
        ) from error


def _lock(descriptor: int, target: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(
            f"another process is writing {target} now: wait for it, or name another directory"
        ) from error


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to the disk: the names of its files, not their contents."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- array cache files ---------------------------------------------------------------------------

# A cache file may be deleted at any time, and failing to read or write one is not an error. Its
# mark says what it was made from; the reader compares it with the current state.

_MARK = "mark"


def write_cache(path: Path, mark: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays with their mark (JSON values) atomically, or leave the file as it was."""
    import numpy as np

    draft = path.with_name(f"{path.stem}.{os.getpid()}.{get_ident()}.draft.npz")
    # Arrays that are not cached are computed again: a full or read-only disk must not stop anyone.
    with suppress(OSError):
        for abandoned in path.parent.glob(f"{path.stem}.*.draft.npz"):
            abandoned.unlink()
        try:
            np.savez(draft, allow_pickle=False, **{_MARK: np.array(json.dumps(mark))}, **arrays)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def read_cache(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    """Return the mark and the arrays of a cache file, or None if it cannot be read."""
    import numpy as np

    try:
        # Open the file here: NumPy would leave it open if it is not an archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return json.loads(str(arrays.pop(_MARK))), arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
