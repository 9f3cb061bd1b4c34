"""Reads the inputs, outputs and external weight files of an ONNX file, without a runtime.

ONNX is a protocol buffer (onnx/onnx.proto). This reads only the fields that are needed and skips
the large ones, so a file of gigabytes takes milliseconds.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lookalike.errors import BadSetting

_VARINT, _EIGHT_BYTES, _SIZED, _FOUR_BYTES = 0, 1, 2, 5
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 5, 11, 12
_TENSOR_NAME, _TENSOR_EXTERNAL = 8, 13
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR = 1
_TENSOR_TYPE_ELEMENT, _TENSOR_TYPE_SHAPE = 1, 2
_SHAPE_DIMENSION = 1
_DIMENSION_VALUE = 1
_ENTRY_KEY, _ENTRY_VALUE = 1, 2

FLOAT, UINT8, INT32, INT64, FLOAT16 = 1, 2, 6, 7, 10
"""The numbers of element types in ONNX."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output. `shape` is None if it is not declared; a length of 0 is not fixed."""

    name: str
    element: int
    shape: tuple[int, ...] | None

    def __str__(self) -> str:
        """Return its name and shape, for a message."""
        lengths = "?"
        if self.shape is not None:
            lengths = ", ".join(str(length or "?") for length in self.shape)
        return f"{self.name} ({lengths})"


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """The inputs and outputs of a network; `weight_files` hold its external weights."""

    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weight_files: tuple[Path, ...]


def read_onnx(path: Path) -> OnnxFile:
    """Return the description of an ONNX file.

    Raises BadSetting if the file is missing, is not an ONNX model, or names weight files that are
    not in its folder.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
            if start.startswith(b"version https://git-lfs"):
                raise BadSetting(
                    f"{str(path)!r} is a pointer of Git LFS, not the model; run `git lfs pull`"
                )
            if not start:
                raise BadSetting(f"{str(path)!r} is empty; download the model again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                return _parsed(path, mapped)
    except OSError as error:
        raise BadSetting(
            f"cannot read the model {str(path)!r}: {error.strerror or error}; check the path"
        ) from error


class _NotAMessage(ValueError):
    pass


@dataclass(frozen=True, slots=True)
class _Message:
    """A range of a file, not a memoryview of it: a mapped file with views cannot be closed."""

    data: mmap.mmap
    start: int
    end: int

    def fields(self) -> Iterator[tuple[int, int | _Message]]:
        """Yield the number and value of each field: an integer, or a message or text."""
        place = self.start
        while place < self.end:
            key, place = self._varint(place)
            field, wire = key >> 3, key & 7
            if field == 0:
                raise _NotAMessage("a field has the number 0")
            if wire == _VARINT:
                value, place = self._varint(place)
                yield field, value
                continue
            if wire == _SIZED:
                size, place = self._varint(place)
            elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
                size = 8 if wire == _EIGHT_BYTES else 4
            else:
                raise _NotAMessage(f"a field has the wire type {wire}")
            if place + size > self.end:
                raise _NotAMessage("a field is longer than the message")
            yield field, _Message(self.data, place, place + size)
            place += size

    def messages(self, wanted: int) -> Iterator[_Message]:
        """Yield the values of one field that are messages or texts."""
        for field, value in self.fields():
            if field == wanted and isinstance(value, _Message):
                yield value

    def number(self, wanted: int) -> int:
        """Return the integer value of a field; 0 if it is missing."""
        values = (value for field, value in self.fields() if field == wanted)
        return next((value for value in values if isinstance(value, int)), 0)

    def text(self, wanted: int) -> str:
        """Return the text value of a field; "" if it is missing."""
        value = next(self.messages(wanted), None)
        return "" if value is None else self.data[value.start : value.end].decode()

    def _varint(self, place: int) -> tuple[int, int]:
        """Return an integer of 7 bits per byte, lowest first, and the offset of its end."""
        number = shift = 0
        while shift < 70 and place < self.end:
            byte = self.data[place]
            place += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number, place
            shift += 7
        raise _NotAMessage("a number does not end")


def _parsed(path: Path, mapped: mmap.mmap) -> OnnxFile:
    try:
        return _model(path, _Message(mapped, 0, len(mapped)))
    except (UnicodeDecodeError, _NotAMessage) as error:
        raise BadSetting(
            f"{str(path)!r} is not an ONNX model, or is cut off ({len(mapped):,} bytes); export it "
            "with onnx, or download it again"
        ) from error


def _model(path: Path, model: _Message) -> OnnxFile:
    graph = next(model.messages(_MODEL_GRAPH), None)
    if graph is None:
        raise _NotAMessage("it has no graph")
    inputs, outputs, weights, external = [], [], set(), set()
    for field, value in graph.fields():
        if not isinstance(value, _Message):
            continue
        if field == _GRAPH_INPUT:
            inputs.append(_port(value))
        elif field == _GRAPH_OUTPUT:
            outputs.append(_port(value))
        elif field == _GRAPH_INITIALIZER:
            weights.add(value.text(_TENSOR_NAME))
            external |= set(_locations(value))
    if not outputs:
        raise _NotAMessage("it has no outputs")
    real_inputs = tuple(port for port in inputs if port.name not in weights)
    return OnnxFile(path, real_inputs, tuple(outputs), _weight_files(path, external))


def _weight_files(path: Path, names: set[str]) -> tuple[Path, ...]:
    folder = path.parent.resolve()
    for name in sorted(names):
        file = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise BadSetting(f"{str(path)!r} names weights at {name!r}, outside of its directory")
        if not file.is_file():
            raise BadSetting(
                f"{str(path)!r} has weights in {name!r}; put that file into its folder"
            )
    return tuple(folder / name for name in sorted(names))


def _port(value: _Message) -> Port:
    element, shape = 0, None
    for kind in value.messages(_VALUE_TYPE):
        for tensor in kind.messages(_TYPE_TENSOR):
            element = tensor.number(_TENSOR_TYPE_ELEMENT)
            for lengths in tensor.messages(_TENSOR_TYPE_SHAPE):
                dimensions = lengths.messages(_SHAPE_DIMENSION)
                known = (dimension.number(_DIMENSION_VALUE) for dimension in dimensions)
                shape = tuple(
                    length if length < 1 << 31 else 0 for length in known
                )  # -1: not fixed
    return Port(value.text(_VALUE_NAME), element, shape)


def _locations(weight: _Message) -> Iterator[str]:
    """Yield the name of the external file that holds a weight, if there is one."""
    for entry in weight.messages(_TENSOR_EXTERNAL):
        if entry.text(_ENTRY_KEY) == "location":
            yield entry.text(_ENTRY_VALUE)
