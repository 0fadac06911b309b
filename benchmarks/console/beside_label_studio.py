"""The same scripted person on the same cases, on the Label page and in a real Label Studio: seconds and keys (W2).

The person needs no time to think: a case is answered as soon as it is on the screen. Label Studio runs as in
`benchmarks.labeling.label_studio`, with the project that `tidemark label-studio project` makes, in its labeling stream.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from browser import MISSING, Chromium, chromium, chromium_path
from console_world import World, fraud_cases, fraud_pipeline, world
from msgspec.structs import replace
from playwright.sync_api import Page

from benchmarks.labeling.label_studio import LabelStudio
from benchmarks.support.report import write
from labeling_grpc.client import LabelingClient
from labeling_grpc.client.values import Case
from labeling_grpc.label_studio.statements import Names
from labeling_grpc.label_studio.tasks import TaskMaker, project_fields
from tidemark.pipeline import Pipeline
from tidemark.records import Candidate

_CASES: Final = 100
_PATIENCE_MS: Final = 120_000
_SUBMIT: Final = "Control+Enter"
_CHANGED: Final = "before => document.getElementById('case-name')?.textContent !== before"
_SHOWN: Final = """
name => document.body.innerText.includes(name)
  && [...document.querySelectorAll("button")].some(each => each.innerText.trim() === "Submit" && !each.disabled)
"""


def row(browser: Chromium, *, quick: bool) -> dict[str, Any]:
    """The row W2."""
    count = 15 if quick else _CASES
    pipeline, keys = fraud_pipeline(), ["12"[number % 3 == 0] for number in range(count)]
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), pipeline) as its:
        its.take_in(*_cases(count))
        with LabelingClient(its.server.address, "maria") as client:
            cases = [record.case for record in client.cases(states=["waiting"])]
        here = _here(browser, its, keys)
    there, given = _there(browser, pipeline, cases, keys)
    if given != count:
        raise RuntimeError(f"Label Studio has {given} of {count} answers")
    detail = {
        "what": "seconds a case of one scripted person, as a share of those in Label Studio; keys a case",
        "cases": count,
        "seconds_here": round(here / (count - 1), 4),
        "seconds_there": round(there / (count - 1), 4),
        "keys_here": 1,
        "keys_there": 2,
    }
    share = round(here / there, 3)
    return {"id": "W2", "value": share, "target": 0.5, "reached": share <= 0.5, "unit": "of its time", "detail": detail}


def _cases(count: int) -> list[Candidate]:
    known = fraud_cases().candidates
    return [
        replace(
            known[number % len(known)],
            event_id=f"fraud.raw-0-{500_000 + number}-0a1b2c3d",
            business_id=f"W2-{number:04}",
        )
        for number in range(count)
    ]


def _here(browser: Chromium, its: World, keys: Sequence[str]) -> float:
    """Seconds from the first case on the screen to the last."""
    with browser.page() as page:
        page.goto(its.base + "/")
        page.fill("#name", "ada")
        page.press("#name", "Enter")
        page.wait_for_selector("article.case")

        def answered(number: int) -> None:
            before = page.locator("#case-name").inner_text()
            page.keyboard.press(keys[number])
            page.wait_for_function(_CHANGED, arg=before, timeout=_PATIENCE_MS)

        return _timed(len(keys), answered)


def _there(browser: Chromium, pipeline: Pipeline, cases: Sequence[Case], keys: Sequence[str]) -> tuple[float, int]:
    """The same in Label Studio, and how many answers it has afterwards."""
    make = TaskMaker(pipeline, Names(tuple(pipeline.label.classes), {}, {}), None)
    with LabelStudio(["owner"]) as studio, browser.page(ours="nothing of ours") as page:
        owner = studio.owner
        project = int(owner.call("POST", "/api/projects/", project_fields("W2 cases", pipeline.label.classes))["id"])
        tasks = [make(case) for case in cases]
        for task in tasks:  # as a choice that is made already, which the key would take back
            task.pop("predictions", None)
        owner.import_tasks(project, tasks)
        names = [str(task["data"]["case"]) for task in tasks]
        _enter(page, studio, project)
        page.wait_for_function(_SHOWN, arg=names[0], timeout=_PATIENCE_MS)

        def answered(number: int) -> None:
            page.keyboard.press(keys[number])
            page.keyboard.press(_SUBMIT)
            if number + 1 < len(names):
                page.wait_for_function(_SHOWN, arg=names[number + 1], timeout=_PATIENCE_MS)

        took = _timed(len(keys), answered)
        page.wait_for_timeout(2_000)
        return took, int(owner.call("GET", f"/api/projects/{project}/")["total_annotations_number"])


def _timed(count: int, answered: Callable[[int], None]) -> float:
    began = time.monotonic()
    for number in range(count - 1):
        answered(number)
    took = time.monotonic() - began
    answered(count - 1)
    return took


def _enter(page: Page, studio: LabelStudio, project: int) -> None:
    """Sign in, and begin the labeling stream."""
    url = f"http://127.0.0.1:{studio.port}"
    page.goto(f"{url}/user/login/")
    page.fill("input[name=email]", "owner@localhost.example")
    page.fill("input[name=password]", studio.tokens["owner"])
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda now: "/user/login" not in now, timeout=_PATIENCE_MS)
    page.goto(f"{url}/projects/{project}/data?labeling=1")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the row by itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fifteen cases")
    arguments = parser.parse_args(argv)
    path = chromium_path()
    if path is None:
        sys.exit(MISSING)
    with chromium(path) as browser:
        found = row(browser, quick=arguments.quick)
    write("console_label_studio.quick" if arguments.quick else "console_label_studio", [found])
    return 0 if found["reached"] else 1


if __name__ == "__main__":
    sys.exit(main())
