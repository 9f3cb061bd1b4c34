"""Commands that go on until they are stopped: the server, and workers outside of it."""

from __future__ import annotations

import click

from lookalike.cli.session import Session, with_session


@click.command()
@with_session
@click.option("--host", help="The address to listen on [127.0.0.1]; others need a key.")
@click.option("--port", type=int, help="The port to listen on [8710]; 0: any that is free.")
@click.option("--no-worker", is_flag=True, help="Let `lookalike worker` do what waits.")
def serve(session: Session, host: str | None, port: int | None, no_worker: bool) -> None:
    """Serve the REST API: buckets, objects, collections, retrievers, taxonomies, labels.

    \b
    lookalike serve
    LOOKALIKE_API_KEY=… lookalike serve --host 0.0.0.0
    """
    from lookalike.server.running import run_server

    with session.new_library() as library:
        settings = library.settings
        run_server(
            library,
            host=settings.host if host is None else host,
            port=settings.port if port is None else port,
            works=not no_worker,
            say=lambda text: click.echo(text, err=True),
        )


@click.command()
@with_session
@click.option("--once", is_flag=True, help="End when nothing waits any more.")
def worker(session: Session, once: bool) -> None:
    """Extract and decide what waits, for servers that run with --no-worker.

    \b
    lookalike worker
    lookalike worker --once
    """
    from lookalike.worker import run_worker

    with session.library() as library:
        run_worker(library.workshop, once=once)


COMMANDS = (serve, worker)
