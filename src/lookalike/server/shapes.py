"""What the routes share: strict JSON, base classes of bodies and replies, paging of lists."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Self, TypeVar

from fastapi import Depends, Header, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError, from_json
from starlette.exceptions import HTTPException

from lookalike.catalog.pages import MAX_COUNT
from lookalike.errors import BadInput

# --- strict JSON: UTF-8, each key once, finite numbers -------------------------------------------

_DIGITS_TO_ONES = bytes.maketrans(b"023456789E", b"111111111e")
_MAYBE_TOO_LARGE = (b"1" * 300, b"e111", b"e+111")
"""With all digits turned to ones, a body with a too large number has one of these in it."""

_VECTOR = re.compile(rb"\[[-+.0-9eE, ]{64,}\]")
"""A list of numbers has no keys, so the search for repeated keys skips it, for speed."""


def read_json(data: bytes) -> Any:
    """Parse JSON. Raises ValueError, with the reason, for invalid or ambiguous JSON."""
    value = from_json(data, allow_inf_nan=False)
    ones = data.translate(_DIGITS_TO_ONES)
    if any(part in ones for part in _MAYBE_TOO_LARGE):
        json.loads(
            data,
            object_pairs_hook=_check_unique,
            parse_float=_check_finite,
            parse_int=_check_finite,
        )
        return value
    try:
        json.loads(_VECTOR.sub(b"[]", data), object_pairs_hook=_check_unique)
    except ValueError:  # a repeated key, or keys that differ only in what looks like a vector
        json.loads(data, object_pairs_hook=_check_unique)
    return value


def _check_unique(pairs: list[tuple[str, Any]]) -> None:
    """Raise ValueError for a repeated key: parsers differ in which of its values they take."""
    if len({name for name, _ in pairs}) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"the key {twice[:80]!r} is given twice")


def _check_finite(text: str) -> None:
    if not math.isfinite(float(text)):
        raise ValueError(f"the number {text[:40]}{'…' if len(text) > 40 else ''} is too large")


# -------------------------------------------------------------------------------------------------

DEFAULT_PAGE = 100
MAX_PAGE = 1000
MAX_SEARCH_CHARACTERS = 300
_Item = TypeVar("_Item")
_WHOLE = re.compile(r"[0-9]{1,18}")
_JSON = re.compile(r"application/([a-z0-9.-]+\+)?json")

Name = Annotated[
    str,
    Field(
        description="letters, digits, `_` and `-`, 3 to 100",
        json_schema_extra={"pattern": "^[A-Za-z0-9_-]{3,100}$"},
    ),
]
IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        max_length=100,
        description="a name for this request: a repeated request with it returns the first result",
    ),
]
IfMatch = Annotated[str, Header(alias="If-Match", description="the ETag of the state you read")]
Wait = Annotated[
    float | None,
    Query(ge=0, le=60, description="wait up to so many seconds for the work that this causes"),
]
Presigned = Annotated[bool, Query(description="include URLs of the blobs that need no key")]


class Body(BaseModel):
    """The body of a request. An unknown key is an error that lists the known ones.

    Pydantic's strict mode converts no types: neither `true` nor "1" is the number 1.
    """

    model_config = ConfigDict(extra="forbid", strict=True, ser_json_inf_nan="null")
    idle: ClassVar[frozenset[str]] = frozenset()
    """Keys that the Mixpeek client sends and the server ignores."""

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        unknown = [key for key in data if key not in known and key not in cls.idle]
        if unknown:
            listed = ", ".join(sorted(known)) or "none"
            raise PydanticCustomError(
                "unknown_key",
                "unknown key {key} (known: {known})",
                {"key": repr(str(unknown[0])[:200]), "known": listed},
            )
        return {key: value for key, value in data.items() if key in known}

    def arguments(self, key: str) -> dict[str, Any]:
        """Return the body as arguments of its verb; without an own `op_id`, that is the `key`."""
        return {**dict(self), "op_id": getattr(self, "op_id", "") or key}


class OpenBody(Body):
    """A body whose unknown keys are metadata fields, in addition to `metadata`."""

    model_config = ConfigDict(extra="allow")
    metadata: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if key not in cls.idle}

    def all_metadata(self) -> dict[str, Any]:
        """Return the metadata of both places. Raises BadInput where they contradict each other."""
        flat = dict(self.model_extra or {})
        given = self.metadata or {}
        for name in flat.keys() & given:
            if flat[name] != given[name]:
                raise BadInput(f"{name!r} is given twice, with different values; give it once")
        return {**given, **flat}


class Reply(BaseModel):
    """The body of a response."""

    @classmethod
    def of(cls, source: object, **fields: Any) -> Self:
        """Return a reply with these `fields`; the others are the same attributes of `source`."""
        names = cls.model_fields.keys() - fields
        return cls(**fields, **{name: getattr(source, name) for name in names})


class Pagination(Reply):
    """The position of a page; send `next_cursor` as `cursor` to get the next page."""

    page: int
    page_size: int
    next_page: str | None = None
    previous_page: str | None = None
    next_cursor: str | None = None
    total: int | None = None
    total_pages: int | None = None


class ErrorDetail(Reply):
    """An error: `code` is stable, `message` says what to do."""

    code: str
    type: str
    message: str
    details: dict[str, Any]


class ErrorReply(Reply):
    """The body of every error response."""

    status: int
    success: bool
    error: ErrorDetail


class Deleted(Reply):
    """Confirms that something was deleted."""

    success: bool = True
    message: str


class ListBody(Body):
    """Filters, order and page of a list, in the body; the query can give them, too."""

    idle: ClassVar = frozenset({"include_system", "return_vectors", "namespace_id", "stats"})
    filters: Any = None
    search: str | None = Field(default=None, max_length=MAX_SEARCH_CHARACTERS)
    case_sensitive: bool | None = None
    sort: Any = None
    sorts: Any = None
    sort_by: str | None = None
    limit: int | None = Field(default=None, ge=1, le=MAX_PAGE)
    page_size: int | None = Field(default=None, ge=1, le=MAX_PAGE)
    offset: int | None = Field(default=None, ge=0, le=2**31)
    page: int | None = Field(default=None, ge=1, le=2**31)
    cursor: str | None = None
    include_total: bool | None = None
    return_presigned_urls: bool = False


class Paged:
    """The requested page, from query and body; the query takes precedence."""

    def __init__(
        self,
        limit: Annotated[int | None, Query(ge=1, le=MAX_PAGE)] = None,
        page_size: Annotated[int | None, Query(ge=1, le=MAX_PAGE)] = None,
        offset: Annotated[int | None, Query(ge=0, le=2**31)] = None,
        page: Annotated[int | None, Query(ge=1, le=2**31)] = None,
        cursor: str | None = None,
        next_cursor: str | None = None,
        after: str | None = None,
        include_total: Annotated[
            bool | None, Query(description=f"count all rows; otherwise at most {MAX_COUNT:,}")
        ] = None,
    ) -> None:
        self.size = limit or page_size
        self.page = page
        self.offset = offset
        self.cursor = cursor or next_cursor or after
        self.include_total = include_total

    def of(self, body: ListBody | None) -> Self:
        """Fill in from a body what the query left out, and the default size; return self."""
        if body is not None:
            self.size = self.size or body.page_size or body.limit
            self.page = self.page or body.page
            self.offset = body.offset if self.offset is None else self.offset
            self.cursor = self.cursor or body.cursor
            if self.include_total is None:
                self.include_total = body.include_total
        self.size = self.size or DEFAULT_PAGE
        return self

    @property
    def start(self) -> int:
        """Return the number of rows before the page; a cursor overrides it."""
        size = self.size or DEFAULT_PAGE
        return self.offset or ((self.page or 1) - 1) * size

    @property
    def count_at_most(self) -> int | None:
        """Return the number of rows at which counting stops; None to count all."""
        return None if self.include_total else MAX_COUNT

    def pagination(self, next_cursor: str | None, total: int | None) -> Pagination:
        """Return the pagination of the reply."""
        size = self.size or DEFAULT_PAGE
        counted = total if self.include_total else None
        return Pagination(
            page=self.page or self.start // size + 1,
            page_size=size,
            next_cursor=next_cursor,
            total=counted,
            total_pages=None if counted is None else -(-counted // size),
        )

    def of_list(
        self, rows: Sequence[_Item], place: Callable[[_Item], int]
    ) -> tuple[list[_Item], Pagination]:
        """Return one page of a list in memory; `place` gives each row a unique number.

        A cursor names the last row of the previous page, so added or deleted rows shift no others:
        always if the list is sorted by `place`; in another order while that row exists.
        """
        start, size = self.start, self.size or DEFAULT_PAGE
        if self.cursor:
            given = re.fullmatch(r"(-?[0-9]{1,18})\.([0-9]{1,9})", self.cursor)
            if given is None:
                raise BadInput(
                    f"{self.cursor[:80]!r} is not a cursor of this list; send the next_cursor of a "
                    "reply, or start without a cursor"
                )
            start = _after([place(row) for row in rows], int(given[1]), int(given[2]))
        end = start + size
        more = f"{place(rows[end - 1])}.{end - 1}" if end < len(rows) else None
        return list(rows[start:end]), self.pagination(more, len(rows))


def _after(places: Sequence[int], last: int, index: int) -> int:
    """Return the index after the row `last`, which was at `index` in the previous page."""
    if last in places:
        return places.index(last) + 1
    in_order = all(before <= after for before, after in pairwise(places))
    return bisect_right(places, last) if in_order else index


Pages = Annotated[Paged, Depends()]


def whole_number(text: str) -> int | None:
    """Parse a whole number of at most 18 digits; return None for any other text."""
    return int(text) if _WHOLE.fullmatch(text) else None


class JsonRequest(Request):
    """A request whose JSON is parsed strictly, by `read_json`."""

    async def json(self) -> Any:
        """Return the parsed body. Raises HTTPException (400) for invalid JSON."""
        body = await self.body()
        try:
            return read_json(body)
        except ValueError as error:
            raise HTTPException(400, f"the body is not JSON: {error}; send UTF-8 JSON") from error

    def check_type(self) -> None:
        """Raise HTTPException (415) for a body whose Content-Type is not JSON."""
        has_body = self.headers.get("content-length", "0") != "0"
        if not has_body and "transfer-encoding" not in self.headers:
            return
        given = self.headers.get("content-type", "")
        if not _JSON.fullmatch(given.partition(";")[0].strip().lower()):
            found = f"is {given[:80]!r}" if given else "has no Content-Type"
            raise HTTPException(415, f"the body {found}; send Content-Type: application/json")


class JsonRoute(APIRoute):
    """A FastAPI route that parses JSON strictly."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return FastAPI's handler, wrapped to get a JsonRequest."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            strict = JsonRequest(request.scope, request.receive)
            if self.body_field is not None:
                strict.check_type()
            response: Response = await handler(strict)
            return response

        return handle


class ValueCount(Reply):
    """A value, and the number of documents with it."""

    value: Any
    count: int
