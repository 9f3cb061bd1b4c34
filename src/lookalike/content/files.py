"""A directory that is there as a whole or not at all: written under another name, then renamed.

What a process that was killed has left, `NAME.part`, is no store, and the next one clears it away.
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
def drafted(target: Path, *, last: str) -> Iterator[Path]:
    """Give a directory to write to, which is `target` at the end; on an error nothing is left.

    The file `last` is written as `LAST.part` and gets its name when all is on the disk. `target` is
    absolute, and is not there or empty. Raises Conflict where it holds something or another process
    writes it at this moment, StoreUnwritable where it cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Conflict(f"{target} holds something already; name a new directory")
    draft = target.with_name(f"{target.name}.part")
    with refused_in_words(target):
        draft.mkdir(parents=True, exist_ok=True)
        lock = os.open(draft, os.O_RDONLY)
    try:
        _take(lock, target)
        try:
            with refused_in_words(target):
                _clear(draft)
                yield draft
                os.sync()  # of a million files, each on its own would take an hour
                (draft / f"{last}.part").rename(draft / last)
                draft.rename(target)
                sync_folder(target.parent)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    finally:
        os.close(lock)


@contextmanager
def refused_in_words(target: Path) -> Iterator[None]:
    """Turn what the file system says into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise Conflict(f"{target} holds something meanwhile; name a new directory") from error
        where = f" ({error.filename})" if error.filename else ""
        raise StoreUnwritable(
            f"cannot write {target}: {error.strerror}{where}; choose a place with room that you "
            "can write to: nothing is left there"
        ) from error


def _take(lock: int, target: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(
            f"another process is writing {target} at this moment: wait for it, or name another "
            "directory"
        ) from error


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def sync_folder(folder: Path) -> None:
    """Let the names of what is in a folder be on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- array cache files ---------------------------------------------------------------------------

# Derived state: such a file may be deleted at any time, and one that cannot be read or written is
# no error. A mark says what it was made from; whoever recalls it compares.

_MARK = "mark"


def remember(path: Path, mark: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays with their mark (JSON values), all in one step, or leave the file as it was."""
    import numpy as np

    draft = path.with_name(f"{path.stem}.{os.getpid()}.{get_ident()}.draft.npz")
    # What is not kept is computed again: a full or read-only disk must not stop anyone.
    with suppress(OSError):
        for abandoned in path.parent.glob(f"{path.stem}.*.draft.npz"):
            abandoned.unlink()
        try:
            np.savez(draft, allow_pickle=False, **{_MARK: np.array(json.dumps(mark))}, **arrays)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def recall(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    """Return the mark and the arrays that were kept in the file, or None."""
    import numpy as np

    try:
        # NumPy leaves a file of its own open when it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return json.loads(str(arrays.pop(_MARK))), arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
