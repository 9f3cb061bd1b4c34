"""Small ONNX networks, made here, that behave like those for faces: red squares are faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save_model

STRIDES = (8, 16, 32)
FIVE = np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.35, 0.7], [0.65, 0.7]])
"""Where a face in these pictures has its landmarks, in shares of its square."""


def save_yunet(path: Path, *, size: tuple[int, int] | None = None) -> None:
    """Write a detector with YuNet's outputs: a cell of 32 pixels that is red is a face.

    It reads blue, green and red, from 0 to 255. `size` is the width and height of a graph for one
    size of pictures only.
    """
    red = np.zeros((1, 3, 32, 32), np.float32)
    red[0, 2] = 1 / (32 * 32 * 255)
    graph = _Graph()
    for stride in STRIDES:
        known = stride == 32
        graph.head(f"cls_{stride}", stride, [0], weights=red if known else None)
        graph.head(f"obj_{stride}", stride, [1])
        graph.head(f"bbox_{stride}", stride, [0.5, 0.5, 0, 0])
        graph.head(f"kps_{stride}", stride, FIVE.ravel().tolist())
    shape = ("h", "w") if size is None else (size[1], size[0])
    graph.save(path, (1, 3, *shape))


def save_scrfd(path: Path) -> None:
    """Write a detector with the outputs of InsightFace's SCRFD, two anchors a cell.

    It reads red, green and blue, from -1 to 1. Distances are counted from the cell's corner.
    """
    red = np.zeros((2, 3, 32, 32), np.float32)
    red[0, 0] = 1 / (32 * 32)
    graph = _Graph()
    for stride in STRIDES:
        found = red if stride == 32 else None
        graph.head(f"score_{stride}", stride, [0, 0], weights=found, width=1)
    for stride in STRIDES:
        graph.head(f"bbox_{stride}", stride, [0, 0, 1, 1] * 2, width=4)
    for stride in STRIDES:
        graph.head(f"kps_{stride}", stride, FIVE.ravel().tolist() * 2, width=10)
    graph.save(path, (1, 3, "h", "w"))


def save_embedder(path: Path) -> None:
    """Write an embedder of 112 × 112 pixels: the mean colours of 8 × 8 fields, 192 numbers."""
    graph = _Graph()
    graph.node("AveragePool", ["pixels"], "fields", kernel_shape=[14, 14], strides=[14, 14])
    graph.node("Flatten", ["fields"], "vector")
    graph.outputs["vector"] = [1, 192]
    graph.save(path, (1, 3, 112, 112))


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.outputs: dict[str, list[str | int]] = {}

    def node(self, kind: str, inputs: Sequence[str], output: str, **how: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **how))
        return output

    def constant(self, name: str, values: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def head(
        self,
        name: str,
        stride: int,
        bias: Sequence[float],
        *,
        weights: Any = None,
        width: int | None = None,
    ) -> None:
        """Add an output that has `bias` in each cell, and what `weights` see there."""
        count = len(bias)
        if weights is None:
            weights = np.zeros((count, 3, stride, stride), np.float32)
        inputs = ["pixels", self.constant(f"{name}_w", weights)]
        inputs.append(self.constant(f"{name}_b", np.array(bias, np.float32)))
        seen = self.node("Conv", inputs, f"{name}_seen", strides=[stride, stride])
        last = self.node("Transpose", [seen], f"{name}_last", perm=[0, 2, 3, 1])
        shape = [1, -1, count] if width is None else [-1, width]
        self.node("Reshape", [last, self.constant(f"{name}_shape", np.array(shape))], name)
        self.outputs[name] = [1, "cells", count] if width is None else ["cells", width]

    def save(self, path: Path, shape: Sequence[int | str]) -> None:
        inputs = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)]
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, dimensions)
            for name, dimensions in self.outputs.items()
        ]
        graph = helper.make_graph(self.nodes, "small", inputs, outputs, self.constants)
        opset = [helper.make_opsetid("", 17)]
        save_model(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))
