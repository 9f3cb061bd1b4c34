"""Labels of whole files and texts taken in: matched to documents, added where they are new."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import ColumnElement, false, or_, select

from lookalike.content.blobs import inline_bytes
from lookalike.content.sources import Item
from lookalike.errors import BadInput
from lookalike.formats.base import LABEL, Dataset, Example, Label
from lookalike.library.collection.collection import Collection
from lookalike.model import Added, Changed, Progress
from lookalike.stores import schema

_BATCH = 1000

NOTHING_ADDED = Added(0, 0, 0, 0, (), {}, {})


@dataclass(frozen=True, slots=True)
class _Said:
    """What an example says, by the name under which it is reported, and the key of its item."""

    name: str
    said: Label
    ids: Sequence[str]
    key: str = ""


class DocumentImport:
    """One import into a collection of whole documents; the fields say what it did.

    Examples are read in batches, so that the contents of a large dataset are never in memory
    together; the labels are one operation at the end.
    """

    def __init__(
        self,
        collection: Collection,
        field: str | None,
        label_column: str | None,
        trusted: bool,
        progress: Progress,
    ) -> None:
        self.added = NOTHING_ADDED
        self.changed: Changed | None = None
        self.refused: dict[str, str] = {}
        self.labels = 0
        self.rejected = 0
        self._collection = collection
        self._field = field
        self._column = label_column
        self._trusted = trusted
        self._progress = progress
        self._classes: Counter[str] = Counter()
        self._count = 0

    def run(self, found: Dataset) -> None:
        """Take a dataset in. Raises BadInput where nothing of it can be taken."""
        documents = KnownDocuments(self._collection)
        said: list[_Said] = []
        for batch in self._batches(found):
            known, items = list[_Said](), dict[str, Item]()
            for name, one in batch:
                self._take(documents, name, one, known, items)
            if items:
                self._add(list(items.values()))
                documents = KnownDocuments(self._collection)
            said += [
                replace(one, ids=documents.by_key(one.key)) if one.key else one for one in known
            ]
        self.refused = found.refused | self.refused
        self._label(said)
        self._reject(said)
        if not (self.labels or self.rejected or _count(self.added)):
            raise BadInput(_nothing_taken(self._count, self.refused, self._column or LABEL))

    def notes(self) -> tuple[str, ...]:
        """Return which classes differ by case or white space only: they may be one."""
        return alike_classes(self._classes)

    def _batches(self, found: Dataset) -> Iterator[list[tuple[str, Example]]]:
        """Yield named examples; the first batch goes to where a label is, or to the end.

        So nothing has been added where a dataset turns out to have no labels at all.
        """
        stream = self._named(found)
        first: list[tuple[str, Example]] = []
        while part := list(islice(stream, _BATCH)):
            first += part
            if any(_says(self._said(one)) for _, one in first):
                yield first
                yield from iter(lambda: list(islice(stream, _BATCH)), [])
                return
        self._count = len(first)
        for name, one in first:
            self.refused.setdefault(name, self._why_not(one))
        raise BadInput(
            _nothing_taken(len(first), found.refused | self.refused, self._column or LABEL)
        )

    def _named(self, found: Dataset) -> Iterator[tuple[str, Example]]:
        for self._count, one in enumerate(found, 1):
            called = one.id or one.sha256 or one.file_name or "without a name"
            yield f"row {self._count} ({called})", one

    def _take(
        self,
        documents: KnownDocuments,
        name: str,
        example: Example,
        known: list[_Said],
        items: dict[str, Item],
    ) -> None:
        """Plan what an example changes, or note why it is not taken."""
        said = self._said(example)
        if said is None and example.regions:
            self.refused[name] = self._why_not(example)
            return
        if said is not None and said.label is not None:
            self._classes[said.label] += 1
        try:
            ids = documents.find(example)
        except LookupError as error:
            self.refused[name] = str(error.args[0])
            return
        if ids:
            if said is None:
                self.refused[name] = self._why_not(example)
            else:
                known.append(_Said(name, said, ids))
            return
        item = _item(example)
        if item is None:
            self.refused[name] = "is not a document of this collection"
            return
        items[item.key] = item
        if said is not None:
            known.append(_Said(name, said, (), item.key))

    def _why_not(self, example: Example) -> str:
        """Return why an example without a label is not taken."""
        if example.regions:
            return (
                "has regions, and this collection labels whole files; "
                "regions need a collection with --extractor region"
            )
        return f"has no {self._column or LABEL!r}"

    def _said(self, example: Example) -> Label | None:
        """Return what is said about the label that is asked for, None for nothing."""
        if self._column is not None:
            return self._in_column(example, self._column)
        names = [self._field, LABEL] if self._field is not None else [LABEL]
        names = [name for name in names if name in example.labels]
        if not names and len(example.labels) > 1:
            raise BadInput(
                f"it has the labels {', '.join(sorted(example.labels))}; "
                "say which one (--label-column)"
            )
        name = next(iter(names or example.labels), None)
        return None if name is None else example.labels[name]

    def _in_column(self, example: Example, column: str) -> Label | None:
        if column in example.labels:
            return example.labels[column]
        value = example.metadata.get(column)
        if value is None or str(value).strip() == "":
            return None
        said = example.labels.get(LABEL, Label())
        return replace(said, label=str(value), suggestion=None)

    def _add(self, items: list[Item]) -> None:
        before = _count(self.added)

        def progress(done: int, total: int) -> None:
            self._progress(before + done, before + total)

        self.added = sum_of(self.added, self._collection.add(items, progress=progress))

    def _label(self, said: Sequence[_Said]) -> None:
        rows: list[dict[str, Any]] = []
        names = []
        for one in said:
            if not _says(one.said):
                self.refused[one.name] = f"has no {self._column or LABEL!r}"
            if one.said.label is not None:
                row = {"label": one.said.label, "label_source": one.said.origin}
                rows += [{"id": id, **row} for id in one.ids]
                names += [one.name] * len(one.ids)
        if not rows:
            return
        self.changed = self._collection.import_labels(
            rows, field=self._field, trusted=self._trusted
        )
        refused = {names[_number(row) - 1]: why for row, why in self.changed.refused.items()}
        self.refused |= refused
        self.labels = len({one for one in names if one not in refused})
        self.changed = replace(self.changed, refused=self.refused)

    def _reject(self, said: Sequence[_Said]) -> None:
        """Reject what was rejected there, as the person who imports; nothing twice."""
        wanted = {id: list(one.said.rejected) for one in said for id in one.ids}
        wanted = {id: labels for id, labels in wanted.items() if labels}
        if not wanted or not self._trusted:
            return
        field = self._field
        for one in self._collection.documents(ids=list(wanted), field=field):
            here = one.standings[field or one.field]
            wanted[one.id] = [
                label for label in wanted[one.id] if label not in (*here.rejected, here.label)
            ]
        while left := {id: labels.pop() for id, labels in wanted.items() if labels}:
            self._collection.reject(left, field=field)
            self.rejected += len(left)


class KnownDocuments:
    """The documents of a collection by everything that an example may call them.

    With `only` it knows the documents of these examples and reads no others.
    """

    def __init__(self, collection: Collection, only: Sequence[Example] | None = None) -> None:
        document, object_ = schema.document, schema.object_
        is_here = (document.c.object_pk == object_.c.pk) & (
            document.c.collection_pk == collection._row.pk
        )
        in_bucket = object_.c.bucket_pk.in_(collection._row.bucket_pks)
        query = (
            select(document.c.id, document.c.sha256, document.c.file_name)
            .add_columns(object_.c.key, object_.c.id.label("object_id"), object_.c.name)
            .join_from(object_, document, is_here, isouter=only is not None)
            .where(or_(document.c.id.is_not(None), in_bucket))
        )
        if only is not None:
            query = query.where(or_(false(), *_named_in(only)))
        self._ids: dict[str, str] = {}
        self._digests: dict[str, list[str]] = {}
        self._keys: dict[str, list[str]] = {}
        self._files: dict[str, list[tuple[PurePosixPath, str, str]]] = {}
        self._parts: dict[str, list[str]] = {}
        with collection._runtime.store.read() as snapshot:
            for row in snapshot.rows(query):
                self._parts.setdefault(row.object_id, [])
                path = PurePosixPath(row.file_name or row.name)
                self._files.setdefault(path.name, []).append((path, row.id, row.object_id))
                if row.id is not None:
                    self._ids[row.id] = row.object_id
                    self._digests.setdefault(row.sha256.hex(), []).append(row.id)
                    self._keys.setdefault(row.key, []).append(row.id)
                    self._parts[row.object_id].append(row.id)

    def by_key(self, key: str) -> list[str]:
        """Return the ids of the documents of an object."""
        return self._keys.get(key, [])

    def find(self, example: Example) -> list[str]:
        """Return the ids of the documents that an example is, several with the same content.

        A file name fits when it equals the document's, or when one is the end of the other.
        Raises LookupError with the reason where it fits several.
        """
        if example.id in self._ids:
            return [example.id]
        if digest := _digest_of(example):
            return self._digests.get(digest, [])
        address = example.uri if example.path is None else example.path.as_uri()
        if address and (found := self.by_key(address)):
            return found
        fitting = [id for _, id, _ in self._fitting(example)]
        if len(fitting) > 1:
            raise LookupError(f"fits {len(fitting)} documents; name them by id")
        return fitting

    def find_object(self, example: Example) -> tuple[str, list[str]] | None:
        """Return the id of the object that an example is, with those of its documents.

        Raises LookupError with the reason where it fits several.
        """
        digest = _digest_of(example)
        known = [*self._digests.get(digest, ()), *self.by_key(example.uri)]
        objects = {self._ids[id] for id in [*known, example.id] if id in self._ids}
        objects = objects or {object_id for _, _, object_id in self._fitting(example)}
        if len(objects) > 1:
            raise LookupError(f"fits {len(objects)} objects; name it by id")
        return next(((one, self._parts[one]) for one in objects), None)

    def _fitting(self, example: Example) -> list[tuple[PurePosixPath, str, str]]:
        if not example.file_name:
            return []
        name = PurePosixPath(example.file_name.replace("\\", "/"))
        near = self._files.get(name.name, [])
        exact = [one for one in near if one[0] == name]
        return exact or [one for one in near if ends_alike(one[0], name)]


def _named_in(examples: Iterable[Example]) -> Iterator[ColumnElement[bool]]:
    """Yield what is true of the rows of documents and objects that examples may be."""
    document, object_ = schema.document, schema.object_
    for one in examples:
        if one.id:
            yield document.c.id == one.id
        if digest := _digest_of(one):
            yield document.c.sha256 == bytes.fromhex(digest)
        if one.uri:
            yield object_.c.key == one.uri
        if base := PurePosixPath(one.file_name.replace("\\", "/")).name:
            yield object_.c.name == base
            yield object_.c.name.endswith(f"/{base}", autoescape=True)


def _digest_of(example: Example) -> str:
    """Return the digest that an example has, or that of the content that it holds itself."""
    if example.sha256:
        return example.sha256
    if example.text is not None:
        return hashlib.sha256(example.text.encode()).hexdigest()
    is_inline = example.uri.startswith("data:")
    return hashlib.sha256(inline_bytes(example.uri)).hexdigest() if is_inline else ""


def ends_alike(one: PurePosixPath, other: PurePosixPath) -> bool:
    """Return whether one of two paths is the end of the other."""
    shorter, longer = sorted((one.parts, other.parts), key=len)
    return longer[len(longer) - len(shorter) :] == shorter


def alike_classes(classes: Iterable[str]) -> tuple[str, ...]:
    """Return a note for labels that differ by case or white space only.

    >>> alike_classes(["Cat", "cat ", "dog"])
    ("'Cat', 'cat ' differ by case or white space only: are they one label?",)
    """
    groups: dict[str, set[str]] = {}
    for label in classes:
        groups.setdefault(" ".join(label.casefold().split()), set()).add(label)
    return tuple(
        f"{', '.join(map(repr, sorted(group)))} differ by case or white space only: "
        "are they one label?"
        for group in groups.values()
        if len(group) > 1
    )


def sum_of(one: Added, other: Added) -> Added:
    """Return what two calls of `add` did together."""
    return Added(
        one.added + other.added,
        one.changed + other.changed,
        one.unchanged + other.unchanged,
        one.documents + other.documents,
        (*one.skipped, *other.skipped),
        {**one.failed, **other.failed},
        dict(Counter(one.labelled) + Counter(other.labelled)),
    )


def _says(said: Label | None) -> bool:
    """Return whether there is something to import: what a machine only suggested is not."""
    return said is not None and (said.label is not None or bool(said.rejected))


def _item(example: Example) -> Item | None:
    """Return what is to be added for an example, None where its content is not here."""
    metadata: dict[str, Any] = dict(example.metadata)
    if example.split is not None:
        metadata["split"] = example.split
    if example.path is not None:
        uri = example.path.as_uri()
        return Item(uri, example.file_name, uri=uri, metadata=metadata, walked=True)
    if example.text is not None:
        data, media_type = example.text.encode(), "text/plain"
    elif example.content is not None:
        data, media_type = example.content(), None
    else:
        return None
    digest = hashlib.sha256(data).hexdigest()
    name = example.file_name or digest[:12]
    return Item(f"sha256:{digest}", name, data=data, media_type=media_type, metadata=metadata)


def _count(added: Added) -> int:
    return added.added + added.changed + added.unchanged


def _number(row: str) -> int:
    """Return the number in the name of a row, as `import_labels` reports it."""
    return int(row.split()[1])


def _nothing_taken(count: int, refused: Mapping[str, str], column: str) -> str:
    name, reason = next(iter(refused.items()), ("", "there are no rows"))
    return (
        f"none of {count} rows gives a label; the first: {name} {reason} "
        f"(a row needs {column!r} and one of id, sha256, file_name)"
    )
