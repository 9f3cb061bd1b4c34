"""Arrays that take long to compute, kept in a file for the next process.

Derived state: such a file may be deleted at any time, and one that cannot be read or written is no
error. A mark says what it was made from; whoever recalls it compares.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARK = "mark"


def remember(path: Path, mark: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays with their mark (JSON values), all in one step, or leave the file as it was."""
    draft = path.with_name(f"{path.stem}.{os.getpid()}.{get_ident()}.draft.npz")
    # What is not kept is computed again: a full or read-only disk must not stop anyone.
    with suppress(OSError):
        for abandoned in path.parent.glob(f"{path.stem}.*.draft.npz"):
            abandoned.unlink()
        try:
            np.savez(draft, allow_pickle=False, **{_MARK: np.array(json.dumps(mark))}, **arrays)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def recall(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    """Return the mark and the arrays that were kept in the file, or None."""
    try:
        # NumPy leaves a file of its own open when it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return json.loads(str(arrays.pop(_MARK))), arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
