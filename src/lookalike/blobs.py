"""Bytes: referenced where they are, or kept in the store by their digest; always checked.

A blob's `uri` is one of: `file:///…` or any URL that fsspec opens (referenced: the file stays the
user's), `blob:<sha256>` (kept in `blobs/`, written once), `data:…` (small, kept inline).
Reading compares the digest, so a changed or missing file is noticed, never silently used.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from lookalike.errors import BadContent, BadSetting, FetchRefused, MissingExtra, StoreUnwritable
from lookalike.model import Blob

_INLINE = "data:;base64,"
_INLINE_BYTES = 4096
_NOT_FOUND = 404
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "http": "http", "https": "http"}

Fetch = Callable[[str], tuple[bytes, str | None]]
"""Returns the bytes at a URL or path, and their media type where it is told."""


class Blobs:
    """The bytes of a store's objects. `root` is the directory that keeps copies and uploads.

    Without one, nothing is kept but what is small enough to stand in its uri.

    A server gives `guarded`, the fetch of a GuardedFetcher: then whatever somebody names, and
    whatever lies elsewhere, is read through it. Without it every path and URL is read.
    """

    def __init__(self, root: Path | None, *, max_bytes: int, guarded: Fetch | None = None) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._guarded = guarded

    def keep(self, data: bytes, *, inline: bool = False) -> str:
        """Keep bytes and return their uri. The same bytes are kept once, durably.

        Few bytes stand in the uri itself, and others that should be `inline`. Raises BadSetting
        where there is no place to keep them.
        """
        if inline or len(data) <= _INLINE_BYTES:
            return _INLINE + base64.b64encode(data).decode("ascii")
        digest = hashlib.sha256(data).hexdigest()
        write_once(self._path(digest), data, durable=True)
        return f"blob:{digest}"

    def read(self, blob: Blob) -> bytes:
        """Return the bytes of a blob, checked against its digest.

        Raises BadContent when they are missing, too many, not what they were, or now lie where a
        server must not read.
        """
        try:
            data = self._stored(blob.uri)
        except FetchRefused as error:
            raise BadContent(str(error)) from error
        if hashlib.sha256(data).hexdigest() != blob.sha256:
            raise BadContent(
                f"{blob.uri!r} has changed since it was added; add it again to take the new one"
            )
        return data

    def fetch(self, uri: str) -> bytes:
        """Return the bytes that a uri or path names now.

        Raises BadContent when there is nothing, or more than the setting max_blob_bytes allows;
        FetchRefused when a server must not read it; MissingExtra when its scheme needs a package
        that is not installed.
        """
        return self._stored(uri) if self._guarded is None else self._guarded(uri)[0]

    def _stored(self, uri: str) -> bytes:
        scheme, _, rest = uri.partition(":")
        if scheme == "data":
            data = inline_bytes(uri)
            self.check_size(len(data), "a data: URL")
            return data
        if not uri:
            raise BadContent(
                "a vector that came without a file is kept where it came to only; add it again"
            )
        if scheme == "blob":
            return self._read_file(self._path(rest), uri)
        if scheme == "file":
            return self._read_file(Path(local_path(uri)), uri)
        if "://" not in uri:
            return self._read_file(Path(uri), uri)
        if self._guarded is not None:
            return self._guarded(uri)[0]
        data = remote_bytes(uri, self._max_bytes + 1)
        self.check_size(len(data), repr(uri))
        return data

    def forget(self, blob: Blob) -> bool:
        """Erase the kept copy of a blob; return whether there was one. The user's files stay."""
        scheme, _, digest = blob.uri.partition(":")
        if scheme != "blob" or self._root is None or not self._path(digest).exists():
            return False
        self._path(digest).unlink()
        return True

    def _path(self, digest: str) -> Path:
        if self._root is None:
            raise BadSetting(
                "a store in a database needs a place for uploads and copies: set LOOKALIKE_BLOBS "
                "to a directory, the same for all servers and workers"
            )
        return self._root / digest[:2] / digest[2:]

    def _read_file(self, path: Path, uri: str) -> bytes:
        try:
            size = path.stat().st_size
            self.check_size(size, repr(uri))
            return path.read_bytes()
        except IsADirectoryError as error:
            raise BadContent(f"{uri!r} is a folder, not a file") from error
        except OSError as error:
            raise BadContent(
                f"cannot read {uri!r}: {error.strerror}; put the file back, or forget the object"
            ) from error

    def check_size(self, size: int, name: str) -> None:
        """Raise BadContent where content has more bytes than the setting max_blob_bytes allows."""
        if size > self._max_bytes:
            raise too_large(name, self._max_bytes)


