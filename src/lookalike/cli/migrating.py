"""The command that gives collections another extractor."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from lookalike.cli.making import extractor_options
from lookalike.cli.session import Session, progress_bar, with_session
from lookalike.cli.showing_moves import show_dropped, show_migrated, show_migration
from lookalike.errors import BadInput

if TYPE_CHECKING:
    from lookalike.library.library import Library


@click.command()
@with_session
@click.argument("collections", nargs=-1, required=True)
@click.option(
    "--extractor", multiple=True, help="image, text, … of another model; several are combined."
)
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="For the extractor.")
@click.option("--confidence-threshold", type=float, help="The similarity to label at, there.")
@click.option("--dry-run", is_flag=True, help="Only extract and compare.")
@click.option("--drop-old", is_flag=True, help="Erase the spaces that are not in force.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def migrate(
    session: Session,
    collections: Sequence[str],
    extractor: Sequence[str],
    options: Sequence[str],
    confidence_threshold: float | None,
    dry_run: bool,
    drop_old: bool,
    yes: bool,
) -> None:
    """Change collections to another extractor, and keep what people said.

    Extracts beside what is in force, compares, asks, and switches in one step; run it again to
    resume, or with the old extractor to go back.

    \b
    lookalike migrate products --extractor image --option model=large --dry-run
    lookalike migrate curated production --extractor image --yes
    lookalike migrate products --extractor image --extractor text
    lookalike migrate products --drop-old
    """
    if not extractor and not drop_old:
        raise BadInput("say which extractor: --extractor NAME; or --drop-old")
    if dry_run and drop_old:
        raise BadInput("--dry-run changes nothing, and --drop-old erases: say one of them")
    with session.library() as library:
        from lookalike.extractors.registry import as_one

        if extractor:
            name, own = as_one(extractor, extractor_options(options))
            given = {
                "extractor": name,
                "options": own or None,
                "confidence_threshold": confidence_threshold,
            }
            _change(session, library, collections, given, dry_run=dry_run, yes=yes)
        if drop_old:
            _confirm(f"Erase what {', '.join(collections)} had of other extractors?", yes)
            session.print(library.drop_spaces(*collections), show_dropped)


def _change(
    session: Session,
    library: Library,
    collections: Sequence[str],
    given: dict[str, Any],
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    with progress_bar("extracting") as progress:
        migration = library.prepare_migration(*collections, progress=progress, **given)
    if dry_run:
        session.print(migration, show_migration)
        return
    click.echo(show_migration(migration), err=session.as_json)
    _confirm(f"Change {', '.join(collections)} to {migration.after}?", yes)
    with progress_bar("extracting") as progress:
        changed = library.migrate(*collections, progress=progress, **given)
    session.print(changed, lambda value: show_migrated(value, migration))


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"{question} Cannot ask here; say --yes")
    click.confirm(question, abort=True, err=True)


COMMANDS = (migrate,)
