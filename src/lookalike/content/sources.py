"""The sources that `add` accepts, read as one stream of items.

A source is a folder (walked in sorted order, without hidden files), a file, a URL, bytes, an open
file, a Pillow image, an array, a row (a mapping with the content under `image`, `text`, `file`,
`path`, `file_name`, `url` or `content`; the other keys are metadata), a DataFrame, or a list of
these.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from textwrap import shorten
from typing import Any
from urllib.parse import unquote, urlsplit

from lookalike.content.blobs import local_path
from lookalike.content.frames import frame_rows, is_frame, is_missing
from lookalike.content.object_storage import remote_files
from lookalike.errors import BadContent, BadInput

CONTENT_KEYS = ("image", "text", "file", "path", "file_name", "url", "content")
"""The keys of a row that may hold its content; the first that is not empty counts."""


_SHORT = 60
_SURROGATE = re.compile("[\ud800-\udfff]")
_TIFF_MODES = ("F", "I")
_KEPT_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16", *_TIFF_MODES})
"""The Pillow modes that are stored as they are; images of other modes become RGB."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item to add as an object.

    `key` identifies it in its bucket: a path, a URL, or a digest. Its content is at `uri` or in
    `data`; without content, `error` is the reason. `walked`: the source was its folder, not the
    file itself.
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
    """Yield the items of `source`, each with its entry of the user's `ids` and `metadata`.

    Raises BadInput for a source of another type, a row without content, counts that differ, or an
    id that is given twice.
    """
    stream = _with_unique_keys(_items(source))
    if isinstance(metadata, Mapping):
        stream = (replace(item, metadata={**item.metadata, **metadata}) for item in stream)
    elif metadata is not None:
        rows = _paired(stream, metadata, "metadata")
        stream = (replace(item, metadata={**item.metadata, **row}) for item, row in rows)
    if ids is not None:
        stream = _with_ids(_paired(stream, unique_ids(ids, "item"), "ids"))
    return _check_unique_ids(stream)


def check_id(id: Any) -> str:
    """Return the id of an item as text.

    Raises BadInput if it is blank, or has a NUL, a line break or half a surrogate pair: it would be
    lost in tables, addresses or databases.
    """
    text = str(id)
    problem = None
    if not text.strip():
        problem = "is blank"
    elif "\x00" in text:
        problem = "has the character U+0000"
    elif len(f"{text}.".splitlines()) > 1:
        problem = "has a line break"
    elif _SURROGATE.search(text):
        problem = "has half a surrogate pair"
    if problem:
        raise BadInput(f"the id {text!r} {problem}; give another, or none: then one is made")
    return text


def unique_ids(ids: Sequence[Any], what: str) -> list[str]:
    """Return ids as texts. Raises BadInput as `check_id` does, or if one is given twice."""
    names = [check_id(id) for id in ids]
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise BadInput(f"the id {twice!r} is given twice; every {what} needs its own")
    return names


