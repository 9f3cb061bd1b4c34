"""The command line `lookalike`: thin commands over the library; this module prints errors."""

from __future__ import annotations

import io
import sys
from typing import NoReturn

import click

from lookalike.cli.group import cli
from lookalike.errors import LookalikeError

_INTERRUPTED = 130


def main() -> None:
    """Run the command line; a LookalikeError becomes one line of text and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # do not fail on a terminal without UTF-8
    try:
        raise SystemExit(cli.main(prog_name="lookalike", standalone_mode=False))
    except LookalikeError as error:
        _end(str(error), 1, error)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from error
    except click.Abort as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            _end("interrupted; run the same command again to continue", _INTERRUPTED, error)
        _end("cancelled; nothing was changed", 1, error)


def _end(message: str, code: int, error: Exception) -> NoReturn:
    click.echo(f"lookalike: {message}", err=True)
    raise SystemExit(code) from error
