"""The library's own verbs over HTTP, for `lookalike.connect`: bodies and answers as they are there.

A route is made from a method that is declared with `@verb`: its body has the method's arguments,
its answer is what the method returns. What is not declared stays local.
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
from lookalike.server.context import Asked, Here
from lookalike.server.replies import addressed, blobs_at
from lookalike.server.shapes import Body, IdempotencyKey, JsonRoute
from lookalike.stores.base import Txn

router = APIRouter(prefix="/v1", tags=["verbs"], route_class=JsonRoute)

_REQUEST = "request"
_LEFT_OUT = frozenset({"address", "engine", "source"})
_Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
_Few = Annotated[int, Field(ge=0, le=PAGE)]


@dataclass(frozen=True, slots=True)
class _Verb:
    """A method that is a route; see `Verb` for `paged`."""

    name: str
    call: Callable[..., Any]
    paged: bool = False

    @property
    def parameters(self) -> list[inspect.Parameter]:
        """Return what the method takes and a client can say."""
        _, *listed = inspect.signature(self.call).parameters.values()
        return [one for one in listed if one.name not in _LEFT_OUT]

    def body(self) -> type[Body]:
        """Return the shape of the body."""
        hints = get_type_hints(self.call)
        fields: dict[str, Any] = {}
        for one in self.parameters:
            kind: Any = _on_the_wire(hints[one.name])
            if one.kind is inspect.Parameter.VAR_KEYWORD:
                fields[one.name] = (dict[str, Any], Field(default_factory=dict))
            elif one.kind is inspect.Parameter.VAR_POSITIONAL:
                fields[one.name] = (list[str], ...)
            elif self.paged and one.name == "limit":
                fields[one.name] = (_Few, PAGE if one.default is None else one.default)
            else:
                fields[one.name] = (kind, _default(one))
        named = "".join(part.title() for part in self.name.split("_"))
        said = f"What the verb `{self.name}` takes."
        return create_model(f"{named}Verb", __base__=Body, __doc__=said, **fields)

    def reply(self) -> Any:
        """Return the shape of the answer: a collection is told by its name."""
        hint = get_type_hints(self.call)["return"]
        return str if hint is Collection else _on_the_wire(hint)

    def answer(self, here: Asked, owner: Any, body: Body, key: str) -> Any:
        """Call the method with what a body says, and return what it returns."""
        given = {name: getattr(body, name) for name in body.model_fields_set}
        if self.paged:
            given["limit"] = getattr(body, "limit")  # noqa: B009 the model is made from the method
        if key and "op_id" in type(body).model_fields:
            given["op_id"] = given.get("op_id") or key
        _check_actor(here, given.get("actor"))
        placed: list[Any] = []
        for one in self.parameters:
            if one.kind is inspect.Parameter.POSITIONAL_ONLY:
                placed.append(given.pop(one.name))
            elif one.kind is inspect.Parameter.VAR_POSITIONAL:
                placed += given.pop(one.name)
            elif one.kind is inspect.Parameter.VAR_KEYWORD:
                given |= _options(self, given.pop(one.name, {}))
        return _shown(self.call(owner, *placed, **given), _blobs_at(here, owner))


def _name(collection: Collection) -> str:
    """Return the collection's name, whether it was asked for by name or id."""
    return collection.name


def _as_of(collection: Collection, at: At) -> str:
    """Return the operation after which a collection was as it was at that point."""
    return collection.as_of(at).operation


def _declared(owner: type) -> Iterator[_Verb]:
    """Yield the routes that are made from the verbs of a class."""
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


def _of_collection(verb: _Verb, here: Asked, body: Body, key: str, collection: str) -> Any:
    return verb.answer(here, here.collection(collection), body, key)


def _of_past(verb: _Verb, here: Asked, body: Body, key: str, collection: str, as_of: str) -> Any:
    return verb.answer(here, here.collection(collection).as_of(as_of), body, key)


def _of_library(verb: _Verb, here: Asked, body: Body, key: str) -> Any:
    return verb.answer(here, here.library, body, key)


def _add(path: str, verb: _Verb, ask: Callable[..., Any]) -> None:
    """Add the route of a verb; its signature is made, as its body is."""

    def answer(here: Asked, body: Body, idempotency_key: str, **place: str) -> Any:
        return ask(verb, here, body, idempotency_key, **place)

    named = partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    parameters = [
        named("here", annotation=Here),
        named("body", annotation=verb.body()),
        named("idempotency_key", annotation=IdempotencyKey, default=""),
    ]
    if "{collection}" in path:
        parameters.append(named("collection", annotation=str))
    if ask is _of_past:
        parameters.append(named("as_of", annotation=str))
    answer.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    router.add_api_route(
        path,
        answer,
        methods=["POST"],
        name=verb.name,
        description=inspect.getdoc(verb.call) or f"Return the {verb.name}.",
        response_model=verb.reply(),
    )


