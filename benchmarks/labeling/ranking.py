"""Ranking a queue anew while cases are leased (G12), and what a lease costs among many segments (G13).

In one process, on disk, SQLite with `synchronous=FULL`: the writer, the thread that ranks, and one that leases.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.labeling.rig import CLASSES, NAME, case
from kernels.forest.forest import Forest
from labeling_grpc.assist.champion_follower import Champion
from labeling_grpc.assist.ranking import Ranker
from labeling_grpc.commands.labeling import Arrival, LeaseCases, LeasedCase, LeaseRef, ReleaseLeases, Source, TakeIn
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.database import sqlite_store
from labeling_grpc.storage.group_commit import Writer
from labeling_grpc.tables.schema import queue
from tidemark.pipeline.loading import parse
from tidemark.records import encode
from tidemark.records.topics import Topics

_FEATURES: Final = 12
_TREES: Final = 100
_EVERY_SECONDS: Final = 0.01
_SEGMENTS: Final = 64
_NAMES: Final = [f"f{index}" for index in range(_FEATURES)]
_PIPELINE: Final = f"""
name = "{NAME}"
keys = ["key"]
raw = [{{ topic = "{NAME}.raw" }}]
time = {{ column = "time", format = "iso8601", lateness = "1s" }}
columns.time = {{ type = "string" }}
columns.key = {{ type = "string" }}
{"".join(f"columns.{name} = {{ type = 'float' }}" + chr(10) for name in _NAMES)}
features = [{", ".join(f"{{ name = '{name}' }}" for name in _NAMES)}]
label = {{ classes = {list(CLASSES)}, positive = "{CLASSES[1]}", delay = "1d" }}
selection = {{ tile = "1h", budget = 1, explore = 0 }}
"""


class _Model:
    """A forest of 100 trees, as `ActiveModel` gives its probabilities."""

    version = "v000013-89abcdef"

    def __init__(self) -> None:
        import lightgbm as lgb  # noqa: PLC0415

        rng = np.random.default_rng(0)
        rows = rng.integers(0, 13, (5_000, _FEATURES)).astype(np.float64)
        target = rows[:, 1] + rows[:, 2] + rng.normal(0, 4, len(rows)) > 12
        parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1}
        trained = lgb.train(parameters, lgb.Dataset(rows, target), _TREES)
        self.forest = Forest.from_text(trained.model_to_string(num_iteration=-1))
        self.probabilities(rows[:300])

    def probabilities(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        second = self.forest.probability(rows)
        return np.column_stack((1 - second, second))


def ranking_row(*, quick: bool) -> dict[str, Any]:
    """G12: seconds in which all waiting cases are ranked by a new champion, and what leases take meanwhile."""
    number = 10_000 if quick else 100_000
    model = _Model()
    pipeline = parse(_PIPELINE, "ranking.toml")
    with _running(number, QueueRules(classes=CLASSES, max_open=10**9, release_hold_us=0)) as writer:
        champion = cast("Champion", SimpleNamespace(current=lambda: model))
        ranker = Ranker(pipeline, writer, champion)
        idle = _leases(writer, lambda: time.sleep(3.0))
        begun = time.perf_counter()
        meanwhile = _leases(writer, lambda: _all(ranker))
        seconds = time.perf_counter() - begun
    detail = {
        "cases": number,
        "trees": _TREES,
        "features": _FEATURES,
        "leases": len(meanwhile),
        "p99_ms_idle": _ms(idle, 0.99),
        "p99_ms_meanwhile": _ms(meanwhile, 0.99),
    }
    unit = f"seconds in which {number:,} waiting cases are ranked by a new champion"
    return {"id": "G12", "value": round(seconds, 2), "unit": unit, "target": None, "reached": True, "detail": detail}


def segments_row(*, quick: bool) -> dict[str, Any]:
    """G13: median of a lease with 64 segments, half of whose cases the asker has answered, over one with none."""
    number = 5_000 if quick else 100_000
    plain = QueueRules(classes=CLASSES, max_open=10**9, release_hold_us=0)
    many = QueueRules(classes=CLASSES, max_open=10**9, release_hold_us=0, segment="terminal", answers=2)
    taken: dict[str, list[float]] = {}
    for name, rules in (("plain", plain), ("segments", many)):
        with _running(number, rules) as writer:
            if rules is many:
                seen = queue.update().where(queue.c.case_id % 2 == 0).values(seen='["asker"]', votes=1)
                with writer.store.engine.begin() as connection:
                    connection.execute(seen)
            taken[name] = _leases(writer, lambda: time.sleep(3.0))
    detail = {"cases": number, "segments": _SEGMENTS} | {
        f"p{share}_ms_{name}": _ms(ms, share / 100) for name, ms in taken.items() for share in (50, 99)
    }
    ratio = _ms(taken["segments"], 0.5) / _ms(taken["plain"], 0.5)
    unit = "median of a lease among 64 segments, half answered by the asker, over that of one without"
    return {"id": "G13", "value": round(ratio, 2), "unit": unit, "target": None, "reached": True, "detail": detail}


def _all(ranker: Ranker) -> None:
    while ranker.step():
        pass


@contextmanager
def _running(number: int, rules: QueueRules) -> Iterator[Writer]:
    """A writer on a queue of `number` active cases."""

    def bug(error: Exception) -> None:
        raise error

    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as folder:
        store = sqlite_store(Path(folder) / "labeling.db", Topics(NAME), rules)
        source = Source(f"{NAME}.candidates", 0, "00c0ffee")
        asked = [each for each in map(case, range(2 * number)) if each.inclusion_probability is None][:number]
        for start in range(0, number, 5_000):
            part = asked[start : start + 5_000]
            arrivals = tuple(Arrival(start + i, each, encode(each)) for i, each in enumerate(part))
            store.transact([TakeIn(source, start or None, start + len(part), arrivals)])
        writer = Writer(store, bug)
        writer.start()
        yield writer
        writer.stop()
        store.close()


def _leases(writer: Writer, work: Callable[[], None]) -> list[float]:
    """Latencies (s) of leases, one every 10 ms or when the last is there, while `work` goes on."""
    taken: list[float] = []
    over = threading.Event()

    def lease() -> None:
        while not over.wait(_EVERY_SECONDS):
            begun = time.perf_counter()
            given = writer.call(LeaseCases("asker", 1, 10**9))
            taken.append(time.perf_counter() - begun)
            refs = tuple(LeaseRef(its.event_id, its.token) for its in cast("list[LeasedCase]", given))
            writer.call(ReleaseLeases(refs))

    asker = threading.Thread(target=lease)
    asker.start()
    try:
        work()
    finally:
        over.set()
        asker.join()
    return taken


def _ms(seconds: list[float], share: float) -> float:
    return round(float(np.quantile(seconds, share)) * 1e3, 2)
