"""A real browser for tests of the review page: Debian's Chromium, driven from outside."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    expect,
    sync_playwright,
)

WIDTH, HEIGHT = 1280, 800
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")

expect.set_options(timeout=30_000)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give a browser; it ends with the block."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "the tests of the page need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """One person at the page, with a profile of their own, and all that their browser complains of.

    A complaint that matches `expected` is none.
    """

    def __init__(self, browser: Browser, url: str, expected: str, **how: Any) -> None:
        self.url = url
        self.complaints: list[str] = []
        self._expected = expected
        size: Any = {"width": WIDTH, "height": HEIGHT}
        self.context: BrowserContext = browser.new_context(viewport=size, **how)
        self.context.on("console", self._on_console)
        self.context.on("weberror", lambda error: self._complain(str(error.error)))

    def tab(self, place: str = "") -> Page:
        """Open a tab, on a place such as `#/review`."""
        page = self.context.new_page()
        page.goto(self.url + "/" + place)
        return page

    def end(self) -> None:
        """Close it. Fails with what the browser complained of."""
        self.context.close()
        assert not self.complaints, "\n".join(self.complaints)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._complain(f"{message.text} {message.location['url']}".strip())

    def _complain(self, text: str) -> None:
        if not self._expected or not re.search(self._expected, text):
            self.complaints.append(text)


def go(page: Page, key: str) -> None:
    """Press G and another key once the page is there: until then it may be too slow for two."""
    expect(page.get_by_role("heading", level=1).first).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press(key)


def barriers(page: Page) -> list[str]:
    """Return what axe finds that keeps people out; the context needs `bypass_csp`."""
    try:
        found = Axe().run(page, options={"runOnly": {"type": "tag", "values": [*RULES]}})
    except Error as error:
        raise AssertionError("axe did not run; was the context made with bypass_csp?") from error
    return [
        f"{one['id']}: {node['html'][:200]}"
        for one in found.response["violations"]
        for node in one["nodes"]
    ]