def too_large(name: str, max_bytes: int) -> BadContent:
    """Return the error for content that has more bytes than the setting max_blob_bytes allows."""
    return BadContent(
        f"{name} has more than {max_bytes:,} bytes; raise LOOKALIKE_MAX_BLOB_BYTES if that is meant"
    )


def remote_bytes(url: str, most: int) -> bytes:
    """Return the first `most` bytes at a URL, whatever fsspec opens, or all if there are fewer.

    Raises BadContent when it cannot be read, MissingExtra without the package for its scheme.
    """
    system, path = _file_system(url)
    with _translated(url), system.open(path, "rb") as file:
        data: bytes = file.read(most)
    return data


def remote_files(url: str) -> list[tuple[str, str]]:
    """Return URL and name, relative to `url`, of each file below a folder of object storage.

    Raises BadContent when it cannot be listed, MissingExtra without the package for its scheme.
    """
    system, root = _file_system(url)
    with _translated(url):
        paths: list[str] = sorted(system.find(root))
    return [
        (system.unstrip_protocol(path), path.removeprefix(root).lstrip("/"))
        for path in paths
        if not path.endswith("/")  # stands for a folder
    ]


def _file_system(uri: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the URL's path in it."""
    import fsspec

    scheme = uri.partition("://")[0]
    try:
        system, path = fsspec.url_to_fs(uri, use_listings_cache=False)  # a listing grows old
    except ImportError as error:
        if scheme not in _EXTRAS:
            raise BadContent(f"cannot read {uri!r}: {error}") from error
        raise MissingExtra.named(f"reading {scheme}:// URLs", _EXTRAS[scheme]) from error
    except ValueError as error:
        raise BadContent(
            f"cannot read {uri!r}: the scheme {scheme!r} is unknown; "
            "use a path, file://, http(s)://, s3:// or gs://"
        ) from error
    return system, str(path)


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # every file system has errors of its own, of no common kind
        cause = error.__cause__ or error  # fsspec calls whatever HTTP answers "not found"
        if isinstance(cause, FileNotFoundError) or getattr(cause, "status", 0) == _NOT_FOUND:
            raise BadContent(
                f"there is nothing at {uri!r}; check the address (that of a folder ends with '/')"
            ) from error
        reason = str(cause) or type(cause).__name__
        raise BadContent(f"cannot read {uri!r}: {reason}; check address and access") from error


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
            _sync_folder(path.parent)
            _sync_folder(path.parent.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StoreUnwritable(
            f"cannot write {path.name}: {error.strerror}; free some space and run it again"
        ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def inline_bytes(uri: str) -> bytes:
    """Return the bytes of a data: URL (RFC 2397). Raises BadContent where it is none."""
    header, comma, body = uri.partition(",")
    if not comma:
        raise BadContent(f"{uri[:40]!r} is no data: URL; write data:image/png;base64,…")
    if not header.endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return base64.b64decode(unquote_to_bytes(body), validate=True)
    except binascii.Error as error:
        raise BadContent(f"{header!r} is followed by something that is not base64") from error


def local_path(uri: str) -> str:
    """Return the path that a file:// URL names."""
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(uri).path)
