"""Object storage, such as S3: to read the user's files, or as the storage of a store.

fsspec opens it. Its file systems raise many unrelated errors; this module maps each to one of five
kinds of `Failure`, by what the user can do about it.
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

from lookalike.content.storage import file_name, missing_blob
from lookalike.errors import BadContent, BadSetting, MissingExtra, StoreUnreachable

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "http": "http", "https": "http"}
_OBJECT_STORAGE = ("s3://", "s3a://", "gs://", "gcs://")
_TIMEOUT_S = 300.0
"""The longest time for one whole read or write, even if bytes keep arriving."""

_TRIES = 2
_THREADS = 16
_NOT_FOUND = 404
_DENIED = (401, 403)
_CREDENTIAL_ERRORS = frozenset(
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
"""S3 error codes, and class names of errors of the S3 and Google clients, about credentials."""


class Failure(Enum):
    """Why a request to object storage failed."""

    MISSING = "there is no such object"
    NO_BUCKET = "there is no such bucket"
    CREDENTIALS = "the credentials are missing or invalid"
    DENIED = "the credentials do not allow the request"
    UNREACHABLE = "it does not answer, or not now"


_NO_BUCKET = "there is no bucket {bucket!r}; make it, or set LOOKALIKE_BLOBS to another"
_NO_CREDENTIALS = "the credentials are missing or invalid ({reason}); set "
_DENIED_TO = "access is denied ({reason}); allow "
_NO_ANSWER = "it does not answer ({reason}); check the network"
_CURES = {
    Failure.MISSING: _NO_BUCKET,
    Failure.NO_BUCKET: _NO_BUCKET,
    Failure.CREDENTIALS: _NO_CREDENTIALS + "GOOGLE_APPLICATION_CREDENTIALS or a service account",
    Failure.DENIED: _DENIED_TO + "reading, creating, deleting and listing objects there",
    Failure.UNREACHABLE: _NO_ANSWER + ", and try again",
}
_CURES_S3 = {
    **_CURES,
    Failure.CREDENTIALS: _NO_CREDENTIALS
    + "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role",
    Failure.DENIED: _DENIED_TO
    + "s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there",
    Failure.UNREACHABLE: _NO_ANSWER + " and AWS_ENDPOINT_URL, and try again",
}


class ObjectStorage:
    """Stores bytes below `address`, such as s3://bucket/prefix; safe for threads."""

    def __init__(self, address: str) -> None:
        self._address = address

    def write(self, digest: str, data: bytes) -> None:
        """Store `data` as an object, unless one of its size exists. Raises StoreUnreachable."""
        path = self._path(digest)
        with self._translated("writing"):
            if self._size(path) != len(data):
                self._system.pipe_file(path, data, **self._limits)

    def read(self, digest: str, most: int) -> bytes:
        """Return the first `most` bytes, or all. Raises BadContent or StoreUnreachable."""
        with self._translated("reading", digest):
            path = self._path(digest)
            data: bytes = self._system.cat_file(path, start=0, end=most, **self._limits)
        return data

    def erase(self, digests: Sequence[str]) -> set[str]:
        """Erase objects; return the digests of those that existed. Raises StoreUnreachable."""
        with self._translated("erasing"), ThreadPoolExecutor(_THREADS) as pool:
            existed = pool.map(self._erase, digests)
            return {digest for digest, was in zip(digests, existed, strict=True) if was}

    def _erase(self, digest: str) -> bool:
        path = self._path(digest)
        if self._size(path) is None:
            return False
        self._system.rm_file(path, **self._limits)
        return True

    def _size(self, path: str) -> int | None:
        """Return the size of an object in bytes, or None if there is none that we may see."""
        try:
            size: int = self._system.info(path, **self._limits)["size"]
        except FileNotFoundError:
            return None
        return size

    @cached_property
    def _system(self) -> Any:
        """The file system, not fsspec's cached one, which could have older credentials."""
        system, _ = file_system(self._address, skip_instance_cache=True)
        if self._is_s3:  # its client retries already, AWS_MAX_ATTEMPTS times
            system.retries = _TRIES
        return system

    @cached_property
    def _limits(self) -> dict[str, Any]:
        from fsspec.asyn import AsyncFileSystem

        return {"timeout": _TIMEOUT_S} if isinstance(self._system, AsyncFileSystem) else {}

    @property
    def _is_s3(self) -> bool:
        return self._address.startswith(("s3://", "s3a://"))

    def _path(self, digest: str) -> str:
        return f"{self._address}/{file_name(digest)}"

    @contextmanager
    def _translated(self, doing: str, digest: str = "") -> Iterator[None]:
        try:
            yield
        except MissingExtra:
            raise
        except Exception as error:  # the errors of file systems have no common base class
            failure, reason = failure_of(error)
            if failure is Failure.MISSING and digest:
                raise missing_blob(digest, self._address) from error
            raise StoreUnreachable(self._message(failure, reason, doing)) from error

    def _message(self, failure: Failure, reason: str, doing: str) -> str:
        bucket = self._address.split("/")[2]
        cures = _CURES_S3 if self._is_s3 else _CURES
        return f"{doing} in {self._address}: {cures[failure].format(bucket=bucket, reason=reason)}"


