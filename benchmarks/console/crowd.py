"""Two hundred people on the Label page at once: how long its calls take, what is lost, how memory grows (W5).

`python -m benchmarks console-crowd` is the whole of it: ten minutes; its exit status is 1 where a target is missed.
Nearly all of them make the page's own calls without a browser, a few label in Chromium. Everything is on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import numpy as np
import psutil
from browser import MISSING, Chromium, chromium, chromium_path

from benchmarks.console.killed import mistakes
from benchmarks.console.people import CLASSES, Deeds, Person
from benchmarks.console.place import Place
from benchmarks.loop.fraud_loop import own_kafka
from benchmarks.support.flow_process import FlowProcess
from benchmarks.support.report import write
from tidemark.runtime.settings import Settings

_PEOPLE: Final = 200
_IN_BROWSERS: Final = 3
_SECONDS: Final = 600.0
_RAMP: Final = 15.0
"""Seconds over which people come, a quarter of the time at most; what they wait for meanwhile counts as well, but
memory is looked at afterwards."""
_PACE: Final = (5.0, 15.0)
"""Seconds that somebody looks at a case."""
_HELD: Final = 3
"""Cases that the page holds: the one that is shown, and those ahead."""
_RENEWED: Final = 60.0
_TARGET_MS: Final = 300.0
_LOOK_SECONDS: Final = 0.25
_FLAT: Final = 0.05
"""Share of its memory by which a process may grow from the second quarter of the time to the last."""
_TIMEOUT: Final = 30.0
_KEPT_SECONDS: Final = 60.0
"""For so long a browser keeps a connection that nothing goes over."""


@dataclass
class Caller:
    """Somebody at the page without a browser.

    ramp: seconds over which people come.  took: of each call, seconds, by its name.  away: calls that were tried again,
    for the service did not answer.  idle: times that there was no case, though cases wait.
    """

    base: str
    name: str
    seed: int
    ramp: float = _RAMP
    took: dict[str, list[float]] = field(default_factory=dict)
    away: int = 0
    idle: int = 0

    def __post_init__(self) -> None:
        self.did = Deeds(self.name)
        self._chance = random.Random(self.seed)  # noqa: S311 - seeded, no secret
        self._csrf = ""

    async def sit(self, until: float) -> None:
        """Label until so late, by the clock of `time.monotonic`, and give back what is left."""
        await asyncio.sleep(self._chance.random() * self.ramp)
        headers = {"sec-fetch-site": "same-origin", "accept": "application/json"}
        limits = httpx2.Limits(keepalive_expiry=_KEPT_SECONDS)
        async with httpx2.AsyncClient(timeout=_TIMEOUT, headers=headers, limits=limits) as http:
            await self._sign_in(http)
            held: list[dict[str, str]] = []
            renewed = time.monotonic()
            while time.monotonic() < until:
                if missing := _HELD - len(held):
                    held += (await self._call(http, "next", {"count": missing, "wait": 0}))["cases"]
                if not held:
                    self.idle += 1
                    await asyncio.sleep(1.0)
                    continue
                await asyncio.sleep(self._chance.uniform(*_PACE))
                if time.monotonic() - renewed > _RENEWED:
                    await self._call(http, "renew", {"leases": _leases(held)})
                    renewed = time.monotonic()
                await self._decide(http, held.pop(0))
            await self._call(http, "release", {"leases": _leases(held)})

    async def _sign_in(self, http: httpx2.AsyncClient) -> None:
        signed = await http.post(f"{self.base}/sign-in", data={"name": self.name})
        page = await http.get(f"{self.base}/label")
        found = re.search(r'data-csrf="([^"]+)"', page.text)
        if found is None:
            raise RuntimeError(f"{self.name} can't sign in: {signed.status_code}, {page.status_code}")
        self._csrf = html.unescape(found[1])

    async def _decide(self, http: httpx2.AsyncClient, case: dict[str, str]) -> None:
        label = self._chance.choice(CLASSES)
        self.did.decided.setdefault(case["name"], []).append(label)
        await self._call(http, "decide", {**_leases([case])[0], "kind": "answer", "label": label})

    async def _call(self, http: httpx2.AsyncClient, name: str, content: dict[str, Any]) -> dict[str, Any]:
        """As the page does: what failed on the way is tried again, what was refused is not."""
        while True:
            began = time.monotonic()
            response = await http.post(f"{self.base}/label/{name}", json=content, headers={"x-csrf-token": self._csrf})
            self.took.setdefault(name, []).append(time.monotonic() - began)
            told: dict[str, Any] = response.json()
            if response.is_success:
                return told
            if not (response.status_code == httpx2.codes.TOO_MANY_REQUESTS or response.is_server_error):
                self.did.refused.append(f"{name}: {told}")
                return {"cases": []}
            self.away += 1
            await asyncio.sleep(1.0)


def _leases(held: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [{"event_id": case["event_id"], "token": case["token"]} for case in held]


@dataclass
class Crowd:
    """People without browsers, in a thread with an event loop of its own."""

    callers: list[Caller]
    until: float

    def __post_init__(self) -> None:
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def rest(self) -> None:
        """Return when all have left; raise what ended one of them."""
        self._thread.join()
        if self._failed:
            raise self._failed[0]

    def _run(self) -> None:
        async def together() -> None:
            found = await asyncio.gather(*(each.sit(self.until) for each in self.callers), return_exceptions=True)
            self._failed += [each for each in found if isinstance(each, BaseException)]

        asyncio.run(together())


class Usage:
    """Resident memory of processes in bytes, looked at now and then, and their time on a processor."""

    def __init__(self, processes: Sequence[FlowProcess]) -> None:
        self._processes = {each.slot: psutil.Process(each.pid) for each in processes}
        self._seen: dict[str, list[tuple[float, int]]] = {name: [] for name in self._processes}
        self._began = {name: sum(each.cpu_times()[:2]) for name, each in self._processes.items()}

    def look(self) -> None:
        """Note what each has now."""
        for name, process in self._processes.items():
            self._seen[name].append((time.monotonic(), process.memory_info().rss))

    def processor(self) -> dict[str, float]:
        """Seconds of a processor that each has used since this began."""
        now = {name: sum(each.cpu_times()[:2]) for name, each in self._processes.items()}
        return {name: seconds - self._began[name] for name, seconds in now.items()}

    def growth(self) -> dict[str, dict[str, float]]:
        """Of each process its memory in the last quarter of the time, and how it grew since the first quarter was over.

        megabytes: median of the last quarter.  growth: as a share of the second quarter's median.
        megabytes_a_minute: slope over all that time, by least squares.
        """
        grown = {}
        for name, seen in self._seen.items():
            times, sizes = np.array(seen, float).T
            quarter = max(len(seen) // 4, 1)
            before, after = float(np.median(sizes[quarter : 2 * quarter])), float(np.median(sizes[-quarter:]))
            since = times[quarter:] - times[quarter:].mean()
            slope = float(since @ sizes[quarter:] / max(since @ since, 1e-9))
            grown[name] = {
                "megabytes": round(after / 1e6, 1),
                "growth": round(after / before - 1, 4),
                "megabytes_a_minute": round(60 * slope / 1e6, 3),
            }
        return grown


def row(browser: Chromium, *, seconds: float = _SECONDS, people: int = _PEOPLE) -> dict[str, Any]:
    """The row W5. seconds: how long people label."""
    cases = int(people * (_HELD + seconds / _PACE[0])) + 100
    with tempfile.TemporaryDirectory() as folder, own_kafka(Path(folder)) as (_, settings):
        return _row(browser, settings, Path(folder), people, seconds, cases)


def _row(
    browser: Chromium, settings: Settings, folder: Path, people: int, seconds: float, cases: int
) -> dict[str, Any]:
    with ExitStack() as stack:
        place = stack.enter_context(Place(settings, "crowd", folder, cases))
        seated = [
            stack.enter_context(Person(browser, f"browser {number}", place.base, number))
            for number in range(_IN_BROWSERS)
        ]
        ramp = min(_RAMP, seconds / 4)
        until = time.monotonic() + ramp + seconds
        callers = [Caller(place.base, f"person {number}", number, ramp) for number in range(people - _IN_BROWSERS)]
        usage, crowd, began = Usage(place.processes), Crowd(callers, until), time.monotonic()
        chance = random.Random(people)  # noqa: S311 - seeded, no secret
        turns = [began + chance.uniform(*_PACE) for _ in seated]
        while time.monotonic() < until:
            for number, person in enumerate(seated):
                if time.monotonic() >= turns[number]:
                    person.act()
                    turns[number] = time.monotonic() + chance.uniform(*_PACE)
            seated[0].pause(_LOOK_SECONDS)
            if time.monotonic() - began > ramp:
                usage.look()
        crowd.rest()
        used = usage.processor()
        for person in seated:
            person.finish()
        place.published()
        deeds = [*(each.did for each in callers), *(each.did for each in seated)]
        wrong = mistakes(deeds, place.events, place.labels())
        grown = usage.growth()
    took = {name: np.array([one for each in callers for one in each.took.get(name, [])]) for name in ("next", "decide")}
    calls = np.concatenate(list(took.values())) * 1_000
    p95 = round(float(np.quantile(calls, 0.95)), 1)
    answers = sum(each.count for each in deeds)
    flat = all(each["growth"] <= _FLAT for each in grown.values())
    silent = [each.name for each in callers if not each.did.count]
    idle = sum(each.idle for each in callers)
    missed = [
        what
        for what, holds in (
            (f"p95 of the calls is {p95} ms, over {_TARGET_MS:g}", p95 <= _TARGET_MS),
            (f"{len(wrong)} answers lost, doubled or changed", not wrong),
            ("memory grows", flat),
            (f"{len(silent)} people answered nothing", not silent),
            (f"nothing was given out {idle} times, though cases wait", not idle),
        )
        if not holds
    ]
    detail = {
        "what": "calls of the Label page while so many people label, p95; nothing lost or twice, memory flat",
        "people": people,
        "in_chromium": _IN_BROWSERS,
        "seconds": seconds,
        "calls": len(calls),
        "p50": round(float(np.quantile(calls, 0.5)), 1),
        "worst": round(float(calls.max()), 1),
        "p95_of": {name: round(1_000 * float(np.quantile(each, 0.95)), 1) for name, each in took.items()},
        "answers": answers,
        "tried_again": sum(each.away for each in callers),
        "without_a_case": idle,
        "answered_nothing": len(silent),
        "processor_ms_an_answer": {name: round(1_000 * each / answers, 1) for name, each in used.items()},
        "memory": grown,
        "wrong": wrong[:20],
        "missed": missed,
    }
    return {"id": "W5", "value": p95, "target": _TARGET_MS, "reached": not missed, "unit": "ms", "detail": detail}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the row by itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute instead of ten")
    parser.add_argument("--people", type=int, default=_PEOPLE)
    arguments = parser.parse_args(argv)
    path = chromium_path()
    if path is None:
        sys.exit(MISSING)
    with chromium(path) as browser:
        found = row(browser, seconds=60.0 if arguments.quick else _SECONDS, people=arguments.people)
    write("console_crowd.quick" if arguments.quick else "console_crowd", [found])
    for what in found["detail"]["missed"]:
        print(f"W5 is missed: {what}", file=sys.stderr)
    return 0 if found["reached"] else 1


if __name__ == "__main__":
    sys.exit(main())
