"""The engine `ray`: a real cluster of one machine gives what threads give, whatever dies."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

import lookalike
from lookalike.catalog.fields import space_of
from lookalike.classifier.graph.arrays import to_fixed_point
from lookalike.classifier.graph.neighbours import neighbour_lists
from lookalike.errors import BadSetting, Conflict, LookalikeError, MissingExtra, Unreachable
from lookalike.extractors.registry import build_extractor, extractors
from lookalike.ingest.executors import pending_from
from lookalike.ingest.ray import cluster as clusters
from lookalike.ingest.ray.cluster import Cluster
from lookalike.ingest.ray.jobs import lists_on
from lookalike.ingest.ray.node import ExtractActor, Order, carry, result_of, task_to
from lookalike.library.collection.collection import Collection
from lookalike.library.remote.collection import RemoteCollection
from lookalike.library.remote.connection import Connection
from lookalike.stores import schema

if find_spec("ray") is None:
    pytest.skip("there is no wheel of Ray for this platform", allow_module_level=True)

# Ray warns of what it will change in itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")

PICTURES = Path(str(files("lookalike.library.samples"))) / "pictures"

DEADLY = '''
"""An extractor that ends its process at one content, and says which GPU it was given."""
import os
import lookalike
from lookalike.extractors.base import Part
from lookalike.model import Space

class Deadly:
    space = Space("deadly.v1/bytes@00000000", 8)
    accepts = frozenset({"text"})

    def uses_gpu(self):
        return True

    def extract(self, contents):
        if any(b"deadly" in one.data for one in contents):
            os._exit(1)
        if any(b"broken" in one.data for one in contents):
            raise RuntimeError("a broken library")
        return [(self._part(one.data),) for one in contents]

    def _part(self, data):
        import numpy as np
        chance = np.random.default_rng(list(data))
        vector = chance.standard_normal(8).astype(np.float32)
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return Part(vector / np.linalg.norm(vector), "", {"gpu": gpu})

@lookalike.hookimpl
def register_extractors(register):
    register("deadly", Deadly)
'''


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of this machine, to which this process is connected; its nodes know the plugin."""
    place = tmp_path_factory.mktemp("plugin")
    (place / "deadly.py").write_text(DEADLY)
    info = place / "deadly-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lookalike]\ndeadly = deadly\n")
    ray = clusters._ray()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(place)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(place), *sys.path[1:]]))
        extractors.cache_clear()
        ray.init(
            num_cpus=2,
            num_gpus=1,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=100 * 2**20,
            _system_config={"num_workers_soft_limit": 6},  # so many wait for the next job
        )
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()
    extractors.cache_clear()


def content_of(library: lookalike.Library, name: str = "things") -> dict[Any, bytes]:
    """Each document's vector, in the bytes that are stored, by content and part."""
    collection = library.collection(name)
    with collection._runtime.store.read() as snapshot:
        rows = snapshot.rows(select(schema.document).order_by(schema.document.c.pk))
        space = space_of(snapshot, collection._row.pk)
        vectors = snapshot.vectors(space, np.array([row.pk for row in rows]))
    keys = [(row.sha256.hex(), row.part, json.dumps(row.attributes)) for row in rows]
    return dict(zip(keys, [vector.tobytes() for vector in vectors], strict=True))


def thumbnails_of(library: lookalike.Library) -> dict[str, bytes]:
    root = library.runtime.root / "cache" / "thumbnails"
    return {file.name: file.read_bytes() for file in sorted(root.rglob("*.jpg"))}


# --- extraction ---------------------------------------------------------------------------------


