"""One peer, in an environment of its own: first labels for all items, then one label more.

    .venv-peers/bin/python benchmarks/peer_runs.py faiss FOLDER 900

The folder holds `vectors.npy` (n, d), of unit length, `kinds.npy` (n) and `given.npy`, the places
that are labelled: all but the last REPEATS first, then those one by one. Each line of the answer is
JSON, written as soon as it is known, so that a run that is ended has told something. The third
argument is how many seconds of processor time there are before the system ends it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import resource
import sys
import time
import types
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

REPEATS = 3
_NEIGHBOURS = 5
_KINDS = 60
_ENOUGH_S = 60.0
"""So much processor time for the same again and again is enough."""


Again = Callable[[int], None]
"""Takes one place more as labelled, and brings the labels of all items up to date."""


class Data:
    """What is to be labelled; `given` places have their label, `more` get it one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vectors = np.load(folder / "vectors.npy")
        self.kinds = np.load(folder / "kinds.npy")
        places = np.load(folder / "given.npy").tolist()
        self.given, self.more = places[:-REPEATS], places[-REPEATS:]


def sklearn_neighbours(data: Data) -> Again:
    """K nearest neighbours of scikit-learn, which are found anew for every item."""
    from sklearn.neighbors import KNeighborsClassifier

    given = list(data.given)

    def again(place: int | None = None) -> None:
        given.extend([] if place is None else [place])
        model = KNeighborsClassifier(_NEIGHBOURS, metric="cosine")
        model.fit(data.vectors[given], data.kinds[given]).predict(data.vectors)

    again()
    return again


def sklearn_spreading(data: Data) -> Again:
    """LabelSpreading of scikit-learn over the graph of nearest neighbours."""
    from sklearn.semi_supervised import LabelSpreading

    known = np.full(len(data.kinds), -1)
    known[data.given] = data.kinds[data.given]

    def again(place: int | None = None) -> None:
        if place is not None:
            known[place] = data.kinds[place]
        model = LabelSpreading(kernel="knn", n_neighbors=_NEIGHBOURS)
        np.asarray(model.fit(data.vectors, known).transduction_)

    again()
    return again


def faiss(data: Data) -> Again:
    """An exact index of faiss over the labelled, which is searched for every item; in memory."""
    import faiss as library

    index = library.IndexFlatIP(data.vectors.shape[1])
    kinds: list[int] = []

    def again(*places: int) -> None:
        index.add(data.vectors[list(places)])
        kinds.extend(data.kinds[list(places)].tolist())
        _, near = index.search(data.vectors, _NEIGHBOURS)
        _vote(np.array(kinds)[near])

    again(*data.given)
    return again


def lancedb(data: Data) -> Again:
    """LanceDB: a table of the labelled, searched for every item, and the labels written back."""
    import lancedb as library
    import pyarrow as pa

    database = library.connect(data.folder / "lance")
    schema = pa.schema([("vector", pa.list_(pa.float32(), data.vectors.shape[1]))])
    schema = schema.append(pa.field("kind", pa.int64()))
    labelled = database.create_table("labelled", schema=schema)
    ids = pa.array(np.arange(len(data.kinds)))
    flat = pa.FixedSizeListArray.from_arrays(data.vectors.reshape(-1), data.vectors.shape[1])
    items = database.create_table(
        "items", pa.table({"id": ids, "vector": flat, "label": pa.nulls(len(ids), pa.int64())})
    )

    def again(*places: int) -> None:
        labelled.add(
            [{"vector": data.vectors[one], "kind": int(data.kinds[one])} for one in places]
        )
        found = []
        for start in range(0, len(ids), 1000):
            block = data.vectors[start : start + 1000]
            search = labelled.search(block).distance_type("dot").limit(_NEIGHBOURS)
            near = search.select(["kind", "_distance"]).to_arrow()
            order = np.argsort(near["query_index"].to_numpy(), kind="stable")
            found.append(near["kind"].to_numpy()[order].reshape(len(block), _NEIGHBOURS))
        labels = pa.table({"id": ids, "label": pa.array(_vote(np.concatenate(found)))})
        items.merge_insert("id").when_matched_update_all().execute(labels)

    again(*data.given)
    return again


