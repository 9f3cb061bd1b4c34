"""Commands that run or administer a server: server, worker, API keys, health check."""

from __future__ import annotations

import json
import os
import sys
import webbrowser
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import click

from lookalike.cli.output import show_key, show_keys
from lookalike.cli.session import Session, with_session
from lookalike.errors import BadInput, Unreachable
from lookalike.settings import read_settings


@click.command()
@with_session
@click.option("--host", help="The address to listen on [127.0.0.1]; others need a key.")
@click.option("--port", type=int, help="The port to listen on [8710]; 0: any free port.")
@click.option("--no-worker", is_flag=True, help="Leave tasks to `lookalike worker`.")
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
@click.option("--once", is_flag=True, help="End when no task waits any more.")
@click.option(
    "--health-file",
    type=click.Path(readable=False, path_type=Path),
    help="Write the state to it every few seconds, for `lookalike health --file`.",
)
def worker(session: Session, once: bool, health_file: Path | None) -> None:
    """Run waiting extractions and tasks, for servers with --no-worker.

    \b
    lookalike worker
    lookalike worker --once
    lookalike worker --health-file /tmp/worker.json
    """
    from lookalike.library.worker import run_worker

    with session.library() as library:
        run_worker(library.runtime, once=once, health_file=health_file)


@click.command()
@with_session
@click.option(
    "--key",
    envvar="LOOKALIKE_KEY",
    help="A key of `lookalike keys create` [LOOKALIKE_KEY]; its scope says what may be recorded.",
)
def mcp(session: Session, key: str | None) -> None:
    """Let an assistant search, suggest and explain labels (Model Context Protocol, on stdio).

    What it says is a suggestion until a person confirms it; a key with the scope `label` says
    otherwise.

    \b
    lookalike mcp
    LOOKALIKE_KEY=lk_… lookalike mcp
    """
    from lookalike.server.mcp import mcp_server

    with session.library() as library:
        caller = library.access().caller(f"Bearer {key}", loopback=False) if key else None
        mcp_server(library, caller).run("stdio")


def _has_browser() -> bool:
    """Return whether a person here can see a page: there is a terminal and a display."""
    has_display = os.name == "nt" or sys.platform == "darwin"
    has_display = has_display or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return has_display and sys.stderr.isatty()


# --- keys ----------------------------------------------------------------------------------------


@click.group()
def keys() -> None:
    """Create, list and revoke the API keys of a server.

    \b
    lookalike keys create --name ann --scope label
    lookalike keys list
    """


@keys.command()
@with_session
@click.option("--name", required=True, help="The holder, recorded as actor of each operation.")
@click.option(
    "--scope",
    type=click.Choice(["read", "label", "admin"]),
    default="label",
    show_default=True,
    help="The permissions; each scope includes those before it.",
)
@click.option("--namespace", metavar="NAME", help="Only for this namespace [for all].")
def create(session: Session, name: str, scope: str, namespace: str | None) -> None:
    """Create a key and print it once; the store keeps only its hash.

    \b
    lookalike keys create --name ann --scope label --namespace shop
    """
    with session.new_library() as library:
        key = library.access().create(name, scope, namespace)
    session.print({"key": key}, lambda value: value["key"])


@keys.command("list")
@with_session
def list_(session: Session) -> None:
    """List the keys with their holders and scopes, without the secrets.

    \b
    lookalike keys list
    """
    with session.library() as library:
        session.print(library.access().listed(), show_keys)


@keys.command()
@with_session
@click.argument("id")
def revoke(session: Session, id: str) -> None:
    """Revoke a key from the next request on. `keys list` shows its ID.

    \b
    lookalike keys revoke 0f3a5c7e9b1d
    """
    with session.library() as library:
        session.print(library.access().revoke(id), show_key)


# --- health check --------------------------------------------------------------------------------

_TIMEOUT_S = 5.0
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}


def own_address(store: str | None) -> str:
    """Return the address of a server on this machine, from its settings."""
    from lookalike.stores.open import StoreAddress

    given = read_settings(os.environ).store if store is None else store
    settings = StoreAddress(given).settings(os.environ)
    host = _EVERYWHERE.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host and '[' not in host else host}:{settings.port}"


def check_server(url: str, *, only_alive: bool) -> str:
    """Return the health of the server at an address.

    Raises Unreachable if it does not answer or is not healthy, BadInput for an invalid address.
    """
    if not url.startswith(("http://", "https://")):
        raise BadInput(f"{url!r} is not the address of a server; write http://HOST:PORT")
    address = f"{url.rstrip('/')}/v1/health/{'liveness' if only_alive else 'readiness'}"
    try:
        with build_opener(ProxyHandler({})).open(address, timeout=_TIMEOUT_S) as reply:
            reply.read()
    except HTTPError as error:
        raise Unreachable(f"{url} is not healthy: {_message(error)}") from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"{url} does not answer: {reason}") from error
    return "alive" if only_alive else "ready"


def _message(error: HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"]["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"it answers {error.code}"


@click.command()
@with_session
@click.option("--url", help="The server [this machine, LOOKALIKE_PORT].")
@click.option(
    "--file",
    type=click.Path(readable=False, path_type=Path),
    help="The health file of a worker, instead of a server.",
)
@click.option("--live", is_flag=True, help="Only whether it is alive, not whether it can work.")
def health(session: Session, url: str | None, file: Path | None, live: bool) -> None:
    """Check whether a server or worker can work now; the exit code is 0 or 1.

    \b
    lookalike health
    lookalike health --live
    lookalike health --file /tmp/worker.json
    """
    if file is not None:
        import time

        from lookalike.library.worker import check_file

        state = check_file(file, only_alive=live, now=time.time())
    else:
        state = check_server(url or own_address(session.store), only_alive=live)
    session.print({"health": state}, lambda value: str(value["health"]))


COMMANDS = (
    serve,
    worker,
    mcp,
    keys,
    health,
)