def _on_the_wire(hint: Any) -> Any:
    """Return a type as JSON has it: lists for all that is iterated, numbers that a store holds."""
    origin, inner = get_origin(hint), tuple(map(_on_the_wire, get_args(hint)))
    if hint is int:
        return _Number
    if origin in (Iterable, Iterator, Sequence):
        return list[inner]  # type: ignore[valid-type]
    if origin in (Union, UnionType):
        return Union[inner]  # noqa: UP007 made at run time
    if origin is tuple or (isinstance(hint, type) and issubclass(hint, Enum)):
        return Annotated[hint, Field(strict=False)]  # in JSON a list, a text
    if origin is Mapping:
        return dict[inner]  # type: ignore[misc, valid-type]
    return hint


def _default(one: inspect.Parameter) -> Any:
    """Return the default of an argument; one that is no JSON stands for not given."""
    if one.default is inspect.Parameter.empty:
        return ...
    plain = one.default is None or isinstance(one.default, str | int | float | tuple)
    return one.default if plain else Field(default_factory=lambda: one.default)


def _options(verb: _Verb, options: Mapping[str, Any]) -> Mapping[str, Any]:
    taken = {*inspect.signature(verb.call).parameters} & {*options}
    if taken:
        raise BadInput(f"{min(taken)!r} is no option of an extractor; give it beside the options")
    return options


def _check_actor(here: Asked, actor: str | None) -> None:
    """Raise Forbidden for who speaks for others and may not."""
    if actor and not here.may_speak_for_others:
        raise Forbidden(
            f"this key speaks for itself, not as {actor[:100]!r}; leave the actor away, or take a "
            "key with the scope 'admin'"
        )


def _shown(found: Any, place: str) -> Any:
    """Return what a verb gave, where blobs are at addresses of the server, not at its paths."""
    match found:
        case Collection():
            return found.name
        case Document():
            return addressed(found, place)
        case Question():
            return replace(found, documents=tuple(_shown(one, place) for one in found.documents))
        case Why():
            return replace(found, document=addressed(found.document, place))
        case list() | Iterator():
            return [_shown(one, place) for one in found]
    return found


def _blobs_at(here: Asked, owner: Any) -> str:
    return blobs_at(here, owner.name) if isinstance(owner, CollectionBase) else ""


# --- making -------------------------------------------------------------------------------------


class BucketToBe(Body):
    """A bucket to be; `properties` gives the type of each field of its objects."""

    name: str
    properties: dict[str, str] = Field(default_factory=dict)


class CollectionToBe(Body):
    """A collection to be, without a label field."""

    name: str
    bucket: str | list[str] = Field(default_factory=list)
    source: str | None = None
    extractor: str | list[str | dict[str, Any]] = "image"
    inputs: dict[str, str] = Field(default_factory=dict)
    passthrough: dict[str, str] | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    def plan(self) -> CollectionPlan:
        """Return what is to be made."""
        buckets = (self.bucket,) if isinstance(self.bucket, str) else tuple(self.bucket)
        extractor, options = as_one(self.extractor, self.options)
        drawn = (self.name, buckets, self.source, extractor)
        return CollectionPlan(*drawn, options, self.inputs, self.passthrough)


@router.post("/verbs/create_bucket")
def create_bucket(body: BucketToBe, here: Here, idempotency_key: IdempotencyKey = "") -> str:
    """Make a bucket, and return its name."""
    spec = {"properties": body.properties, "about": {_REQUEST: idempotency_key}}
    with here.runtime.store.write() as txn:
        if not _was_made(txn, here, Kind.BUCKET, body.name, idempotency_key):
            make(txn, here.namespace, Kind.BUCKET, body.name, spec, at=here.runtime.clock())
    return body.name


@router.post("/verbs/create_collection")
def create_collection(
    body: CollectionToBe, here: Here, idempotency_key: IdempotencyKey = ""
) -> str:
    """Make a collection without a label field, and return its name; what is there waits for it."""
    plan = replace(body.plan(), about={_REQUEST: idempotency_key})
    with here.runtime.store.write() as txn:
        if not _was_made(txn, here, Kind.COLLECTION, plan.name, idempotency_key):
            make_collection(here.runtime, txn, here.namespace, plan)
    here.context.worker.wake()
    return plan.name


def _was_made(txn: Txn, here: Asked, kind: Kind, name: str, key: str) -> bool:
    """Tell whether the same request, whose answer was lost, has made a resource before."""
    row = find(txn, here.namespace, kind, name)
    return bool(key and row is not None and (row.spec.get("about") or {}).get(_REQUEST) == key)


_add_routes()
