"""Draws docs/assets/console: the console's pages in the system's Chromium, from made-up cases of card fraud.

    python tools/console_pictures.py                    the Label page
    python tools/console_pictures.py URL/p/PIPELINE     the Loop page of a console that runs, to which a name signs in

Pictures differ by the machine's fonts, so nothing compares them; look at them before they are committed.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "lib")]

from browser import MISSING, Chromium, chromium, chromium_path  # noqa: E402 - found through the line above
from console_world import fraud_desk, fraud_pipeline, world  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import Page  # noqa: E402

FOLDER: Final = ROOT / "docs" / "assets" / "console"
_WIDE: Final = (1280, 860)
_NARROW: Final = (360, 740)
_LIVE_MS: Final = 6_000
_COLORS: Final = 128


def keep(page: Page, name: str) -> None:
    """Write what the page shows, with as few colours as it takes to look the same."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    picture = Image.open(io.BytesIO(page.screenshot()))
    picture.convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)
    print(f"{name}.png: {(FOLDER / f'{name}.png').stat().st_size // 1024} kB")


def sign_in(page: Page, base: str) -> None:
    """By name."""
    page.goto(f"{base}/")
    page.fill("#name", "ada")
    page.press("#name", "Enter")


def label(browser: Chromium) -> None:
    """The Label page, wide in light and dark, and narrow."""
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), fraud_pipeline()) as its:
        fraud_desk(its)
        for size, scheme, name in (
            (_WIDE, "light", "label-light"),
            (_WIDE, "dark", "label-dark"),
            (_NARROW, "light", "label-narrow"),
        ):
            with browser.page(*size, scheme) as page:
                sign_in(page, its.base)
                page.wait_for_selector("article.case")
                keep(page, name)
                page.keyboard.press("u")
                page.wait_for_timeout(500)


def loop(browser: Chromium, base: str) -> None:
    """The Loop page of a console that runs."""
    for scheme in ("light", "dark"):
        with browser.page(1280, 1500, scheme) as page:
            sign_in(page, base)
            page.wait_for_selector("#label")
            page.goto(f"{base}/loop")
            page.wait_for_timeout(_LIVE_MS)
            keep(page, f"loop-{scheme}")


def main() -> None:
    """Draw what is asked for."""
    path = chromium_path()
    if path is None:
        sys.exit(MISSING)
    with chromium(path) as browser:
        if len(sys.argv) > 1:
            loop(browser, sys.argv[1])
        else:
            label(browser)


if __name__ == "__main__":
    main()