def check_package(address: str) -> None:
    """Raise MissingExtra if the package for an address is not installed, BadSetting if it is
    unknown.
    """
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
    """Return the first `most` bytes at a URL that fsspec opens, or all if there are fewer.

    Raises BadContent if it cannot be read, StoreUnreachable if it is object storage that does not
    answer or rejects the credentials, MissingExtra without the package for its scheme.
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
        if not path.endswith("/")  # the marker of a folder
    ]


def file_system(url: str, **options: Any) -> tuple[Any, str]:
    """Return the file system of a URL, and the URL's path in it.

    Raises MissingExtra without the package for its scheme, BadContent for an unknown one.
    """
    import fsspec

    scheme = url.partition("://")[0]
    try:
        # A cached listing would hide files that were added since.
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


def failure_of(error: BaseException) -> tuple[Failure, str]:
    """Return the kind of an error of a file system, and its code or class name (no secrets)."""
    chain = list(_chain(error))
    codes = [code for cause in chain if (code := _code(cause))]
    names = {type(cause).__name__ for cause in chain}
    statuses = {getattr(cause, "status", None) or getattr(cause, "code", None) for cause in chain}
    reason = codes[0] if codes else _name(chain[-1])
    if invalid := _CREDENTIAL_ERRORS & {*codes, *names}:
        return Failure.CREDENTIALS, min(invalid)
    if "NoSuchBucket" in codes:
        return Failure.NO_BUCKET, reason
    if _NOT_FOUND in statuses or isinstance(chain[-1], FileNotFoundError):
        return Failure.MISSING, reason
    if "NoSuchKey" in codes or str(_NOT_FOUND) in codes:
        return Failure.MISSING, reason
    denied = any(isinstance(cause, PermissionError) for cause in chain)
    if denied or statuses & set(_DENIED):
        return Failure.DENIED, reason
    return Failure.UNREACHABLE, reason


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes: fsspec turns every HTTP error into "not found"."""
    while error is not None:
        yield error
        error = error.__cause__


def _code(error: BaseException) -> str:
    """Return the code of an S3 error response, or the empty text."""
    response = getattr(error, "response", None)
    details = response.get("Error", {}) if isinstance(response, dict) else {}
    return str(details.get("Code", ""))


def _name(error: BaseException) -> str:
    """Return a searchable name: the system's text for an errno, or the error's class name."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if isinstance(number, int) else type(error).__name__


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the errors of file systems have no common base class
        failure, reason = failure_of(error)
        if failure is Failure.MISSING:
            raise BadContent(
                f"there is nothing at {url!r}; check the address (that of a folder ends with '/')"
            ) from error
        temporary = failure in (Failure.UNREACHABLE, Failure.CREDENTIALS)
        if temporary and url.startswith(_OBJECT_STORAGE):
            raise StoreUnreachable(
                f"cannot read {url!r} now ({reason}); check the network, the credentials and "
                "AWS_ENDPOINT_URL, and try again"
            ) from error
        cause = error.__cause__ or error
        reason = str(cause) or type(cause).__name__
        raise BadContent(f"cannot read {url!r}: {reason}; check address and access") from error
