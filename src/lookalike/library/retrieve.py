"""Run the stages of a retriever (filter, search, enrich) over collections."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.catalog.field_values import DocumentValues
from lookalike.catalog.fields import placed
from lookalike.catalog.filter_sql import clause_of
from lookalike.catalog.filters import EVERYTHING, Every, Filter, fields_in, parse
from lookalike.catalog.pages import Selecting
from lookalike.catalog.reader import fields_of, pks_of
from lookalike.catalog.resources import CollectionRow, Kind, find, names
from lookalike.catalog.retrievers import (
    MAX_RESULTS,
    Enriching,
    Filtering,
    Query,
    Searching,
    Stage,
    filled,
)
from lookalike.catalog.taxonomies import taxonomy_row
from lookalike.classifier.graph.search import NO_ID
from lookalike.content.pictures import kinds_named, sniff
from lookalike.errors import BadContent, BadInput
from lookalike.extractors.base import VECTOR_TYPE, Content, accepts
from lookalike.extractors.vectors import problems, unit_rows
from lookalike.ingest.documents import Target
from lookalike.ingest.executors import read_content
from lookalike.library.collection.suggestions import collections_named, matched_known
from lookalike.library.runtime import Runtime
from lookalike.model import Blob
from lookalike.stores.base import Snapshot

# --- query vectors from text, content or numbers -------------------------------------------------

_ADDRESSES = ("http://", "https://", "data:", "file://", "s3://", "gs://")
_SNIFFED_BYTES = 4096
_NAME = "the input"


def mode_of(value: Any, target: Target) -> str:
    """Return the default mode of a query value: vector, document, content or text."""
    if isinstance(value, list):
        return "vector"
    if isinstance(value, Mapping):
        return "document" if "document_id" in value else "content"
    if isinstance(value, str) and value.startswith(_ADDRESSES):
        return "content"
    return "text" if "text" in target.extractor.accepts else "content"


def vectors_of(runtime: Runtime, target: Target, value: Any, mode: str) -> NDArray[np.float32]:
    """Return the vectors (n, d) of a value in a collection's embedding space, one per part.

    With the `mode` "vector" it is a vector or several, with "text" a text, with "content" a URL,
    base64, or an object with one of them. Raises BadInput, and BadContent for unreadable content.
    """
    if mode == "vector":
        return _unit(value, target)
    data, media_type = _content(runtime, value, mode)
    pixels = runtime.settings.max_pixels
    return _extracted(target, Content(data, media_type, name=_NAME, max_pixels=pixels))


def vectors_of_inputs(
    runtime: Runtime, target: Target, blob: Blob, others: Mapping[str, Blob | None]
) -> NDArray[np.float32]:
    """Return the vectors (n, d) of an object's inputs, as `chosen_inputs` returned them.

    Raises BadInput, BadContent.
    """
    read = runtime.blobs.read
    if blob.media_type == VECTOR_TYPE and not others:
        return _unit(np.frombuffer(read(blob), "<f4"), target)
    pixels = runtime.settings.max_pixels
    content = read_content(_NAME, (blob, others), read, max_pixels=pixels)
    return _extracted(target, content)


def _extracted(target: Target, content: Content) -> NDArray[np.float32]:
    if not accepts(target.extractor, content.media_type):
        wanted = " or ".join(kinds_named(target.extractor.accepts))
        raise BadInput(
            f"the input is {content.media_type}, and {target.name!r} is searched by {wanted}"
        )
    outcome = target.extractor.extract([content])[0]
    if isinstance(outcome, BadContent):
        raise outcome
    if not outcome:
        return np.empty((0, target.space.dimension), np.float32)
    return np.stack([part.vector for part in outcome])


def _content(runtime: Runtime, value: Any, mode: str) -> tuple[bytes, str]:
    if mode == "text":
        if not isinstance(value, str):
            raise BadInput(f"the input must be a text, not {str(value)[:80]!r}")
        return value.encode(), "text/plain"
    if isinstance(value, Mapping):
        value = value.get("url") or value.get("base64")
    if not isinstance(value, str):
        raise BadInput("give a content as a URL, a data: URL, or base64")
    if value.startswith(_ADDRESSES):
        data = runtime.blobs.fetch(value)
    else:
        try:
            data = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadInput(
                f"{value[:40]!r} is neither a URL nor base64; give one of them"
            ) from error
    runtime.blobs.check_size(len(data), "the input")
    return data, sniff(data[:_SNIFFED_BYTES], "")


def _unit(value: Any, target: Target) -> NDArray[np.float32]:
    try:
        array = np.atleast_2d(np.asarray(value, np.float64))
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput("a vector must be a list of finite numbers") from error
    for problem in problems(array, target.space.dimension).values():
        raise BadInput(problem)
    return unit_rows(array)


# -------------------------------------------------------------------------------------------------

_RRF = 60
"""The usual constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""

_IN_LIST = 5000


