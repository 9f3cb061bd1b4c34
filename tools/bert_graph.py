"""BERT as an ONNX graph from its weights, in two ways of holding and multiplying them.

`Plain` computes in float32: its weights may be stored as int8 and are folded when the model loads.
`Integer` multiplies int8 weights with activations that are quantised *by token*: the scale of a
token follows from that token alone, so a vector depends neither on what else is in its batch nor
on padding. Sums of integers are exact on every processor; what is computed in float32 between them
is not, and where it rounds otherwise, another level may be taken.

Both take `input_ids` and `attention_mask` int64 (n, length <= 512) and give `vectors` float32
(n, 384) of unit length.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

HEADS, WIDTH = 12, 384
NORM_EPSILON = 1e-12
MASKED = np.float32(-1e9)  # far below any score: the softmax of a masked token is exactly 0
GROUP = 64  # inputs that share a scale in `Plain`
LOWEST_GELU = 0.17  # GELU is never below minus this: added, all of it is positive

Array = NDArray[np.float32]
Weights = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Int8:
    """A matrix int8 (inputs, units) of at most 64, and the scale (units,) of each unit.

    With numbers of at most 64 no processor's sum of two products overflows 16 bits.
    """

    numbers: NDArray[np.int8]
    scales: Array


@dataclass(frozen=True, slots=True)
class Rows:
    """A vocabulary uint8 (words, width): value = (number - zero) * scale."""

    numbers: NDArray[np.uint8]
    scale: Array
    zero: NDArray[np.uint8]


class _Graph(ABC):
    """Nodes and constants in the order in which they are added."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: list[str], *, output: str = "", **attributes: Any) -> str:
        """Add a node with one output and return its name."""
        output = output or f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: str = "f4") -> str:
        """Add a constant and return its name."""
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def embeddings(self) -> str:
        """Look up each token and its position; the token type is always 0."""
        positions = self._weights["embeddings.position_embeddings.weight"]
        positions = positions + self._weights["embeddings.token_type_embeddings.weight"][0]
        half = self.add(
            "Slice",
            [
                self.constant("positions", positions, "f2"),
                self.constant("start", [0], "i8"),
                self.add("Shape", ["input_ids"], start=1, end=2),
            ],
        )
        total = self.add("Add", [self._words(), self.add("Cast", [half], to=TensorProto.FLOAT)])
        return self._norm(total, "embeddings.LayerNorm")

    def penalty(self) -> str:
        """Return (n, 1, 1, length): 0 for a token, a huge negative number for padding."""
        mask = self.add("Cast", ["attention_mask"], output="mask", to=TensorProto.FLOAT)
        masked = self.add("Sub", [self.constant("one", 1.0), mask])
        penalty = self.add("Mul", [masked, self.constant("masked", MASKED)])
        return self.add("Unsqueeze", [penalty, self.constant("heads and rows", [1, 2], "i8")])

    def layer(self, tensor: str, penalty: str, name: str) -> str:
        """Add a layer: attention and the two dense layers, each with its residual and its norm."""
        attended = self._attention(tensor, penalty, f"{name}.attention")
        return self._feed_forward(attended, name)

    def pool_mean(self, tensor: str) -> None:
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

    def pool_first(self, tensor: str) -> None:
        """Take the first token, at unit length."""
        first = self.add("Gather", [tensor, self.constant("first", 0, "i8")], axis=1)
        length = self.add("ReduceL2", [first, self.constant("units", [1], "i8")], keepdims=1)
        self.add("Div", [first, length], output="vectors")

    def model(self, name: str) -> onnx.ModelProto:
        """Return the graph as a model that has been checked."""
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"])
            for name in ("input_ids", "attention_mask")
        ]
        vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", WIDTH])
        graph = helper.make_graph(self._nodes, name, inputs, [vectors], self._constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 20)],
            producer_name="lookalike",
            ir_version=9,
        )
        onnx.checker.check_model(model)
        return model

    @abstractmethod
    def _words(self) -> str: ...

    @abstractmethod
    def _attention(self, tensor: str, penalty: str, name: str) -> str: ...

    @abstractmethod
    def _feed_forward(self, tensor: str, name: str) -> str: ...

    def _mixed(self, scores: str, penalty: str, value: str, name: str) -> str:
        """Return (n, length, width): the values of all heads by the softmax of their scores."""
        shares = self.add("Softmax", [self.add("Add", [scores, penalty])], axis=-1)
        mixed = self.add("Transpose", [self.add("MatMul", [shares, value])], perm=[0, 2, 1, 3])
        return self.add("Reshape", [mixed, self.constant(f"{name}.width", [0, 0, WIDTH], "i8")])

    def _norm(self, tensor: str, name: str) -> str:
        gain, shift = (
            self.constant(f"{name}.{part}", self._weights[f"{name}.{part}"])
            for part in ("weight", "bias")
        )
        return self.add("LayerNormalization", [tensor, gain, shift], epsilon=NORM_EPSILON)


