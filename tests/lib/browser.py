"""The system's Chromium, driven by Playwright: `from browser import Chromium, chromium_path`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

MISSING: Final = (
    "no Chromium is on this machine, so the pages are not tried in a browser: `apt-get install chromium` brings it"
)
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PATIENCE: Final = 30_000
"""Milliseconds that a page is given for what is expected of it; Playwright's own 5 s pass on a busy machine."""
AXE: Final = Path(__file__).parents[1] / "console" / "vendor" / "axe.min.js"


def chromium_path() -> str | None:
    """Where it is, None if it is not installed."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Chromium:
    """A browser for several tests. Each page has a session of its own."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    @contextmanager
    def page(
        self,
        width: int = 1440,
        height: int = 900,
        scheme: Any = "light",  # noqa: ANN401 - a literal of Playwright's
        ours: str = "",
    ) -> Iterator[Page]:
        """A page. What its scripts throw, and what the browser refuses to run, fails the test.

        ours: what the addresses of our pages begin with; nothing is expected of others.
        """
        context = self._browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        page = context.new_page()
        page.set_default_timeout(_PATIENCE)
        wrong: list[str] = []

        def refused(said: ConsoleMessage) -> None:
            if "Content Security Policy" in said.text and said.location["url"].startswith(ours):
                wrong.append(said.text)

        page.on("pageerror", lambda error: wrong.append(str(error)) if page.url.startswith(ours) else None)
        page.on("console", refused)
        try:
            yield page
        finally:
            context.close()
        assert wrong == []


@contextmanager
def chromium(path: str) -> Iterator[Chromium]:
    """The browser at `path`, without a window."""
    expect.set_options(timeout=_PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        try:
            yield Chromium(browser)
        finally:
            browser.close()


def barriers(page: Page) -> list[str]:
    """What people with disabilities can't use on the page as it is: axe-core's serious and critical findings."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [
        f"{each['id']} ({each['impact']}): {each['nodes'][0]['html'][:200]} {each['nodes'][0].get('failureSummary')}"
        for each in found
        if each["impact"] in {"serious", "critical"}
    ]
