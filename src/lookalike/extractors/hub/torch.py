"""The base of the extractors for models on torch, and the loading of their files."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent, BadSetting, MissingExtra
from lookalike.extractors.base import Content, Part
from lookalike.extractors.hub.local_files import checked_unit, space_of
from lookalike.model import Space

_DEVICE = re.compile(r"cpu|mps|cuda(:\d+)?")
_BATCH = 16
_IGNORED = ("*.md", "*.onnx", "*.onnx_data", "*.h5", "*.msgpack", "*.ot", "*.tflite", "onnx/*")
"""Files in a directory of a hub that are not the model, or the model for other libraries."""


class TorchExtractor(ABC):
    """Loads a model at first use and runs it in small batches, one call at a time.

    Torch uses all cores, or a GPU, for one call, so parallel calls would only wait.
    """

    def __init__(
        self,
        version: str,
        name: str,
        files: Iterable[Path],
        settings: Mapping[str, Any],
        device: str | None,
    ) -> None:
        self._version = version
        self._name = name
        self._files = tuple(files)
        self._settings = settings
        self._device = device
        self._loaded = False
        self._space: Space | None = None
        self._lock = Lock()

    @property
    def space(self) -> Space:
        """The model's name, with a digest of its files and of the options."""
        with self._lock:
            if self._space is None:
                dimension = self._declared_dimension()
                if dimension is None:
                    self._ensure_loaded()
                    dimension = self._loaded_dimension()
                parts = (self._version, self._name, self._files, self._settings)
                self._space = space_of(*parts, dimension)
            return self._space

    def uses_gpu(self) -> bool:
        """Return whether the model would run on a GPU here."""
        return (self._device or _best_device()).startswith("cuda")

    def extract(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        """Return one part for each content. Raises BadSetting if the model cannot run."""
        results: list[tuple[Part, ...] | BadContent] = []
        for start in range(0, len(contents), _BATCH):
            results += self._extract_batch(contents[start : start + _BATCH])
        return results

    def _extract_batch(self, contents: Sequence[Content]) -> list[tuple[Part, ...] | BadContent]:
        dimension = self.space.dimension
        with self._lock:
            self._ensure_loaded()
        prepared = [self._prepared(content) for content in contents]
        usable = [one for one in prepared if not isinstance(one, BadContent)]
        with self._lock:
            vectors = iter(self._vectors(usable) if usable else ())
        results: list[tuple[Part, ...] | BadContent] = []
        for content, one in zip(contents, prepared, strict=True):
            if isinstance(one, BadContent):
                results.append(one)
                continue
            vector = next(vectors)
            if vector.shape != (dimension,):
                raise BadSetting(
                    f"the model {self._name!r} returns {vector.size} numbers, and its files "
                    f"declare {dimension}; give dimension={vector.size}"
                )
            try:
                results.append((Part(checked_unit(vector, content)),))
            except BadContent as error:
                results.append(error)
        return results

    def _prepared(self, content: Content) -> Any:
        try:
            return self._prepare(content)
        except BadContent as error:
            return error

    def _ensure_loaded(self) -> None:
        """Load the model if it is not loaded yet. Raises BadSetting if that fails."""
        if self._loaded:
            return
        try:
            self._load(self._device or _best_device())
        except _load_errors() as error:
            raise BadSetting(
                f"cannot load the model {self._name!r}: {error}; check that its files are complete "
                "and belong together"
            ) from error
        self._loaded = True

    @abstractmethod
    def _declared_dimension(self) -> int | None:
        """Return the dimension of the vectors, if a file declares it."""

    @abstractmethod
    def _loaded_dimension(self) -> int:
        """Return the dimension of the vectors of the loaded model."""

    @abstractmethod
    def _load(self, device: str) -> None: ...

    @abstractmethod
    def _prepare(self, content: Content) -> Any:
        """Return the model's input for a content. Raises BadContent."""

    @abstractmethod
    def _vectors(self, prepared: Sequence[Any]) -> Sequence[NDArray[np.float32]]:
        """Return a vector (dimension,) for each input."""


def check_options(model: Any, device: Any, allow_download: Any) -> None:
    """Raise BadSetting for an impossible model, device or `allow_download`."""
    if not isinstance(model, str) or not model:
        raise BadSetting(f"model cannot be {model!r}; give a directory, or the name of a model")
    if device is not None and not (isinstance(device, str) and _DEVICE.fullmatch(device)):
        raise BadSetting(f"device cannot be {device!r}; give cpu, cuda, cuda:1 or mps")
    if not isinstance(allow_download, bool):
        raise BadSetting(f"allow_download cannot be {allow_download!r}; give true or false")


def check_installed(module: str, extra: str) -> None:
    """Raise MissingExtra unless a library is installed; do not import it."""
    if find_spec(module) is None:
        raise MissingExtra.named(f"{extra.replace('-', '_')}_extractor", extra)


def model_directory(model: str, *, allow_download: bool) -> Path:
    """Return the directory of a model: `model` itself if it is one, else its directory in the
    Hugging Face cache.

    It downloads only if `allow_download`. Raises BadSetting if there is no such model.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return path.absolute()
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            model, local_files_only=not allow_download, ignore_patterns=list(_IGNORED)
        )
    except (OSError, ValueError) as error:
        if allow_download:
            raise BadSetting(f"cannot download the model {model!r}: {error}") from error
        raise BadSetting(
            f"the model {model!r} is not on this machine; give the path of its directory, or "
            "allow_download: true to download it"
        ) from error
    return Path(found)


def model_files(folder: Path) -> list[Path]:
    """Return the files of a model's directory: weights, configuration and vocabulary."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    kept = [
        path
        for path in files
        if not any(path.relative_to(folder).match(pattern) for pattern in _IGNORED)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not kept:
        raise BadSetting(f"{str(folder)!r} has no files of a model; check the path")
    return kept


def model_name(folder: Path) -> str:
    """Return a model's name: that of its directory, or of its repository in a hub's cache."""
    if folder.parent.name == "snapshots":
        return folder.parent.parent.name.rpartition("--")[2]
    return folder.name


def weights_of(model: Path | str, checkpoint: Path | None) -> tuple[str, list[Path]]:
    """Return the name and the files of a model: a directory, or a name with its `checkpoint`."""
    if isinstance(model, Path):
        return model_name(model), model_files(model)
    assert checkpoint is not None, "the name of an architecture needs a checkpoint"
    return model, [checkpoint]


def _load_errors() -> tuple[type[Exception], ...]:
    """Return the errors that the libraries raise on damaged or mismatched files."""
    from pickle import UnpicklingError

    usual = (OSError, RuntimeError, ValueError, KeyError, AttributeError, TypeError, EOFError)
    if find_spec("safetensors") is None:
        return (*usual, UnpicklingError)
    from safetensors import SafetensorError

    return (*usual, UnpicklingError, SafetensorError)


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