def lightly_studio(data: Data) -> Again:
    """LightlyStudio's few-shot classifier, trained and run again over its own database.

    The package's front loads torch and every extractor; the classifier needs neither, so its
    modules are imported without that front.
    """
    os.environ["LIGHTLY_STUDIO_ANALYTICS_ENABLED"] = "false"
    spec = importlib.util.find_spec("lightly_studio")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    front = types.ModuleType("lightly_studio")
    front.__path__ = list(spec.submodule_search_locations)
    sys.modules["lightly_studio"] = front

    from lightly_studio.database import db_manager

    importlib.import_module("lightly_studio.core.dataset_query")  # its circles need this one first
    from lightly_studio.few_shot_classifier.classifier_manager import ClassifierManager

    db_manager.connect(cleanup_existing=True, db_file=str(data.folder / "lightly.db"))
    names = [f"Kind {kind}" for kind in range(_KINDS)]
    manager = ClassifierManager()
    with db_manager.session() as session:
        collection_id, samples = _lightly_collection(session, data)
        made = manager.create_classifier(session, "kinds", names, collection_id)
    id = made.classifier_id

    def again(*places: int) -> None:
        said: dict[str, list[Any]] = {}
        for place in places:
            said.setdefault(names[data.kinds[place]], []).append(samples[place])
        with db_manager.session() as session:
            manager.update_classifiers_annotations(id, said)
            manager.train_classifier(session, id)
            manager.commit_temp_classifier(id)
            manager.run_classifier(session, id, collection_id)

    again(*data.given)
    return again


def _lightly_collection(session: Any, data: Data) -> tuple[Any, list[Any]]:
    """Put all items with their vectors into LightlyStudio; return their collection and ids."""
    from lightly_studio.models.collection import CollectionCreate, SampleType
    from lightly_studio.models.embedding_model import EmbeddingModelCreate
    from lightly_studio.models.image import ImageCreate
    from lightly_studio.models.sample_embedding import SampleEmbeddingCreate
    from lightly_studio.resolvers import (
        collection_embedding_model_resolver,
        collection_resolver,
        embedding_model_resolver,
        image_resolver,
        sample_embedding_resolver,
    )

    wanted = CollectionCreate(name="items", sample_type=SampleType.IMAGE)
    collection = collection_resolver.create(session, wanted)
    collection_id = collection.collection_id
    model = embedding_model_resolver.create(
        session,
        EmbeddingModelCreate(
            name="given",
            embedding_dimension=data.vectors.shape[1],
            dataset_id=collection.dataset_id,
        ),
    )
    collection_embedding_model_resolver.get_or_add_collection_model(
        session, collection_id, model.embedding_model_id
    )
    collection_embedding_model_resolver.set_default(
        session, collection_id, model.embedding_model_id
    )
    images = [
        ImageCreate(file_name=f"{place}.png", width=8, height=8, file_path_abs=f"/{place}.png")
        for place in range(len(data.kinds))
    ]
    samples = image_resolver.create_many(session, collection_id, images)
    for start in range(0, len(samples), 1000):
        sample_embedding_resolver.create_many(
            session,
            [
                SampleEmbeddingCreate(
                    sample_id=samples[place],
                    embedding_model_id=model.embedding_model_id,
                    embedding=data.vectors[place],
                )
                for place in range(start, min(start + 1000, len(samples)))
            ],
        )
    return collection_id, list(samples)


PEERS: dict[str, tuple[str, Callable[[Data], Again]]] = {
    "sklearn_neighbours": ("scikit-learn", sklearn_neighbours),
    "sklearn_spreading": ("scikit-learn", sklearn_spreading),
    "faiss": ("faiss-cpu", faiss),
    "lancedb": ("lancedb", lancedb),
    "lightly_studio": ("lightly-studio", lightly_studio),
}
"""Each with the package whose version is told."""


def main() -> None:
    """Run the peer that is named over the data in a folder."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    package, begin = PEERS[name]
    seconds = int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    data = Data(folder)
    kept: list[Again] = []
    _tell("first", version(package), lambda: kept.append(begin(data)))
    spent_s = 0.0
    for place in data.more:
        if spent_s < _ENOUGH_S:
            spent_s += _tell("again", version(package), partial(kept[0], place))


def _tell(what: str, number: str, work: Callable[[], object]) -> float:
    """Do some work, tell what it cost, and return the seconds of processor time."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    spent = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    told = {"what": what, "version": number, **spent, "peak_mib": _peak_mib()}
    print(json.dumps(told), flush=True)
    return spent["cpu_s"]


def _peak_mib() -> float:
    """Return the most memory this program held; what started it is not counted, where that shows.

    `ru_maxrss` begins with what the process that started this one held.
    """
    status = Path("/proc/self/status")
    if status.exists():
        rows = status.read_text("utf-8").splitlines()
        return next(int(row.split()[1]) for row in rows if row.startswith("VmHWM:")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _vote(kinds: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the most frequent kind of each row (n, k), the smallest where several are."""
    counts = np.zeros((len(kinds), _KINDS), np.int32)
    for column in kinds.T:
        counts[np.arange(len(kinds)), column] += 1
    winners: NDArray[np.int64] = counts.argmax(axis=1)
    return winners


if __name__ == "__main__":
    main()
