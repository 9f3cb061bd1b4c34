"""The review page: serves `index.html` and the static files under a URL with their digest.

The files of `static/` are served without a build step, only compressed. A file never changes under
its URL, so browsers cache it for ever; they request the page itself each time.
"""

from __future__ import annotations

import gzip
import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lookalike.errors import NotFound

_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_PAGE = "index.html"
_PRELOAD = "<!-- preload -->"
_BUILD = "{{build}}"
_FIRST = ("first.js", "app.js", "start.js", "review.js")
"""The entry points of the page; their modules are preloaded before all others."""

_IMPORT = re.compile(rb"""^(?:import|export)\b[^;]*?["'](\.[^"']+)["']""", re.MULTILINE)
_FOREVER = "public, max-age=31536000, immutable"

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types lit-html"
)
"""The page's Content-Security-Policy: it runs its own modules only, no inline script."""

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class PackedPage:
    """The page, and its gzipped files by name; `build` is the digest of all of them."""

    build: str
    html: bytes
    files: dict[str, bytes]


def read_page() -> PackedPage:
    """Read the page from the installed package."""
    files = dict(_read(resources.files("lookalike.server") / "static", ""))
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name} {len(data)}\n".encode() + data)
    build = digest.hexdigest()[:16]
    links = "\n    ".join(_links(files))
    text = files.pop(_PAGE).decode().replace(_PRELOAD, links)
    packed = {name: gzip.compress(data, mtime=0) for name, data in files.items()}
    return PackedPage(build, text.replace(_BUILD, build).encode(), packed)


class PageFirst:
    """ASGI middleware that serves the page and its files, and passes other requests to `app`.

    A first visit requests some sixty files at once, so they skip FastAPI's routing.
    """

    def __init__(self, app: ASGIApp, page: PackedPage) -> None:
        self._app = app
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the page or a file, or pass the request on."""
        is_get = scope["type"] == "http" and scope["method"] == "GET"
        response = self._response(scope) if is_get else None
        await (response or self._app)(scope, receive, send)

    def _response(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        if path == "/":
            return Response(self._page.html, media_type="text/html", headers=_HEADERS)
        name = path.removeprefix(f"/static/{self._page.build}/")
        data = self._page.files.get(name)
        if data is None:
            return None
        headers = {"cache-control": _FOREVER, "vary": "accept-encoding"}
        if "gzip" in Headers(scope=scope).get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
        else:
            data = gzip.decompress(data)
        return Response(data, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)


def make_router() -> APIRouter:
    """Return the route for missing files; the OpenAPI document leaves it out."""
    router = APIRouter(include_in_schema=False)

    @router.get("/static/{build}/{name:path}")
    def missing(name: str) -> None:
        raise NotFound(f"this version of the page has no file {name[:80]!r}; reload the page")

    return router


def _links(files: Mapping[str, bytes]) -> list[str]:
    """Return a preload link for each module: the entry points first, the rest at low priority."""
    modules = sorted(name for name in files if name.endswith(".js"))
    first = _with_imports(files, _FIRST)
    rest = [name for name in modules if name not in first]
    return [
        f'<link rel="modulepreload" href="/static/{_BUILD}/{name}"{more} />'
        for names, more in ((first, ""), (rest, ' fetchpriority="low"'))
        for name in names
    ]


def _with_imports(files: Mapping[str, bytes], names: Iterable[str]) -> list[str]:
    """Return modules and all that they import, each once, in the order of first use."""
    found = list(names)
    for name in found:
        folder = posixpath.dirname(name)
        imported = [
            posixpath.normpath(posixpath.join(folder, place.decode()))
            for place in _IMPORT.findall(files[name])
        ]
        found += [one for one in dict.fromkeys(imported) if one not in found]
    return found


def _read(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for one in folder.iterdir():
        name = prefix + one.name
        if one.is_dir():
            found += _read(one, f"{name}/")
        elif name == _PAGE or name.rpartition(".")[2] in _TYPES:
            found.append((name, one.read_bytes()))
    return found
