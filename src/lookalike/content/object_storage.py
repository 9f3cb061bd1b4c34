"""Object storage, such as S3: read where the user's files lie, or kept in by a store.

Whatever fsspec opens. Its file systems have errors of their own, of no common kind; here they
become one of five troubles, told apart by the cure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from lookalike.content.storage import name_of, not_kept
from lookalike.errors import BadContent, BadSetting, MissingExtra, StoreUnreachable

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "http": "http", "https": "http"}
_OBJECT_STORAGE = ("s3://", "s3a://", "gs://", "gcs://")
_PATIENCE_S = 300.0
"""What one read or write may take all in all, however slowly bytes drip."""

_TRIES = 2
_THREADS = 16
_NOT_FOUND = 404
_DENIED = (401, 403)
_INVALID_KEYS = frozenset(
    {
        "CredentialRetrievalError",
        "DefaultCredentialsError",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "NoCredentialsError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "RefreshError",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "SSOTokenLoadError",
        "TokenRefreshRequired",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)
"""Codes of S3, and names of errors of its and Google's clients, about who asks."""


class Trouble(Enum):
    """Why object storage did not do what was asked."""

    MISSING = "there is no such object"
    NO_BUCKET = "there is no such bucket"
    CREDENTIALS = "who asks is not known"
    DENIED = "who asks may not"
    UNREACHABLE = "it does not answer, or not now"


_NO_BUCKET = "there is no bucket {bucket!r}; make it, or set LOOKALIKE_BLOBS to another"
_NO_KEYS = "the credentials are missing or do not hold ({reason}); set "
_DENIED_TO = "access is denied ({reason}); allow "
_SILENT = "it does not answer ({reason}); check the network"
_CURES = {
    Trouble.MISSING: _NO_BUCKET,
    Trouble.NO_BUCKET: _NO_BUCKET,
    Trouble.CREDENTIALS: _NO_KEYS + "GOOGLE_APPLICATION_CREDENTIALS or a service account",
    Trouble.DENIED: _DENIED_TO + "reading, making, erasing and listing objects there",
    Trouble.UNREACHABLE: _SILENT + ", and try again",
}
_CURES_S3 = {
    **_CURES,
    Trouble.CREDENTIALS: _NO_KEYS
    + "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role",
    Trouble.DENIED: _DENIED_TO
    + "s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there",
    Trouble.UNREACHABLE: _SILENT + " and AWS_ENDPOINT_URL, and try again",
}


class ObjectStorage:
    """Keeps the bytes of a store below `address`, such as s3://bucket/prefix; safe for threads."""

    def __init__(self, address: str) -> None:
        self._address = address

    def write(self, digest: str, data: bytes) -> None:
        """Keep `data` as an object, unless one of its size is there. Raises StoreUnreachable."""
        path = self._path(digest)
        with self._asked("writing"):
            if self._size(path) != len(data):
                self._system.pipe_file(path, data, **self._limits)

    def read(self, digest: str, most: int) -> bytes:
        """Return the first `most` bytes, or all. Raises BadContent or StoreUnreachable."""
        with self._asked("reading", digest):
            path = self._path(digest)
            data: bytes = self._system.cat_file(path, start=0, end=most, **self._limits)
        return data

    def erase(self, digests: Sequence[str]) -> set[str]:
        """Erase objects, and return which there were. Raises StoreUnreachable."""
        with self._asked("erasing"), ThreadPoolExecutor(_THREADS) as pool:
            there = pool.map(self._erase, digests)
            return {digest for digest, was in zip(digests, there, strict=True) if was}

    def _erase(self, digest: str) -> bool:
        path = self._path(digest)
        if self._size(path) is None:
            return False
        self._system.rm_file(path, **self._limits)
        return True

    def _size(self, path: str) -> int | None:
        """Return how many bytes an object has, or None where there is none that may be seen."""
        try:
            size: int = self._system.info(path, **self._limits)["size"]
        except FileNotFoundError:
            return None
        return size

    @cached_property
    def _system(self) -> Any:
        """The file system, its own: a shared one would keep the credentials of when it was made."""
        system, _ = file_system(self._address, skip_instance_cache=True)
        if self._is_s3:  # its client tries several times already, as AWS_MAX_ATTEMPTS says
            system.retries = _TRIES
        return system

    @cached_property
    def _limits(self) -> dict[str, Any]:
        from fsspec.asyn import AsyncFileSystem

        return {"timeout": _PATIENCE_S} if isinstance(self._system, AsyncFileSystem) else {}

    @property
    def _is_s3(self) -> bool:
        return self._address.startswith(("s3://", "s3a://"))

    def _path(self, digest: str) -> str:
        return f"{self._address}/{name_of(digest)}"

    @contextmanager
    def _asked(self, doing: str, digest: str = "") -> Iterator[None]:
        try:
            yield
        except MissingExtra:
            raise
        except Exception as error:  # every file system has errors of its own, of no common kind
            trouble, reason = trouble_of(error)
            if trouble is Trouble.MISSING and digest:
                raise not_kept(digest, self._address) from error
            raise StoreUnreachable(self._said(trouble, reason, doing)) from error

    def _said(self, trouble: Trouble, reason: str, doing: str) -> str:
        bucket = self._address.split("/")[2]
        cures = _CURES_S3 if self._is_s3 else _CURES
        return f"{doing} in {self._address}: {cures[trouble].format(bucket=bucket, reason=reason)}"


