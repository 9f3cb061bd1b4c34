"""Export routes: write a collection to a file, and download it from a signed URL."""

from __future__ import annotations

import base64
import csv
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send
from ulid import ULID

from lookalike.catalog.fields import placed, space_of
from lookalike.catalog.filters import parse
from lookalike.errors import NotFound
from lookalike.server.context import AsOf, Context, Here
from lookalike.server.routes.collection_shapes import ExportBody, Exported
from lookalike.server.routes.documents import document_replies, selecting_in
from lookalike.server.shapes import JsonRoute

router = APIRouter(prefix="/v1", tags=["exports"], route_class=JsonRoute)

_LIVES_S = 86_400
_ROWS = 500
_MEDIA_TYPES = {
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            "application/x-ndjson": {},
            "text/csv": {},
        },
        "description": "the file",
    }
}


class _WholeFile(FileResponse):
    """A file response that ignores `Range` headers, so it is always the whole file."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers["accept-ranges"] = "none"
        headers = [one for one in scope["headers"] if one[0] != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)


@router.post("/collections/{collection}/export")
def export_collection(collection: str, here: AsOf, body: ExportBody | None = None) -> Exported:
    """Write documents to a file: labels with origin, confidence, margin and references."""
    body = body or ExportBody.model_validate({})
    folder = _folder(here)
    _sweep(folder, here.runtime.clock())
    name = f"{ULID()}.{body.format}"
    draft = folder / f"{name}.draft"
    with draft.open("w", encoding="utf-8", newline="") as file:
        count = _write(file, body.format, _rows(here, collection, body))
    draft.replace(folder / name)
    path = f"/v1/blobs/exports/{name}"
    return Exported(
        download_url=here.signed(path, {}, _LIVES_S),
        s3_path=f"exports/{name}",
        format=body.format,
        document_count=count,
        file_size_bytes=(folder / name).stat().st_size,
        exported_at=datetime.fromtimestamp(here.runtime.clock(), UTC),
    )


@router.get("/blobs/exports/{name}", response_class=FileResponse, responses=_FILE)
def get_export(name: str, here: Here) -> FileResponse:
    """Return an exported file; the server deletes it after a day."""
    folder = _folder(here)
    stem, _, kind = name.partition(".")
    file = folder / f"{stem}.{kind}"
    if not stem.isalnum() or kind not in _MEDIA_TYPES or not file.is_file():
        raise NotFound(f"there is no export {name[:80]!r}; export again")
    return _WholeFile(file, media_type=_MEDIA_TYPES[kind], filename=name)


def _rows(here: Context, collection: str, body: ExportBody) -> Iterator[dict[str, Any]]:
    with here.runtime.store.read() as snapshot:
        row = here.row(snapshot, collection)
        chunks = selecting_in(snapshot, row).pks(parse(body.filters))
        pks = [pk for chunk in chunks for pk in chunk]
        if body.sample_size is not None and body.sample_size < len(pks):
            pks = sorted(random.Random(row.pk).sample(pks, body.sample_size))
        for start in range(0, len(pks), _ROWS):
            chunk = pks[start : start + _ROWS]
            vectors = None
            if body.include_vectors:
                space = space_of(snapshot, row.pk)
                embedded = np.array(chunk)[placed(snapshot, space, np.array(chunk))]
                found = snapshot.vectors(space, embedded).astype(np.float32).tolist()
                vectors = dict(zip(embedded.tolist(), found, strict=True))
            replies = document_replies(here, snapshot, row, chunk)
            for pk, reply in zip(chunk, replies, strict=True):
                one = reply.model_dump(mode="json", exclude={"changed", "score", "taxonomies"})
                if vectors is not None:
                    one["vector"] = vectors.get(pk)
                if body.select_fields:
                    one = {name: _picked(one, name) for name in body.select_fields}
                yield one


def _picked(row: dict[str, Any], name: str) -> Any:
    if name in row:
        return row[name]
    value: Any = row["metadata"] if name in row["metadata"] else row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _write(file: IO[str], format: str, rows: Iterator[dict[str, Any]]) -> int:
    """Write rows to a file, and return their number."""
    if format == "csv":
        return _write_csv(file, rows)
    count = 0
    if format == "json":
        file.write("[")
    for count, row in enumerate(rows, 1):
        if format == "json" and count > 1:
            file.write(",\n")
        file.write(json.dumps(row, ensure_ascii=False))
        if format == "jsonl":
            file.write("\n")
    if format == "json":
        file.write("]\n")
    return count


def _write_csv(file: IO[str], rows: Iterator[dict[str, Any]]) -> int:
    """Write rows as CSV, through a temporary file: the last row may add a column."""
    columns: dict[str, None] = {}
    count = 0
    with TemporaryFile("w+", encoding="utf-8") as buffer:
        for row in rows:
            count += 1
            flat = {name: _cell(value) for name, value in _flat(row).items()}
            columns |= dict.fromkeys(flat)
            buffer.write(json.dumps(flat) + "\n")
        buffer.seek(0)
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(map(json.loads, buffer))
    return count


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the keys of its metadata and its match at the top level."""
    metadata = row.pop("metadata", None) or {}
    match = row.pop("taxonomy_match", None) or {}
    match.pop("neighbors", None)
    row |= {f"metadata.{name}": value for name, value in metadata.items()}
    return row | {f"taxonomy_match.{name}": value for name, value in match.items()}


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _folder(here: Context) -> Path:
    """Return the folder of a namespace's exports, in the cache, which may be deleted any time."""
    encoded = base64.b32encode(here.namespace.encode()).decode().rstrip("=").lower()
    folder = here.runtime.root / "cache" / "exports" / encoded
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sweep(folder: Path, now: float) -> None:
    """Delete exports whose signed URLs have expired."""
    for file in folder.iterdir():
        if now - file.stat().st_mtime > _LIVES_S:
            file.unlink(missing_ok=True)
