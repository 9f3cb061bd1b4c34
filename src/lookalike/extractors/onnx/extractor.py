"""The extractor for a user's ONNX model of pictures or texts: a file, or a hub's directory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent, BadSetting
from lookalike.extractors.base import Content, Extractor, Part, extract_each
from lookalike.extractors.hub.local_files import (
    checked_unit,
    choice_option,
    count_option,
    local_path,
    read_config,
    space_of,
)
from lookalike.extractors.image import pixels_from
from lookalike.extractors.onnx import file
from lookalike.extractors.onnx.bundled import has_cuda
from lookalike.extractors.onnx.file import OnnxFile, Port, read_onnx
from lookalike.extractors.onnx.network import POOLINGS, Network, choose_output, declared_pooling
from lookalike.model import Space

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VERSION = "onnx_extractor.v1"
"""Changes whenever preprocessing or pooling changes: it is then another space."""

KINDS = ("image", "text")
MAX_CHUNKS = 64
"""The number of chunks that are read of a text; the rest of it is ignored."""

_FILE_NAMES = ("model.onnx", "onnx/model.onnx")
_PIXEL_OPTIONS = ("side", "shorter", "fit", "mean", "std", "scale")
_TEXT_OPTIONS = ("max_tokens", "prefix")
_TEXT_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids", "position_ids"})
_DEFAULT_TOKENS = 512
_MAX_TOKENS = 32_768
_CHARACTERS_PER_TOKEN = 20  # far above the mean of any language: bounds the work on huge files


def onnx_extractor(
    path: str,
    *,
    kind: str | None = None,
    output: str | None = None,
    pooling: str | None = None,
    threads: int = 1,
    **options: Any,
) -> Extractor:
    """Return the extractor for the user's own ONNX model.

    `path` is the file, or a directory with `model.onnx` (or another single one) and the usual files
    of hubs, such as `preprocessor_config.json` and `tokenizer.json`; options take precedence over
    these. `kind` is "image" or "text", if the inputs do not show it. `output` is the name of the
    output to use; `pooling` is how tokens become one vector: "cls" (the first), "last", "mean", or
    "pooled" if the model does it. For pictures: `side`, `fit` ("squeeze" or "crop"), `shorter`
    (edge before cropping), `mean`, `std`, `scale`. For texts: `max_tokens`, `prefix`.

    Raises BadSetting for impossible options, and if there is no such model.
    """
    model = _find(local_path("path", path))
    folders = (model.path.parent, model.path.parent.parent)
    kind = _kind(model) if kind is None else choice_option("kind", kind, KINDS)
    known = _PIXEL_OPTIONS if kind == "image" else _TEXT_OPTIONS
    for name in options:
        if name not in known:
            listed = ", ".join(known)
            raise BadSetting(f"a model of {kind}s has no option {name!r}; use {listed}")
    if pooling is not None:
        choice_option("pooling", pooling, POOLINGS)
    chosen = choose_output(model, kind, output, pooling or declared_pooling(folders))
    network = Network(model, chosen, threads=count_option("threads", threads, at_most=1024))
    if kind == "image":
        return OnnxImages(network, options, folders)
    return OnnxTexts(network, options, folders)


class _OnnxExtractor(ABC):
    """The common base of the extractors for pictures and for texts."""

    def __init__(self, network: Network, settings: Mapping[str, Any]) -> None:
        self._network = network
        self._settings = settings
        self._space: Space | None = None
        self._lock = Lock()

    @property
    def space(self) -> Space:
        """The model's name, with a digest of its weights, preprocessing and pooling.

        The weights are read for it once in a process: a second or two for a gigabyte.
        """
        with self._lock:
            if self._space is None:
                self._space = self._make_space()
            return self._space

    def uses_gpu(self) -> bool:
        """Return whether the network would run on a GPU here."""
        return has_cuda()

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return one part for each content. Raises BadSetting if the model cannot run."""
        return extract_each(contents, self._extract_one)

    @abstractmethod
    def _extract_one(self, content: Content) -> tuple[Part, ...]: ...

    @abstractmethod
    def _probe(self) -> Mapping[str, NDArray[Any]]: ...

    def _make_space(self) -> Space:
        model, output = self._network.model, self._network.output
        settings = {**self._settings, "output": output.port.name, "pooling": output.pooling}
        name = model.path.stem
        if name == "model":
            folder = model.path.parent
            name = folder.parent.name if folder.name == "onnx" else folder.name
        files = (model.path, *model.weight_files, *self._files())
        return space_of(VERSION, name, files, settings, self._network.dimension(self._probe()))

    def _files(self) -> tuple[Path, ...]:
        return ()


