"""Commands for versions: name points in the history, compare them, decide with an old policy."""

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
    """Name points in the history of a collection, compare them, and decide as then.

    \b
    lookalike versions keep products "spring 2026"
    lookalike versions compare products "spring 2026"
    lookalike versions decide products "spring 2026"
    """


@versions.command()
@with_session
@collection_argument
@click.argument("name")
@click.option("--note", default="", help="A note about the version.")
@field_option
def keep(session: Session, collection: str, name: str, note: str, field: str | None) -> None:
    """Name the current state of a label field as a version.

    \b
    lookalike versions keep products "spring 2026" --note "before the new shoes"
    """
    with session.library() as library:
        kept = library.collection(collection).keep_version(name, note=note, field=field)
        session.print(kept, _show)


@versions.command("list")
@with_session
@collection_argument
@click.option("--retired", is_flag=True, help="Also retired versions.")
@field_option
def list_(session: Session, collection: str, retired: bool, field: str | None) -> None:
    """List the versions, newest first.

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
    """Show the differences between two points, or between a point and now.

    A point is a version, an operation, the number of an event, or a time.

    \b
    lookalike versions compare products "spring 2026"
    lookalike versions compare products 2026-03-01 2026-04-01
    """
    with session.library() as library:
        comparison = library.collection(collection).compare_versions(before, after, field=field)
        session.print(comparison, _show_comparison)


@versions.command()
@with_session
@collection_argument
@click.argument("name")
def retire(session: Session, collection: str, name: str) -> None:
    """Hide a version from lists; it stays readable by its name.

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
    """Decide the current documents with the references and policy of an earlier point.

    It shows the differences and changes nothing.

    \b
    lookalike versions decide products "spring 2026"
    """
    with session.library() as library:
        redecided = library.collection(collection).as_of(point).decide(field=field)
        session.print(redecided, _show_redecided)


def _show(version: Version) -> str:
    note = f"  {version.note}" if version.note else ""
    retired = "  (retired)" if version.retired_at else ""
    return f"{version.name}  {version.at:%Y-%m-%d %H:%M}  {version.field}{note}{retired}"


def _show_all(found: Sequence[Version]) -> str:
    lines = [_show(one) for one in found]
    return "\n".join(lines) or "no version yet; name one with `lookalike versions keep`"


def _show_comparison(found: Comparison) -> str:
    lines = [f"{found.field}: {found.before} → {found.after or 'now'}"]
    lines += [f"  policy: {name} {old} → {new}" for name, (old, new) in found.policy.items()]
    lines += [f"  new label: {label}" for label in found.labels_added]
    lines += [f"  removed label: {label}" for label in found.labels_gone]
    lines += [
        f"  references of {label}: +{len(one.added)} −{len(one.removed)}"
        for label, one in found.references.items()
    ]
    lines += _pairs("reference", found.relabelled)
    lines += _pairs("decision", found.decisions)
    lines.append(f"  {found.arrived} documents were added in between")
    return "\n".join(lines)


def _pairs(what: str, pairs: Mapping[str, tuple[Any, Any]]) -> list[str]:
    lines = [
        f"  {what} {id}: {old or 'no label'} → {new or 'no label'}"
        for id, (old, new) in list(pairs.items())[:_SHOWN]
    ]
    left = len(pairs) - _SHOWN
    return lines + ([f"  … and {left} more"] if left > 0 else [])


def _show_redecided(found: Redecided) -> str:
    lines = [f"{found.field}: {found.same} decisions would stay the same"]
    for word, counts in (
        ("labelled", found.labelled),
        ("relabelled", found.relabelled),
        ("unlabelled", found.unlabelled),
    ):
        lines += [f"  {word:10} {count:6}  {label}" for label, count in counts.items()]
    return "\n".join(lines)


COMMANDS = (versions,)
