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
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
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
_TURN: Final = 10
"""Cases that are answered on one side before it is the other's turn."""
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
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        its = stack.enter_context(world(folder, pipeline))
        its.take_in(*_cases(count))
        with LabelingClient(its.server.address, "maria") as client:
            cases = [record.case for record in client.cases(states=["waiting"])]
        studio = stack.enter_context(LabelStudio(["owner"]))
        sides = [_here(stack, browser, its), _there(stack, browser, studio, pipeline, cases)]
        took = _in_turns(sides, keys)
        sides[1].page.wait_for_timeout(2_000)
        given = _given(studio)
        with LabelingClient(its.server.address, "ada") as client:
            recorded = client.progress().answered
    if (given, recorded) != (count, count):
        raise RuntimeError(f"of {count} answers Label Studio has {given}, and the labeling service has {recorded}")
    here, there = (float(np.mean(each)) for each in took)
    medians = [round(float(np.median(each)), 4) for each in took]
    detail = {
        "what": "seconds a case of one scripted person, as a share of those in Label Studio; keys a case",
        "cases": count,
        "in_turns_of": _TURN,
        "seconds_here": round(here, 4),
        "seconds_there": round(there, 4),
        "median_here": medians[0],
        "median_there": medians[1],
        "keys_here": 1,
        "keys_there": 2,
    }
    share = round(here / there, 3)
    return {"id": "W2", "value": share, "target": 0.5, "reached": share <= 0.5, "unit": "of its time", "detail": detail}


@dataclass(frozen=True)
class _Side:
    """Where cases are answered. answer: the case of a number, by a class's key, until the next is on the screen."""

    page: Page
    answer: Callable[[int, str], None]


def _in_turns(sides: Sequence[_Side], keys: Sequence[str]) -> list[list[float]]:
    """Seconds of each case on each side; the sides take turns, so that both meet the machine as it is."""
    took: list[list[float]] = [[] for _ in sides]
    for start in range(0, len(keys), _TURN):
        for seconds, side in zip(took, sides, strict=True):
            for number in range(start, min(start + _TURN, len(keys))):
                began = time.monotonic()
                side.answer(number, keys[number])
                if number + 1 < len(keys):  # no case follows the last
                    seconds.append(time.monotonic() - began)
    return took


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


def _here(stack: ExitStack, browser: Chromium, its: World) -> _Side:
    page = stack.enter_context(browser.page())
    page.goto(its.base + "/")
    page.fill("#name", "ada")
    page.press("#name", "Enter")
    page.wait_for_selector("article.case")

    def answer(_number: int, key: str) -> None:
        before = page.locator("#case-name").inner_text()
        page.keyboard.press(key)
        page.wait_for_function(_CHANGED, arg=before, timeout=_PATIENCE_MS)

    return _Side(page, answer)


def _there(
    stack: ExitStack, browser: Chromium, studio: LabelStudio, pipeline: Pipeline, cases: Sequence[Case]
) -> _Side:
    page = stack.enter_context(browser.page(ours="nothing of ours"))
    owner, make = studio.owner, TaskMaker(pipeline, Names(tuple(pipeline.label.classes), {}, {}), None)
    project = int(owner.call("POST", "/api/projects/", project_fields("W2 cases", pipeline.label.classes))["id"])
    tasks = [make(case) for case in cases]
    for task in tasks:  # as a choice that is made already, which the key would take back
        task.pop("predictions", None)
    owner.import_tasks(project, tasks)
    names = [str(task["data"]["case"]) for task in tasks]
    _enter(page, studio, project)
    page.wait_for_function(_SHOWN, arg=names[0], timeout=_PATIENCE_MS)

    def answer(number: int, key: str) -> None:
        page.keyboard.press(key)
        page.keyboard.press(_SUBMIT)
        if number + 1 < len(names):
            page.wait_for_function(_SHOWN, arg=names[number + 1], timeout=_PATIENCE_MS)

    return _Side(page, answer)


def _given(studio: LabelStudio) -> int:
    """Answers that Label Studio has."""
    projects = studio.owner.call("GET", "/api/projects/")["results"]
    return sum(int(each["total_annotations_number"]) for each in projects)


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