class OnnxImages(_OnnxExtractor):
    """Runs a model on whole pictures, one at a time."""

    accepts = frozenset({"image"})

    def __init__(
        self, network: Network, options: Mapping[str, Any], folders: Sequence[Path]
    ) -> None:
        self._port = _picture_port(network.model)
        self._channels_last = self._port.shape is not None and self._port.shape[3] == 3
        config = read_config(folders, "preprocessor_config.json")
        if self._port.element == file.UINT8:
            config |= {"do_rescale": False, "do_normalize": False}
        self._pixels = pixels_from(config, options, _fixed_size(self._port))
        super().__init__(network, asdict(self._pixels))

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        inputs = self._inputs(self._pixels.of(content.picture()))
        return (Part(checked_unit(self._network.vector(inputs), content)),)

    def _probe(self) -> Mapping[str, NDArray[Any]]:
        return self._inputs(np.zeros((3, self._pixels.height, self._pixels.width), np.float32))

    def _inputs(self, pixels: NDArray[np.float32]) -> Mapping[str, NDArray[Any]]:
        dtypes = {file.FLOAT16: np.float16, file.UINT8: np.uint8}
        values = pixels.transpose(1, 2, 0) if self._channels_last else pixels
        dtype = dtypes.get(self._port.element, np.float32)
        if dtype is np.uint8:
            values = np.clip(np.rint(values), 0, 255)
        return {self._port.name: values[None].astype(dtype)}


class OnnxTexts(_OnnxExtractor):
    """Runs a model on texts, on long ones in chunks; the mean of chunks is weighted by length."""

    accepts = frozenset({"text"})

    def __init__(
        self, network: Network, options: Mapping[str, Any], folders: Sequence[Path]
    ) -> None:
        self._ports = network.model.inputs
        unknown = [str(port) for port in self._ports if port.name not in _TEXT_INPUTS]
        if unknown:
            raise BadSetting(
                f"{str(network.model.path)!r} has inputs that a text cannot fill: "
                f"{', '.join(unknown)}; "
                f"export a model with only inputs of {', '.join(sorted(_TEXT_INPUTS))}"
            )
        found = [path for one in folders if (path := one / "tokenizer.json").is_file()]
        if not found:
            raise BadSetting(
                f"there is no tokenizer.json in the folder of {str(network.model.path)!r}; put it "
                "there"
            )
        self._tokenizer_file = found[0]
        shape = next((port.shape for port in self._ports if port.name == "input_ids"), None)
        self._length = shape[1] if shape is not None and len(shape) == 2 else 0
        self._max_tokens = _max_tokens(options.get("max_tokens"), folders, self._length)
        self._prefix = options.get("prefix", "")
        if not isinstance(self._prefix, str):
            raise BadSetting(f"prefix cannot be {self._prefix!r}; give a text")
        self._tokenizer: Tokenizer | None = None
        super().__init__(network, {"max_tokens": self._max_tokens, "prefix": self._prefix})

    def _files(self) -> tuple[Path, ...]:
        return (self._tokenizer_file,)

    def _extract_one(self, content: Content) -> tuple[Part, ...]:
        text = content.text()[: MAX_CHUNKS * self._max_tokens * _CHARACTERS_PER_TOKEN]
        chunks = self._chunks(self._prefix + text)
        if not chunks:
            raise BadContent(
                f"cannot read {content.name!r}: the model knows none of its characters; remove it"
            )
        vectors = [self._network.vector(*self._inputs(ids)) for ids in chunks]
        pooled = np.array([len(ids) for ids in chunks], np.float32) @ np.stack(vectors)
        return (Part(checked_unit(pooled, content), attributes={"chunks": len(chunks)}),)

    def _chunks(self, text: str) -> list[list[int]]:
        """Return the token ids of each chunk, with the start and end tokens."""
        encoded = self._loaded_tokenizer().encode(text)
        chunks = [encoded, *encoded.overflowing][:MAX_CHUNKS]
        return [chunk.ids for chunk in chunks if not all(chunk.special_tokens_mask)]

    def _loaded_tokenizer(self) -> Tokenizer:
        with self._lock:
            if self._tokenizer is None:
                from tokenizers import Tokenizer

                try:
                    tokenizer = Tokenizer.from_file(str(self._tokenizer_file))
                except Exception as error:  # the library raises no narrower class
                    raise BadSetting(
                        f"{str(self._tokenizer_file)!r} is not a tokenizer: {error}; export it "
                        "again"
                    ) from error
                tokenizer.no_padding()
                tokenizer.enable_truncation(self._max_tokens)
                self._tokenizer = tokenizer
            return self._tokenizer

    def _probe(self) -> Mapping[str, NDArray[Any]]:
        return self._inputs([1])[0]

    def _inputs(self, ids: list[int]) -> tuple[Mapping[str, NDArray[Any]], NDArray[np.int64]]:
        length = self._length or len(ids)
        rows = {
            "input_ids": ids,
            "attention_mask": [1] * len(ids),
            "token_type_ids": [],
            "position_ids": range(length),
        }
        padded = {name: np.zeros((1, length), np.int64) for name in rows}
        for name, row in rows.items():
            padded[name][0, : len(row)] = row
        inputs = {
            port.name: padded[port.name].astype(
                np.int32 if port.element == file.INT32 else np.int64
            )
            for port in self._ports
        }
        return inputs, padded["attention_mask"]