def json_values(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as JSON values: NumPy numbers become Python's, dates become ISO text.

    Raises BadInput with the name of the field if JSON has no such value.
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


def _with_unique_keys(stream: Iterator[Item]) -> Iterator[Item]:
    """Number the keys of equal contents that have no uri or id, in order, so that they differ."""
    seen: Counter[str] = Counter()
    for item in stream:
        seen[item.key] += 1
        again = item.uri is None and item.id is None and seen[item.key] > 1
        yield replace(item, key=f"{item.key}#{seen[item.key]}") if again else item


def _with_ids(pairs: Iterable[tuple[Item, str]]) -> Iterator[Item]:
    for item, id in pairs:
        yield replace(item, id=id, key=id if item.uri is None else item.key)


def _check_unique_ids(stream: Iterator[Item]) -> Iterator[Item]:
    seen: set[str] = set()
    for item in stream:
        if item.id is not None:
            if item.id in seen:
                raise BadInput(f"the id {item.id!r} is given twice; every item needs its own")
            seen.add(item.id)
        yield item


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
        yield from _from_address(os.fspath(source))
    elif isinstance(source, bytes | bytearray | memoryview):
        yield _from_bytes(bytes(source), None)
    elif is_frame(source):
        for row in frame_rows(source):
            yield from _from_row(row)
    elif isinstance(source, Mapping):
        yield from _from_row(source)
    elif hasattr(source, "getbands") or _is_pixels(source):
        yield _from_picture(source)
    elif hasattr(source, "read"):
        yield _from_open_file(source)
    elif isinstance(source, Iterable):
        for part in source:
            yield from _items(part)
    else:
        raise BadInput(
            f"cannot add a {type(source).__name__}; give a path, a URL, bytes, a picture, a text "
            "row such as {'text': '…'}, a DataFrame, or a list of these"
        )


def _from_address(text: str) -> Iterator[Item]:
    if text.startswith("data:"):
        digest = hashlib.sha256(text.encode()).hexdigest()
        yield Item(digest, digest[:12], uri=text)
        return
    if text.startswith("file://"):
        text = local_path(text)
    elif "://" in text:
        yield from _from_url(text)
        return
    path = Path(text)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError:  # the text is too long for a path
        is_folder = exists = False
    if is_folder:
        yield from _walk(path)
    elif exists:
        yield _file(path.parent.resolve() / path.name, path.name, walked=False)
    else:
        yield Item(
            path.absolute().as_uri(),
            text,
            error=f"there is no file or folder {text[:200]!r}; check the path "
            "(give a text as {'text': '…'})",
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


def _from_url(url: str) -> Iterator[Item]:
    """Yield one item for a URL, or all files below it if it is a folder of object storage."""
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


def _from_row(row: Mapping[Any, Any]) -> Iterator[Item]:
    known = [key for key in CONTENT_KEYS if key in row]
    if not known:
        raise BadInput(
            f"a row has no content: its keys are {sorted(map(str, row))}; "
            f"give one of {', '.join(CONTENT_KEYS)}"
        )
    id = None if is_missing(row.get("id")) else check_id(row["id"])
    key = next((key for key in known if not is_missing(row[key])), None)
    if key is None:
        name = id or "a row"
        yield Item(name, name, id=id, error=f"its {' and '.join(known)} is empty; fill it in")
        return
    metadata = {str(name): value for name, value in row.items() if name not in (key, "id")}
    file_name = metadata.get("file_name")
    for item in _content(key, row[key]):
        yield replace(
            item,
            metadata={**item.metadata, **metadata},
            id=id,
            key=id if id is not None and item.uri is None else item.key,
            name=item.name if is_missing(file_name) else str(file_name),
        )


def _content(key: str, content: Any) -> Iterator[Item]:
    if key in ("text", "content") and isinstance(content, str):
        if _SURROGATE.search(content):
            short = shorten(content, _SHORT)
            raise BadInput(f"the text {short!r} has half a surrogate pair; read its file as UTF-8")
        yield _from_bytes(content.encode(), "text/plain")
    else:
        yield from _items(content)


def _from_open_file(file: Any) -> Item:
    data = file.read()
    item = _from_bytes(data.encode() if isinstance(data, str) else bytes(data), None)
    name = getattr(file, "name", None)
    return replace(item, name=Path(name).name) if isinstance(name, str) else item


def _from_bytes(data: bytes, media_type: str | None) -> Item:
    digest = hashlib.sha256(data).hexdigest()
    return Item(key=f"sha256:{digest}", name=digest[:12], data=data, media_type=media_type)


def _is_pixels(source: Any) -> bool:
    return hasattr(source, "__array_interface__") and getattr(source, "ndim", 0) in (2, 3)


def _from_picture(source: Any) -> Item:
    """Encode a Pillow image, or an array (h, w[, 3 or 4]) of uint8, without loss."""
    if not hasattr(source, "getbands"):
        source = _as_image(source)
    from PIL.ImageOps import exif_transpose

    buffer = io.BytesIO()
    try:
        upright = exif_transpose(source)
        kept = upright if upright.mode in _KEPT_MODES else upright.convert("RGB")
        kept.save(buffer, "TIFF" if kept.mode in _TIFF_MODES else "PNG", compress_level=1)
    except (OSError, ValueError, SyntaxError) as error:
        name = getattr(source, "filename", "") or f"a picture of mode {source.mode}"
        return Item(name, name, error=f"cannot read the picture: {error}; open it in a viewer")
    return _from_bytes(buffer.getvalue(), None)


def _as_image(array: Any) -> Any:
    from PIL import Image

    cure = "give uint8 (h, w[, 3 or 4]), or vectors by vectors=…"
    if str(array.dtype) != "uint8":
        raise BadInput(f"an array of {array.dtype} is not a picture; {cure}")
    try:
        return Image.fromarray(array)
    except (TypeError, ValueError) as error:
        raise BadInput(f"an array of shape {array.shape} is not a picture; {cure}") from error
