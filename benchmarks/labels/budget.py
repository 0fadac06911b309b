"""`make bench-budget`: is ever more asked than may be spent?

L8: histories of the select flow with random streams, budgets (a tile's, an hour's, a day's, in all, a part saved) and
crashes after random records, between which it takes up what is committed. What was asked is counted anew from the
candidates that were committed, and from Kafka's timestamps of the records that closed their tiles. The value is the
largest share of any bound that was ever spent.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any, Final

import numpy as np

from benchmarks.labels.proposal_streams import Run, pipeline, stream
from benchmarks.support.report import write
from tidemark.records import Candidate, Metric, decode

_HOUR: Final = 3_600_000_000
_DAY: Final = 24 * _HOUR
_RECORDS: Final = 12


def history(seed: int) -> tuple[dict[str, float], int]:
    """Largest share of each bound that one history spends, and its crashes."""
    rng = np.random.default_rng([18, seed])

    def maybe(low: int, high: int) -> int | None:
        return int(rng.integers(low, high)) if rng.random() < 0.7 else None

    budget, total = int(rng.integers(1, 7)), maybe(6, 30)
    pipe = pipeline(
        partitions=int(rng.integers(1, 3)),
        budget=budget,
        explore=1,
        policy="margin",
        draw="focused" if rng.random() < 0.5 else None,
        total=total,
        per_hour=maybe(1, 12),
        per_day=maybe(1, 25),
        saved=float(rng.choice([0.2, 0.5, 1.0])) if total and rng.random() < 0.5 else None,
    )
    log = stream(pipe, rng, records=_RECORDS, rows=10, pace=float(rng.choice([60.0, 200.0])))
    flow = Run(pipe, log, int(rng.integers(1, 4)), apart=int(rng.choice([1_000, 400_000, 3_000_000, 20_000_000])))
    crashes = rng.integers(0, _RECORDS, rng.integers(0, 5)).tolist()
    flow.crashing_at(crashes)
    metrics = [decode(Metric, each.value) for each in flow.committed if each.topic == pipe.topics.metrics]
    came = {metric.detail["tile"]: metric.at for metric in metrics}
    tiles = [decode(Candidate, each.value).tile for each in flow.committed if each.topic == pipe.topics.candidates]
    selection = pipe.selection
    spent: dict[str, tuple[Counter[Any], int | None]] = {
        "tile": (Counter(tiles), selection.budget),
        "hour": (Counter(came[tile] // _HOUR for tile in tiles), selection.per_hour),
        "day": (Counter(came[tile] // _DAY for tile in tiles), selection.per_day),
        "in all": (Counter("" for _ in tiles), selection.total),
    }
    shares = {
        name: max(counts.values(), default=0) / bound for name, (counts, bound) in spent.items() if bound is not None
    }
    return shares, len(crashes)


def bounded(histories: int) -> dict[str, Any]:
    """Row L8."""
    most: dict[str, float] = {}
    reached: Counter[str] = Counter()
    crashes = 0
    for seed in range(histories):
        shares, died = history(seed)
        crashes += died
        for name, share in shares.items():
            most[name] = max(most.get(name, 0.0), share)
            reached[name] += share >= 1
    value = max(most.values())
    return {
        "id": "L8",
        "value": value,
        "unit": "cases asked over those that may be, the largest of all bounds and histories",
        "target": 1.0,
        "reached": value <= 1,
        "detail": {"histories": histories, "crashes": crashes, "most": most, "bound_reached_in": dict(reached)},
    }


def main() -> None:
    """Write the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    write("budget.quick" if given.quick else "budget", [bounded(100 if given.quick else 10_000)])


if __name__ == "__main__":
    main()