def _find(path: Path) -> OnnxFile:
    """Return the model at a path: the file, or the only one in a directory."""
    if path.is_file():
        return read_onnx(path)
    for name in _FILE_NAMES:
        if (path / name).is_file():
            return read_onnx(path / name)
    found = sorted([*path.glob("*.onnx"), *path.glob("onnx/*.onnx")])
    if len(found) == 1:
        return read_onnx(found[0])
    if not found:
        raise BadSetting(f"{str(path)!r} has no file *.onnx; export the model to ONNX")
    names = ", ".join(str(one.relative_to(path)) for one in found[:10])
    raise BadSetting(f"{str(path)!r} has several models: {names}; give the path of one")


def _kind(model: OnnxFile) -> str:
    texts = any(port.name == "input_ids" for port in model.inputs)
    pictures = any(_is_picture(port) for port in model.inputs)
    if texts == pictures:
        listed = ", ".join(map(str, model.inputs)) or "none"
        what = "both texts and pictures" if texts else "neither texts nor pictures"
        raise BadSetting(
            f"{str(model.path)!r} has inputs for {what}: {listed}; give the file of one of its "
            "towers, or kind and an input of the shape (n, 3, height, width) or named input_ids"
        )
    return "text" if texts else "image"


def _is_picture(port: Port) -> bool:
    kinds = (file.FLOAT, file.FLOAT16, file.UINT8)
    return port.shape is not None and len(port.shape) == 4 and port.element in kinds


def _picture_port(model: OnnxFile) -> Port:
    listed = ", ".join(map(str, model.inputs)) or "none"
    if len(model.inputs) != 1 or not _is_picture(model.inputs[0]):
        raise BadSetting(
            f"{str(model.path)!r} has the inputs {listed}; for pictures it needs a single one of "
            "the shape (n, 3, height, width)"
        )
    shape = model.inputs[0].shape
    assert shape is not None
    if shape[0] > 1 or (shape[1] not in (0, 3) and shape[3] != 3):
        raise BadSetting(
            f"{str(model.path)!r} takes {listed}, not one RGB picture at a time; export it with a "
            "free first length and three color channels"
        )
    return model.inputs[0]


def _fixed_size(port: Port) -> tuple[int, int] | None:
    """Return the fixed width and height of an input, or None."""
    assert port.shape is not None
    height, width = port.shape[1:3] if port.shape[3] == 3 else port.shape[2:]
    return (width, height) if width and height else None


def _max_tokens(given: Any, folders: Sequence[Path], fixed: int) -> int:
    """Return the tokens that the model reads at once: the option, else from its files."""
    if given is not None:
        return count_option("max_tokens", given, at_most=fixed or _MAX_TOKENS)
    declared = [
        read_config(folders, "sentence_bert_config.json").get("max_seq_length"),
        read_config(folders, "tokenizer_config.json").get("model_max_length"),
        read_config(folders, "config.json").get("max_position_embeddings"),
    ]
    limits = [
        int(limit)
        for limit in declared
        if isinstance(limit, int | float) and 0 < limit <= _MAX_TOKENS
    ]
    return min([*limits[:1], *([fixed] if fixed else [])], default=_DEFAULT_TOKENS)
