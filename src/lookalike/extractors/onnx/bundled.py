"""The models inside the package: found, checked by digest, run by ONNX Runtime."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import LookalikeError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession  # has no stubs


_FAST_PROVIDERS: tuple[tuple[str, dict[str, str]], ...] = (
    ("CUDAExecutionProvider", {"use_tf32": "0"}),
    ("CoreMLExecutionProvider", {}),
    ("DmlExecutionProvider", {}),
)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file in `lookalike/extractors/onnx/weights` and what its bytes must be."""

    name: str
    sha256: str

    def read(self) -> bytes:
        """Return the bytes; raises LookalikeError when they are missing or not the known ones."""
        try:
            data = files("lookalike.extractors.onnx").joinpath("weights", self.name).read_bytes()
        except FileNotFoundError as error:
            raise LookalikeError(
                f"the model {self.name} is missing; run `pip install --force-reinstall lookalike`"
            ) from error
        found = hashlib.sha256(data).hexdigest()
        if found != self.sha256:
            raise LookalikeError(
                f"the model {self.name} has digest {found[:8]}, not {self.sha256[:8]}: it is "
                "damaged; run `pip install --force-reinstall lookalike`"
            )
        return data


class OnnxModel:
    """A network that is loaded when it is first run; may be run from several threads at once.

    Without `gpu` it runs on the processor even where CUDA is.
    """

    def __init__(self, file: ModelFile, *, threads: int = 1, gpu: bool = True) -> None:
        self._file = file
        self._threads = threads
        self._gpu = gpu
        self._session: InferenceSession | None = None
        self._lock = Lock()

    def run(self, **inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return the first output for the named inputs, as float32."""
        output: NDArray[np.float32] = self._loaded().run(None, inputs)[0]
        return output

    def _loaded(self) -> InferenceSession:
        with self._lock:
            if self._session is None:
                data = self._file.read()
                self._session = open_session(data, threads=self._threads, gpu=self._gpu)
            return self._session


def cuda_is_there() -> bool:
    """Return whether ONNX Runtime would use a GPU here: its build for CUDA is installed."""
    import onnxruntime

    return _FAST_PROVIDERS[0][0] in onnxruntime.get_available_providers()


def open_session(
    data: bytes | str, *, threads: int, wide: bool = False, gpu: bool = True
) -> InferenceSession:
    """Open a network, given as its bytes or its path; on CUDA if it is there, else on few threads.

    With `wide`, CoreML and DirectML are used as well where they are: their arithmetic is coarser.
    Without `gpu`, none of them is.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors only: what a program cannot act on stays quiet
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    there = onnxruntime.get_available_providers() if gpu else []
    fast = _FAST_PROVIDERS if wide else _FAST_PROVIDERS[:1]
    providers: list[Any] = [(name, settings) for name, settings in fast if name in there]
    providers.append("CPUExecutionProvider")
    return onnxruntime.InferenceSession(data, options, providers=providers)
