"""What a request needs: a table of routes, and the scope `admin` for all that it does not name."""

from __future__ import annotations

import re

from lookalike.catalog.api_keys import Scope

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

_OPEN = re.compile(r"/v1/health(/.*)?|/|/static/.+")
"""Whether the server is well, and the page itself, which asks for a key where one is needed."""

_READ_POSTS = re.compile(
    r"/v1/(\w+|\w+/[^/]+|\w+/[^/]+/\w+)"
    r"/(list|count|aggregate|distinct|export|execute|execute/batch)"
    r"|/v1/taxonomies/execute/[^/]+"
    r"|/v1/collections/[^/]+/map/documents"
)
"""No other POST route may end in a name that a person chose: one may be called `list`."""

_READ_VERBS = re.compile(
    r"/v1/verbs/(buckets|collections|engine_version|migration|spaces)"
    r"|/v1/collections/[^/]+/verbs/(agreement|arrived|as_of|audits|check_sheet"
    r"|compare_versions|cost|curve|diagnose|document|documents"
    r"|extractor|fields|flips|history|ids|inspect|label_tree|name"
    r"|monitor|operations|opinions|queue|report|size|suggest|trial|trials|versions|waiting|why)"
    r"|/v1/collections/[^/]+/verbs/\w+_as_of"
)

_LABEL = re.compile(
    r"(PATCH|PUT) /v1/buckets/[^/]+/objects/[^/]+"
    r"|(PATCH|PUT) /v1/collections/[^/]+/documents(/[^/]+)?"
    r"|POST /v1/collections/[^/]+/documents/batch"
    r"|POST /v1/collections/[^/]+/(labels|rejections|promotions)"
    r"|POST /v1/collections/[^/]+/rejections/(new-kind|cannot-tell)"
    r"|POST /v1/collections/[^/]+/audits(/[^/]+/(answers|close))?"
    r"|POST /v1/collections/[^/]+/versions(/[^/]+/retire)?"
    r"|POST /v1/(collections|taxonomies)/[^/]+/trials(/[^/]+/(answers|draw|drop))?"
    r"|POST /v1/(collections/[^/]+/)?operations/[^/]+/undo"
    r"|POST /v1/buckets/[^/]+/(objects|uploads)(/batch)?"
    r"|POST /v1/buckets/[^/]+/uploads/([^/]+/confirm|confirm/batch)"
    r"|POST /v1/collections/[^/]+/verbs/(add|add_vectors|amend|answer_audit|answer_trial|audit"
    r"|cannot_tell|close_audit|disagreements|draw|drop_trial|keep_version|label|new_kind|promote|reject"
    r"|retire_version|try_policy|undo|upload)"
)

_SIGNED_READ = re.compile(r"(GET|HEAD) /v1/blobs/.+")
_SIGNED_WRITE = re.compile(r"PUT /v1/uploads/.+")


def is_open(method: str, path: str) -> bool:
    """Tell whether anybody may ask this."""
    return method in ("GET", "HEAD") and _OPEN.fullmatch(path) is not None


def can_be_signed(method: str, path: str) -> bool:
    """Tell whether a signed address may stand for a key here: to read or to send one file."""
    request = f"{method} {path}"
    return bool(_SIGNED_READ.fullmatch(request) or _SIGNED_WRITE.fullmatch(request))


def takes_file(method: str, path: str) -> bool:
    """Tell whether the body is a file, which may be much larger than JSON."""
    return _SIGNED_WRITE.fullmatch(f"{method} {path}") is not None


def is_safe(method: str) -> bool:
    """Tell whether a method cannot change anything."""
    return method in _SAFE


def needed(method: str, path: str) -> Scope:
    """Return the scope that a request needs."""
    reads = _READ_POSTS.fullmatch(path) or _READ_VERBS.fullmatch(path)
    if method in _SAFE or (method == "POST" and reads):
        return Scope.READ
    labels = _LABEL.fullmatch(f"{method} {path}") or takes_file(method, path)
    return Scope.LABEL if labels else Scope.ADMIN
