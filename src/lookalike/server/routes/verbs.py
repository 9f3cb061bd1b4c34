"""The library's verbs over HTTP, for `lookalike.connect`: `POST …/verbs/NAME`.

Each method declared with `@verb` becomes a route: its body has the method's arguments, its reply
is what the method returns. Other methods have no route.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from fastapi import APIRouter
from pydantic import Field, create_model
from typing_extensions import is_protocol

from lookalike.catalog.resources import Kind, find, make
from lookalike.decisions.as_of import At
from lookalike.errors import BadInput, Forbidden
from lookalike.extractors.registry import as_one
from lookalike.library.collection.base import CollectionBase
from lookalike.library.collection.collection import Collection
from lookalike.library.collection.explanations import Why
from lookalike.library.collection.history import Past
from lookalike.library.create import CollectionPlan, make_collection
from lookalike.library.library import Library
from lookalike.library.verb import PAGE, verbs_of
from lookalike.model import Document, Question
from lookalike.server.context import Context, Here
from lookalike.server.replies import blob_url_template, with_blob_urls
from lookalike.server.shapes import Body, IdempotencyKey, JsonRoute
from lookalike.stores.base import Txn

router = APIRouter(prefix="/v1", tags=["verbs"], route_class=JsonRoute)

_REQUEST = "request"
_LOCAL_ONLY = frozenset({"address", "engine", "source"})
_Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
_PageSize = Annotated[int, Field(ge=0, le=PAGE)]


@dataclass(frozen=True, slots=True)
class _Verb:
    """A method `call` with the `name` of its route; see `library.verb.Verb` for `paged`."""

    name: str
    call: Callable[..., Any]
    paged: bool = False

    @property
    def parameters(self) -> list[inspect.Parameter]:
        """Return the method's parameters that a client can send."""
        _, *listed = inspect.signature(self.call).parameters.values()
        return [one for one in listed if one.name not in _LOCAL_ONLY]

    def body(self) -> type[Body]:
        """Return the model of the body."""
        hints = get_type_hints(self.call)
        fields: dict[str, Any] = {}
        for one in self.parameters:
            if one.kind is inspect.Parameter.VAR_KEYWORD:
                fields[one.name] = (dict[str, Any], Field(default_factory=dict))
            elif one.kind is inspect.Parameter.VAR_POSITIONAL:
                fields[one.name] = (list[str], ...)
            elif self.paged and one.name == "limit":
                fields[one.name] = (_PageSize, PAGE if one.default is None else one.default)
            else:
                fields[one.name] = (_json_type(hints[one.name]), _default(one))
        title = "".join(part.title() for part in self.name.split("_"))
        doc = f"The arguments of the verb `{self.name}`."
        return create_model(f"{title}Verb", __base__=Body, __doc__=doc, **fields)

    def reply(self) -> Any:
        """Return the type of the reply; a collection is sent as its name."""
        hint = get_type_hints(self.call)["return"]
        return str if hint is Collection else _json_type(hint)

    def answer(self, here: Context, owner: Any, body: Body, key: str) -> Any:
        """Call the method on `owner` with the arguments in a body; return its result for JSON."""
        given = {name: getattr(body, name) for name in body.model_fields_set}
        if self.paged:
            given["limit"] = getattr(body, "limit")  # noqa: B009 the model is made from the method
        if key and "op_id" in type(body).model_fields:
            given["op_id"] = given.get("op_id") or key
        _check_actor(here, given.get("actor"))
        positional: list[Any] = []
        for one in self.parameters:
            if one.kind is inspect.Parameter.POSITIONAL_ONLY:
                positional.append(given.pop(one.name))
            elif one.kind is inspect.Parameter.VAR_POSITIONAL:
                positional += given.pop(one.name)
            elif one.kind is inspect.Parameter.VAR_KEYWORD:
                given |= _options(self, given.pop(one.name, {}))
        return _for_json(self.call(owner, *positional, **given), _blob_urls(here, owner))


def _name(collection: Collection) -> str:
    """Return the collection's name, whether the URL has its name or its id."""
    return collection.name


def _as_of(collection: Collection, at: At) -> str:
    """Return the last operation at a point of the collection's history."""
    return collection.as_of(at).operation


def _declared(owner: type) -> Iterator[_Verb]:
    """Yield the verbs of a class that have a generated route."""
    for verb in verbs_of(owner):
        if verb.route is not None:
            yield _Verb(verb.route, verb.call, verb.paged)


_OF_COLLECTION = (_Verb("name", _name), *_declared(Collection), _Verb("as_of", _as_of))
_OF_PAST = tuple(replace(one, name=f"{one.name}_as_of") for one in _declared(Past))
_OF_LIBRARY = tuple(_declared(Library))


def _add_routes() -> None:
    for verb in _OF_COLLECTION:
        _add(f"/collections/{{collection}}/verbs/{verb.name}", verb, _of_collection)
    for verb in _OF_PAST:
        _add(f"/collections/{{collection}}/verbs/{verb.name}", verb, _of_past)
    for verb in _OF_LIBRARY:
        _add(f"/verbs/{verb.name}", verb, _of_library)


def _of_collection(verb: _Verb, here: Context, body: Body, key: str, collection: str) -> Any:
    return verb.answer(here, here.collection(collection), body, key)


def _of_past(verb: _Verb, here: Context, body: Body, key: str, collection: str, as_of: str) -> Any:
    return verb.answer(here, here.collection(collection).as_of(as_of), body, key)


def _of_library(verb: _Verb, here: Context, body: Body, key: str) -> Any:
    return verb.answer(here, here.library, body, key)


