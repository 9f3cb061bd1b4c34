"""Commands about the keys of a server."""

from __future__ import annotations

import click

from lookalike.cli.output import show_key, show_keys
from lookalike.cli.session import Session, with_session


@click.group()
def keys() -> None:
    """Make, list and revoke the keys that a server asks for.

    \b
    lookalike keys create --name ann --scope label
    lookalike keys list
    """


@keys.command()
@with_session
@click.option("--name", required=True, help="Whose key it is: recorded with what its holder says.")
@click.option(
    "--scope",
    type=click.Choice(["read", "label", "admin"]),
    default="label",
    show_default=True,
    help="What it may do; each may do what the ones before it may.",
)
@click.option("--namespace", metavar="NAME", help="Only for this namespace [for all].")
def create(session: Session, name: str, scope: str, namespace: str | None) -> None:
    """Make a key and print it: this once, as only its hash is kept.

    \b
    lookalike keys create --name ann --scope label --namespace shop
    """
    with session.new_library() as library:
        key = library.access().create(name, scope, namespace)
    session.print({"key": key}, lambda value: value["key"])


@keys.command("list")
@with_session
def list_(session: Session) -> None:
    """List the keys: whose they are and what they may do, not the keys themselves.

    \b
    lookalike keys list
    """
    with session.library() as library:
        session.print(library.access().listed(), show_keys)


@keys.command()
@with_session
@click.argument("id")
def revoke(session: Session, id: str) -> None:
    """End a key, from the next request on. ID is what `keys list` shows.

    \b
    lookalike keys revoke 0f3a5c7e9b1d
    """
    with session.library() as library:
        session.print(library.access().revoke(id), show_key)


COMMANDS = (keys,)
