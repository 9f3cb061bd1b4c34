"""Options and helpers that commands share: the store, printing, progress."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from lookalike.errors import NotAStore

if TYPE_CHECKING:
    from lookalike.library.library import Library

Command = Callable[..., None]

field_option = click.option(
    "--field", metavar="NAME", help="The label field [the collection's first]."
)
as_of_option = click.option(
    "--as-of", metavar="POINT", help="The state at a version, operation, event or time."
)
collection_argument = click.argument("collection")
_labels = click.option(
    "--labels",
    multiple=True,
    metavar='"A, B"',
    help='Declare these labels; quote a label with a comma: "A, ""B, C""".',
)
_closed_set = click.option(
    "--closed-set/--open-set",
    default=None,
    help="Allow only existing labels, or also others.",
)
_engine = click.option(
    "--engine",
    type=click.Choice(["threads", "ray"]),
    default="threads",
    help="Extract with threads on this machine [threads], or on a Ray cluster.",
)
_address = click.option(
    "--address", metavar="HOST:PORT", help="The Ray cluster, or 'auto' or 'local'."
)


def label_set_options(command: Command) -> Command:
    """Give a command `--labels` and `--closed-set`."""
    return _labels(_closed_set(command))


def label_names(given: Sequence[str]) -> list[str] | None:
    """Return the labels of all `--labels` options, split at commas; None without options."""
    rows = csv.reader(given, skipinitialspace=True)
    return [name.strip() for row in rows for name in row if name.strip()] if given else None


def engine_options(command: Command) -> Command:
    """Give a command `--engine` and `--address`."""
    return _engine(_address(command))


class Session:
    """The place of the store, as given, and whether to print JSON."""

    def __init__(self, store: str | None, as_json: bool) -> None:
        self.store = store
        self.as_json = as_json

    @contextmanager
    def library(self) -> Iterator[Library]:
        """Open the store, which must exist: a mistyped place does not create one."""
        from lookalike.library.library import place_of

        place = place_of(self.store)
        if not place.is_there():
            raise NotAStore(
                f"there is no store in {place.shown()!r}; create one with `lookalike create`, or "
                "give its place with --store"
            )
        with self.new_library() as library:
            yield library

    @contextmanager
    def new_library(self) -> Iterator[Library]:
        """Open the store; create it if it does not exist."""
        from lookalike.library.library import open

        with open(self.store) as library:
            yield library

    def print(self, value: Any, show: Callable[[Any], str]) -> None:
        """Print a value as JSON, or as the text that `show` returns."""
        if self.as_json:
            click.echo(json.dumps(value, default=_json_value, ensure_ascii=False, indent=2))
        else:
            click.echo(show(value))


def store_option(command: Command) -> Command:
    """Give a command `--store` and `--json`."""
    store = click.option(
        "--store", metavar="PLACE", help="The store [LOOKALIKE_STORE, ./lookalike]."
    )
    return store(click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command))


def with_session(command: Command) -> Command:
    """Pass the session as first argument; `--store` and `--json` may follow the command."""

    @click.pass_obj
    def wrapped(outer: Session, /, store: str | None, as_json: bool, **values: Any) -> None:
        command(Session(store or outer.store, as_json or outer.as_json), **values)

    shared = store_option(wrapped)
    shared.__name__ = command.__name__
    shared.__doc__ = command.__doc__
    vars(shared)["__click_params__"] += vars(command).get("__click_params__", [])
    return shared


def _json_value(value: Any) -> Any:
    """Return a result as JSON: its fields, and its properties with plain values."""
    if not dataclasses.is_dataclass(value):
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
    names = [field.name for field in dataclasses.fields(value)]
    computed = {
        name: getattr(value, name)
        for name, attribute in vars(type(value)).items()
        if isinstance(attribute, property)
    }
    plain = {n: v for n, v in computed.items() if isinstance(v, str | int | float | None)}
    return {name: getattr(value, name) for name in names} | plain
