"""Small pictures by the digest of their content and the view: derived, made once, never changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lookalike.content.pictures import thumbnail
from lookalike.content.storage import write_once

if TYPE_CHECKING:
    from PIL.Image import Image


class Thumbnails:
    """JPEG files of at most 256 pixels a side in the directory `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, sha256: str, view: str = "") -> Path:
        """Return where the thumbnail of a content's view is, or would be."""
        name = f"{sha256[2:]}.{view}" if view else sha256[2:]
        return self._root / sha256[:2] / f"{name}.jpg"

    def read(self, sha256: str, view: str = "") -> bytes | None:
        """Return the thumbnail of a content's view, or None where there is none (yet)."""
        try:
            return self.path(sha256, view).read_bytes()
        except OSError:
            return None

    def keep(self, sha256: str, picture: Image, view: str = "") -> None:
        """Make the thumbnail of a view, decoded as `picture`, unless it is there."""
        path = self.path(sha256, view)
        if not path.exists():
            write_once(path, thumbnail(picture), durable=False)

    def keep_made(self, sha256: str, jpeg: bytes, view: str = "") -> None:
        """Keep a thumbnail that was made elsewhere, unless there is one."""
        write_once(self.path(sha256, view), jpeg, durable=False)

    def forget(self, sha256: str) -> int:
        """Erase the thumbnails of all views of a content; return how many there were."""
        found = list((self._root / sha256[:2]).glob(f"{sha256[2:]}*.jpg"))
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    def forget_view(self, sha256: str, view: str) -> bool:
        """Erase the thumbnail of one view of a content; return whether there was one."""
        path = self.path(sha256, view)
        there = path.exists()
        path.unlink(missing_ok=True)
        return there
