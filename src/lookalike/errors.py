"""Every error that Lookalike raises on purpose.

```
LookalikeError
├── BadInput              a value that a person or program gave cannot be used
│   ├── BadContent        a blob cannot be read as what it should be
│   ├── BadVector         a vector is not finite, is zero, or has the wrong dimension
│   ├── BadSetting        a setting or an option has an impossible value
│   └── FetchRefused      a request names an address or a file that a server must not read
├── NotFound              nothing has this name or id
├── Conflict              the change contradicts what is already there
│   └── Stale             the change was made for an older state
├── Unauthorized          no API key, or an invalid one
├── Forbidden             the API key, or the signed address, does not allow this
├── MissingExtra          an optional dependency is not installed
├── Unreachable           a server does not answer, or not as a Lookalike server does
└── StoreError            the store cannot do what was asked
    ├── NotAStore         the directory or database holds no store
    ├── StoreTooNew       a newer version of Lookalike made the store
    ├── StoreTooOld       the database server, or an extension of it, is too old for a store
    ├── StoreUnreachable  the database or object storage is unreachable, or rejects the credentials
    ├── StoreBusy         others hold it, or all its connections, for too long: try again
    ├── StoreClosed       it was closed before or during the call
    ├── StoreUnwritable   read-only, full, or on a file system that cannot lock
    └── StoreCorrupt      stored rows or files contradict each other
```

A message says what happened, with the value, and what to do next. Clients over HTTP recognize an
error by its `code`, which is stable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar


class LookalikeError(Exception):
    """The root: catch this to catch everything that Lookalike raises on purpose."""

    code: ClassVar[str] = "error"


class BadInput(LookalikeError):
    """A value that a person or program gave cannot be used."""

    code = "bad_input"


class BadContent(BadInput):
    """A blob cannot be read as what it should be: truncated, empty, or another type."""

    code = "bad_content"


class BadVector(BadInput):
    """A vector is not finite, is zero, or has the wrong dimension."""

    code = "bad_vector"


class BadSetting(BadInput):
    """A setting or an option has an impossible value."""

    code = "bad_setting"


class FetchRefused(BadInput):
    """A request names an address or a file that a server must not read; nothing was read."""

    code = "fetch_refused"


class NotFound(LookalikeError):
    """Nothing has this name or id."""

    code = "not_found"

    @classmethod
    def named(cls, kind: str, name: str, known: Iterable[str]) -> NotFound:
        """Return the error for an unknown `name` of a `kind`, listing the known ones."""
        names = sorted(known)
        close = get_close_matches(name, names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        listing = ", ".join(names[:20]) + (" …" if len(names) > 20 else "") if names else "none yet"
        return cls(f"no {kind} is named {name!r}{hint} (known: {listing})")


class Conflict(LookalikeError):
    """The change contradicts what is already there."""

    code = "conflict"


class Stale(Conflict):
    """The change was made for an older state: someone or something has changed it since.

    A label raises this only if another person has answered the document differently since;
    automatic decisions do not matter. `now` holds the current state, so that the caller need not
    ask for it: `revisions` by document id, or an `etag`, and for a label the `answers` by document
    id, each with its `actor`, `kind` (`labelled`, `rejected`, `new_kind`, `cannot_tell`,
    `retracted`) and `label`.
    """

    code = "stale"

    def __init__(self, message: str, now: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.now = dict(now or {})


class Unauthorized(LookalikeError):
    """A request came without an API key, or with an invalid one."""

    code = "unauthorized"


class Forbidden(LookalikeError):
    """The API key, or the signed address, does not allow the request."""

    code = "forbidden"


class MissingExtra(LookalikeError):
    """An optional dependency is not installed."""

    code = "missing_extra"

    @classmethod
    def named(cls, purpose: str, extra: str) -> MissingExtra:
        """Return the error that names the `extra` that `purpose` needs, with the pip command."""
        return cls(f"{purpose} needs an extra: pip install 'lookalike[{extra}]'")


class Unreachable(LookalikeError):
    """A server does not answer, or not as a Lookalike server does."""

    code = "unreachable"


class StoreError(LookalikeError):
    """The store cannot do what was asked."""

    code = "store_unavailable"


class NotAStore(StoreError):
    """The directory or database holds no store: something else, or nothing."""


class StoreTooNew(StoreError):
    """A newer version of Lookalike made the store."""


class StoreTooOld(StoreError):
    """The database server, or an extension of it, is too old for a store."""


class StoreUnreachable(StoreError):
    """The database or object storage is unreachable or rejects the credentials; try again later."""


class StoreBusy(StoreError):
    """Others hold the store, or all its connections, for too long; trying again may help."""


class StoreClosed(StoreError):
    """The store was closed before or during the call."""


class StoreUnwritable(StoreError):
    """The store is read-only, full, or on a file system that cannot lock."""


class StoreCorrupt(StoreError):
    """Stored rows or files contradict each other."""
