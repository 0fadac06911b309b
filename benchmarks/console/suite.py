"""`make bench-console`: W1 to W8. `QUICK=1` takes less of each, and leaves out W2, which needs a Label Studio.

The crowd (W5), kills (W6) and the comparison with Label Studio (W2) are run by themselves as well: `python -m
benchmarks console-crowd`, `console-label-studio`, and in parts `console-killed --seed 2 --moments 25`. A row that could
not be taken stands in the results as missed, with the reason.

Service, console, browser and the other people are all on this machine: they share its cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "lib")]

from browser import MISSING, Chromium, barriers, chromium, chromium_path  # noqa: E402 - found through the line above
from console_world import World, fraud_cases, fraud_pipeline, world  # noqa: E402
from playwright.sync_api import Page  # noqa: E402

from benchmarks.console import beside_label_studio, crowd, hardened, killed, why  # noqa: E402
from benchmarks.support.report import write  # noqa: E402
from labeling_grpc.client import LabelingClient  # noqa: E402

_CUSTOMERS: Final = 14
_ANSWERED: Final = 200
_CASES: Final = 200
_PEOPLE: Final = 20
_PACE_SECONDS: Final = 2.0
_KEY_MS: Final = 150
_QUICK_CROWD: Final[dict[str, Any]] = {"seconds": 6.0, "people": 20}
_QUICK_MOMENTS: Final = 3
_STOPWATCH: Final = """
() => {
  window.painted = [];
  let pressed = 0;
  addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
  new MutationObserver(() => {
    const since = pressed;
    requestAnimationFrame(() => requestAnimationFrame(() => window.painted.push(performance.now() - since)));
  }).observe(document.getElementById("case"), { childList: true });
}
"""
"""From the key's own time to the second frame after the case's node is in the page: it was painted by then."""


def rows(*, quick: bool) -> list[dict[str, Any]]:
    """All rows."""
    path = chromium_path()
    if path is None:
        sys.exit(MISSING)
    cases = fraud_cases(_CUSTOMERS)
    truth = {each.event_id: label for each, label in zip(cases.candidates, cases.truth, strict=True)}
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), fraud_pipeline()) as its:
        its.take_in(*cases.candidates[:_ANSWERED])
        its.answered(truth)
        its.take_in(*cases.candidates[_ANSWERED:])
        its.use(cases.model)
        with chromium(path) as browser:
            found = [_first_load(its, browser), _keys(its, browser, quick=quick), _barriers(its, browser, quick=quick)]
    with chromium(path) as browser:
        takes: dict[str, Callable[[], dict[str, Any]]] = {
            "W2": lambda: beside_label_studio.row(browser, quick=False),
            "W5": lambda: crowd.row(browser, **_QUICK_CROWD if quick else {}),
            "W6": lambda: killed.row(browser, count=_QUICK_MOMENTS) if quick else killed.row(browser),
        }
        if quick:
            del takes["W2"]
        found += [_taken(name, take) for name, take in takes.items()]
    found += [_taken("W7", lambda: why.row(quick=quick)), _taken("W8", lambda: hardened.row(quick=quick))]
    return sorted(found, key=lambda row: str(row["id"]))


def _taken(name: str, take: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A row, or that it could not be taken: the others are worth having without it."""
    try:
        return take()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told in the row, and fails the run
        what = f"not taken: {type(error).__name__}: {error}"
        print(f"{name} is {what}", file=sys.stderr)
        return {"id": name, "value": None, "target": None, "reached": False, "unit": "–", "detail": {"what": what}}


def _keys(its: World, browser: Chromium, *, quick: bool) -> dict[str, Any]:
    count = _CASES // 8 if quick else _CASES
    with _others(its.server.address) as answered, browser.page() as page:
        _sign_in(page, its)
        page.evaluate(_STOPWATCH)
        for number in range(count):
            page.keyboard.press("12"[number % 2])
            page.wait_for_timeout(_KEY_MS)
            page.wait_for_selector("article.case")
        took = np.array(page.evaluate("window.painted"))[:count]
    p50, p95, worst = (float(np.round(np.quantile(took, share), 1)) for share in (0.5, 0.95, 1.0))
    detail = {"p50": p50, "worst": worst, "cases": len(took), "others": _PEOPLE, "others_answers": sum(answered)}
    return _row("W1", "key pressed to next case painted, p95", p95, 100.0, "ms", detail)


def _first_load(its: World, browser: Chromium) -> dict[str, Any]:
    with browser.page() as page:
        page.goto(its.base + "/")
        page.fill("#name", "eve")
        network = page.context.new_cdp_session(page)
        sent = {"bytes": 0}
        network.on("Network.loadingFinished", lambda told: sent.update(bytes=sent["bytes"] + told["encodedDataLength"]))
        network.send("Network.enable")
        network.send("Network.setCacheDisabled", {"cacheDisabled": True})
        page.press("#name", "Enter")
        page.wait_for_selector("article.case")
        waited = float(page.evaluate("performance.now()"))
    detail = {"ms_to_the_first_case": round(waited, 1), "target_ms": 1_000}
    kilobytes = round(sent["bytes"] / 1_000, 1)
    row = _row("W3", "first load, cold, with the first cases", kilobytes, 300.0, "kB", detail)
    return {**row, "reached": row["reached"] and waited <= 1_000}


def _barriers(its: World, browser: Chromium, *, quick: bool) -> dict[str, Any]:
    found: list[str] = []
    looks = [(360, "dark"), (1_440, "light")] + ([] if quick else [(360, "light"), (1_440, "dark")])
    for width, scheme in looks:
        with browser.page(width, 900, scheme) as page:
            page.goto(its.base + "/")
            found += barriers(page)
            _sign_in(page, its, f"{scheme} {width}")
            found += barriers(page)
            for name in ("review", "review/closed", "work", "loop", "models", "why", "letters"):
                page.goto(f"{its.base}/{name}")
                found += barriers(page)
    what = "serious or critical findings of axe-core, every page without Kafka, light and dark, 360 and 1440 px"
    return _row("W4", what, float(len(found)), 0.0, "findings", {"found": found})


def _row(name: str, what: str, value: float, target: float, unit: str, detail: dict[str, Any]) -> dict[str, Any]:
    reached = value <= target
    return {"id": name, "value": value, "target": target, "reached": reached, "unit": unit,
            "detail": {"what": what, **detail}}  # fmt: skip


def _sign_in(page: Page, its: World, name: str = "ada") -> None:
    page.goto(its.base + "/")
    page.fill("#name", name)
    page.press("#name", "Enter")
    page.wait_for_selector("article.case")


@contextmanager
def _others(address: str) -> Iterator[list[int]]:
    """Other people, each of whom answers a case every few seconds; how many each has answered."""
    stop, answered = threading.Event(), [0] * _PEOPLE

    def person(number: int) -> None:
        with LabelingClient(address, f"person {number}", token="") as client:
            while not stop.wait(_PACE_SECONDS):
                for task in client.lease(1):
                    client.submit(task, "legitimate")
                    answered[number] += 1

    people = [threading.Thread(target=person, args=(number,), daemon=True) for number in range(_PEOPLE)]
    for each in people:
        each.start()
    try:
        yield answered
    finally:
        stop.set()
        for each in people:
            each.join(10)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="in under a minute, on fewer cases")
    arguments = parser.parse_args(argv)
    found = rows(quick=arguments.quick)
    write("console.quick" if arguments.quick else "console", found)
    return 0 if all(row["reached"] for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
