"""Small pictures by the digest of their content: derived, made once, never changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lookalike.blobs import write_once
from lookalike.pictures import thumbnail

if TYPE_CHECKING:
    from PIL.Image import Image


class Thumbnails:
    """JPEG files of at most 256 pixels a side in the directory `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, sha256: str) -> Path:
        """Return where the thumbnail of a content is, or would be."""
        return self._root / sha256[:2] / f"{sha256[2:]}.jpg"

    def read(self, sha256: str) -> bytes | None:
        """Return the thumbnail of a content, or None where there is none (yet)."""
        try:
            return self.path(sha256).read_bytes()
        except OSError:
            return None

    def keep(self, sha256: str, picture: Image) -> None:
        """Make the thumbnail of a decoded picture unless it is there."""
        if not self.path(sha256).exists():
            write_once(self.path(sha256), thumbnail(picture), durable=False)

    def forget(self, sha256: str) -> bool:
        """Erase the thumbnail of a content; return whether there was one."""
        path = self.path(sha256)
        there = path.exists()
        path.unlink(missing_ok=True)
        return there
