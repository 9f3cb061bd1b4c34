"""The models bundled with the package: read, checked by digest, run with ONNX Runtime."""

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


_ACCELERATORS: tuple[tuple[str, dict[str, str]], ...] = (
    ("CUDAExecutionProvider", {"use_tf32": "0"}),
    ("CoreMLExecutionProvider", {}),
    ("DmlExecutionProvider", {}),
)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file in `lookalike/extractors/onnx/weights`, and the digest that it must have."""

    name: str
    sha256: str

    def read(self) -> bytes:
        """Return the bytes. Raises LookalikeError if the file is missing or its digest is wrong."""
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
    """A network that is loaded at its first run; safe for threads.

    Without `gpu` it runs on the CPU even if CUDA is available.
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


def has_cuda() -> bool:
    """Return whether ONNX Runtime would use a GPU here: its CUDA build is installed."""
    import onnxruntime

    return _ACCELERATORS[0][0] in onnxruntime.get_available_providers()


def open_session(
    data: bytes | str, *, threads: int, wide: bool = False, gpu: bool = True
) -> InferenceSession:
    """Open a network, given as its bytes or its path, on CUDA if available, else on `threads`.

    With `wide`, CoreML and DirectML may be used, too; their arithmetic is less precise. Without
    `gpu`, it runs on the CPU.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors only: a program cannot act on warnings
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    available = onnxruntime.get_available_providers() if gpu else []
    wanted = _ACCELERATORS if wide else _ACCELERATORS[:1]
    providers: list[Any] = [(name, settings) for name, settings in wanted if name in available]
    providers.append("CPUExecutionProvider")
    return onnxruntime.InferenceSession(data, options, providers=providers)
