"""What a person can point `add` at, as one stream of items.

A folder (walked in order, hidden files left out), a file, a URL, bytes, a picture of Pillow, an
array, a text, a row (a mapping with the content under `image`, `text`, `file`, `path`, `file_name`,
`url` or `content`, the rest being metadata), a DataFrame, or a list of these.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lookalike.errors import BadInput

CONTENT_KEYS = ("image", "text", "file", "path", "file_name", "url", "content")
"""Where a row may have its content, the first that it has."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to be an object.

    `key` identifies it in its bucket: a path, a URL, or a digest. Its content is behind `uri`, or
    is `data`. `walked` tells that a folder was named, not the file itself.
    """

    key: str
    name: str
    uri: str | None = None
    data: bytes | None = None
    media_type: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    walked: bool = False


def items(
    source: Any,
    *,
    ids: Sequence[str] | None = None,
    metadata: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
) -> Iterator[Item]:
    """Yield the items of `source`, with the user's `ids` and `metadata`, one each.

    Raises BadInput when there is nothing, when counts differ, or when an id comes twice.
    """
    stream = _told_apart(_items(source))
    if isinstance(metadata, Mapping):
        stream = (replace(item, metadata={**item.metadata, **metadata}) for item in stream)
    elif metadata is not None:
        rows = _paired(stream, metadata, "metadata")
        stream = (replace(item, metadata={**item.metadata, **row}) for item, row in rows)
    if ids is not None:
        stream = _with_ids(_paired(stream, _distinct(ids), "ids"))
    return stream


def _told_apart(stream: Iterator[Item]) -> Iterator[Item]:
    """Give equal contents without a place of their own different keys, the same ones each time."""
    seen: Counter[str] = Counter()
    for item in stream:
        seen[item.key] += 1
        again = item.uri is None and item.id is None and seen[item.key] > 1
        yield replace(item, key=f"{item.key}#{seen[item.key]}") if again else item


def _with_ids(pairs: Iterable[tuple[Item, Any]]) -> Iterator[Item]:
    for item, id in pairs:
        yield replace(item, id=str(id), key=str(id) if item.uri is None else item.key)


def _distinct(ids: Sequence[Any]) -> Sequence[Any]:
    seen: set[str] = set()
    for id in ids:
        if str(id) in seen:
            raise BadInput(f"the id {str(id)!r} comes twice; every item needs its own")
        seen.add(str(id))
    return ids


def _paired(stream: Iterator[Item], others: Sequence[Any], what: str) -> Iterator[tuple[Item, Any]]:
    count = 0
    rest = iter(others)
    for item in stream:
        try:
            yield item, next(rest)
        except StopIteration:
            raise BadInput(f"there are more items than {what} ({count}); give one each") from None
        count += 1
    if count < len(others):
        raise BadInput(f"there are {len(others)} {what} for {count} items; give one each")


def _items(source: Any) -> Iterator[Item]:
    if isinstance(source, str | Path):
        yield from _named(source)
    elif isinstance(source, bytes):
        yield _inline(source, None)
    elif hasattr(source, "itertuples") and hasattr(source, "to_dict"):
        for row in source.to_dict("records"):
            yield from _row(row)
    elif isinstance(source, Mapping):
        yield from _row(source)
    elif (picture := _picture_bytes(source)) is not None:
        yield _inline(picture, "image/png")
    elif isinstance(source, Iterable):
        for part in source:
            yield from _items(part)
    else:
        raise BadInput(
            f"cannot add a {type(source).__name__}; give a path, a URL, bytes, a picture, a text "
            "row such as {'text': '…'}, a DataFrame, or a list of these"
        )


def _named(source: str | Path) -> Iterator[Item]:
    text = str(source)
    if text.startswith("data:"):
        yield Item(hashlib.sha256(text.encode()).hexdigest(), "inline", uri=text)
        return
    if text.startswith("file://"):
        from lookalike.blobs import local_path

        text = local_path(text)
    elif "://" in text:
        yield from _remote(text)
        return
    path = Path(text)
    if path.is_dir():
        yield from _walk(path)
    elif path.exists():
        yield _file(path.resolve(), path.name, walked=False)
    else:
        raise BadInput(f"there is no file or folder {text!r}; check the path")


def _walk(folder: Path) -> Iterator[Item]:
    root, count = folder.resolve(), 0
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root)
        if path.is_file() and not any(part.startswith(".") for part in inner.parts):
            count += 1
            yield _file(path, inner.as_posix(), walked=True)
    if count == 0:
        raise BadInput(f"the folder {str(folder)!r} has no files; check the path")


def _file(path: Path, name: str, *, walked: bool) -> Item:
    uri = path.as_uri()
    return Item(key=uri, name=name, uri=uri, walked=walked)


def _remote(url: str) -> Iterator[Item]:
    """Yield one object for a URL, or all below it where it is a folder of object storage."""
    if url.startswith(("http://", "https://")) or not url.endswith("/"):
        yield Item(key=url, name=url.rpartition("/")[2] or url, uri=url)
        return
    import fsspec

    system, root = fsspec.url_to_fs(url)
    for path in sorted(system.find(root)):
        yield Item(
            key=system.unstrip_protocol(path),
            name=path.removeprefix(root).lstrip("/"),
            uri=system.unstrip_protocol(path),
            walked=True,
        )


def _row(row: Mapping[Any, Any]) -> Iterator[Item]:
    key = next((key for key in CONTENT_KEYS if _present(row.get(key))), None)
    if key is None:
        known = ", ".join(CONTENT_KEYS)
        raise BadInput(
            f"a row has no content: it has {sorted(map(str, row))}, one of {known} needed"
        )
    content = row[key]
    metadata = {str(name): value for name, value in row.items() if name not in (key, "id")}
    text = key in ("text", "content") and isinstance(content, str)
    inner = [_inline(content.encode(), "text/plain")] if text else list(_items(content))
    for item in inner:
        id = str(row["id"]) if _present(row.get("id")) else None
        own = id if id is not None and item.uri is None else item.key
        yield replace(item, metadata={**item.metadata, **metadata}, id=id, key=own)


def _present(value: Any) -> bool:
    return value is not None and value == value if isinstance(value, float) else value is not None


def _inline(data: bytes, media_type: str | None) -> Item:
    digest = hashlib.sha256(data).hexdigest()
    return Item(key=f"sha256:{digest}", name=digest[:12], data=data, media_type=media_type)


def _picture_bytes(source: Any) -> bytes | None:
    """Return a picture of Pillow, or an array (h, w[, 3 or 4]) of uint8, as PNG."""
    if hasattr(source, "__array_interface__") and hasattr(source, "ndim") and source.ndim in (2, 3):
        from PIL import Image

        if str(source.dtype) != "uint8":
            raise BadInput(
                f"an array of {source.dtype} is no picture; give uint8 (h, w[, 3 or 4]), "
                "or vectors by vectors=…"
            )
        source = Image.fromarray(source)
    if not hasattr(source, "save") or not hasattr(source, "getbands"):
        return None
    buffer = io.BytesIO()
    source.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
