"""`make bench-budget`: is ever more asked than may be spent?

L8: histories of the select flow with random streams, budgets (a tile's, an hour's, a day's, in all, a part saved; in
cases, or in what they cost, which depends on the case or does not) and crashes after random records, between which it
takes up what is committed. What was asked is counted anew from the candidates that were committed, each at what its
context says that it costs, and from Kafka's timestamps of the records that closed their tiles. The value is the largest
share of any bound that was ever spent.
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

    budget, cost = int(rng.integers(1, 7)), _cost(rng)
    scale = 1 if cost is None else 3
    total = maybe(6 * scale, 30 * scale)
    pipe = pipeline(
        partitions=int(rng.integers(1, 3)),
        budget=budget,
        explore=1,
        policy="margin",
        draw="focused" if rng.random() < 0.5 else None,
        total=total,
        per_hour=maybe(1, 12 * scale),
        per_day=maybe(1, 25 * scale),
        **({} if cost is None else {"cost": cost}),
        saved=float(rng.choice([0.2, 0.5, 1.0])) if total and rng.random() < 0.5 else None,
    )
    log = stream(pipe, rng, records=_RECORDS, rows=10, pace=float(rng.choice([60.0, 200.0])))
    flow = Run(pipe, log, int(rng.integers(1, 4)), apart=int(rng.choice([1_000, 400_000, 3_000_000, 20_000_000])))
    crashes = rng.integers(0, _RECORDS, rng.integers(0, 5)).tolist()
    flow.crashing_at(crashes)
    metrics = [decode(Metric, each.value) for each in flow.committed if each.topic == pipe.topics.metrics]
    came = {metric.detail["tile"]: metric.at for metric in metrics}
    cases = [decode(Candidate, each.value) for each in flow.committed if each.topic == pipe.topics.candidates]
    selection, unit = pipe.selection, "" if cost is None else ", cost"
    spent: dict[str, tuple[Counter[Any], int | None]] = {
        "tile": (Counter(case.tile for case in cases), selection.budget),
        f"hour{unit}": (Counter(), selection.per_hour),
        f"day{unit}": (Counter(), selection.per_day),
        f"in all{unit}": (Counter(), selection.total),
    }
    for case in cases:
        price = 1 if cost is None else _price(cost, case)
        spent[f"hour{unit}"][0][came[case.tile] // _HOUR] += price
        spent[f"day{unit}"][0][came[case.tile] // _DAY] += price
        spent[f"in all{unit}"][0][""] += price
    shares = {
        name: max(counts.values(), default=0) / bound for name, (counts, bound) in spent.items() if bound is not None
    }
    return shares, len(crashes)


def _cost(rng: np.random.Generator) -> dict[str, Any] | None:
    """What cases cost: nothing is said of it, all alike, or by whether their `x` is below 0."""
    kind = rng.integers(0, 3)
    if kind == 0:
        return None
    case, other = rng.integers(1, 6, 2).tolist()
    plain = {"unit": "minutes", "case": case}
    return plain if kind == 1 else plain | {"column": "kind", "of": {"left": other}}


def _price(cost: dict[str, Any], case: Candidate) -> int:
    price: int = cost["case"]
    return int(cost["of"]["left"]) if "of" in cost and case.context["kind"] == "left" else price


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
        "unit": "asked over what may be, in cases or what they cost, the largest of all bounds and histories",
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
