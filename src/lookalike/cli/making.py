"""Commands that make something: a collection, or the whole demo."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import click

from lookalike.cli.output import show_demo, show_report
from lookalike.cli.session import (
    Session,
    collection_argument,
    label_names,
    label_set_options,
    progress_bar,
    with_session,
)
from lookalike.errors import BadInput


@click.command()
@with_session
@click.option("--seed", default=0, show_default=True, help="Chooses the pictures to be labelled.")
def demo(session: Session, seed: int) -> None:
    """Try it on the package's own pictures, ten labelled a kind.

    With nothing labelled yet the queue asks first, then a check sheet: see the next steps it shows.

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
    "--input", "inputs", multiple=True, metavar="NAME=PROPERTY", help="What an extractor reads."
)
@click.option("--field", metavar="NAME", help="The label field's name [label].")
@click.option("--reference", metavar="NAME", help="A curated collection whose labels vote.")
@click.option("--confidence-threshold", type=float, help="Label at this similarity (known rule).")
@click.option("--target-precision", type=float, help="The share that must be right [0.95].")
@click.option("--enrich", multiple=True, metavar="NAME", help="Copy this field of the reference.")
@click.option("--exclusive", type=click.Choice(["image"]), help="A label once an image at most.")
@click.option("--low-quality", is_flag=True, default=None, help="Decide what was seen badly, too.")
@click.option("--hierarchical/--flat", default=None, help="Give parents, too, or leaves alone.")
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
    """Make a collection that labels itself.

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
    read = dict(_pair(pair, "input") for pair in inputs)
    with session.new_library() as library:
        made = library.labeler(
            collection,
            extractor=tuple(extractor) or None,
            inputs=read or None,
            enrich=tuple(enrich),
            labels=label_names(labels),
            **rest,
            **own,
        )
        session.print(made.report(field=rest["field"]), show_report)


def extractor_options(pairs: Sequence[str], taken: Collection[str] = ()) -> Mapping[str, Any]:
    """Return what `--option NAME=VALUE` says. Raises BadInput for what is none, or is `taken`."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, value = _pair(pair, "option of an extractor", taken)
        options[name] = _value(value)
    return options


def _pair(pair: str, what: str, taken: Collection[str] = ()) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not equals or name in taken:
        raise BadInput(f"{pair!r} is no {what}; write NAME=VALUE")
    return name, value


def _value(text: str) -> Any:
    """Return a number, true, false, null, a list or a mapping, where JSON is written; else text."""
    try:
        return json.loads(text, parse_constant=str)
    except ValueError:
        return text


COMMANDS = (create, demo)