def test_a_cluster_makes_the_same_documents_vectors_and_thumbnails_as_threads(
    tmp_path: Path, address: str
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for file in sorted(PICTURES.iterdir())[:12]:
        shutil.copy(file, photos)
    for name in ("bad.png", "bad again.png"):
        (photos / name).write_bytes((PICTURES / "apple.png").read_bytes()[:300])
    made = {}

    for engine in ("threads", "ray"):
        with lookalike.open(tmp_path / engine, actor="ann") as library:
            things = library.labeler("things", extractor="image", confidence_threshold=0.7)
            added = things.add(photos, engine=engine)
            first = min(things.documents(), key=lambda one: one.file_name)
            said = things.label({first.id: "thing"})
            made[engine] = (
                content_of(library),
                thumbnails_of(library),
                added.documents,
                {name: reason.replace(str(photos), "") for name, reason in added.failed.items()},
                sorted(said.labelled.items()),
            )

    assert made["ray"] == made["threads"]
    assert made["ray"][2] == 12
    assert set(made["ray"][3]) == {"bad.png", "bad again.png"}


def test_an_object_that_ends_its_process_fails_alone_and_a_gpu_is_asked_for(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(8):
        (texts / f"{number:02}.txt").write_text("a deadly one" if number == 5 else f"no {number}")

    with lookalike.open(tmp_path / "store", actor="ann") as library:
        things = library.labeler("things", extractor="deadly", confidence_threshold=0.7)
        added = things.add(texts, engine="ray")
        given = {json.loads(attributes)["gpu"] for _, _, attributes in content_of(library)}
    monkeypatch.setattr(clusters, "_FREE_S", 20.0)
    with Cluster(address) as cluster:
        cluster._ask({"num_cpus": 1, "num_gpus": 1}, None)  # what died has given it back

    assert added.documents == 7
    assert list(added.failed) == ["05.txt"]
    assert "ended before it was done" in added.failed["05.txt"]
    assert given == {"0"}


def test_what_is_interrupted_goes_on_where_it_was_from_the_command_line(
    tmp_path: Path, address: str
) -> None:
    store, texts = tmp_path / "store", tmp_path / "texts"
    texts.mkdir()
    for number in range(40):
        (texts / f"{number:02}.txt").write_text(f"text {number}")

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with lookalike.open(store, actor="ann") as library:
        things = library.labeler("things", extractor="deadly", confidence_threshold=0.7)
        with pytest.raises(KeyboardInterrupt):
            things.add(texts, engine="ray", progress=interrupt)
        before = content_of(library)
    done = run("run", "things", "--engine", "ray", "--address", address, "--json", store=store)
    with lookalike.open(store, actor="ann") as library:
        after = content_of(library)

    assert done.returncode == 0, done.stderr
    assert "operation" in json.loads(done.stdout)
    assert before.items() <= after.items()
    assert len(after) == 40


def test_what_a_node_cannot_read_is_carried_to_it(tmp_path: Path, plugins: Path) -> None:
    import pyarrow

    path = tmp_path / "one.txt"
    path.write_text("a text")
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        things = library.labeler("things", extractor="text", confidence_threshold=0.7)
        things.add([path, b"another text"])
        runtime, row = things._runtime, things._row
        target = runtime.target(row)
        with runtime.store.read() as snapshot:
            objects = snapshot.rows(select(schema.object_).order_by(schema.object_.c.pk))
        task = [pending_from(one, target) for one in objects]
        order = Order(row.extractor, row.options, target.space.name, runtime.blobs, 10**6)
        rows = pyarrow.table({"task": [task_to(task)]})
        carried = carry(rows, runtime.blobs)
    path.unlink()

    alone = [row for table in ExtractActor(order)(rows) for row in table.to_pylist()]
    with_bytes = [row for table in ExtractActor(order)(carried) for row in table.to_pylist()]
    kept_nowhere = carry(rows, order.blobs)
    missing = [row for table in ExtractActor(order)(kept_nowhere) for row in table.to_pylist()]

    assert [row["unread"] for row in alone] == [True, False]
    assert [len(result_of(row)[0].parts) for row in with_bytes] == [1, 1]
    assert "put the file back" in missing[0]["error"]
    assert not missing[0]["unread"]


def test_what_is_wrong_with_a_node_ends_the_run_and_not_the_objects(
    tmp_path: Path, address: str
) -> None:
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        things = library.labeler("things", extractor="deadly", confidence_threshold=0.7)
        with pytest.raises(Conflict, match="RuntimeError: a broken library"):
            things.add([b"good", b"broken"], engine="ray")
        with things._runtime.store.read() as snapshot:
            waiting = snapshot.rows(select(schema.extraction.c.status))

    assert [row.status for row in waiting] == ["PENDING", "PENDING"]


# --- decisions ----------------------------------------------------------------------------------


def labelled(library: lookalike.Library) -> Collection:
    chance = np.random.default_rng(5)
    centres = chance.standard_normal((5, 24))
    vectors = centres[np.arange(500) % 5] + 0.7 * chance.standard_normal((500, 24))
    things = library.labeler("things", extractor="passthrough", confidence_threshold=0.5)
    things.add(vectors=vectors, ids=[f"v{number}" for number in range(500)])
    things.label({f"v{number}": f"kind {number % 5}" for number in range(60)})
    return things


def decided(things: Collection) -> list[Any]:
    return [
        (one.id, one.label, one.confidence, one.margin, one.standing.suggestion, one.reason)
        for one in things.documents()
    ]


def test_a_cluster_decides_everything_as_one_process_does(tmp_path: Path, address: str) -> None:
    made = {}

    for engine in ("threads", "ray"):
        with lookalike.open(tmp_path / engine, actor="ann") as library:
            things = labelled(library)
            changed = things.run(target_precision=0.9, engine=engine)
            (lists,) = (tmp_path / engine / "cache").glob("lists.*.npz")
            with np.load(lists) as kept:
                arrays = {name: kept[name].tobytes() for name in kept.files if name != "turn"}
            made[engine] = (decided(things), arrays["near"], arrays["cosines"], changed.labelled)

    assert made["ray"] == made["threads"]
    assert len({label for _, label, *_ in made["ray"][0]}) > 3


def test_lists_by_cells_are_the_same_wherever_they_are_found(address: str) -> None:
    chance = np.random.default_rng(3)
    rows = to_fixed_point(chance.standard_normal((700, 16)).astype(np.float32))

    here = neighbour_lists(rows, 20, exact_items=100)
    with Cluster() as cluster:
        there = lists_on(cluster, rows, 20, exact_items=100)

    assert (there[0].dtype, there[1].dtype) == (here[0].dtype, here[1].dtype)
    assert np.array_equal(there[0], here[0])
    assert np.array_equal(there[1], here[1])


# --- what can be wrong --------------------------------------------------------------------------


def test_nodes_with_another_version_are_told_apart(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "__version__", "0.0.1")

    with Cluster(address) as cluster, pytest.raises(Unreachable, match=r"'lookalike==0\.0\.1'"):
        cluster.check_nodes()


def test_more_than_the_cluster_has_is_waited_for_only_so_long(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "_FREE_S", 0.2)

    with Cluster(address) as cluster, pytest.raises(LookalikeError, match=r"9 CPU free.*2 CPU"):
        cluster._ask({"num_cpus": 9}, None)


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ("10.0.0.5", BadSetting, "HOST:PORT"),
        ("ray://10.0.0.5:10001", BadSetting, "--address auto"),
        ("127.0.0.1:1", Unreachable, "ray start --head"),
        ("127.0.0.1:99999", Unreachable, "127.0.0.1:99999"),
        ("no-such-host.invalid:6379", Unreachable, "no-such-host.invalid"),
    ],
)
def test_an_address_without_a_cluster_is_refused_with_what_to_do(
    given: str, kind: type[LookalikeError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        clusters._check_address(given)


def test_a_server_of_something_else_is_no_cluster() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(Unreachable, match="not that of the dashboard"):
            clusters._check_address(f"127.0.0.1:{server.server_port}")
        thread.join()


def test_a_port_that_says_nothing_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_ANSWER_S", 0.2)
    server = socket.create_server(("127.0.0.1", 0))

    with server, pytest.raises(Unreachable, match="no Ray cluster answers"):
        clusters._check_address(f"127.0.0.1:{server.getsockname()[1]}")


def test_an_engine_is_one_of_two_and_only_a_cluster_has_an_address(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        things = library.labeler("things", extractor="text", confidence_threshold=0.7)

        with pytest.raises(BadSetting, match="'spark'"):
            things.run(engine="spark")
        with pytest.raises(BadSetting, match="give engine 'ray', too"):
            things.extract(address="10.0.0.5:6379")


def test_without_the_extra_the_pip_line_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with lookalike.open(tmp_path / "store", actor="ann") as library:
        things = library.labeler("things", extractor="text", confidence_threshold=0.7)

        with pytest.raises(MissingExtra, match=r"pip install 'lookalike\[ray\]'"):
            things.run(engine="ray")


def test_a_client_does_not_choose_the_engine_of_a_server() -> None:
    things = RemoteCollection(Connection("http://127.0.0.1:1", None, "default", 0.0), "things")

    for verb in (things.run, things.extract, things.add):
        with pytest.raises(BadSetting, match="lookalike run things --engine ray"):
            verb(engine="ray")


def test_the_packaged_models_say_whether_they_would_run_on_a_gpu() -> None:
    from lookalike.extractors.base import uses_gpu

    told = {name: uses_gpu(build_extractor(name, {})) for name in ("image", "text", "region")}

    assert set(told.values()) <= {True, False}
    assert not uses_gpu(build_extractor("passthrough", {"dimension": 4}))


def run(*words: str, store: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lookalike", *words, "--store", str(store)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
