"""`@verb` declares a method as a verb of the library: the server's route and the client follow.

The method's name, parameters, types, defaults and docstring are the declaration; `@verb(…)` adds
what they cannot say. `server.routes.verbs` makes the routes when the server starts;
`tools/make_client.py` writes `library.remote.verbs`, which loads none of the code behind a verb.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

PAGE = 1000
"""The largest number of documents, questions or operations in one answer of a server."""

_DECLARED = "__verb__"
_Method = TypeVar("_Method", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Verb:
    """A declared method `call`, and what its signature does not say.

    An API key needs the `scope`. `route` is the name over HTTP, None for a route written by hand;
    `client` tells whether the client's method is generated. If `paged`, `limit` is at most `PAGE`
    over HTTP, and `PAGE` by default.
    """

    call: Callable[..., Any]
    scope: str
    route: str | None
    client: bool
    paged: bool

    @property
    def method(self) -> str:
        """Return the method's name."""
        return self.call.__name__


def verb(
    scope: Literal["read", "label", "admin"],
    *,
    name: str = "",
    route: bool = True,
    client: bool = True,
    paged: bool = False,
) -> Callable[[_Method], _Method]:
    """Declare a method as a verb that needs a key with `scope`; for a property, its function.

    `name` is the route's name if it differs from the method's. With `client=False` the client's
    method is written by hand in `library.remote`; with `route=False` so is the server's route.
    """

    def declared(method: _Method) -> _Method:
        path = (name or method.__name__) if route else None
        setattr(method, _DECLARED, Verb(method, scope, path, client and route, paged))
        return method

    return declared


def verbs_of(owner: type) -> Iterator[Verb]:
    """Yield the verbs of a class: its own first, then those of its base classes."""
    for base in owner.__mro__:
        for member in vars(base).values():
            call = member.fget if isinstance(member, property) else member
            found = getattr(call, _DECLARED, None)
            if found is not None:
                yield found
