"""Runs the network of an ONNX file on one item at a time, and pools the chosen output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadSetting
from lookalike.extractors.hub.local_files import read_config
from lookalike.extractors.onnx.bundled import open_session
from lookalike.extractors.onnx.file import OnnxFile, Port

if TYPE_CHECKING:
    from onnxruntime import InferenceSession  # has no stubs

POOLINGS = ("cls", "last", "mean", "pooled")
"""How to get one vector: the first token, the last, their mean, or the model's own pooling."""

_POOLED_NAMES = ("sentence_embedding", "image_embeds", "text_embeds", "embeddings")


@dataclass(frozen=True, slots=True)
class NetworkOutput:
    """The output of a network to use, and the pooling of its tokens."""

    port: Port
    pooling: str


class Network:
    """A network that is opened at its first run."""

    def __init__(self, model: OnnxFile, output: NetworkOutput, *, threads: int) -> None:
        self.model = model
        self.output = output
        self._threads = threads
        self._session: InferenceSession | None = None
        self._lock = Lock()

    def vector(
        self, inputs: Mapping[str, NDArray[Any]], mask: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Return one vector (dimension,) for the inputs of one item; `mask` (1, n) is 1 for tokens.

        Raises BadSetting if the model cannot run on them.
        """
        values = np.asarray(self._run(inputs), np.float32)
        pooling = self.output.pooling
        if values.ndim == 4:
            return np.asarray(values.mean(axis=(2, 3))[0], np.float32)
        if values.ndim == 3 and pooling != "pooled":
            tokens = values[0] if mask is None else values[0][mask[0] == 1]
            if pooling == "mean":
                return np.asarray(tokens.mean(axis=0), np.float32)
            return np.asarray(tokens[0 if pooling == "cls" else -1], np.float32)
        if values.ndim == 2:
            return np.asarray(values[0], np.float32)
        raise BadSetting(
            f"the output {self.output.port.name!r} of {str(self.model.path)!r} has the shape "
            f"{values.shape}, which {pooling} cannot pool to a vector; give another output or "
            "pooling"
        )

    def _run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        problems = (
            *(state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf),
            *(state.NoSuchFile, state.NotImplemented, state.RuntimeException, state.EPFail),
        )
        try:
            with self._lock:
                if self._session is None:
                    path = str(self.model.path)
                    self._session = open_session(path, threads=self._threads, wide=True)
            result: NDArray[Any] = self._session.run([self.output.port.name], dict(inputs))[0]
            return result
        except problems as error:
            raise BadSetting(
                f"ONNX Runtime cannot run {str(self.model.path)!r}: {error}; export it again, or "
                "correct the options"
            ) from error

    def dimension(self, probe: Mapping[str, NDArray[Any]]) -> int:
        """Return the dimension of the vectors: from the file, else from a run on `probe`."""
        shape = self.output.port.shape
        if shape is not None and len(shape) in (2, 3, 4):
            declared = shape[1] if len(shape) == 4 else shape[-1]
            if declared:
                return declared
        return len(self.vector(probe))


def choose_output(model: OnnxFile, kind: str, name: str | None, pooling: str) -> NetworkOutput:
    """Return the output to use: the named one, else one that is a vector, else tokens to pool."""
    ports = {port.name: port for port in model.outputs}
    if name is not None and name not in ports:
        listed = ", ".join(map(str, model.outputs))
        raise BadSetting(f"{str(model.path)!r} has no output {name!r}; it has {listed}")
    default = "mean" if kind == "text" else "cls"
    tokens = [port for port in model.outputs if port.shape is None or len(port.shape) == 3]
    if name is not None:
        return NetworkOutput(ports[name], pooling or default)
    if pooling in ("cls", "last", "mean"):
        return NetworkOutput((tokens or model.outputs)[0], pooling)
    wanted = (*_POOLED_NAMES, *(("pooler_output",) if kind == "image" or pooling else ()))
    named = [ports[known] for known in wanted if known in ports]
    vectors = [port for port in model.outputs if port.shape is not None and len(port.shape) == 2]
    if pooling:
        return NetworkOutput((named or vectors or model.outputs)[0], pooling)
    return NetworkOutput((named or tokens or model.outputs)[0], default)


def declared_pooling(folders: Sequence[Path]) -> str:
    """Return the pooling that a directory of sentence-transformers declares, or ""."""
    config = read_config([folder / "1_Pooling" for folder in folders], "config.json")
    keys = {
        "pooling_mode_cls_token": "cls",
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_lasttoken": "last",
    }
    return next((pooling for key, pooling in keys.items() if config.get(key) is True), "")
