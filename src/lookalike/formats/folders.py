"""Class folders: the folder that a file is in is its label, `shoes/running/7.jpg`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lookalike.errors import BadInput
from lookalike.model import LABEL_SEPARATOR


def read_folders(root: Path) -> Iterator[dict[str, Any]]:
    """Yield file name (relative to `root`) and label of every file in a subfolder.

    Raises BadInput when `root` is no folder, or has no subfolder with files.
    """
    if not root.is_dir():
        raise BadInput(f"there is no folder {str(root)!r}; check the path")
    empty = True
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root)
        hidden = any(part.startswith(".") for part in inner.parts)
        if path.is_file() and not hidden and len(inner.parts) > 1:
            label = LABEL_SEPARATOR.join(inner.parts[:-1])
            empty = False
            yield {"file_name": inner.as_posix(), "label": label}
    if empty:
        raise BadInput(
            f"the folder {str(root)!r} has no class folders: put each file into a folder that is "
            "named like its label, such as shoes/running/7.jpg"
        )
