"""Commands for versions: naming points in a ledger, comparing them, trying an old rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from lookalike.cli.session import Session, collection_argument, field_option, with_session

if TYPE_CHECKING:
    from lookalike.library.collection.history import Redecided
    from lookalike.library.versions import Comparison, Version
    from lookalike.model import Changed

_SHOWN = 10


@click.group()
def versions() -> None:
    """Name points in the history of a collection, and go back to them.

    \b
    lookalike versions keep products "spring 2026"
    lookalike versions compare products "spring 2026"
    lookalike versions decide products "spring 2026"
    """


@versions.command()
@with_session
@collection_argument
@click.argument("name")
@click.option("--note", default="", help="What is so then.")
@field_option
def keep(session: Session, collection: str, name: str, note: str, field: str | None) -> None:
    """Name the point where a label field is now.

    \b
    lookalike versions keep products "spring 2026" --note "before the new shoes"
    """
    with session.library() as library:
        kept = library.collection(collection).keep_version(name, note=note, field=field)
        session.print(kept, _show)


@versions.command("list")
@with_session
@collection_argument
@click.option("--retired", is_flag=True, help="Those that are retired, too.")
@field_option
def list_(session: Session, collection: str, retired: bool, field: str | None) -> None:
    """List the versions, the newest first.

    \b
    lookalike versions list products
    """
    with session.library() as library:
        found = library.collection(collection).versions(field=field, retired=retired)
        session.print(found, _show_all)


@versions.command()
@with_session
@collection_argument
@click.argument("before")
@click.argument("after", required=False)
@field_option
def compare(
    session: Session, collection: str, before: str, after: str | None, field: str | None
) -> None:
    """Show what differs between two points, or between one and now.

    A point is a version, an operation, the number of an event, or a time.

    \b
    lookalike versions compare products "spring 2026"
    lookalike versions compare products 2026-03-01 2026-04-01
    """
    with session.library() as library:
        told = library.collection(collection).compare_versions(before, after, field=field)
        session.print(told, _show_comparison)


@versions.command()
@with_session
@collection_argument
@click.argument("name")
def retire(session: Session, collection: str, name: str) -> None:
    """Offer a version no more; who asks for it still gets what it gave.

    \b
    lookalike versions retire products "spring 2026"
    """

    def show(_: Changed) -> str:
        return f"{name!r} is retired"

    with session.library() as library:
        session.print(library.collection(collection).retire_version(name), show)


@versions.command()
@with_session
@collection_argument
@click.argument("point")
@field_option
def decide(session: Session, collection: str, point: str, field: str | None) -> None:
    """Show what the references and the policy of a point say of the documents of now.

    Nothing is recorded.

    \b
    lookalike versions decide products "spring 2026"
    """
    with session.library() as library:
        told = library.collection(collection).as_of(point).decide(field=field)
        session.print(told, _show_redecided)


def _show(version: Version) -> str:
    note = f"  {version.note}" if version.note else ""
    gone = "  (retired)" if version.retired_at else ""
    return f"{version.name}  {version.at:%Y-%m-%d %H:%M}  {version.field}{note}{gone}"


def _show_all(found: Sequence[Version]) -> str:
    lines = [_show(one) for one in found]
    return "\n".join(lines) or "no version yet; name one with `lookalike versions keep`"


def _show_comparison(told: Comparison) -> str:
    lines = [f"{told.field}: {told.before} → {told.after or 'now'}"]
    lines += [f"  policy: {name} {was} → {now}" for name, (was, now) in told.policy.items()]
    lines += [f"  new label: {label}" for label in told.labels_added]
    lines += [f"  label gone: {label}" for label in told.labels_gone]
    lines += [
        f"  references of {label}: +{len(one.added)} −{len(one.removed)}"
        for label, one in told.references.items()
    ]
    lines += _pairs("reference", told.relabelled)
    lines += _pairs("decision", told.decisions)
    lines.append(f"  {told.arrived} documents came in between")
    return "\n".join(lines)


def _pairs(what: str, pairs: Mapping[str, tuple[Any, Any]]) -> list[str]:
    lines = [
        f"  {what} on {id}: {was or 'no label'} → {now or 'no label'}"
        for id, (was, now) in list(pairs.items())[:_SHOWN]
    ]
    left = len(pairs) - _SHOWN
    return lines + ([f"  … and {left} more"] if left > 0 else [])


def _show_redecided(told: Redecided) -> str:
    lines = [f"{told.field}: {told.same} would stay as they are"]
    for word, counts in (
        ("labelled", told.labelled),
        ("relabelled", told.relabelled),
        ("unlabelled", told.unlabelled),
    ):
        lines += [f"  {word:10} {count:6}  {label}" for label, count in counts.items()]
    return "\n".join(lines)


COMMANDS = (versions,)