def _add(path: str, verb: _Verb, call: Callable[..., Any]) -> None:
    """Add the route of a verb. FastAPI reads the handler's signature, so that is generated, too."""

    def answer(here: Context, body: Body, idempotency_key: str, **place: str) -> Any:
        return call(verb, here, body, idempotency_key, **place)

    parameter = partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    parameters = [
        parameter("here", annotation=Here),
        parameter("body", annotation=verb.body()),
        parameter("idempotency_key", annotation=IdempotencyKey, default=""),
    ]
    if "{collection}" in path:
        parameters.append(parameter("collection", annotation=str))
    if call is _of_past:
        parameters.append(parameter("as_of", annotation=str))
    answer.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    router.add_api_route(
        path,
        answer,
        methods=["POST"],
        name=verb.name,
        description=inspect.getdoc(verb.call) or f"Return the {verb.name}.",
        response_model=verb.reply(),
    )


def _json_type(hint: Any) -> Any:
    """Return a type for JSON: iterables become lists, integers fit a column of the store."""
    origin, inner = get_origin(hint), tuple(map(_json_type, get_args(hint)))
    if hint is int:
        return _Number
    if origin in (Iterable, Iterator, Sequence):
        return list[inner]  # type: ignore[valid-type]
    if origin in (Union, UnionType):
        inner = tuple(one for one in inner if not is_protocol(one))  # a table is sent as its rows
        return Union[inner]  # noqa: UP007 made at run time
    if origin is tuple or (isinstance(hint, type) and issubclass(hint, Enum)):
        return Annotated[hint, Field(strict=False)]  # JSON has lists and texts instead
    if origin is Mapping:
        return dict[inner]  # type: ignore[misc, valid-type]
    return hint


def _default(one: inspect.Parameter) -> Any:
    """Return the default of an argument; a default that is not JSON means that it is not given."""
    if one.default is inspect.Parameter.empty:
        return ...
    plain = one.default is None or isinstance(one.default, str | int | float | tuple)
    return one.default if plain else Field(default_factory=lambda: one.default)


def _options(verb: _Verb, options: Mapping[str, Any]) -> Mapping[str, Any]:
    taken = {*inspect.signature(verb.call).parameters} & {*options}
    if taken:
        raise BadInput(f"{min(taken)!r} is no option of an extractor; give it outside of `options`")
    return options


def _check_actor(here: Context, actor: str | None) -> None:
    """Raise Forbidden where the caller names another actor without the scope `admin`."""
    if actor and not here.may_speak_for_others:
        raise Forbidden(
            f"this key cannot act as {actor[:100]!r}; leave out the actor, or use a key with the "
            "scope 'admin'"
        )


def _for_json(result: Any, template: str) -> Any:
    """Return a verb's result for JSON: its blobs have URLs of the server instead of local paths."""
    match result:
        case Collection():
            return result.name
        case Document():
            return with_blob_urls(result, template)
        case Question():
            documents = tuple(with_blob_urls(one, template) for one in result.documents)
            return replace(result, documents=documents)
        case Why():
            return replace(result, document=with_blob_urls(result.document, template))
        case list() | Iterator():
            return [_for_json(one, template) for one in result]
    return result


def _blob_urls(here: Context, owner: Any) -> str:
    return blob_url_template(here, owner.name) if isinstance(owner, CollectionBase) else ""


# --- create buckets and collections --------------------------------------------------------------


class BucketToBe(Body):
    """A new bucket; `properties` gives the type of each field of its objects."""

    name: str
    properties: dict[str, str] = Field(default_factory=dict)


class CollectionToBe(Body):
    """A new collection, without a label field."""

    name: str
    bucket: str | list[str] = Field(default_factory=list)
    source: str | None = None
    extractor: str | list[str | dict[str, Any]] = "image"
    inputs: dict[str, str] = Field(default_factory=dict)
    passthrough: dict[str, str] | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    def plan(self) -> CollectionPlan:
        """Return the plan of the collection."""
        buckets = (self.bucket,) if isinstance(self.bucket, str) else tuple(self.bucket)
        extractor, options = as_one(self.extractor, self.options)
        origin = (self.name, buckets, self.source, extractor)
        return CollectionPlan(*origin, options, self.inputs, self.passthrough)


@router.post("/verbs/create_bucket")
def create_bucket(body: BucketToBe, here: Here, idempotency_key: IdempotencyKey = "") -> str:
    """Create a bucket, and return its name."""
    spec = {"properties": body.properties, "about": {_REQUEST: idempotency_key}}
    with here.runtime.store.write() as txn:
        if not _was_made(txn, here, Kind.BUCKET, body.name, idempotency_key):
            make(txn, here.namespace, Kind.BUCKET, body.name, spec, at=here.runtime.clock())
    return body.name


@router.post("/verbs/create_collection")
def create_collection(
    body: CollectionToBe, here: Here, idempotency_key: IdempotencyKey = ""
) -> str:
    """Create a collection without a label field, and return its name; a worker fills it."""
    plan = replace(body.plan(), about={_REQUEST: idempotency_key})
    with here.runtime.store.write() as txn:
        if not _was_made(txn, here, Kind.COLLECTION, plan.name, idempotency_key):
            make_collection(here.runtime, txn, here.namespace, plan)
    here.server.worker.wake()
    return plan.name


def _was_made(txn: Txn, here: Context, kind: Kind, name: str, key: str) -> bool:
    """Tell whether an earlier request with this idempotency key created the resource."""
    row = find(txn, here.namespace, kind, name)
    return bool(key and row is not None and (row.spec.get("about") or {}).get(_REQUEST) == key)


_add_routes()
