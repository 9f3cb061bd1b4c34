"""Commands that look and change nothing."""

from __future__ import annotations

import click

from lookalike.cli.output import (
    Fieldless,
    show_collections,
    show_history,
    show_inspection,
    show_queue,
    show_report,
    show_why,
)
from lookalike.cli.session import (
    Session,
    as_of_option,
    collection_argument,
    field_option,
    with_session,
)
from lookalike.quality.stats.metrics import Report


@click.command("list")
@with_session
def list_(session: Session) -> None:
    """List the collections of the store, with the state of each label field.

    \b
    lookalike list
    lookalike list --json
    """
    states: list[Report | Fieldless] = []
    with session.library() as library:
        for name in library.collections():
            collection = library.collection(name)
            reports = [collection.report(field=field) for field in collection.fields]
            states += reports or [Fieldless(name, len(collection))]
    session.print(states, show_collections)


@click.command()
@with_session
@collection_argument
@as_of_option
@field_option
def report(session: Session, collection: str, as_of: str | None, field: str | None) -> None:
    """Show coverage, queue, counts and the confidence histogram.

    \b
    lookalike report products
    lookalike report products --json
    lookalike report products --as-of 2026-03-01
    """
    with session.library() as library:
        target = library.collection(collection)
        shown = target if as_of is None else target.as_of(as_of)
        session.print(shown.report(field=field), show_report)


@click.command()
@with_session
@collection_argument
@click.option("--limit", default=20, show_default=True, help="How many documents.")
@click.option(
    "--second-opinion",
    metavar="SHARE",
    default=0.0,
    help="So much of what others answered, labels hidden.",
)
@field_option
def queue(
    session: Session, collection: str, limit: int, second_opinion: float, field: str | None
) -> None:
    """Show what is worth asking a person about, best question first.

    \b
    lookalike queue products
    lookalike queue products --limit 5
    lookalike queue products --second-opinion 0.2
    """
    with session.library() as library:
        verbs = library.collection(collection)
        questions = verbs.queue(limit=limit, field=field, second_opinion=second_opinion)
        session.print(questions, show_queue)


@click.command()
@with_session
@collection_argument
@field_option
def inspect(session: Session, collection: str, field: str | None) -> None:
    """Show what may be wrong with the references: wrong or contradictory labels, weak ones.

    \b
    lookalike inspect products
    """
    with session.library() as library:
        session.print(library.collection(collection).inspect(field=field), show_inspection)


@click.command()
@with_session
@collection_argument
@click.argument("id")
@field_option
def why(session: Session, collection: str, id: str, field: str | None) -> None:
    """Explain one document's label, or why it has none.

    \b
    lookalike why products doc_a
    """
    with session.library() as library:
        session.print(library.collection(collection).why(id, field=field), show_why)


@click.command()
@with_session
@collection_argument
@click.option("--limit", default=20, show_default=True, help="How many operations.")
def history(session: Session, collection: str, limit: int) -> None:
    """List the latest operations, the newest first.

    \b
    lookalike history products
    """
    with session.library() as library:
        session.print(library.collection(collection).operations(limit=limit), show_history)


COMMANDS = (list_, report, queue, inspect, why, history)
