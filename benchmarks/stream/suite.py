"""`make bench-stream`: the stream flow beside a pass-through and other engines, every prediction checked by an oracle.

All work on the same events, features, model, broker and topics (four partitions). S1, which is also P1: the whole
backlog, from when its first record is visible to when the last prediction is, over the pass-through, in pairs and in
turn. S3: processor time an event without the broker. S4: events a second beside Python's engines. S6: from append to a
visible prediction at a rate. S11: callers who ask at a rate. A figure of ours is void where a prediction is missing,
doubled, or not that of the computation in event order. What peers get wrong is told, and their figure stands: they are
taken at their best.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.stream.asking import TARGET, Asking, asking
from benchmarks.stream.backlog import Worked, work_off
from benchmarks.stream.engines import OURS, Engine
from benchmarks.stream.pace import Paced, paced
from benchmarks.stream.peers import JVM, KAFKA_STREAMS, PYTHON
from benchmarks.stream.rig import Rig
from benchmarks.support.report import write

_TARGETS: Final = {"S1": 0.5, "S3": 0.333, "S4": 10.0}
_COMMITTED: Final = (40.0, 100.0)
_UNCOMMITTED: Final = (5.0, 25.0)
_JVM: Final = [engine.name for engine in JVM]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. warm: events, which fill windows of seven days.  backlog: events; of pass-through, too.

    calls: a second.
    """

    warm: int
    backlog: int
    pairs: int
    rates: Sequence[int]
    warm_seconds: float
    seconds: float
    settle: float
    calls: int = 1_000


_FULL: Final = Size(80_000, 6_000_000, 2, (2_000, 5_000), 10.0, 60.0, 4.0)
_QUICK: Final = Size(10_000, 60_000, 1, (2_000,), 3.0, 5.0, 2.0)


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser("python -m benchmarks stream", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="60,000 events of backlog, 5 seconds of a feed")
    parser.add_argument("--peers", action="store_true", help="run other engines too; needs Java and Maven")
    parser.add_argument("--only", choices=("backlog", "pace", "ask"), help="one part of it; nothing is recorded")
    given = parser.parse_args(arguments)
    size = _QUICK if given.quick else _FULL
    compared = [*OURS, *JVM, *PYTHON] if given.peers else list(OURS)
    fed = max(size.rates) * (size.warm_seconds + size.seconds)
    events = size.warm + max(size.backlog, int(fed))
    worked: list[Worked] = []
    feeds: list[Paced] = []
    asked: list[Asking] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidemark-bench-")))
        rig = Rig(folder, stack, events)
        if given.only in {None, "backlog"}:
            worked = _backlogs(rig, size, compared)
        if given.only in {None, "pace"}:
            beside = [engine for engine in compared if engine.name in {OURS[0].name, KAFKA_STREAMS}]
            for rate in size.rates:
                for engine in beside:
                    feeds.append(paced(rig, engine, rate, min(size.warm, 10_000), size.warm_seconds, size.seconds))
                    print(feeds[-1].told(), flush=True)
        if given.only in {None, "ask"}:
            asked.append(asking(rig, size.calls, min(size.warm, 10_000), size.warm_seconds, size.seconds))
            print(asked[-1].told(), flush=True)
        version = rig.version
    detail = {"model": version, "quick": given.quick, "load": os.getloadavg()[0], "seed_events": events}
    if given.only is None:
        rows = [*rows_of(worked, detail), *latency_rows(feeds, detail), *asking_rows(asked, detail)]
        write("stream.quick" if given.quick else "stream", rows)


def _backlogs(rig: Rig, size: Size, compared: Sequence[Engine]) -> list[Worked]:
    worked = []
    turns = [*(OURS * size.pairs), *(engine for engine in compared if engine not in OURS)]
    for engine in turns:
        backlog = max(int(size.backlog * engine.share), 1_000)
        worked.append(work_off(rig, engine, size.warm, backlog, size.settle))
        print(worked[-1].told(), flush=True)
    return worked


def rows_of(worked: Sequence[Worked], detail: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the backlogs: S1, and S3 and S4 where peers took part.

    Args:
        worked: how each went; ours and the pass-through's as often as each other.
        detail: for each row.

    Returns:
        The rows; the value of a figure that is void is null.

    """
    ours, passed = ([each for each in worked if each.engine == engine.name] for engine in OURS)
    right = all(each.is_right for each in ours)
    peers = [each for each in worked if each not in [*ours, *passed]]
    runs = {**detail, "runs": [each.told() for each in worked]}
    ratio = median(a.per_second / b.per_second for a, b in zip(ours, passed, strict=True))
    rows = [_row("S1", ratio, "stream over pass-through, whole backlog (P1)", runs, right=right, least=True)]
    own = median(each.micros for each in ours)
    if java := [each.micros for each in peers if each.engine in _JVM]:
        rows.append(_row("S3", own / min(java), "processor time over the better of JVM engines'", runs, right=right))
    if python := [each.per_second for each in peers if each.engine not in _JVM]:
        pace = median(each.per_second for each in ours) / max(python)
        rows.append(_row("S4", pace, "events a second over the best Python engine's", runs, right=right, least=True))
    return rows


def _row(
    name: str, value: float, unit: str, detail: dict[str, Any], *, right: bool, least: bool = False
) -> dict[str, Any]:
    """A row. least: the target is the least that is wanted, not the most."""
    target = _TARGETS[name]
    return {
        "id": name,
        "value": round(value, 3) if right else None,
        "unit": unit,
        "target": target,
        "reached": right and (value >= target if least else value <= target),
        "detail": detail,
    }


def latency_rows(feeds: Sequence[Paced], detail: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of S6: p50 and p99 of what is committed, and of what is there, at each rate.

    Args:
        feeds: how each went.
        detail: for each row.

    Returns:
        The rows, ours; other engines' feeds are in the details.

    """
    rows = []
    for feed in feeds:
        if feed.engine != OURS[0].name:
            continue
        beside = [other.told() for other in feeds if other.rate == feed.rate]
        for isolation, (half, most) in {"read_committed": _COMMITTED, "read_uncommitted": _UNCOMMITTED}.items():
            p50, p99, _ = feed.latencies[isolation]
            rows.append(
                {
                    "id": f"S6 {isolation.removeprefix('read_')} {feed.rate}/s",
                    "value": [round(p50, 1), round(p99, 1)] if feed.is_right else None,
                    "unit": "ms from append to prediction, p50 and p99",
                    "target": [half, most],
                    "reached": feed.is_right and p50 <= half and p99 <= most,
                    "detail": {**detail, "feeds": beside},
                }
            )
    return rows


def asking_rows(asked: Sequence[Asking], detail: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of S11: p50 and p99 of answers.

    Args:
        asked: how each went.
        detail: for each row.

    Returns:
        The rows.

    """
    rows = []
    for each in asked:
        p50, p99, _ = each.latencies
        rows.append(
            {
                "id": f"S11 {each.rate}/s",
                "value": [round(p50, 2), round(p99, 2)] if each.is_right else None,
                "unit": "ms from a call to its answer, p50 and p99",
                "target": list(TARGET),
                "reached": each.is_right and p50 <= TARGET[0] and p99 <= TARGET[1],
                "detail": {**detail, "calls": each.told()},
            }
        )
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