def check_package(address: str) -> None:
    """Raise MissingExtra or BadSetting where what opens an address is not installed, or unknown."""
    from fsspec.registry import known_implementations

    scheme = address.partition("://")[0]
    if scheme not in known_implementations:
        raise BadSetting(f"LOOKALIKE_BLOBS has the unknown scheme {scheme!r}; use s3:// or gs://")
    package = known_implementations[scheme]["class"].partition(".")[0]
    if find_spec(package) is None:
        if scheme not in _EXTRAS:
            raise BadSetting(f"keeping blobs at {scheme}:// needs the package {package}")
        raise MissingExtra.named(f"keeping blobs at {scheme}://", _EXTRAS[scheme])


def remote_bytes(url: str, most: int) -> bytes:
    """Return the first `most` bytes at a URL, whatever fsspec opens, or all if there are fewer.

    Raises BadContent when it cannot be read, StoreUnreachable when it is object storage that does
    not answer or does not know who asks, MissingExtra without the package for its scheme.
    """
    system, path = file_system(url)
    with _translated(url), system.open(path, "rb") as file:
        data: bytes = file.read(most)
    return data


def remote_files(url: str) -> list[tuple[str, str]]:
    """Return URL and name, relative to `url`, of each file below a folder of object storage.

    Raises as `remote_bytes` does.
    """
    system, root = file_system(url)
    with _translated(url):
        paths: list[str] = sorted(system.find(root))
    return [
        (system.unstrip_protocol(path), path.removeprefix(root).lstrip("/"))
        for path in paths
        if not path.endswith("/")  # stands for a folder
    ]


def file_system(url: str, **options: Any) -> tuple[Any, str]:
    """Return the file system of a URL, and the URL's path in it.

    Raises MissingExtra without the package for its scheme, BadContent for an unknown one.
    """
    import fsspec

    scheme = url.partition("://")[0]
    try:  # a listing grows old
        system, path = fsspec.url_to_fs(url, use_listings_cache=False, **options)
    except ImportError as error:
        if scheme not in _EXTRAS:
            raise BadContent(f"cannot read {url!r}: {error}") from error
        raise MissingExtra.named(f"reading {scheme}:// URLs", _EXTRAS[scheme]) from error
    except ValueError as error:
        raise BadContent(
            f"cannot read {url!r}: the scheme {scheme!r} is unknown; "
            "use a path, file://, http(s)://, s3:// or gs://"
        ) from error
    return system, str(path)


def trouble_of(error: BaseException) -> tuple[Trouble, str]:
    """Return what an error of a file system means, and its code or name: nothing that is secret."""
    chain = list(_chain(error))
    codes = [code for one in chain if (code := _code(one))]
    names = {type(one).__name__ for one in chain}
    statuses = {getattr(one, "status", None) or getattr(one, "code", None) for one in chain}
    reason = codes[0] if codes else _name(chain[-1])
    if _INVALID_KEYS & {*codes, *names}:
        return Trouble.CREDENTIALS, min(_INVALID_KEYS & {*codes, *names})
    if "NoSuchBucket" in codes:
        return Trouble.NO_BUCKET, reason
    if _NOT_FOUND in statuses or isinstance(chain[-1], FileNotFoundError):
        return Trouble.MISSING, reason
    if "NoSuchKey" in codes or str(_NOT_FOUND) in codes:
        return Trouble.MISSING, reason
    denied = any(isinstance(one, PermissionError) for one in chain)
    if denied or statuses & set(_DENIED):
        return Trouble.DENIED, reason
    return Trouble.UNREACHABLE, reason


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it; fsspec calls whatever HTTP answers "not found"."""
    while error is not None:
        yield error
        error = error.__cause__


def _code(error: BaseException) -> str:
    """Return the code that S3 answered with."""
    response = getattr(error, "response", None)
    said = response.get("Error", {}) if isinstance(response, dict) else {}
    return str(said.get("Code", ""))


def _name(error: BaseException) -> str:
    """Return what a person may look for: what the system calls it, or the error's own name."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if isinstance(number, int) else type(error).__name__


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # every file system has errors of its own, of no common kind
        trouble, reason = trouble_of(error)
        if trouble is Trouble.MISSING:
            raise BadContent(
                f"there is nothing at {url!r}; check the address (that of a folder ends with '/')"
            ) from error
        passing = trouble in (Trouble.UNREACHABLE, Trouble.CREDENTIALS)
        if passing and url.startswith(_OBJECT_STORAGE):
            raise StoreUnreachable(
                f"cannot read {url!r} now ({reason}); check the network, the credentials and "
                "AWS_ENDPOINT_URL, and try again"
            ) from error
        cause = error.__cause__ or error
        said = str(cause) or type(cause).__name__
        raise BadContent(f"cannot read {url!r}: {said}; check address and access") from error
