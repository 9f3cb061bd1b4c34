"""The command `lookalike` with all its commands."""

from __future__ import annotations

import click

from lookalike import __version__
from lookalike.cli import (
    check,
    collections,
    label,
    label_tree,
    quality,
    serve,
    store,
    transfer,
    trials,
    versions,
)
from lookalike.cli.session import Session, store_option


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lookalike")
@store_option
@click.pass_context
def cli(context: click.Context, store: str | None, as_json: bool) -> None:
    """Label a collection from a few examples.

    \b
    lookalike create products --extractor image
    lookalike add products photos/
    lookalike import products labels.csv
    lookalike report products
    """
    context.obj = Session(store, as_json)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the shell code for tab completion of commands.

    \b
    eval "$(lookalike completion bash)"
    lookalike completion fish > ~/.config/fish/completions/lookalike.fish
    """
    from click.shell_completion import get_completion_class

    completion_class = get_completion_class(shell)
    assert completion_class is not None
    click.echo(completion_class(cli, {}, "lookalike", "_LOOKALIKE_COMPLETE").source())


_MODULES = (
    *(collections, transfer, store, label, label_tree, check),
    *(quality, trials, versions, serve),
)
for module in _MODULES:
    for command in module.COMMANDS:
        cli.add_command(command)
