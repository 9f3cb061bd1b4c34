"""How the server is asked for a verb of `verbs.py`: arguments as JSON, an answer with a type."""

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
    """What the client's verbs stand on: a connection, and where on the server they are."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @abstractmethod
    def _place(self, verb: str) -> str:
        """Return the path of a verb."""

    def _ask(self, verb: str, reply: type[_Answer], said: Mapping[str, Any]) -> _Answer:
        return self._connection.ask(self._place(verb), reply, said)


def sent(route: str) -> Callable[[_Method], _Method]:
    """Let a method that is only declared ask for the verb at `route`."""

    def made(method: Any) -> Any:
        @wraps(method)
        def ask(caller: Caller, *args: Any, **values: Any) -> Any:
            return caller._ask(route, _reply(method), said(method, caller, *args, **values))

        return ask

    return made


def as_declared(
    declared: Callable[_Takes, Any],
) -> Callable[[Callable[..., _Answer]], Callable[_Takes, _Answer]]:
    """Let a method that is written by hand have the parameters of the one that is declared."""

    def made(method: Any) -> Any:
        answer = method.__annotations__["return"]
        method.__signature__ = _signature(declared).replace(return_annotation=answer)
        return method

    return made


def said(declared: Callable[..., Any], *args: Any, **values: Any) -> dict[str, Any]:
    """Return what is sent of the arguments of a method, by name: what is not its default.

    So an older server understands who wants nothing of it that it does not know. Raises TypeError
    for arguments that the method does not have.
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
    """The names of a module, and those of its `HOMES`, which are imported here."""

    def __missing__(self, name: str) -> Any:
        return getattr(import_module(self["HOMES"][name]), name)
