"""The API reference page `/docs`: the OpenAPI document as HTML, without scripts or network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'"
}
"""Headers of the page; its policy allows the inline style and nothing else."""

_CODE = re.compile(r"`([^`]+)`")

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --word: #2a6fb0 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 0 .3rem } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
nav { display: flex; flex-wrap: wrap; gap: 0 .8rem } a { color: var(--word) } p { margin: .3rem 0 }
details { border-top: 1px solid var(--line) } summary { cursor: pointer; padding: .35rem 0 }
summary code { font-size: .95em } summary span { opacity: .7; margin-left: .6rem }
.method { display: inline-block; min-width: 4rem; font: 600 .8em ui-monospace, monospace }
.inner { padding: .2rem 0 .8rem 4.2rem } table { border-collapse: collapse; margin: .4rem 0 }
td, th { text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0; font-weight: 400 }
th { opacity: .7 } code { font-family: ui-monospace, monospace; font-size: .9em }
@media (max-width: 40rem) { .inner { padding-left: 0 } }
"""


def reference_page(document: Mapping[str, Any]) -> str:
    """Return an OpenAPI document as an HTML page."""
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_operation(document, method, path, operation))
    info = document["info"]
    links = "".join(f'<a href="#{escape(tag)}">{escape(tag)}</a>' for tag in groups)
    parts = "".join(
        f'<h2 id="{escape(tag)}">{escape(tag)}</h2>{"".join(operations)}'
        for tag, operations in groups.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])} {escape(info['version'])}</title>"
        f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{_prose(info['description'])}</p>"
        f'<p>The same as JSON: <a href="/openapi.json">/openapi.json</a></p>'
        f"<nav>{links}</nav>{parts}</html>"
    )


def _operation(
    document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]
) -> str:
    text = str(operation.get("description") or "")
    first = text.partition("\n")[0]
    inner = "".join(f"<p>{_prose(part)}</p>" for part in text.split("\n\n")[1:] if part)
    fields = [
        (one["name"], one["in"], _type(one["schema"]), one.get("description") or "")
        for one in operation.get("parameters") or ()
    ]
    inner += _table("parameter", "in", fields)
    for content in (operation.get("requestBody") or {}).get("content", {}).values():
        inner += _table("body", "", list(_fields(document, content.get("schema") or {})))
    for status, answer in operation["responses"].items():
        for content in (answer.get("content") or {}).values() if status.startswith("2") else ():
            schema = content.get("schema") or {}
            inner += _table(f"answer {status}", "", list(_fields(document, schema)))
    return (
        f'<details><summary><span class="method">{escape(method.upper())}</span>'
        f"<code>{escape(path)}</code><span>{_prose(first)}</span></summary>"
        f'<div class="inner">{inner}</div></details>'
    )


def _prose(text: str) -> str:
    """Return a text as HTML; the parts between backticks become code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _table(first: str, second: str, rows: list[tuple[str, str, str, str]]) -> str:
    if not rows:
        return ""
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{escape(place)}"
        f"<td><code>{escape(type)}</code><td>{_prose(text)}"
        for name, place, type, text in rows
    )
    return f"<table><tr><th>{escape(first)}<th>{escape(second)}<th>type<th>{cells}</table>"


def _fields(
    document: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[tuple[str, str, str, str]]:
    for one in (schema, *(schema.get("anyOf") or ())):
        found = _resolved(document, one)
        required = found.get("required") or ()
        for name, field in (found.get("properties") or {}).items():
            need = "required" if name in required else ""
            yield name, need, _type(field), str(field.get("description") or "")


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Mapping[str, Any] = document["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items') or {})}"
    if "enum" in schema:
        return " or ".join(repr(value) for value in schema["enum"])
    return str(schema.get("const") or schema.get("type") or "any")
