"""The bytes of objects: referenced at the user's address, or copied into the store's storage.

A blob's `uri` is one of: `file:///…` or any URL that fsspec opens (a reference: Lookalike never
changes the user's file), `blob:<sha256>` (a copy in the storage, written once), `data:…` (small,
inline). Each read compares the SHA-256, so a changed or missing file raises an error.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from lookalike.content.object_storage import remote_bytes
from lookalike.content.pictures import thumbnail
from lookalike.content.storage import Storage, write_once
from lookalike.errors import BadContent, BadSetting, FetchRefused
from lookalike.model import Blob

if TYPE_CHECKING:
    from PIL.Image import Image

_INLINE = "data:;base64,"
_INLINE_BYTES = 4096

Fetch = Callable[[str], tuple[bytes, str | None]]
"""Returns the bytes at a URL or path, and their media type if the server sends one."""


class Blobs:
    """Reads and keeps the bytes of a store's objects. `storage` holds copies and uploads.

    Without a storage, only bytes that are small enough for a data: URL can be kept.

    A server gives `guarded`, the `fetch` of a GuardedFetcher. It then reads every address that a
    request names, and every URL. Without it, any path and URL can be read.
    """

    def __init__(
        self, storage: Storage | None, *, max_bytes: int, guarded: Fetch | None = None
    ) -> None:
        self._storage = storage
        self._max_bytes = max_bytes
        self._guarded = guarded

    def keep(self, data: bytes, *, inline: bool = False) -> str:
        """Store bytes durably and return their uri. The same bytes are stored once.

        Up to 4096 bytes, and any bytes if `inline`, are encoded in the uri itself. Raises
        BadSetting if there is no storage, StoreUnwritable or StoreUnreachable if writing fails.
        """
        if inline or len(data) <= _INLINE_BYTES:
            return _INLINE + base64.b64encode(data).decode("ascii")
        digest = hashlib.sha256(data).hexdigest()
        self._required_storage().write(digest, data)
        return f"blob:{digest}"

    def read(self, blob: Blob) -> bytes:
        """Return the bytes of a blob, checked against its digest.

        Raises BadContent if they are missing, too many or changed, or at an address that a server
        must not read; StoreUnreachable if the storage does not answer, and the caller should wait.
        """
        try:
            data = self._stored(blob.uri)
        except FetchRefused as error:
            raise BadContent(str(error)) from error
        if hashlib.sha256(data).hexdigest() != blob.sha256:
            raise BadContent(
                f"{blob.uri!r} has changed since it was added; add it again to use the new content"
            )
        return data

    def fetch(self, uri: str) -> bytes:
        """Return the current bytes at a uri or path.

        Raises BadContent if there are none, or more than the setting max_blob_bytes allows;
        FetchRefused if a server must not read it; MissingExtra if its scheme needs a package that
        is not installed; StoreUnreachable if it is in object storage that does not answer.
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
                "a vector that was added without a file is only in the collection it was added "
                "to; add it again"
            )
        if scheme == "blob":
            data = self._required_storage().read(rest, self._max_bytes + 1)
            self.check_size(len(data), repr(uri))
            return data
        if scheme == "file":
            return self._read_file(Path(local_path(uri)), uri)
        if "://" not in uri:
            return self._read_file(Path(uri), uri)
        if self._guarded is not None:
            return self._guarded(uri)[0]
        data = remote_bytes(uri, self._max_bytes + 1)
        self.check_size(len(data), repr(uri))
        return data

    def forget(self, blobs: Iterable[Blob]) -> int:
        """Erase the storage's copies of blobs; return their number. The user's files stay.

        Raises StoreUnwritable or StoreUnreachable.
        """
        digests = {blob.uri.removeprefix("blob:") for blob in blobs if blob.uri.startswith("blob:")}
        return len(self._required_storage().erase(sorted(digests))) if digests else 0

    def _required_storage(self) -> Storage:
        if self._storage is None:
            raise BadSetting(
                "a store in a database needs a place for uploads and copies: set LOOKALIKE_BLOBS "
                "to a directory or to s3://BUCKET/PREFIX, the same for all servers and workers"
            )
        return self._storage

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
        """Raise BadContent if content has more bytes than the setting max_blob_bytes allows."""
        if size > self._max_bytes:
            raise too_large(name, self._max_bytes)


def too_large(name: str, max_bytes: int) -> BadContent:
    """Return the error for content that has more bytes than the setting max_blob_bytes allows."""
    return BadContent(
        f"{name} has more than {max_bytes:,} bytes; raise LOOKALIKE_MAX_BLOB_BYTES to allow it"
    )


def inline_bytes(uri: str) -> bytes:
    """Return the bytes of a data: URL (RFC 2397). Raises BadContent if it is not one."""
    header, comma, body = uri.partition(",")
    if not comma:
        raise BadContent(f"{uri[:40]!r} is not a data: URL; write data:image/png;base64,…")
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


# --- thumbnails, by digest and view --------------------------------------------------------------


class Thumbnails:
    """Thumbnails of contents: JPEG files of at most 256 pixels a side in the directory `root`.

    `sha256` identifies the content, `view` the part of it that is shown ("" for the whole).
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, sha256: str, view: str = "") -> Path:
        """Return the path of the thumbnail of a content's view, whether it exists or not."""
        name = f"{sha256[2:]}.{view}" if view else sha256[2:]
        return self._root / sha256[:2] / f"{name}.jpg"

    def read(self, sha256: str, view: str = "") -> bytes | None:
        """Return the thumbnail of a content's view, or None if there is none (yet)."""
        try:
            return self.path(sha256, view).read_bytes()
        except OSError:
            return None

    def keep(self, sha256: str, picture: Image, view: str = "") -> None:
        """Make the thumbnail of a view from its decoded `picture`, unless it exists."""
        path = self.path(sha256, view)
        if not path.exists():
            write_once(path, thumbnail(picture), durable=False)

    def keep_jpeg(self, sha256: str, jpeg: bytes, view: str = "") -> None:
        """Store a thumbnail that another process made, unless it exists."""
        write_once(self.path(sha256, view), jpeg, durable=False)

    def forget(self, sha256: str) -> int:
        """Erase the thumbnails of all views of a content; return their number."""
        found = list((self._root / sha256[:2]).glob(f"{sha256[2:]}*.jpg"))
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    def forget_view(self, sha256: str, view: str) -> bool:
        """Erase the thumbnail of one view of a content; return whether there was one."""
        path = self.path(sha256, view)
        existed = path.exists()
        path.unlink(missing_ok=True)
        return existed
