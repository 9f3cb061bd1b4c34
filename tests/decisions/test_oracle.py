"""Decisions under `threshold`, compared with a brute-force oracle written here."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import lookalike
from lookalike.library.collection.collection import Collection
from lookalike.model import Reason

LIMIT = 0.5
KINDS = ("Shoes > Running", "Shoes > Boots", "Hats", "Bags")

Vectors = NDArray[np.float64]
Expected = tuple[str | None, float | None, str | None, Reason | None]


def oracle(
    queries: Mapping[str, Any],
    references: Mapping[str, Any],
    labels: Mapping[str, str],
    rejected: Mapping[str, set[str]],
    limit: float,
) -> dict[str, Expected]:
    """Label, confidence, source and reason of every query that nobody labelled.

    `references` are in the order in which they were added; `labels` says which of them vote.
    """

    def decide(id: str, refused: set[str]) -> Expected:
        voters = [r for r in references if r in labels and r != id and labels[r] not in refused]
        if not voters:
            return None, None, None, Reason.NO_REFERENCES
        query = unit(queries[id]).astype(np.float64)
        rows = np.stack([unit(references[r]) for r in voters]).astype(np.float64)
        similarity = (rows @ query).astype(np.float32)
        best = int(similarity.argmax())
        if similarity[best] < np.float32(limit) / 2:
            return None, None, None, Reason.BELOW_THRESHOLD
        if similarity[best] < np.float32(limit):
            return None, float(similarity[best]), None, Reason.BELOW_THRESHOLD
        return labels[voters[best]], float(similarity[best]), voters[best], None

    expected = {}
    for id in queries:
        expected[id] = decided = decide(id, rejected.get(id, set()))
        if decided[0] is None and decide(id, set())[0] is not None:
            expected[id] = (*decided[:3], Reason.REJECTED)
    return expected


def unit(vector: Any) -> NDArray[np.float16]:
    wide = np.asarray(vector, np.float64)
    return (wide / np.linalg.norm(wide)).astype(np.float32).astype(np.float16)


def scattered(chance: np.random.Generator, count: int) -> Vectors:
    return chance.standard_normal((count, 8))


def clustered(chance: np.random.Generator, count: int) -> Vectors:
    centres = chance.standard_normal((len(KINDS), 32))
    kinds = chance.integers(0, len(KINDS), count)
    return centres[kinds] + chance.standard_normal((count, 32))


def duplicated(chance: np.random.Generator, count: int) -> Vectors:
    """Forty different vectors, each many times over and at many lengths."""
    few = chance.integers(-1, 2, (40, 8)).astype(np.float64) + 0.25
    return few[chance.integers(0, 40, count)] * 2.0 ** chance.integers(-3, 4, (count, 1))


SHAPES = pytest.mark.parametrize("shape", [scattered, clustered, duplicated])
MODES = pytest.mark.parametrize("separate", [False, True], ids=["unified", "separate"])


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


def fill(
    library: lookalike.Library, vectors: Vectors, *, separate: bool, top_k: int = 3
) -> tuple[Collection, Collection, dict[str, Any], dict[str, Any]]:
    """The curated collection, the one it decides (the same in unified mode), and their vectors."""
    options: Any = {
        "extractor": "passthrough",
        "confidence_threshold": LIMIT,
        "enrich": ("key",),
        "top_k": top_k,
    }
    curated = library.labeler("curated", **options)
    third = len(vectors) // 3
    references = add(curated, "r", vectors[:third] if separate else vectors)
    if not separate:
        return curated, curated, references, references
    stock = library.labeler("stock", reference="curated", **options)
    return curated, stock, references, add(stock, "s", vectors[third:])


def add(collection: Collection, prefix: str, vectors: Vectors) -> dict[str, Any]:
    ids = [f"{prefix}{number}" for number in range(len(vectors))]
    collection.add(vectors=vectors, ids=ids, metadata=[{"key": id} for id in ids])
    return dict(zip(ids, vectors, strict=True))


def some_labels(chance: np.random.Generator, ids: Any, count: int) -> dict[str, str]:
    chosen = chance.choice(sorted(ids), count, replace=False).tolist()
    return {id: KINDS[int(chance.integers(0, len(KINDS)))] for id in chosen}


def decisions(collection: Collection, field: str | None = None) -> dict[str, Expected]:
    found: dict[str, Expected] = {}
    for one in collection.documents(field=field):
        standing = one.standings[field or one.field]
        if standing.origin in (None, "auto"):
            source = standing.enriched.get("key")
            reason = None if standing.label else standing.decision.reason
            found[one.id] = (standing.label, standing.decision.confidence, source, reason)
    return found


def without(expected: dict[str, Expected], labelled: Mapping[str, str]) -> dict[str, Expected]:
    return {id: one for id, one in expected.items() if id not in labelled}


@SHAPES
@MODES
@pytest.mark.parametrize("seed", [1, 2])
def test_decisions_are_those_of_the_nearest_reference(
    library: lookalike.Library, shape: Any, separate: bool, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    curated, decided, references, queries = fill(library, shape(chance, 240), separate=separate)
    labels = some_labels(chance, references, 30)

    for part in (dict(list(labels.items())[:5]), labels):
        curated.label(part)

    expected = without(oracle(queries, references, labels, {}, LIMIT), labels)
    assert decisions(decided) == expected
    assert {one[0] for one in expected.values()} > {None, *KINDS[1:]}


@SHAPES
@MODES
def test_a_rejected_label_does_not_vote_for_that_document(
    library: lookalike.Library, shape: Any, separate: bool
) -> None:
    chance = np.random.default_rng(3)
    curated, decided, references, queries = fill(library, shape(chance, 240), separate=separate)
    labels = some_labels(chance, references, 40)
    curated.label(labels)
    automatic = [one.id for one in decided.documents(origin="auto")]
    rejected: dict[str, set[str]] = {}

    for _ in range(2):
        for id in automatic[:: len(automatic) // 20]:
            label = decided.document(id).label
            if label is not None:
                decided.reject({id: None})
                rejected.setdefault(id, set()).add(label)

    expected = without(oracle(queries, references, labels, rejected, LIMIT), labels)
    assert decisions(decided) == expected
    assert any(expected[id][3] is Reason.REJECTED for id in rejected) or shape is duplicated
    assert max(len(labels) for labels in rejected.values()) > 1


@SHAPES
@MODES
def test_after_rejections_new_references_and_lost_ones_count_as_they_should(
    library: lookalike.Library, shape: Any, separate: bool
) -> None:
    chance = np.random.default_rng(4)
    curated, decided, references, queries = fill(library, shape(chance, 240), separate=separate)
    labels = some_labels(chance, references, 40)
    curated.label(dict(list(labels.items())[:20]))
    rejected: dict[str, set[str]] = {}
    for one in list(decided.documents(origin="auto"))[:25]:
        rejected[one.id] = {str(one.label)}
    decided.reject({id: next(iter(refused)) for id, refused in rejected.items()})

    taken_back = list(labels)[:8]
    curated.label(
        {id: label for id, label in labels.items() if id not in taken_back}
        | dict.fromkeys(taken_back)
    )

    for id in taken_back:
        del labels[id]
    for id, label in labels.items():
        rejected.get(id, set()).discard(label)
    expected = without(oracle(queries, references, labels, rejected, LIMIT), labels)
    assert decisions(decided) == expected


@MODES
def test_several_fields_are_decided_apart(library: lookalike.Library, separate: bool) -> None:
    chance = np.random.default_rng(5)
    vectors = clustered(chance, 200)
    curated, decided, references, queries = fill(library, vectors, separate=separate)
    limits = {"label": LIMIT, "colour": 0.7, "size": 0.3}
    for field in ("colour", "size"):
        rule: Any = {"confidence_threshold": limits[field], "enrich": ("key",), "top_k": 2}
        library.add_taxonomy("curated", field, **rule)
        if separate:
            library.add_taxonomy("stock", field, reference="curated", **rule)
    labels = {field: some_labels(chance, references, 15) for field in limits}
    rejected: dict[str, dict[str, set[str]]] = {field: {} for field in limits}

    for field, said in labels.items():
        curated.label(said, field=field)
        refused = next(decided.documents(origin="auto", field=field))
        decided.reject({refused.id: None}, field=field)
        rejected[field][refused.id] = {str(refused.standings[field].label)}

    for field, limit in limits.items():
        expected = oracle(queries, references, labels[field], rejected[field], limit)
        assert decisions(decided, field) == without(expected, labels[field])


def test_of_equal_references_the_earlier_one_is_the_source(library: lookalike.Library) -> None:
    same = np.repeat(np.array([[1.0, 2.0, 3.0]]), 6, axis=0)
    curated, decided, references, queries = fill(library, same, separate=False)

    curated.label({"r4": "Late", "r2": "Early", "r5": "Latest"})

    assert decisions(decided) == {
        id: ("Early", oracle(queries, references, {"r2": "Early"}, {}, 0)[id][1], "r2", None)
        for id in ("r0", "r1", "r3")
    }


@MODES
def test_what_arrives_later_is_decided_like_what_was_there(
    library: lookalike.Library, separate: bool
) -> None:
    chance = np.random.default_rng(6)
    vectors = clustered(chance, 120)
    curated, decided, references, queries = fill(library, vectors, separate=separate)
    labels = some_labels(chance, references, 15)
    curated.label(labels)

    more = add(decided, "new", clustered(np.random.default_rng(6), 60))

    if not separate:
        references = references | more
    expected = oracle(queries | more, references, labels, {}, LIMIT)
    assert decisions(decided) == without(expected, labels)
