"""A bar for the argument `progress` of long calls, in a terminal and in a notebook."""

from __future__ import annotations

import sys
import warnings
from typing import Any, Self


class progress_bar:  # noqa: N801 it is used like a function
    """Show how far a long call is, with the time left: `add("photos", progress=progress_bar())`.

    `what` is the text before the bar. Nothing is shown where output goes to a file. The bar ends
    when nothing refers to it any more, or with a `with` block.
    """

    def __init__(self, what: str = "") -> None:
        self._what = what
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` items are done."""
        if self._bar is None:
            self._bar = _bar(self._what)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _bar(what: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets it warns, and shows a bar of text
        from tqdm.auto import tqdm
    is_notebook = "ipykernel" in sys.modules
    return tqdm(desc=what or None, unit=" items", disable=False if is_notebook else None)
