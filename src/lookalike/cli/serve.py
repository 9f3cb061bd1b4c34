"""Commands that go on until they are stopped: the server, and workers outside of it."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

import click

from lookalike.cli.session import Session, with_session


@click.command()
@with_session
@click.option("--host", help="The address to listen on [127.0.0.1]; others need a key.")
@click.option("--port", type=int, help="The port to listen on [8710]; 0: any that is free.")
@click.option("--no-worker", is_flag=True, help="Let `lookalike worker` do what waits.")
@click.option("--no-browser", is_flag=True, help="Do not open the review page in the browser.")
def serve(
    session: Session, host: str | None, port: int | None, no_worker: bool, no_browser: bool
) -> None:
    """Serve the review page and the REST API, and open the page in the browser.

    \b
    lookalike serve
    LOOKALIKE_API_KEY=… lookalike serve --host 0.0.0.0
    """
    from lookalike.server.run import run_server

    with session.new_library() as library:
        settings = library.settings
        run_server(
            library,
            host=settings.host if host is None else host,
            port=settings.port if port is None else port,
            works=not no_worker,
            say=lambda text: click.echo(text, err=True),
            show=None if no_browser or not _has_browser() else webbrowser.open,
        )


@click.command()
@with_session
@click.option("--once", is_flag=True, help="End when nothing waits any more.")
@click.option(
    "--health-file",
    type=click.Path(readable=False, path_type=Path),
    help="Write to it every few seconds how it is, for `lookalike health --file`.",
)
def worker(session: Session, once: bool, health_file: Path | None) -> None:
    """Extract and decide what waits, for servers that run with --no-worker.

    \b
    lookalike worker
    lookalike worker --once
    lookalike worker --health-file /tmp/worker.json
    """
    from lookalike.library.working import run_worker

    with session.library() as library:
        run_worker(library.workshop, once=once, health_file=health_file)


def _has_browser() -> bool:
    """Return whether somebody sits here who could see a page: a terminal and a display."""
    has_display = os.name == "nt" or sys.platform == "darwin"
    has_display = has_display or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return has_display and sys.stderr.isatty()


COMMANDS = (serve, worker)
