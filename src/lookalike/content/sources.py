"""What a person can point `add` at, as one stream of items.

A folder (walked in order, hidden files left out), a file, a URL, bytes, an open file, a picture of
Pillow, an array, a row (a mapping with the content under `image`, `text`, `file`, `path`,
`file_name`, `url` or `content`, the rest being metadata), a DataFrame, or a list of these.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from lookalike.content.blobs import local_path
from lookalike.content.frames import frame_rows, is_frame
from lookalike.content.object_storage import remote_files
from lookalike.errors import BadContent, BadInput

CONTENT_KEYS = ("image", "text", "file", "path", "file_name", "url", "content")
"""Where a row may have its content, the first that it has."""


_TIFF_MODES = ("F", "I")
_KEPT_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16", *_TIFF_MODES})
"""What is kept as it is; the other modes become RGB."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to be an object.

    `key` identifies it in its bucket: a path, a URL, or a digest. Its content is behind `uri`, or
    is `data`; or there is none, for the reason `error`. `walked` tells that a folder was named, not
    the file itself.
    """

    key: str
    name: str
    uri: str | None = None
    data: bytes | None = None
    media_type: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    walked: bool = False
    error: str | None = None


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
    return _each_id_once(stream)


def is_missing(value: Any) -> bool:
    """Return whether a cell of a table is empty: None, NaN, or what pandas has for it."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def json_values(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as JSON values: numbers of NumPy become Python's, dates ISO text.

    Raises BadInput for a value that JSON cannot hold, naming the field.
    """
    return {str(name): _json_value(str(name), value) for name, value in metadata.items()}


def _json_value(name: str, value: Any) -> Any:
    if is_missing(value):
        return None
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _json_value(name, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(name, inner) for inner in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return _json_value(name, value.tolist())
    raise BadInput(f"the metadata field {name!r} holds a {type(value).__name__}; use JSON values")


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


def _each_id_once(stream: Iterator[Item]) -> Iterator[Item]:
    seen: set[str] = set()
    for item in stream:
        if item.id is not None:
            if item.id in seen:
                raise BadInput(f"the id {item.id!r} comes twice; every item needs its own")
            seen.add(item.id)
        yield item


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
    if isinstance(source, Item):
        yield source
    elif isinstance(source, str | os.PathLike):
        yield from _named(os.fspath(source))
    elif isinstance(source, bytes | bytearray | memoryview):
        yield _inline(bytes(source), None)
    elif is_frame(source):
        for row in frame_rows(source):
            yield from _row(row)
    elif isinstance(source, Mapping):
        yield from _row(source)
    elif hasattr(source, "getbands") or _is_pixels(source):
        yield _picture(source)
    elif hasattr(source, "read"):
        yield _opened(source)
    elif isinstance(source, Iterable):
        for part in source:
            yield from _items(part)
    else:
        raise BadInput(
            f"cannot add a {type(source).__name__}; give a path, a URL, bytes, a picture, a text "
            "row such as {'text': '…'}, a DataFrame, or a list of these"
        )


def _named(text: str) -> Iterator[Item]:
    if text.startswith("data:"):
        digest = hashlib.sha256(text.encode()).hexdigest()
        yield Item(digest, digest[:12], uri=text)
        return
    if text.startswith("file://"):
        text = local_path(text)
    elif "://" in text:
        yield from _remote(text)
        return
    path = Path(text)
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError:  # a text that is too long for a name
        is_folder = is_there = False
    if is_folder:
        yield from _walk(path)
    elif is_there:
        yield _file(path.parent.resolve() / path.name, path.name, walked=False)
    else:
        yield Item(
            path.absolute().as_uri(),
            text,
            error=f"there is no file or folder {text[:200]!r}; check the path "
            "(a text is given as {'text': '…'})",
        )


def _walk(folder: Path) -> Iterator[Item]:
    root, empty = folder.resolve(), True
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root)
        if path.is_file() and not _hidden(inner.parts):
            empty = False
            yield _file(path, inner.as_posix(), walked=True)
    if empty:
        error = f"the folder {str(folder)!r} has no files; check the path"
        yield Item(root.as_uri(), str(folder), error=error)


def _hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") for part in parts)


def _file(path: Path, name: str, *, walked: bool) -> Item:
    uri = path.as_uri()
    return Item(key=uri, name=name, uri=uri, walked=walked)


def _remote(url: str) -> Iterator[Item]:
    """Yield one object for a URL, or all below it where it is a folder of object storage."""
    if url.startswith(("http://", "https://")) or not url.endswith("/"):
        name = unquote(PurePosixPath(urlsplit(url).path).name)
        yield Item(key=url, name=name or url, uri=url)
        return
    empty = True
    try:
        for uri, name in remote_files(url):
            if not _hidden(name.split("/")):
                empty = False
                yield Item(key=uri, name=name, uri=uri, walked=True)
    except BadContent as error:
        yield Item(url, url, error=str(error))
        return
    if empty:
        yield Item(url, url, error=f"the folder {url!r} has no files; check the address")


def _row(row: Mapping[Any, Any]) -> Iterator[Item]:
    known = [key for key in CONTENT_KEYS if key in row]
    if not known:
        raise BadInput(
            f"a row has no content: it has {sorted(map(str, row))}, "
            f"one of {', '.join(CONTENT_KEYS)} needed"
        )
    id = None if is_missing(row.get("id")) else str(row["id"])
    key = next((key for key in known if not is_missing(row[key])), None)
    if key is None:
        name = id or "a row"
        yield Item(name, name, id=id, error=f"its {' and '.join(known)} is empty; fill it in")
        return
    metadata = {str(name): value for name, value in row.items() if name not in (key, "id")}
    called = metadata.get("file_name")
    for item in _content(key, row[key]):
        yield replace(
            item,
            metadata={**item.metadata, **metadata},
            id=id,
            key=id if id is not None and item.uri is None else item.key,
            name=item.name if is_missing(called) else str(called),
        )


def _content(key: str, content: Any) -> Iterator[Item]:
    if key in ("text", "content") and isinstance(content, str):
        yield _inline(content.encode(), "text/plain")
    else:
        yield from _items(content)


def _opened(file: Any) -> Item:
    data = file.read()
    item = _inline(data.encode() if isinstance(data, str) else bytes(data), None)
    name = getattr(file, "name", None)
    return replace(item, name=Path(name).name) if isinstance(name, str) else item


def _inline(data: bytes, media_type: str | None) -> Item:
    digest = hashlib.sha256(data).hexdigest()
    return Item(key=f"sha256:{digest}", name=digest[:12], data=data, media_type=media_type)


def _is_pixels(source: Any) -> bool:
    return hasattr(source, "__array_interface__") and getattr(source, "ndim", 0) in (2, 3)


def _picture(source: Any) -> Item:
    """Return a picture of Pillow, or an array (h, w[, 3 or 4]) of uint8, losslessly encoded."""
    if not hasattr(source, "getbands"):
        source = _from_pixels(source)
    from PIL.ImageOps import exif_transpose

    buffer = io.BytesIO()
    try:
        upright = exif_transpose(source)
        kept = upright if upright.mode in _KEPT_MODES else upright.convert("RGB")
        kept.save(buffer, "TIFF" if kept.mode in _TIFF_MODES else "PNG", compress_level=1)
    except (OSError, ValueError, SyntaxError) as error:
        name = getattr(source, "filename", "") or f"a picture of mode {source.mode}"
        return Item(name, name, error=f"cannot read the picture: {error}; open it in a viewer")
    return _inline(buffer.getvalue(), None)


def _from_pixels(array: Any) -> Any:
    from PIL import Image

    shape = "give uint8 (h, w[, 3 or 4]), or vectors by vectors=…"
    if str(array.dtype) != "uint8":
        raise BadInput(f"an array of {array.dtype} is no picture; {shape}")
    try:
        return Image.fromarray(array)
    except (TypeError, ValueError) as error:
        raise BadInput(f"an array of shape {array.shape} is no picture; {shape}") from error
