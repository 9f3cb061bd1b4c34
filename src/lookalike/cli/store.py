"""Commands about the whole store: diagnosis, backup, compaction, migration."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lookalike.cli.collections import extractor_options
from lookalike.cli.output import (
    show_backup,
    show_compacted,
    show_diagnosis,
    show_dropped,
    show_migrated,
    show_migration,
)
from lookalike.cli.session import Session, field_option, with_session
from lookalike.errors import BadInput, NotAStore
from lookalike.library.progress import progress_bar

if TYPE_CHECKING:
    from lookalike.library.library import Library
    from lookalike.quality.diagnosis.findings import Checkup, Finding, Step

_QUESTIONS = {
    "too_many_without_a_label": "too many without a label",
    "wrong_labels": "wrong labels",
    "does_not_improve": "does not improve",
}
_EXPLAINED = {
    "too_many_without_a_label": "of the unlabelled",
    "wrong_labels": "of wrong or doubtful labels",
    "does_not_improve": "of the unlabelled or the answers",
}


@click.command()
@with_session
@click.argument("collection", required=False)
@field_option
def doctor(session: Session, collection: str | None, field: str | None) -> None:
    """Diagnose low coverage, wrong labels or no improvement of a collection, and what to do.

    Without a collection: versions, embedding spaces and the store's integrity.

    \b
    lookalike doctor
    lookalike doctor products
    lookalike --store shop doctor products --json
    """
    if collection is None:
        if field is not None:
            raise BadInput(f"--field {field} needs a collection: lookalike doctor COLLECTION")
        _check_store(session)
        return
    from lookalike.library.library import place_of

    with session.library() as library:
        found = library.collection(collection).diagnose(field=field)
    if session.store is not None:
        found = in_store(found, place_of(session.store).shown())
    session.print(found, show_checkup)


def _check_store(session: Session) -> None:
    from lookalike.library.health import diagnose

    try:
        with session.library() as library:
            diagnosis = diagnose(library)
    except NotAStore:
        diagnosis = diagnose(None)
    session.print(diagnosis, show_diagnosis)
    if diagnosis.problems:
        raise SystemExit(1)


def in_store(found: Checkup, store: str) -> Checkup:
    """Return the findings with `--store` added to their commands."""
    prefix = shlex.join(["lookalike", "--store", store])

    def with_store(step: Step) -> Step:
        bare = step.command.removeprefix("lookalike ")
        return step if bare == step.command else replace(step, command=f"{prefix} {bare}")

    findings = tuple(
        replace(one, steps=tuple(with_store(step) for step in one.steps)) for one in found.findings
    )
    return replace(found, findings=findings)


def show_checkup(found: Checkup) -> str:
    """Return the findings, most important first, with the commands to run next."""
    lines = [
        f"{found.collection}.{found.field}: {found.documents} documents, {found.nulls} without a "
        f"label, {found.automatic} labelled automatically"
    ]
    if not found.findings:
        return "\n".join([*lines, f"no problem found; {len(found.checked)} causes checked"])
    for number, one in enumerate(found.findings, 1):
        lines += ["", *_finding(number, one)]
    return "\n".join(lines)


def _finding(number: int, one: Finding) -> Iterator[str]:
    explained = "" if one.share is None else f", {one.share:.0%} {_EXPLAINED[one.symptom]}"
    yield f"{number}. {_QUESTIONS[one.symptom]} ({one.severity}{explained}): {one.cause}"
    yield f"   {one.seen}"
    if one.labels:
        yield f"   labels: {', '.join(map(repr, one.labels))}"
    if one.ids:
        yield f"   such as: {', '.join(one.ids)}"
    yield f"   {one.why}"
    yield from (f"   → {step.command}" for step in one.steps)


# --- backup and compaction -----------------------------------------------------------------------


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
    """Back up the store to TARGET, a new directory, while others keep working.

    The backup is a store itself, without caches and logs. To restore it, back it up to the place of
    the store. A database has its own backups, such as pg_dump.

    \b
    lookalike backup backups/monday
    lookalike backup backups/tuesday --earlier backups/monday
    lookalike --store backups/tuesday backup restored
    """
    from lookalike.library.library import place_of
    from lookalike.library.maintenance import back_up

    with progress_bar("backing up") as progress:
        done = back_up(place_of(session.store), target, earlier=earlier, progress=progress)
    session.print(done, show_backup)


@click.command()
@with_session
def compact(session: Session) -> None:
    """Free the disk space of removed documents.

    It rewrites vectors and database, so the disk needs room for both twice. Others can read
    meanwhile; writers wait until it ends.

    \b
    lookalike compact
    """
    from lookalike.library.maintenance import compact as compact_store

    with session.library() as library, progress_bar("packing") as progress:
        done = compact_store(library.runtime, progress=progress)
    session.print(done, show_compacted)


# --- migration -----------------------------------------------------------------------------------


@click.command()
@with_session
@click.argument("collections", nargs=-1, required=True)
@click.option(
    "--extractor", multiple=True, help="image, text, … of another model; several are combined."
)
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="For the extractor.")
@click.option("--confidence-threshold", type=float, help="The similarity threshold after it.")
@click.option("--dry-run", is_flag=True, help="Only extract and compare.")
@click.option("--drop-old", is_flag=True, help="Erase the vectors of earlier extractors.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
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
    """Migrate collections to another extractor, and keep people's labels.

    It extracts while the old vectors stay in use, compares the decisions, asks, and switches in one
    step. Run it again to resume, or with the old extractor to go back.

    \b
    lookalike migrate products --extractor image --option model=large --dry-run
    lookalike migrate curated production --extractor image --yes
    lookalike migrate products --extractor image --extractor text
    lookalike migrate products --drop-old
    """
    if not extractor and not drop_old:
        raise BadInput("give the new extractor: --extractor NAME; or --drop-old")
    if dry_run and drop_old:
        raise BadInput("--dry-run changes nothing, and --drop-old erases: give only one of them")
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
            _confirm(f"Erase the vectors of other extractors in {', '.join(collections)}?", yes)
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
    _confirm(f"Migrate {', '.join(collections)} to {migration.after}?", yes)
    with progress_bar("extracting") as progress:
        changed = library.migrate(*collections, progress=progress, **given)
    session.print(changed, lambda value: show_migrated(value, migration))


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"{question} Cannot ask here; add --yes")
    click.confirm(question, abort=True, err=True)


COMMANDS = (
    doctor,
    backup,
    compact,
    migrate,
)
