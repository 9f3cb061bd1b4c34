"""The commands that keep a store somewhere else, and small."""

from __future__ import annotations

from pathlib import Path

import click

from lookalike.cli.session import Session, progress_bar, with_session
from lookalike.cli.showing_moves import show_backup, show_compacted


@click.command()
@with_session
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--earlier",
    type=click.Path(path_type=Path),
    metavar="BACKUP",
    help="An earlier backup on the same disk: files that it has are not copied again.",
)
def backup(session: Session, target: Path, earlier: Path | None) -> None:
    """Keep the store as it is now in TARGET, a new directory; others go on working.

    The backup is a store itself, without caches and logs: to restore it, back it up to where the
    store shall be. A database has its own backups, such as pg_dump.

    \b
    lookalike backup backups/monday
    lookalike backup backups/tuesday --earlier backups/monday
    lookalike --store backups/tuesday backup restored
    """
    from lookalike.library.library import place_of
    from lookalike.library.maintenance import back_up

    with progress_bar("keeping") as progress:
        kept = back_up(place_of(session.store), target, earlier=earlier, progress=progress)
    session.print(kept, show_backup)


@click.command()
@with_session
def compact(session: Session) -> None:
    """Give back the room on the disk that removed documents left.

    Vectors and database are written anew, without what is left of them: have room for both twice.
    Others go on reading meanwhile; who writes waits for the end.

    \b
    lookalike compact
    """
    from lookalike.library.compacting import compact as compact_store

    with session.library() as library, progress_bar("packing") as progress:
        done = compact_store(library.workshop, progress=progress)
    session.print(done, show_compacted)


COMMANDS = (backup, compact)
