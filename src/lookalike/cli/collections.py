"""Commands that create a collection and show its state: report, queue, explanations, history."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import click

from lookalike.cli.output import (
    Fieldless,
    show_collections,
    show_demo,
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
    label_names,
    label_set_options,
    with_session,
)
from lookalike.errors import BadInput
from lookalike.library.progress import progress_bar
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
    """Show coverage, queue, precision, labels and the confidence histogram.

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
@click.option("--limit", default=20, show_default=True, help="The number of questions.")
@click.option(
    "--second-opinion",
    metavar="SHARE",
    default=0.0,
    help="The share of duplicate annotations: answered by others, labels hidden.",
)
@field_option
def queue(
    session: Session, collection: str, limit: int, second_opinion: float, field: str | None
) -> None:
    """Show the review queue: the questions to answer, most valuable first.

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
    """Show problems of the references: probably wrong, contradictory or weak labels.

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
@click.option("--limit", default=20, show_default=True, help="The number of operations.")
def history(session: Session, collection: str, limit: int) -> None:
    """List the latest operations, newest first.

    \b
    lookalike history products
    """
    with session.library() as library:
        session.print(library.collection(collection).operations(limit=limit), show_history)


# --- commands that create ------------------------------------------------------------------------


@click.command()
@with_session
@click.option("--seed", default=0, show_default=True, help="Selects the pictures to label.")
def demo(session: Session, seed: int) -> None:
    """Label the package's sample pictures from ten labels per category.

    It measures coverage and precision against the true labels, and shows the next steps.

    \b
    lookalike demo
    lookalike --store /tmp/demo demo --seed 7
    """
    from lookalike.library.demo import run_demo

    with session.new_library() as library, progress_bar("extracting") as progress:
        result = run_demo(library, seed=seed, progress=progress)
        place = library.place
    session.print(result, lambda value: show_demo(value, place))


@click.command()
@with_session
@collection_argument
@click.option(
    "--extractor", multiple=True, help="image, text, passthrough, … [image]; several are combined."
)
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=PROPERTY", help="An extractor's input."
)
@click.option("--field", metavar="NAME", help="The label field's name [label].")
@click.option("--reference", metavar="NAME", help="A curated collection with the references.")
@click.option("--confidence-threshold", type=float, help="Label at this similarity threshold.")
@click.option("--target-precision", type=float, help="The target precision [0.95].")
@click.option("--enrich", multiple=True, metavar="NAME", help="Copy this field of the reference.")
@click.option("--exclusive", type=click.Choice(["image"]), help="Each label once per image.")
@click.option("--low-quality", is_flag=True, default=None, help="Decide low-quality items, too.")
@click.option("--hierarchical/--flat", default=None, help="Fall back to parent labels, or not.")
@label_set_options
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="For the extractor.")
def create(
    session: Session,
    collection: str,
    extractor: Sequence[str],
    inputs: Sequence[str],
    enrich: Sequence[str],
    labels: Sequence[str],
    options: Sequence[str],
    **rest: Any,
) -> None:
    """Create a collection with a label field that is labelled automatically.

    \b
    lookalike create products --extractor image
    lookalike create products --field color
    lookalike create papers --extractor text --labels "Invoice, Contract" --closed-set
    lookalike create catalogue --extractor image --extractor text --input text=description
    lookalike create stock --reference products --target-precision 0.97
    lookalike create vectors --extractor passthrough --option dimension=512
    lookalike create clips --option frames=true
    """
    own = extractor_options(options, [*rest, "enrich", "extractor", "inputs", "labels", "source"])
    properties = dict(_pair(pair, "input") for pair in inputs)
    with session.new_library() as library:
        created = library.labeler(
            collection,
            extractor=tuple(extractor) or None,
            inputs=properties or None,
            enrich=tuple(enrich),
            labels=label_names(labels),
            **rest,
            **own,
        )
        session.print(created.report(field=rest["field"]), show_report)


def extractor_options(pairs: Sequence[str], reserved: Collection[str] = ()) -> Mapping[str, Any]:
    """Return the values of `--option NAME=VALUE`. Raises BadInput for a bad or `reserved` name."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, value = _pair(pair, "option of an extractor", reserved)
        options[name] = _value(value)
    return options


def _pair(pair: str, what: str, reserved: Collection[str] = ()) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not equals or name in reserved:
        raise BadInput(f"{pair!r} is not an {what}; write NAME=VALUE")
    return name, value


def _value(text: str) -> Any:
    """Return the JSON value of a text (number, boolean, null, list, mapping), else the text."""
    try:
        return json.loads(text, parse_constant=str)
    except ValueError:
        return text


COMMANDS = (
    list_,
    report,
    queue,
    inspect,
    why,
    history,
    create,
    demo,
)
