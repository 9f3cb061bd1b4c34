"""Call the verbs of `verbs.py` on a server: arguments as JSON, a typed answer."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache, wraps
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

from lookalike.library.remote.connection import Connection

_Method = TypeVar("_Method", bound=Callable[..., Any])
_Takes = ParamSpec("_Takes")
_Answer = TypeVar("_Answer")


class Caller(ABC):
    """Base class of the client's verbs: a connection, and the path of each verb."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @abstractmethod
    def _place(self, verb: str) -> str:
        """Return the path of a verb."""

    def _ask(self, verb: str, reply: type[_Answer], body: Mapping[str, Any]) -> _Answer:
        return self._connection.ask(self._place(verb), reply, body)


def sent(route: str) -> Callable[[_Method], _Method]:
    """Implement a declared method by a request to the verb at `route`."""

    def decorated(method: Any) -> Any:
        @wraps(method)
        def ask(caller: Caller, *args: Any, **values: Any) -> Any:
            return caller._ask(route, _reply(method), arguments(method, caller, *args, **values))

        return ask

    return decorated


def as_declared(
    declared: Callable[_Takes, Any],
) -> Callable[[Callable[..., _Answer]], Callable[_Takes, _Answer]]:
    """Give a handwritten method the parameters of the declared method."""

    def decorated(method: Any) -> Any:
        answer = method.__annotations__["return"]
        method.__signature__ = _signature(declared).replace(return_annotation=answer)
        return method

    return decorated


def arguments(declared: Callable[..., Any], *args: Any, **values: Any) -> dict[str, Any]:
    """Return the arguments to send for a method call, by name, without defaults.

    Leaving out defaults keeps a new client compatible with an older server that lacks the
    parameter. Raises TypeError for arguments that the method does not have.
    """
    signature = _signature(declared)
    (_, *given) = signature.bind(*args, **values).arguments.items()
    known = signature.parameters
    return {name: value for name, value in given if value is not known[name].default}


@cache
def _signature(method: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(method)


@cache
def _reply(method: Callable[..., Any]) -> Any:
    """Return the type of a method's answer."""
    return eval(method.__annotations__["return"], {}, _Types(method.__globals__))


class _Types(dict[str, Any]):
    """The names of a module, and of its `HOMES`, which are imported at first use."""

    def __missing__(self, name: str) -> Any:
        return getattr(import_module(self["HOMES"][name]), name)
