"""Commands that tell how far labels can be trusted, and what it costs to trust them."""

from __future__ import annotations

import click

from lookalike.cli.session import Session, collection_argument, field_option, with_session
from lookalike.cli.tabulating import show_agreement, show_cost


@click.command()
@with_session
@collection_argument
@click.option(
    "--wrong-costs",
    type=float,
    default=20,
    show_default=True,
    help="As how many reviews one wrong label.",
)
@field_option
def cost(session: Session, collection: str, wrong_costs: float, field: str | None) -> None:
    """Show what limits cost where a wrong label costs many reviews, and which costs least.

    \b
    lookalike cost products
    lookalike cost products --wrong-costs 50
    """
    with session.library() as library:
        session.print(library.collection(collection).cost(wrong_costs, field=field), show_cost)


@click.command()
@with_session
@collection_argument
@click.option("--blind", is_flag=True, help="Only what was answered without sight of a label.")
@field_option
def agreement(session: Session, collection: str, blind: bool, field: str | None) -> None:
    """Show how far people agree on what several answered, and which labels they confuse.

    \b
    lookalike agreement products
    lookalike agreement products --blind
    """
    with session.library() as library:
        found = library.collection(collection).agreement(field=field, blind=blind)
        session.print(found, show_agreement)


COMMANDS = (cost, agreement)
