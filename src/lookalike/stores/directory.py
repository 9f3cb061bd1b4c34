"""The directory of an embedded store: create it, or refuse a directory that cannot hold a store."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lookalike.errors import NotAStore, StoreClosed, StoreCorrupt, StoreUnwritable

_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "afs"})


def prepare(path: Path, *, mounts: Path = Path("/proc/mounts")) -> None:
    """Create the directory of a store, or check that it is one. `mounts` lists file systems.

    Raises NotAStore if there is something else, StoreUnwritable if it cannot be created or locked,
    StoreCorrupt if the database of a store is missing.
    """
    if path.exists() and not path.is_dir():
        raise NotAStore(f"{path} is a file; a store is a directory: name another path")
    if path.is_dir() and _foreign({entry.name for entry in path.iterdir()}):
        raise NotAStore(
            f"{path} has other files and no store; name an empty or a new directory, "
            "or the one with lookalike.db"
        )
    if any(path.glob("vectors/*.f16")) and not (path / "lookalike.db").exists():
        raise StoreCorrupt(
            f"{path} has vectors but no lookalike.db; restore it from a backup, or name an empty "
            "directory"
        )
    try:
        for folder in ("vectors", "blobs", "cache"):
            (path / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnwritable(
            f"cannot create a store in {path}: {error.strerror}; choose a directory that you can "
            "write to"
        ) from error
    system = _file_system(path, mounts)
    if system in _NETWORK_FILE_SYSTEMS:
        raise StoreUnwritable(
            f"{path} is on a network file system ({system}), where locks are not reliable; "
            "use a local disk, or a PostgreSQL store for sharing"
        )


def open_lock(path: Path) -> int:
    """Return a descriptor of the file that writers lock. Raises StoreUnwritable."""
    try:
        return os.open(path / "write.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreUnwritable(
            f"{path} cannot be written ({error.strerror}): make it writable, or copy the store to "
            "a directory that is"
        ) from error


def _foreign(names: set[str]) -> bool:
    """Return whether a directory with these names holds something else than a store.

    One listing decides, because another process may be creating the same store, and SQLite writes
    its journal before the database.
    """
    own = {"vectors", "blobs", "cache", "logs", "write.lock", "lookalike.toml"}
    return "lookalike.db" not in names and any(
        name not in own and not name.startswith("lookalike.db-") for name in names
    )


def _file_system(path: Path, mounts: Path) -> str:
    if not mounts.exists():
        return ""
    mount, system = "", ""
    real = str(path.resolve())
    for line in mounts.read_text("utf-8", "replace").splitlines():
        point, kind = (_unescaped(field) for field in line.split()[1:3])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(mount):
            mount, system = point, kind
    return system


def _unescaped(field: str) -> str:
    """Return a field of the mount table with its spaces, which are escaped as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), field)


def check_open(path: Path, *, closed: bool) -> None:
    """Raise StoreClosed if the store in a directory was closed."""
    if closed:
        raise StoreClosed(f"{path}: the store is closed; open it again")


def erase_vectors_but(path: Path, names: set[str]) -> None:
    """Erase the files of removed spaces; `names` are the existing ones. Call without writers."""
    for folder, suffixes in (("vectors", {".f16"}), ("cache", {".i8", ".bounds"})):
        for file in (path / folder).glob("*"):
            if file.suffix in suffixes and file.stem not in names:
                file.unlink(missing_ok=True)
