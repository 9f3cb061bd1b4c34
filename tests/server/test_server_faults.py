"""A server whose parts go wrong: the rest goes on."""

from __future__ import annotations

import os
from pathlib import Path

from goods import BALLOON, Shop, asking, ok, pictures, refused
from serving import Served

BALLOONS = pictures(BALLOON)
MOODY = """
from lookalike.extractors.hookspecs import hookimpl
from lookalike.testing.fakes import WordLengths


class Moody(WordLengths):
    def extract(self, contents):
        raise RuntimeError("not today")


@hookimpl
def register_extractors(register):
    register("moody", lambda: Moody("", 0))
"""


def test_an_extractor_that_breaks_stops_no_other_collection(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    info = plugins / "moody-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: moody\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[lookalike]\nmoody = moody_extractor\n")
    (plugins / "moody_extractor.py").write_text(MOODY)
    path = os.pathsep.join([str(plugins), os.environ.get("PYTHONPATH", "")])

    with (
        Served(tmp_path / "store", environment={"PYTHONPATH": path}) as server,
        asking(server.url) as client,
    ):
        ok(client.post("/v1/buckets", json={"bucket_name": "texts"}))
        source = {"type": "bucket", "bucket_id": "texts"}
        extractor = {"feature_extractor_name": "moody", "input_mappings": {"text": "content"}}
        body = {"collection_name": "moody", "source": source, "feature_extractor": extractor}
        ok(client.post("/v1/collections", json=body))
        text = {"object_id": "one", "metadata": {"content": "a text"}}
        put = client.post("/v1/buckets/texts/objects", json=text, params={"wait": 2})
        shop = Shop(client, "shop")
        shop.open()
        shop.collect("goods")

        (done,) = shop.put(BALLOONS[0])

        assert ok(put)["status"] in ("PENDING", "PROCESSING", "FAILED")
        assert done["status"] == "COMPLETED"
        assert "not today" in server.log


def test_a_request_names_no_model_among_the_files_of_the_server(tmp_path: Path) -> None:
    """Whether there is such a file is not told either."""
    mine = tmp_path / "mine"
    mine.mkdir()
    roots = {"LOOKALIKE_FETCH_ROOTS": str(mine)}
    with Served(tmp_path / "store", environment=roots) as server, asking(server.url) as client:
        ok(client.post("/v1/buckets", json={"bucket_name": "photos"}))
        said = [
            refused(client.post("/v1/collections", json=with_model(path)), 422)["code"]
            for path in ("/etc/passwd", "/etc/nothing", str(tmp_path / "store"))
        ]
        allowed = refused(client.post("/v1/collections", json=with_model(str(mine))), 422)

    assert said == ["fetch_refused"] * 3
    assert allowed["code"] == "bad_setting"  # it was looked at, and there is no model in it


def with_model(path: str) -> dict[str, object]:
    """Return a collection whose extractor has its model at a path."""
    return {
        "collection_name": "modelled",
        "source": {"type": "bucket", "bucket_id": "photos"},
        "feature_extractor": {
            "feature_extractor_name": "combined_extractor",
            "parameters": {
                "members": ["image", {"extractor": "onnx_extractor", "path": path}],
            },
        },
    }
