"""Commands that tell how far labels can be trusted, and what it costs to trust them."""

from __future__ import annotations

import click

from lookalike.cli.session import Session, collection_argument, field_option, with_session
from lookalike.tabulating import show_cost


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


COMMANDS = (cost,)
