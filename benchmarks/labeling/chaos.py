"""`make bench-labeling-chaos`, row G8: seeded runs in which the labeling service, its database and Kafka are killed.

A run: cases come in, some twice, some of short use, some that can't be read; random clients
(`benchmarks.labeling.chaos_clients`) lease, renew, answer, skip, release and amend, also twice and too late; meanwhile,
at a seeded number of calls, services, PostgreSQL and the broker are ended with SIGKILL (PostgreSQL: as in a crash) and
started again. Then all is answered, and every rule of the queue is checked from what clients saw and what is in Kafka
(`benchmarks.labeling.chaos_invariants`).

Even seeds run in SQLite, odd ones in PostgreSQL, half of those with two replicas; some with a queue that is too small.
Some runs share services that live on from one to the next; one Kafka is shared by all, and its end is felt by others.
"""

from __future__ import annotations

import argparse
import itertools
import queue
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.labeling.chaos_invariants import Evidence, violations
from benchmarks.labeling.chaos_lane import Broker, Lane, Plan, Store
from benchmarks.loop.fraud_loop import own_kafka
from benchmarks.support.postgres import PostgresServer
from benchmarks.support.report import earlier, write

_SESSION: Final = 25
"""Runs on the same topics and database."""

_RUNS: Final = 1_000
_LANES: Final[dict[Store, int]] = {"sqlite": 3, "postgres": 4}
"""Sessions at once: much of the time is waiting, for leases and a killed replica's term to end."""


@dataclass(slots=True)
class Tally:
    """What came of all runs. failed: seeds whose run broke a rule, and which."""

    seeds: list[int] = field(default_factory=list)
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    labels: int = 0
    checks: Counter[str] = field(default_factory=Counter)
    failed: dict[int, dict[str, int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, plan: Plan, evidence: Evidence) -> dict[str, int]:
        """Count a run; the rules that it broke."""
        found = violations(evidence)
        broken = {check: count for check, count in found.items() if count}
        with self.lock:
            self.seeds.append(plan.seed)
            self.kills.update(victim for _, victim in plan.kills)
            self.calls.update(f"{call.kind}: {call.outcome}" for call in evidence.calls)
            self.labels += len(evidence.labels)
            self.checks.update(found)
            if broken:
                self.failed[plan.seed] = broken
        return broken


Todo = queue.SimpleQueue[tuple[int, list[int]]]
"""Number and seeds of each session."""


def sessions(seeds: Sequence[int], store: Store) -> Todo:
    """Seeds of one store, as many together as share a queue."""
    of_session: dict[int, list[int]] = {}
    for seed in seeds:
        if Plan.of(seed).store == store:
            of_session.setdefault(seed // (2 * _SESSION), []).append(seed)
    todo: Todo = queue.SimpleQueue()
    for session in of_session.items():
        todo.put(session)
    return todo


def run(seeds: Sequence[int], folder: Path, seconds: float | None = None) -> Tally:
    """Run these seeds in lanes of their own, or as many of them as `seconds` suffice for."""
    tally, over = Tally(), threading.Event()
    with own_kafka(folder) as (node, settings), ThreadPoolExecutor(sum(_LANES.values())) as threads:
        began = time.monotonic()
        broker = Broker(node, settings)
        works = []
        for store, number in _LANES.items():
            todo = sessions(seeds, store)
            works += [threads.submit(_lane, broker, folder, store, todo, tally, over) for _ in range(number)]
        try:
            wait(works, seconds, FIRST_EXCEPTION)
        finally:
            over.set()
        for work in works:
            work.result()
        tally.seconds = time.monotonic() - began
    return tally


def _lane(broker: Broker, folder: Path, store: Store, todo: Todo, tally: Tally, over: threading.Event) -> None:
    """Work off sessions until there is none left, or it is over."""
    with ExitStack() as stack:
        database = None
        while not todo.empty() and not over.is_set():
            try:
                number, seeds = todo.get_nowait()
            except queue.Empty:  # another lane was faster
                return
            if store == "postgres" and database is None:
                database = stack.enter_context(PostgresServer(durable=True))
            with Lane(broker, folder, database, number) as lane:
                for seed in itertools.takewhile(lambda _: not over.is_set(), seeds):
                    evidence = lane.run(plan := Plan.of(seed))
                    if broken := tally.add(plan, evidence):
                        print(f"{plan} broke {broken}:\n{evidence.log[-6_000:]}", file=sys.stderr, flush=True)


def row(tally: Tally, before: dict[str, Any], *, quick: bool) -> dict[str, Any]:
    """G8. before: the row of earlier runs that these are added to, {} where there are none."""
    detail: dict[str, Any] = before.get("detail", {})
    seeds = sorted({*_expanded(detail.get("seeds", [])), *tally.seeds})
    kills, calls, checks = (
        Counter(detail.get(name, {})) + Counter(found)
        for name, found in (("kills", tally.kills), ("calls", tally.calls), ("violations", tally.checks))
    )
    broken = sum(checks.values())
    return {
        "id": "G8",
        "value": broken,
        "unit": f"violations in {len(seeds):,} runs",
        "target": 0,
        "reached": broken == 0 and (quick or len(seeds) >= _RUNS),
        "detail": {
            "quick": quick,
            "runs": len(seeds),
            "seeds": _ranges(seeds),
            "kills": dict(sorted(kills.items())),
            "kills_in_all": kills.total(),
            "calls": dict(sorted(calls.items())),
            "calls_in_all": calls.total(),
            "labels": detail.get("labels", 0) + tally.labels,
            "violations": dict(checks),
            "checks": sorted({*detail.get("checks", []), *tally.checks}),
            "failed": {**detail.get("failed", {}), **{str(seed): what for seed, what in tally.failed.items()}},
            "seconds": round(detail.get("seconds", 0) + tally.seconds),
        },
    }


def _ranges(seeds: Sequence[int]) -> list[list[int]]:
    """First and last of each sequence without a gap."""
    found: list[list[int]] = []
    for seed in seeds:
        if found and found[-1][1] == seed - 1:
            found[-1][1] = seed
        else:
            found.append([seed, seed])
    return found


def _expanded(ranges: Sequence[Sequence[int]]) -> list[int]:
    return [seed for first, last in ranges for seed in range(first, last + 1)]


def main(arguments: list[str]) -> None:
    """Run and write `benchmarks/results/labeling_chaos.json`; `labeling_chaos.quick.json` for a quick run."""
    parser = argparse.ArgumentParser("python -m benchmarks.labeling.chaos", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="12 runs")
    parser.add_argument("--runs", type=int, default=_RUNS)
    parser.add_argument("--seed", type=int, default=0, help="the first run's")
    parser.add_argument("--seconds", type=float, help="begin no further run after that")
    parser.add_argument(
        "--resume", action="store_true", help="add to the runs that the result has, and leave those out"
    )
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that services and servers end with it
    name = "labeling_chaos.quick" if given.quick else "labeling_chaos"
    before = next(iter(earlier(name)), {}) if given.resume else {}
    done = set(_expanded(before.get("detail", {}).get("seeds", [])))
    seeds = [seed for seed in range(given.seed, given.seed + (12 if given.quick else given.runs)) if seed not in done]
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as folder:
        tally = run(seeds, Path(folder), given.seconds)
    write(name, [row(tally, before, quick=given.quick)])
    if tally.failed:
        sys.exit(f"broken rules, by seed: {tally.failed}; repeat one with --runs 1 --seed SEED")


if __name__ == "__main__":
    main(sys.argv[1:])
