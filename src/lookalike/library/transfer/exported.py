"""What a collection gives to other tools: its documents, or its pictures with their regions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from lookalike.content.blobs import local_path
from lookalike.content.boxes import read_box
from lookalike.content.pictures import upright_size
from lookalike.errors import BadContent, BadInput
from lookalike.formats.base import Example, Label, Region
from lookalike.formats.extras import extras_of, region_from
from lookalike.formats.files import inner_path
from lookalike.library.collection.collection import Collection
from lookalike.model import Blob, Document, Origin, Standing

_SCHEMES = ("http://", "https://", "s3://", "gs://")


def document_examples(
    collection: Collection, field: str | None, unlabelled: bool, *, with_size: bool = False
) -> Iterator[Example]:
    """Yield the documents of a collection that have a label, or all with `unlabelled`.

    Raises BadInput for documents that are parts of files: formats of other tools label whole ones.
    """
    return _told_apart(_documents(collection, field, unlabelled, with_size))


def region_examples(
    collection: Collection, field: str | None, unlabelled: bool
) -> Iterator[Example]:
    """Yield the pictures of a collection that have labelled regions, or any with `unlabelled`.

    A frame of a video is a picture of its own, `clip.t1200.png` for the moment 1,200 ms of
    `clip.mp4`; it has no file.
    """
    pictures: dict[tuple[str, Any], tuple[Document, list[Region]]] = {}
    for one in collection.documents(field=field):
        standing = one.standings[field or one.field]
        if "box" not in one.attributes or (standing.label is None and not unlabelled):
            continue
        said = label_of(standing)
        region = region_from(read_box(one.attributes["box"]), said.label, one.part, extras_of(said))
        key = one.object_id, one.attributes.get("time_ms")
        pictures.setdefault(key, (one, []))[1].append(region)
    found = (
        replace(
            _example(collection, first, is_frame="time_ms" in first.attributes),
            file_name=_picture_name(first),
            regions=regions,
            width=first.attributes.get("picture_size", (0, 0))[0],
            height=first.attributes.get("picture_size", (0, 0))[1],
            id="",
            sha256="",
        )
        for first, regions in pictures.values()
    )
    return _told_apart(found)


def label_of(standing: Standing) -> Label:
    """Return what is known about a label.

    The score is that of an automatic label, or of the suggestion where there is no label.
    """
    decision, origin = standing.decision, standing.origin
    is_own = origin is Origin.AUTO or standing.label is None
    suggestion = None
    if standing.label is None:
        suggestion = standing.suggestion or decision.runner_up
    has_score = origin is Origin.AUTO or suggestion == decision.runner_up is not None
    reason = standing.reason if standing.label is None else None
    return Label(
        standing.label,
        decision.confidence if has_score else None,
        None if origin is None else origin.value,
        None if reason is None else reason.value,
        suggestion,
        tuple(standing.rejected),
        decision.policy if is_own else None,
    )


def _documents(
    collection: Collection, field: str | None, unlabelled: bool, with_size: bool
) -> Iterator[Example]:
    for one in collection.documents(field=field):
        name = field or one.field
        said = label_of(one.standings[name])
        if said.label is None and not unlabelled:
            continue
        if one.part:
            raise BadInput(
                f"{one.file_name!r} has {one.part!r} as a document: this format labels whole "
                "files; export to a table"
            )
        example = replace(_example(collection, one), labels={name: said})
        yield _with_size(collection, one, example) if with_size else example


def _example(collection: Collection, document: Document, *, is_frame: bool = False) -> Example:
    """Return a document as an example, with its content where that can be read."""
    blob = next((one for one in document.blobs if one.uri), None)
    split = document.metadata.get("split")
    example = Example(
        document.file_name,
        id=document.id,
        sha256=document.sha256,
        split=split if isinstance(split, str) else None,
    )
    if blob is None or is_frame:
        return example
    path = Path(local_path(blob.uri)) if blob.uri.startswith("file:") else None
    read = partial(_bytes, collection, blob)
    return replace(
        example,
        path=path if path is not None and path.is_file() else None,
        content=read,
        uri=blob.uri if blob.uri.startswith(_SCHEMES) else "",
        text=read().decode("utf-8", "replace") if blob.media_type.startswith("text/") else None,
    )


def _bytes(collection: Collection, blob: Blob) -> bytes:
    try:
        return collection._runtime.blobs.read(blob)
    except BadContent as error:
        raise BadInput(f"cannot export {blob.uri!r}: {error}") from error


def _with_size(collection: Collection, document: Document, example: Example) -> Example:
    blob = next((one for one in document.blobs if one.uri), None)
    if blob is None or not blob.media_type.startswith("image/"):
        return example
    try:
        size = upright_size(_bytes(collection, blob), name=document.file_name)
    except BadContent:
        return example
    return replace(example, width=size[0], height=size[1])


def _picture_name(document: Document) -> str:
    time_ms = document.attributes.get("time_ms")
    if time_ms is None:
        return document.file_name
    return str(PurePosixPath(document.file_name).with_suffix(f".t{time_ms}.png"))


def _told_apart(examples: Iterable[Example]) -> Iterator[Example]:
    """Give equal file names a number, as every format tells files apart by their names."""
    taken: set[PurePosixPath] = set()
    for one in examples:
        path = inner_path(one.file_name)
        name, count = path, 1
        while name in taken:
            count += 1
            name = path.with_name(f"{path.stem}-{count}{path.suffix}")
        taken.add(name)
        yield one if name == path else replace(one, file_name=str(name))
