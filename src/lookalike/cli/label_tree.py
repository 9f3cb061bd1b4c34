"""Commands that show and edit the label tree of a collection."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

import click

from lookalike.cli.output import show_changed
from lookalike.cli.session import Session, collection_argument, field_option, with_session
from lookalike.errors import BadInput

if TYPE_CHECKING:
    from lookalike.labels import LabelNode, LabelTree

preview_option = click.option(
    "--preview", is_flag=True, help="Show what would change; write nothing."
)


@click.group()
def labels() -> None:
    """Show and describe labels; rename, merge, split and retire them.

    \b
    lookalike labels tree products
    lookalike labels rename products Shoes Footwear --preview
    lookalike labels merge products Trainers Sneakers "Footwear > Running"
    """


@labels.command()
@with_session
@collection_argument
@field_option
def tree(session: Session, collection: str, field: str | None) -> None:
    """Show the label tree with descriptions and counts: references + automatic labels.

    \b
    lookalike labels tree products
    """
    with session.library() as library:
        session.print(library.collection(collection).label_tree(field=field), _show_tree)


@labels.command()
@with_session
@collection_argument
@click.argument("label")
@click.option("--description", help="What belongs to the label, and what does not.")
@click.option("--example", "examples", multiple=True, help="The id of an example document.")
@click.option("--alias", "aliases", multiple=True, help="Another name of the label.")
@click.option("--no-examples", is_flag=True, help="Remove the examples.")
@click.option("--no-aliases", is_flag=True, help="Remove the aliases.")
@field_option
def describe(
    session: Session,
    collection: str,
    label: str,
    description: str | None,
    examples: Sequence[str],
    aliases: Sequence[str],
    no_examples: bool,
    no_aliases: bool,
    field: str | None,
) -> None:
    """Set a label's description, examples or aliases; other values stay.

    \b
    lookalike labels describe products Hats --description "Worn on the head; no hoods."
    lookalike labels describe products Hats --example doc_a --alias Caps
    """
    with session.library() as library:
        changed = library.collection(collection).describe_label(
            label,
            description=description,
            examples=list(examples) if examples or no_examples else None,
            aliases=list(aliases) if aliases or no_aliases else None,
            field=field,
        )
        session.print(changed, show_changed)


@labels.command()
@with_session
@collection_argument
@click.argument("label")
@click.argument("to")
@preview_option
@field_option
def rename(
    session: Session, collection: str, label: str, to: str, preview: bool, field: str | None
) -> None:
    """Rename a label with its children, or move it to another path in the tree.

    \b
    lookalike labels rename products Shoes Footwear
    lookalike labels rename products Trainers "Footwear > Trainers" --preview
    """
    with session.library() as library:
        target = library.collection(collection)
        changed = target.rename_label(label, to, preview=preview, field=field)
        session.print(changed, show_changed)


@labels.command()
@with_session
@collection_argument
@click.argument("names", nargs=-1, required=True, metavar="LABEL… INTO")
@preview_option
@field_option
def merge(
    session: Session, collection: str, names: Sequence[str], preview: bool, field: str | None
) -> None:
    """Merge labels with their children into the last label given, existing or new.

    \b
    lookalike labels merge products Trainers Sneakers "Footwear > Running"
    """
    *sources, into = names
    if not sources:
        raise BadInput(f"{into!r} alone cannot be merged: give LABEL … INTO")
    with session.library() as library:
        target = library.collection(collection)
        session.print(
            target.merge_labels(sources, into, preview=preview, field=field), show_changed
        )


@labels.command()
@with_session
@collection_argument
@click.argument("label")
@click.argument("rows", type=click.File(encoding="utf-8-sig"), metavar="CSV")
@preview_option
@field_option
def split(
    session: Session, collection: str, label: str, rows: TextIO, preview: bool, field: str | None
) -> None:
    """Split a label by a table with the columns `id` and `label` (the document's new label).

    The table must have all documents with the label from a person, an import or a promotion; `-`
    reads it from standard input.

    \b
    cat parts.csv | lookalike labels split products Shoes - --preview
    """
    parts = _parts(rows)
    with session.library() as library:
        target = library.collection(collection)
        session.print(target.split_label(label, parts, preview=preview, field=field), show_changed)


@labels.command()
@with_session
@collection_argument
@click.argument("label")
@preview_option
@field_option
def retire(session: Session, collection: str, label: str, preview: bool, field: str | None) -> None:
    """Retire a label with its children: it is no longer given, and has no references.

    People's labels stay stored; `lookalike undo` of this restores the label.

    \b
    lookalike labels retire products "Footwear > Galoshes"
    """
    with session.library() as library:
        target = library.collection(collection)
        session.print(target.retire_label(label, preview=preview, field=field), show_changed)


def _parts(rows: TextIO) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    for number, row in enumerate(csv.DictReader(rows), 1):
        if not row.get("id") or not row.get("label"):
            raise BadInput(f"row {number} has no id or no label; give both columns")
        parts.setdefault(row["label"], []).append(row["id"])
    return parts


def _show_tree(tree: LabelTree) -> str:
    if not tree.nodes:
        return "no label yet; give one with `lookalike label`"
    closed = ", a closed set" if tree.closed_set else ""
    lines = [f"labels of {tree.owner}.{tree.owner_field}{closed} (references + automatic):"]
    for node in tree.nodes:
        lines += _node(node)
    return "\n".join(lines)


def _node(node: LabelNode) -> list[str]:
    indent = "  " * (node.depth + 1)
    counts = f"{node.all.references} + {node.all.automatic}"
    notes = [f"{node.all.recorded} more given"] if node.all.recorded else []
    notes += ["retired"] if node.retired else []
    notes += [f"also {', '.join(node.aliases)}"] if node.aliases else []
    note = f"  ({'; '.join(notes)})" if notes else ""
    lines = [f"{indent}{node.name}  {counts}{note}"]
    lines += [f"{indent}  {node.description}"] if node.description else []
    lines += [f"{indent}  such as {', '.join(node.examples)}"] if node.examples else []
    return lines


COMMANDS = (labels,)
