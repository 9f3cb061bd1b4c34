"""Where the pictures are that a file names, as seen from the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lookalike.formats.files import PICTURE_SUFFIXES, inner_path

_FOLDERS = ("", "images", "JPEGImages", "data")
"""Where pictures are in the usual layouts, as seen from their annotations or the folder above."""

UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of a file that was uploaded."""


class Finder:
    """Finds pictures by the names that a file at `base` gives them; `images` is where they are.

    A name may have more folders than there are, or others: the longest end of it that is there
    counts. Two folders above `base` are searched, for names with a folder of their own. An
    absolute path of a picture is taken as it is. No name leads anywhere else.
    """

    def __init__(self, base: Path, images: Path | None = None) -> None:
        above = [] if images is not None else [base.parent, base.parent.parent]
        self._near = [images] if images is not None else [base / name for name in _FOLDERS]
        self._near += [base.parent / name for name in _FOLDERS[1:]] if images is None else []
        self._above = [one for one in above if one != base]

    @property
    def place(self) -> Path:
        """Return the folder that is searched first."""
        return self._near[0]

    def find(self, name: str) -> Path | None:
        """Return the file that is meant by a name, or None."""
        try:
            found = next((one for one in self._candidates(name) if one.is_file()), None)
        except (OSError, ValueError):  # a name that no file can have
            return None
        return None if found is None else found.parent.resolve() / found.name

    def _candidates(self, name: str) -> Iterator[Path]:
        inner = inner_path(name)
        whole = Path(name)
        for start in range(len(inner.parts)):
            tail = PurePosixPath(*inner.parts[start:])
            if start == 0 and whole.is_absolute() and whole.suffix.lower() in PICTURE_SUFFIXES:
                yield whole
            yield from (folder / tail for folder in self._near)
            if len(tail.parts) > 1:
                yield from (folder / tail for folder in self._above)
        bare = UPLOADED.sub("", inner.name)
        if bare != inner.name:
            yield from (folder / bare for folder in self._near)
