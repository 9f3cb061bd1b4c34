"""The command by which containers ask whether a server or a worker is well."""

from __future__ import annotations

from pathlib import Path

import click

from lookalike.cli.session import Session, with_session


@click.command()
@with_session
@click.option("--url", help="The server [this machine, LOOKALIKE_PORT].")
@click.option(
    "--file",
    type=click.Path(readable=False, path_type=Path),
    help="The health file of a worker, instead of a server.",
)
@click.option("--live", is_flag=True, help="Only whether it lives, not whether it can work.")
def health(session: Session, url: str | None, file: Path | None, live: bool) -> None:
    """Say whether a server, or a worker, can work now; the exit code is 0 or 1.

    \b
    lookalike health
    lookalike health --live
    lookalike health --file /tmp/worker.json
    """
    from lookalike.cli.probe_server import check_server, own_address

    if file is not None:
        import time

        from lookalike.library.working import check_file

        found = check_file(file, only_alive=live, now=time.time())
    else:
        found = check_server(url or own_address(session.store), only_alive=live)
    session.print({"health": found}, lambda value: str(value["health"]))


COMMANDS = (health,)
