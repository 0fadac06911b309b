"""`make bench-labeling`: the labeling service in SQLite and PostgreSQL (G1 to G7), consensus (G9), ranking (G12, G13).

Every service is a process of its own, durable (SQLite with `synchronous=FULL`, PostgreSQL with its defaults), and so
are its clients, all on this machine: they share its cores.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from benchmarks.labeling.consensus import consensus_row
from benchmarks.labeling.delivery import delivered, published, topics
from benchmarks.labeling.latency import lease_latencies
from benchmarks.labeling.load import Load, Outcome, run_loads
from benchmarks.labeling.peer import peer_rows
from benchmarks.labeling.ranking import ranking_row, segments_row
from benchmarks.labeling.rig import Service, services
from benchmarks.support.postgres import PostgresServer
from benchmarks.support.report import write
from tidemark.broker import EmbeddedKafka
from tidemark.runtime.settings import Settings

_WARM_SECONDS: Final = 1.0
_SECONDS: Final = 8.0
_ROUNDS: Final = 3


def rows(*, quick: bool) -> list[dict[str, Any]]:
    """All rows."""
    found = [_told(row) for measure in (_single, _batches, _replicas) for row in measure(quick=quick)]
    found += [_told(measure(quick=quick)) for measure in (_depths, ranking_row, segments_row)]
    with (
        tempfile.TemporaryDirectory(prefix="tidemark-bench-kafka-") as folder,
        EmbeddedKafka(Path(folder), settings=Settings.from_environment({})) as node,
    ):
        kafka = Settings.from_environment({}).at(node.bootstrap_servers)
        topics(kafka)
        found += [_told(measure(kafka, quick=quick)) for measure in (_visible, _waiters)]
    if quick:
        Console().print("G4 is left out of quick runs: to install and start Label Studio takes minutes")
    else:
        found += [_told(row) for row in peer_rows()]
    consensus = consensus_row(quick=quick)
    if consensus is None:
        Console().print("G9 is left out: crowd-kit is not installed; `make bench-labeling` installs it")
        return found
    return [*found, _told(consensus)]


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """The row, shown at once: the whole takes minutes."""
    Console().print(f"{row['id']}: {row['value']} {row['unit']} (target {row['target']})", highlight=False)
    return row


def _single(*, quick: bool) -> list[dict[str, Any]]:
    """G1: 64 clients, a case at a time."""
    with services(1, cases=15_000 if quick else 120_000) as running:
        return _both("G1", running, 64, 1, "cases/s, 64 clients, SQLite", 1_500, quick=quick, p99=80.0)


def _batches(*, quick: bool) -> list[dict[str, Any]]:
    """G2: 64 clients, twenty cases at a time."""
    with services(1, cases=60_000 if quick else 400_000) as running:
        return _both("G2", running, 64, 20, "cases/s, 20 a call, 64 clients, SQLite", 8_000, quick=quick)


def _replicas(*, quick: bool) -> list[dict[str, Any]]:
    """G3: two replicas on one PostgreSQL, 128 clients."""
    with (
        PostgresServer(durable=True) as database,
        services(2, cases=15_000 if quick else 120_000, database=database.url) as running,
    ):
        return _both("G3", running, 128, 1, "cases/s, 128 clients, two replicas, PostgreSQL", 1_500, quick=quick)


def _both(
    name: str,
    running: Sequence[Service],
    clients: int,
    batch: int,
    unit: str,
    target: float,
    *,
    quick: bool,
    p99: float = np.inf,
) -> list[dict[str, Any]]:
    """A row for answers and the next lease in one call, one (`.calls`) for a call each; in turn, on the same queue."""
    addresses = [service.address for service in running]
    run_loads([Load(addresses, 16, batch, _WARM_SECONDS, first=1_000)])
    kinds = {f"{name}.calls": False, name: True}
    found: dict[str, list[tuple[Outcome, dict[str, Any]]]] = {kind: [] for kind in kinds}
    for _ in range(1 if quick else _ROUNDS):
        for kind, joined in kinds.items():
            load = Load(addresses, clients, batch, 1.5 if quick else _SECONDS, joined=joined)
            found[kind].append(_loaded(running, load))
    events = [event for rounds in found.values() for outcome, _ in rounds for event in outcome.events]
    twice = len(events) - len(set(events))
    rows = []
    for kind, joined in kinds.items():
        rounds = found[kind]
        rates = [outcome.cases / outcome.seconds for outcome, _ in rounds]
        of = min(range(len(rates)), key=lambda i: abs(rates[i] - np.median(rates)))
        calls = "answers and the next lease in one call" if joined else "lease and submit, a call each"
        detail = rounds[of][1] | {"rates": [round(rate) for rate in rates], "leased_twice": twice}
        row = _row(kind, float(np.median(rates)), f"{unit}: {calls}", target, detail)
        rows.append(row | {"reached": row["reached"] and twice == 0 and detail["p99_ms"] <= p99})
    return rows


def _loaded(running: Sequence[Service], load: Load) -> tuple[Outcome, dict[str, Any]]:
    before = sum(service.cpu_seconds() for service in running)
    outcome = run_loads([load])
    if outcome.seconds < load.seconds:
        raise RuntimeError(f"all cases were answered after {outcome.seconds:.1f} s: let the benchmark begin with more")
    cpu = sum(service.cpu_seconds() for service in running) - before
    return outcome, {
        "seconds": round(outcome.seconds, 1),
        "cases": outcome.cases,
        "p50_ms": round(outcome.p(0.5), 1),
        "p99_ms": round(outcome.p(0.99), 1),
        "service_cores": round(cpu / outcome.seconds, 2),
        "service_us_a_case": round(cpu / outcome.cases * 1e6),
        "client_us_a_case": round(outcome.cpu / outcome.cases * 1e6),
        "load_average": round(os.getloadavg()[0], 1),
    }


def _depths(*, quick: bool) -> dict[str, Any]:
    """G5: latency of a lease, by how many cases wait."""
    depths = (1_000, 20_000) if quick else (1_000, 100_000, 2_000_000)
    leases, rounds = (150, 3) if quick else (400, 5)
    found = lease_latencies(depths, leases, rounds)
    p99 = {depth: float(np.median([np.quantile(ms, 0.99) for ms in found[depth]])) for depth in depths}
    p50 = {depth: float(np.median([np.quantile(ms, 0.5) for ms in found[depth]])) for depth in depths}
    detail = {
        "leases": leases,
        "rounds": rounds,
        "p50_ms": {str(depth): round(ms, 3) for depth, ms in p50.items()},
        "p99_ms": {str(depth): round(ms, 3) for depth, ms in p99.items()},
    }
    ratio = p99[depths[-1]] / p99[depths[0]]
    unit = f"p99 of a lease with {depths[-1]:,} waiting over that with {depths[0]:,}"
    return _row("G5", ratio, unit, 2.0, detail, least=False)


def _visible(kafka: Settings, *, quick: bool) -> dict[str, Any]:
    """G6: from the acknowledgement of an answer to its label in `P.labels`."""
    number = 100 if quick else 1_000
    with services(1, kafka=kafka) as (service,):
        ms = published(service, kafka, number)
    p50, p99 = (float(np.quantile(ms, share)) for share in (0.5, 0.99))
    detail = {"labels": number, "p50_ms": round(p50, 1), "p99_ms": round(p99, 1), "target_p50_ms": 50}
    row = _row(
        "G6", p99, "ms (p99) from acknowledged to visible to readers of committed records", 300, detail, least=False
    )
    return row | {"reached": p99 <= 300 and p50 <= 50}


def _waiters(kafka: Settings, *, quick: bool) -> dict[str, Any]:
    """G7: 1,000 idle long polls and 200 watchers."""
    number = 60 if quick else 400
    with services(1, kafka=kafka) as (service,):
        ms, rss = delivered(service, kafka, polls=1_000, watchers=200, cases=number)
    p50, p99 = (float(np.quantile(ms, share)) for share in (0.5, 0.99))
    detail = {
        "cases": number,
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "rss_mb": round(rss),
        "target_rss_mb": 300,
    }
    row = _row("G7", p99, "ms (p99) from a case in Kafka to one of 1,000 who wait", 50, detail, least=False)
    return row | {"reached": p99 <= 50 and rss < 300}


def _row(
    name: str, value: float, unit: str, target: float, detail: dict[str, Any], *, least: bool = True
) -> dict[str, Any]:
    reached = value >= target if least else value <= target
    return {"id": name, "value": round(value, 2), "unit": unit, "target": target, "reached": reached, "detail": detail}


def main() -> None:
    """Run and write `benchmarks/results/labeling.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter runs, fewer cases")
    quick = parser.parse_args().quick
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that services and servers end with it
    found = rows(quick=quick)
    for row in found:
        row["detail"]["quick"] = quick
    write("labeling.quick" if quick else "labeling", found)


if __name__ == "__main__":
    main()