@dataclass(slots=True)
class Found:
    """A document that was found; `score` is its similarity, or its fused score of several searches.

    `enriched` has the labels that taxonomies give it, by the taxonomy's name.
    """

    collection: CollectionRow
    pk: int
    score: float | None = None
    enriched: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageCount:
    """The number of documents before and after a stage, and its time in milliseconds."""

    name: str
    taken: int | None
    given: int
    ms: float


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The documents that a run found, best first, with the counts of its stages."""

    found: list[Found]
    stages: list[StageCount]


def retrieve(
    runtime: Runtime,
    snapshot: Snapshot,
    namespace: str,
    rows: Sequence[CollectionRow],
    stages: Sequence[Stage],
    inputs: Mapping[str, Any],
    filters: Any = None,
    *,
    everywhere: bool = False,
) -> Retrieval:
    """Run stages over collections, with `filters` before the first stage.

    With `everywhere` it skips collections that cannot be searched by the input, unless none is
    left. Raises BadInput for a missing or unusable input, BadContent for one that cannot be read,
    Conflict for a collection without documents.
    """
    run = _Run(runtime, snapshot, namespace, list(rows), inputs, everywhere)
    if filters:
        run.filter(parse(filters))
    counts = []
    for stage in stages:
        before, began = run.count, time.perf_counter()
        run.do(stage)
        ms = (time.perf_counter() - began) * 1000
        counts.append(StageCount(_name(stage), before, run.count or 0, round(ms, 3)))
    return Retrieval(run.all(), counts)


@dataclass(slots=True)
class _Run:
    """The state between two stages: filters collected before the first search, then its results."""

    runtime: Runtime
    snapshot: Snapshot
    namespace: str
    rows: list[CollectionRow]
    inputs: Mapping[str, Any]
    everywhere: bool
    trees: list[Filter] = field(default_factory=list)
    found: list[Found] | None = None

    @property
    def count(self) -> int | None:
        return None if self.found is None else len(self.found)

    def do(self, stage: Stage) -> None:
        if isinstance(stage, Filtering):
            self.filter(stage.tree(self.inputs))
        elif isinstance(stage, Searching):
            self._search(stage)
        else:
            self._enrich(stage)

    def filter(self, tree: Filter) -> None:
        if self.found is None:
            self.trees.append(tree)
            return
        kept: set[int] = set()
        for row in self.rows:
            own = [one.pk for one in self.found if one.collection.pk == row.pk]
            kept |= set(self._matching(row, tree, own))
        self.found = [one for one in self.found if one.pk in kept]

    def all(self) -> list[Found]:
        """Return the search results; without a search, the documents that pass the filters."""
        if self.found is None:
            self.found = [
                Found(row, pk)
                for row in self.rows
                for chunk in self._selecting(row).pks(Every(tuple(self.trees)), limit=MAX_RESULTS)
                for pk in chunk
            ][:MAX_RESULTS]
        return self.found

    # --- search ---------------------------------------------------------------------------------

    def _search(self, stage: Searching) -> None:
        rows = self.rows
        if stage.collections:
            wanted = collections_named(self.snapshot, self.namespace, stage.collections)
            rows = [row for row in rows if row.pk in {one.pk for one in wanted}]
        tree = parse(filled(stage.raw_filter, self.inputs))
        rankings = [(query, self._ranked(rows, query, tree)) for query in stage.queries]
        if not rankings:
            self.filter(tree)
            self.found = self.all()[: stage.top_k]
        elif len(rankings) == 1:
            self.found = rankings[0][1][: stage.top_k]
        else:
            self.found = _fused(rankings)[: stage.top_k]

    def _ranked(self, rows: Sequence[CollectionRow], query: Query, tree: Filter) -> list[Found]:
        found: list[Found] = []
        problems: list[BadInput] = []
        known = [(row, self.runtime.target_in(self.snapshot, row)) for row in rows]
        chosen = [pair for pair in known if not query.space or _is_of(query.space, pair[1])]
        if known and not chosen:
            spaces = ", ".join(target.space.name for _, target in known)
            raise BadInput(f"no collection here has the space {query.space!r} (known: {spaces})")
        for row, target in chosen:
            try:
                vectors, own = self._vectors(target, query)
            except BadInput as error:
                if not self.everywhere:
                    raise
                problems.append(error)
                continue
            pks, similarities = self._nearest(target, vectors, query.top_k + len(own), tree)
            best: dict[int, float] = {}
            for pk, similarity in zip(pks.ravel().tolist(), similarities.ravel(), strict=True):
                if pk != NO_ID and pk not in own:
                    best[pk] = max(best.get(pk, -1.0), float(similarity))
            found += [
                Found(row, pk, score)
                for pk, score in best.items()
                if query.floor is None or score >= query.floor
            ]
        if problems and len(problems) == len(chosen):
            raise problems[0]
        found.sort(key=lambda one: (-(one.score or 0.0), one.pk))
        return found[: query.top_k]

    def _nearest(
        self, target: Target, vectors: NDArray[np.float32], k: int, tree: Filter
    ) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
        whole = Every((*self.trees, tree)) if self.trees else tree
        if self.found is not None:
            own = [one.pk for one in self.found if one.collection.pk == target.pk]
            among = np.array(sorted(self._matching(target.row, tree, own)), np.int64)
        elif whole in (EVERYTHING, Every(())):
            among = np.sort(self.snapshot.slots(target.space)[1])
        else:
            chunks = list(self._selecting(target.row).pks(whole))
            among = np.array([pk for chunk in chunks for pk in chunk], np.int64)
        among = among[placed(self.snapshot, target.space, among)]
        if len(among) == 0:
            return np.empty((0, 0), np.int64), np.empty((0, 0), np.float32)
        return self.snapshot.nearest(target.space, vectors, min(k, len(among)), among)

    def _vectors(self, target: Target, query: Query) -> tuple[NDArray[np.float32], set[int]]:
        """Return the query vectors (n, d), and the pks of their own documents, to exclude."""
        value, mode = filled(query.value, self.inputs), query.mode
        if value is None:
            value = next(iter(self.inputs.values()), None)
        if value is None or value == "":
            raise BadInput("the search has no query: give an input")
        mode = mode or mode_of(value, target)
        if mode == "document":
            return self._of_document(value, target)
        return vectors_of(self.runtime, target, value, mode), set()

    def _of_document(self, value: Any, target: Target) -> tuple[NDArray[np.float32], set[int]]:
        named = value if isinstance(value, Mapping) else {"document_id": value}
        id, home = named.get("document_id"), target
        if not isinstance(id, str):
            raise BadInput(f"{named!r} has no document_id; give one")
        if named.get("collection_id"):
            collections = [str(named["collection_id"])]
            row = collections_named(self.snapshot, self.namespace, collections)[0]
            home = self.runtime.target_in(self.snapshot, row)
        if home.space.name != target.space.name:
            raise BadInput(
                f"the document is in the space {home.space.name}, {target.name!r} in "
                f"{target.space.name}: vectors of two spaces cannot be compared"
            )
        pk = pks_of(self.snapshot, home.row, [id])[id]
        vector = self.snapshot.vectors(home.space, np.array([pk])).astype(np.float32)
        return vector, {pk}

    # --- enrich ---------------------------------------------------------------------------------

    def _enrich(self, stage: Enriching) -> None:
        self.found = self.all()
        row = find(self.snapshot, self.namespace, Kind.TAXONOMY, stage.taxonomy)
        if row is None:
            known = ", ".join(names(self.snapshot, self.namespace, Kind.TAXONOMY)) or "none yet"
            raise BadInput(f"no taxonomy is named {stage.taxonomy!r} (known: {known})")
        taxonomy = taxonomy_row(row)
        for home in {one.collection.pk: one.collection for one in self.found}.values():
            own = [one for one in self.found if one.collection.pk == home.pk]
            labels = matched_known(
                self.runtime,
                self.snapshot,
                self.namespace,
                taxonomy.name,
                home,
                [one.pk for one in own],
                floor=stage.floor,
                fields=stage.fields,
            )
            for one, given in zip(own, labels, strict=True):
                one.enriched[taxonomy.name] = given

    # --- helpers --------------------------------------------------------------------------------

    def _values(self, row: CollectionRow) -> DocumentValues:
        collection_id = Kind.COLLECTION.prefix + row.name
        return DocumentValues(row.pk, collection_id, fields_of(self.snapshot, row.pk))

    def _selecting(self, row: CollectionRow) -> Selecting:
        return Selecting(self.snapshot, self._values(row))

    def _matching(self, row: CollectionRow, tree: Filter, pks: Sequence[int]) -> list[int]:
        """Return the documents that pass a filter."""
        if tree in (EVERYTHING, Every(())) or not pks:
            return list(pks)
        values = self._values(row)
        named = {name: values.value_of(name) for name in sorted(fields_in(tree))}
        query, pk = values.query(list(named.values()))
        query = query.where(clause_of(tree, named.__getitem__))
        matching = []
        for start in range(0, len(pks), _IN_LIST):
            rows = self.snapshot.rows(query.where(pk.in_(pks[start : start + _IN_LIST])))
            matching += [row.pk for row in rows]
        return matching


def _fused(rankings: Sequence[tuple[Query, list[Found]]]) -> list[Found]:
    """Fuse several rankings into one by reciprocal rank fusion."""
    scores: dict[int, float] = {}
    first: dict[int, Found] = {}
    for query, ranked in rankings:
        for rank, one in enumerate(ranked, 1):
            first.setdefault(one.pk, one)
            scores[one.pk] = scores.get(one.pk, 0.0) + query.weight / (_RRF + rank)
    for pk, one in first.items():
        one.score = scores[pk]
    return sorted(first.values(), key=lambda one: (-scores[one.pk], one.pk))


def _is_of(uri: str, target: Target) -> bool:
    """Return whether a feature URI names a space: <scheme>://<extractor>@<version>/<output>.

    The scheme and the output are not checked: a collection has one space.
    """
    name = uri.partition("://")[2].partition("/")[0].partition("@")[0] or uri
    short = target.row.extractor.removesuffix("_extractor")
    return name in (target.row.extractor, short, target.space.name, "")


def _name(stage: Stage) -> str:
    names = {Filtering: "attribute_filter", Searching: "feature_search"}
    return names.get(type(stage), "taxonomy_enrich")
