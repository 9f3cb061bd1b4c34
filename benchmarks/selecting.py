"""How fast a list with a filter is in a large collection: pages, deep pages and counts.

The store is filled by SQL: documents without vectors, and what stands of them in one label field.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from lookalike.catalog.field_values import DocumentValues
from lookalike.catalog.filters import parse
from lookalike.catalog.pages import ARRIVAL, Selecting, Sort, sort_from
from lookalike.catalog.reader import fields_of
from lookalike.stores import schema
from lookalike.stores.base import Snapshot
from lookalike.stores.sqlite.store import SqliteStore
from measuring import Figure

_GOAL_MS = 20.0
_COLLECTION = 1
_ROUNDS = 5

# The newest tenth has no label, one of a thousand a rare one, one of 5,000 a person's.
_FILL = (
    """INSERT INTO object (pk, bucket_pk, id, key, name, metadata, blobs, created_at, size_bytes)
    SELECT value, 1, 'obj_' || value, 'k' || value, 'n' || value, '{}', '[]', value, 1000
    FROM :series""",
    """INSERT INTO document (pk, collection_pk, object_pk, part, id, file_name, sha256, metadata,
    attributes) SELECT pk, 1, pk, '', 'doc_' || pk, name || '.jpg', zeroblob(32),
    json_object('brand', 'brand ' || (pk * 7919 % 1000), 'price', pk * 31 % 5000 / 10.0), '{}'
    FROM object""",
    """INSERT INTO standing (field_pk, document_pk, label, origin, votes, confidence, margin,
    reason, revision) SELECT 1, pk,
    CASE WHEN open THEN NULL WHEN pk % 1000 = 1 THEN 'rare' ELSE 'label ' || (pk * 613 % 50) END,
    CASE WHEN open THEN NULL WHEN pk % 5000 = 0 THEN 'human' ELSE 'auto' END, pk % 5000 = 0,
    CASE WHEN pk % 5000 = 0 AND NOT open THEN NULL ELSE (pk * 104729 % 100003) / 100003.0 END, 0.1,
    CASE WHEN open THEN 'below_threshold' END, 1 FROM
    (SELECT pk, pk > :count * 0.9 AS open FROM document)""",
)

_LISTS: tuple[tuple[str, object, Sort], ...] = (
    ("all, by arrival", None, ARRIVAL),
    ("label null, by arrival", {"kind": None}, ARRIVAL),
    ("a label of 1,000, by arrival", {"kind": "rare"}, ARRIVAL),
    (
        "label null and rejected, by arrival",
        {"kind": None, "taxonomy_match.reason": "rejected"},
        ARRIVAL,
    ),
    ("rejected, by arrival", {"taxonomy_match.reason": "rejected"}, ARRIVAL),
    ("below the limit, by arrival", {"taxonomy_match.reason": "below_threshold"}, ARRIVAL),
    ("one label, by arrival", {"kind": "label 7"}, ARRIVAL),
    ("one label, by confidence", {"kind": "label 7"}, sort_from("taxonomy_match.confidence")),
    ("people's labels, by arrival", {"labels.kind.origin": "human"}, ARRIVAL),
    (
        "labelled, by confidence",
        {"field": "kind", "operator": "ne", "value": None},
        sort_from("taxonomy_match.confidence"),
    ),
    ("label null, by confidence, falling", {"kind": None}, sort_from("-taxonomy_match.confidence")),
    (
        "matched, confidence below 0.6, by confidence",
        [
            {"field": "taxonomy_match.matched", "operator": "eq", "value": True},
            {"field": "taxonomy_match.confidence", "operator": "lt", "value": 0.6},
        ],
        sort_from("taxonomy_match.confidence"),
    ),
    (
        "confidence below 0.6, by arrival",
        {"field": "taxonomy_match.confidence", "operator": "lt", "value": 0.6},
        ARRIVAL,
    ),
    (
        "confidence below 0.0001, by arrival",
        {"field": "taxonomy_match.confidence", "operator": "lt", "value": 0.0001},
        ARRIVAL,
    ),
    ("a common brand of the metadata, by arrival", {"brand": "brand 7"}, ARRIVAL),
)


def fill(store: SqliteStore, count: int) -> None:
    """Fill an empty store with `count` documents of one collection."""
    with store.write() as txn:
        taxonomy = {"field": "kind", "reference": "c", "reference_field": "kind", "enrich": []}
        row = {"collection_pk": _COLLECTION, "name": "kind", "taxonomy": taxonomy}
        txn.insert_one(schema.field, reference_field_pk=1, epoch=0, **row)
        for statement in _FILL:
            text = statement.replace(":series", _SERIES)
            txn.connection.exec_driver_sql(text.replace(":count", str(count)))


_SERIES = """(WITH RECURSIVE s(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s
    WHERE value < :count) SELECT value FROM s)"""


def measure(folder: Path, count: int) -> list[Figure]:
    """Measure the first and a deep page of 100 of every list, and its count."""
    place = folder / f"lists-{count}"
    shutil.rmtree(place, ignore_errors=True)
    store = SqliteStore(place)
    try:
        fill(store, count)
        with store.read() as snapshot:
            return [figure for one in _LISTS for figure in _measured(snapshot, count, *one)]
    finally:
        store.close()
        shutil.rmtree(place)


def _measured(snapshot: Snapshot, count: int, name: str, raw: object, sort: Sort) -> list[Figure]:
    select = Selecting(snapshot, DocumentValues(_COLLECTION, "col_c", fields_of(snapshot, 1)))
    tree = parse(raw)
    first = _median_ms(lambda: select.page(tree, sort))
    cursor = select.page_at(1_000, tree, sort).next_cursor
    deep = _median_ms(lambda: select.page(tree, sort, cursor=cursor))
    counted = _median_ms(lambda: select.count(tree))
    worst = max(first, deep)
    return [
        Figure(
            f"{count:,} documents, 100 of: {name}",
            f"{first:.1f} ms, 1,000 further {deep:.1f} ms, counting {counted:.1f} ms",
            f"≤ {_GOAL_MS:.0f} ms",
            worst <= _GOAL_MS,
        )
    ]


def _median_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return sorted(times)[_ROUNDS // 2] * 1000
