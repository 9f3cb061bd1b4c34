"""The review page: plain files under the digest of what they are, and the page that names them.

The files of `static/` are served as they are: nothing is built, only packed for the way. A file
never changes under its address, so a browser keeps it; the page itself is asked for each time.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import HTMLResponse

from lookalike.errors import NotFound

_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_PAGE = "index.html"
_PRELOAD = "<!-- preload -->"
_BUILD = "{{build}}"
_FOREVER = "public, max-age=31536000, immutable"

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types lit-html"
)
"""What the page may do: run its own modules, and nothing that was written into it."""

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Page:
    """The page, and its files by their names, packed; `build` is the digest of all of them."""

    build: str
    html: str
    files: dict[str, bytes]


def read_page() -> Page:
    """Return the page as the package ships it."""
    files = dict(_read(resources.files("lookalike.server") / "static", ""))
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name} {len(data)}\n".encode() + data)
    build = digest.hexdigest()[:16]
    modules = sorted(name for name in files if name.endswith(".js"))
    links = "\n    ".join(
        f'<link rel="modulepreload" href="/static/{_BUILD}/{name}" />' for name in modules
    )
    text = files.pop(_PAGE).decode().replace(_PRELOAD, links)
    packed = {name: gzip.compress(data, mtime=0) for name, data in files.items()}
    return Page(build, text.replace(_BUILD, build), packed)


def make_router(page: Page) -> APIRouter:
    """Return the routes of the page; they belong to no schema, as they are for browsers."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def index() -> HTMLResponse:
        return HTMLResponse(page.html, headers=_HEADERS)

    @router.get("/static/{build}/{name:path}")
    def file(
        build: str, name: str, accept_encoding: Annotated[str, Header(alias="Accept-Encoding")] = ""
    ) -> Response:
        data = page.files.get(name) if build == page.build else None
        if data is None:
            raise NotFound(f"the page has no file {name[:80]!r} of this version: load it again")
        headers = {"cache-control": _FOREVER, "vary": "accept-encoding"}
        if "gzip" in accept_encoding:
            headers["content-encoding"] = "gzip"
        else:
            data = gzip.decompress(data)
        media_type = _TYPES[name.rpartition(".")[2]]
        return Response(data, media_type=media_type, headers=headers)

    return router


def _read(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for one in folder.iterdir():
        name = prefix + one.name
        if one.is_dir():
            found += _read(one, f"{name}/")
        elif name == _PAGE or name.rpartition(".")[2] in _TYPES:
            found.append((name, one.read_bytes()))
    return found
