"""A server whose parts go wrong: the rest goes on."""

from __future__ import annotations

import os
from pathlib import Path

from goods import BALLOON, Shop, asking, ok, pictures
from serving import Served

BALLOONS = pictures(BALLOON)
MOODY = """
from lookalike.hookspecs import hookimpl
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