class Plain(_Graph):
    """Computes in float32; with `exact`, its weights are stored so as well."""

    def __init__(self, weights: Weights, *, exact: bool) -> None:
        super().__init__(weights)
        self._exact = exact

    def _words(self) -> str:
        words = self._weights["embeddings.word_embeddings.weight"]
        if self._exact:
            return self.add("Gather", [self.constant("words", words), "input_ids"])
        numbers, scales = quantised(words, axis=1)
        found = self.add("Gather", [self.constant("words", numbers, "i1"), "input_ids"])
        scale = self.add("Gather", [self.constant("words.scale", scales), "input_ids"])
        return self.add("Mul", [self.add("Cast", [found], to=TensorProto.FLOAT), scale])

    def _attention(self, tensor: str, penalty: str, name: str) -> str:
        size = WIDTH // HEADS
        query = self._heads(tensor, f"{name}.self.query", [0, 2, 1, 3])
        key = self._heads(tensor, f"{name}.self.key", [0, 2, 3, 1])
        value = self._heads(tensor, f"{name}.self.value", [0, 2, 1, 3])
        scale = self.constant(f"{name}.scale", size**-0.5)
        scores = self.add("Mul", [self.add("MatMul", [query, key]), scale])
        mixed = self._mixed(scores, penalty, value, name)
        output = self._linear(mixed, f"{name}.output.dense")
        return self._norm(self.add("Add", [output, tensor]), f"{name}.output.LayerNorm")

    def _heads(self, tensor: str, name: str, order: list[int]) -> str:
        split = self.constant(f"{name}.split", [0, 0, HEADS, WIDTH // HEADS], "i8")
        return self.add(
            "Transpose", [self.add("Reshape", [self._linear(tensor, name), split])], perm=order
        )

    def _feed_forward(self, tensor: str, name: str) -> str:
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


class Integer(_Graph):
    """Multiplies int8 weights with uint8 activations, whose scale is that of their token."""

    def __init__(self, weights: Weights, words: Rows, matrices: Mapping[str, Int8]) -> None:
        super().__init__(weights)
        self._vocabulary = words
        self._matrices = matrices
        self._known: set[str] = set()

    def _words(self) -> str:
        words = self._vocabulary
        found = self.add("Gather", [self.constant("words", words.numbers, "u1"), "input_ids"])
        scale = self.constant("words.scale", words.scale)
        zero = self.constant("words.zero", words.zero, "u1")
        return self.add("DequantizeLinear", [found, scale, zero])

    def _attention(self, tensor: str, penalty: str, name: str) -> str:
        """Query, key and value are one product; the scale of the scores is in the query's."""
        size = WIDTH // HEADS
        names = [f"{name}.self.{part}" for part in ("query", "key", "value")]
        parts = [self._matrices[one] for one in names]
        shrink = np.repeat(np.array([size**-0.5, 1, 1], np.float32), WIDTH)
        matrix = Int8(
            np.concatenate([part.numbers for part in parts], axis=1),
            np.concatenate([part.scales for part in parts]) * shrink,
        )
        bias = np.concatenate([self._weights[f"{one}.bias"] for one in names]) * shrink
        product = self._product(self._signed(tensor), matrix, bias, f"{name}.self")
        split = self.constant(f"{name}.split", [0, 0, 3 * HEADS, size], "i8")
        heads = self.add("Transpose", [self.add("Reshape", [product, split])], perm=[0, 2, 1, 3])
        made = helper.make_node("Split", [heads], names, axis=1, num_outputs=len(names))
        self._nodes.append(made)
        query, key, value = names
        scores = self.add("MatMul", [query, self.add("Transpose", [key], perm=[0, 1, 3, 2])])
        mixed = self._mixed(scores, penalty, value, name)
        output = self._linear(mixed, f"{name}.output.dense")
        return self._norm(self.add("Add", [output, tensor]), f"{name}.output.LayerNorm")

    def _feed_forward(self, tensor: str, name: str) -> str:
        """What GELU gives is made positive, for all 255 levels; the bias takes the shift back."""
        wide = self.add("Gelu", [self._linear(tensor, f"{name}.intermediate.dense")])
        matrix = self._matrices[f"{name}.output.dense"]
        sums = matrix.numbers.sum(axis=0, dtype=np.int64) * matrix.scales
        bias = self._weights[f"{name}.output.dense.bias"] - LOWEST_GELU * sums
        positive = self._positive(self.add("Add", [wide, self._once(LOWEST_GELU)]))
        output = self._product(positive, matrix, bias, f"{name}.output.dense")
        return self._norm(self.add("Add", [output, tensor]), f"{name}.output.LayerNorm")

    def _linear(self, tensor: str, name: str) -> str:
        bias = self._weights[f"{name}.bias"]
        return self._product(self._signed(tensor), self._matrices[name], bias, name)

    def _signed(self, tensor: str) -> _Tokens:
        return self._tokens(tensor, self.add("Abs", [tensor]), most=127, middle=128)

    def _positive(self, tensor: str) -> _Tokens:
        return self._tokens(tensor, tensor, most=255, middle=0)

    def _tokens(self, tensor: str, sizes: str, *, most: int, middle: int) -> _Tokens:
        """Quantise, and round half up: a half is added and what is beyond the point cut off."""
        largest = self.add("ReduceMax", [sizes, self._once(-1, "i8")], keepdims=1)
        scaled = self.add("Mul", [tensor, self.add("Div", [self._once(most), largest])])
        moved = self.add("Add", [scaled, self._once(middle + 0.5)])
        return _Tokens(self.add("Cast", [moved], to=TensorProto.UINT8), largest, most, middle)

    def _product(self, tokens: _Tokens, matrix: Int8, bias: Array, name: str) -> str:
        numbers = self.constant(f"{name}.int8", matrix.numbers, "i1")
        middle = self._once(tokens.middle, "u1")
        total = self.add("MatMulInteger", [tokens.numbers, numbers, middle])
        by_token = self.add(
            "Mul", [self.add("Cast", [total], to=TensorProto.FLOAT), tokens.largest]
        )
        scale = self.constant(f"{name}.scale", matrix.scales / np.float32(tokens.most))
        product = self.add("Mul", [by_token, scale])
        return self.add("Add", [product, self.constant(f"{name}.bias", bias)])

    def _once(self, value: float, dtype: str = "f4") -> str:
        """Return the name of a number among the constants, where it is added once."""
        name = f"{value:g}.{dtype}"
        if name not in self._known:
            self._known.add(name)
            self.constant(name, [value] if dtype == "i8" else value, dtype)
        return name


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Quantised activations: `largest` (n, length, 1) stands for `most` levels above `middle`."""

    numbers: str
    largest: str
    most: int
    middle: int


def quantised(values: Array, *, axis: int) -> tuple[NDArray[np.int8], Array]:
    """Return int8 numbers and the float32 scales along `axis` that give the values back."""
    scales = np.abs(values).max(axis=axis, keepdims=True) / 127
    scales = np.maximum(scales, np.finfo(np.float32).tiny).astype(np.float32)
    return np.rint(values / scales).astype(np.int8), scales
