"""People at the Label page, scripted: they answer, skip, correct and load the page anew, and remember what they did."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from browser import Chromium
from playwright.sync_api import Dialog, Error, Page

CLASSES: Final = ("legitimate", "fraud")
PATIENCE: Final = 90.0
"""Seconds in which a page must be as it should be again, whatever ended."""
_PAUSE_MS: Final = 100
_WATCH: Final = """
() => {
  addEventListener("keydown", (event) => {
    const name = document.getElementById("case-name");
    const banner = document.getElementById("banner");
    if (name === null || document.querySelector("dialog[open]") || !"12".includes(event.key)) return;
    window.remember({ name: name.textContent, key: event.key, back: banner.classList.contains("back") });
  }, true);
  addEventListener("DOMContentLoaded", () => {
    const line = document.getElementById("said");
    if (line === null) return;
    new MutationObserver(() => {
      if (line.textContent !== "") window.hear(line.textContent);
    }).observe(line, { childList: true });
  });
}
"""
"""Told at once and outside of the page, which may be loaded anew the next moment: keys that answer, what is said."""
_UNSENT: Final = """
() => Object.keys(sessionStorage).filter((key) => key.startsWith("tidemark-outbox"))
  .reduce((sum, key) => sum + JSON.parse(sessionStorage.getItem(key)).length, 0)
"""


@dataclass
class Deeds:
    """What somebody did.

    decided: what they decided of a case, by its name, each change of mind in turn; None: it was skipped.
    refused: what the page said that was not taken.
    """

    name: str
    decided: dict[str, list[str | None]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Decisions."""
        return sum(len(each) for each in self.decided.values())


@dataclass
class Person:
    """Somebody with a page of their own. Ended with the block. base: of the pipeline's pages."""

    browser: Chromium
    name: str
    base: str
    seed: int

    def __post_init__(self) -> None:
        self.did = Deeds(self.name)
        self._chance = random.Random(self.seed)  # noqa: S311 - seeded, no secret
        self._stack = ExitStack()
        self._said = ""

    def __enter__(self) -> Self:
        self._page: Page = self._stack.enter_context(self.browser.page(ours=self.base))
        self._page.expose_function("remember", self._remember)
        self._page.expose_function("hear", self._hear)
        self._page.add_init_script(f"({_WATCH})()")
        self._page.on("dialog", Dialog.accept)
        self._page.goto(self.base + "/")
        self._page.fill("#name", self.name)
        self._page.press("#name", "Enter")
        self._page.wait_for_selector("article.case")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def act(self) -> None:
        """Do one thing at the case that is shown, if one is."""
        self._page.wait_for_timeout(self._chance.randrange(_PAUSE_MS))
        if self._page.locator("article.case").count() == 0:
            return
        kind = self._chance.random()
        if kind < 0.78:
            self._page.keyboard.press(self._chance.choice("12"))
        elif kind < 0.86:
            self._skip()
        elif kind < 0.95:
            self._correct()
        else:
            self._load_anew()

    def pause(self, seconds: float) -> None:
        """Do nothing for so long, while every page goes on."""
        self._page.wait_for_timeout(1_000 * seconds)

    def finish(self) -> None:
        """Return when the service has all that the page held.

        Raises:
            TimeoutError: it has not.

        """
        for _ in self._tries("the page keeps answers that the service does not get"):
            if self._page.evaluate(_UNSENT) == 0:
                return

    def _skip(self) -> None:
        name = self._page.locator("#case-name").inner_text()
        self._page.keyboard.press("s")
        if self._page.locator("#ask[open]").count() == 0:
            return
        self._page.keyboard.type("no data")
        self._page.keyboard.press("Enter")
        self._decide(name, None)

    def _correct(self) -> None:
        """Go back by one, and say another class."""
        self._page.keyboard.press("z")
        if self._page.locator("#banner.back").count() == 0:
            return
        name = self._page.locator("#case-name").inner_text()
        before = self.did.decided[name][-1]
        key = "12"[CLASSES.index("legitimate") if before != "legitimate" else 1]
        self._page.keyboard.press(key)
        self._page.keyboard.press("Escape")

    def _load_anew(self) -> None:
        for _ in self._tries("the page does not load"):
            try:
                self._page.goto(self.base + "/label")
            except Error:  # what serves it is dead
                continue
            if self._page.locator("#case").count() > 0:
                return

    def _remember(self, pressed: dict[str, Any]) -> None:
        """A key that answers the case that is shown, or corrects it."""
        label = CLASSES[int(pressed["key"]) - 1]
        if pressed["back"] and self.did.decided[pressed["name"]][-1] == label:
            return
        self._decide(pressed["name"], label)

    def _decide(self, name: str, label: str | None) -> None:
        self.did.decided.setdefault(name, []).append(label)

    def _hear(self, text: str) -> None:
        self._said = text
        if "not taken" in text.lower() or "not changed" in text:
            self.did.refused.append(text)

    def _tries(self, what: str) -> Iterator[None]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            yield
            self._page.wait_for_timeout(_PAUSE_MS)
        raise TimeoutError(f"{self.name}: {what} within {PATIENCE:g} s; the page said {self._said!r}")
