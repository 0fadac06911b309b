"""L6: false alarms of drift a year, and how soon ten kinds of change are found, beside River's detectors.

A stream of a million events a day of ten features, two of which follow the time of day. The watches see what the
background sample draws of it, one event in 128, and River's detectors the same rows: each feature has one of its own,
with its defaults. For the delays River's are asked about the feature that changes, and no other. 200 randomly drawn
answers a day stand for labels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from benchmarks.labels import drift_peers
from benchmarks.labels.drift_streams import DAY, KINDS, NAMES, Answers, Floats, Kind, answers, rows
from benchmarks.support.report import write
from tidemark.drift.bins import fixed
from tidemark.drift.detector import Detector

_A_DAY: Final = 7_812
_ANSWERS: Final = 200
_WARM: Final = 4
_LATEST: Final = 6
"""Days after which a change counts as not found."""
_CHUNK: Final = 5_000
_YEAR: Final = 365.25
_SEEDS: Final = 3
_KSWIN: Final = 4_000
"""Rows of a feature for KSWIN, which takes a quarter of a millisecond each."""


def inputs() -> Detector:
    """As `monitor` has it by default."""
    return Detector(NAMES, alarms=0.5, season=DAY)


def _fed(detector: Detector, found: Floats, begin: int, a_day: int, rng: np.random.Generator) -> Iterator[int]:
    tosses = rng.integers(0, 2**63, len(found)).tolist()
    for at, (row, toss) in enumerate(zip(found, tosses, strict=True)):
        if detector.take(row, (begin + at) * DAY // a_day, toss):
            yield at


def false_alarms(days: int, a_day: int, seed: int) -> int:
    """Alarms while nothing changes."""
    rng, detector, alarms = np.random.default_rng(seed), inputs(), 0
    for begin in range(0, days * a_day, _CHUNK):
        found = rows(rng, begin, _CHUNK, a_day, cycle=True)
        alarms += sum(1 for _ in _fed(detector, found, begin, a_day, rng))
    return alarms


def delay(kind: Kind, seed: int) -> float | None:
    """Hours until a change is found; None where it is not."""
    rng, detector, warm = np.random.default_rng(seed), inputs(), _WARM * _A_DAY
    for _ in _fed(detector, rows(rng, 0, warm, _A_DAY, cycle=True), 0, _A_DAY, rng):
        return None
    for begin in range(0, _LATEST * _A_DAY, _CHUNK):
        found = rows(rng, warm + begin, _CHUNK, _A_DAY, cycle=True)
        kind.apply(found, begin + np.arange(_CHUNK), _A_DAY, rng)
        for at in _fed(detector, found, warm + begin, _A_DAY, rng):
            return (begin + at + 1) * 24 / _A_DAY
    return None


def label_delay(first: Answers, then: Answers, *, error: bool, seed: int) -> float | None:
    """Hours until the watch over answers finds a change, at 200 a day."""
    rng = np.random.default_rng(seed)
    detector = (
        Detector(["error"], alarms=0.2, first=40, upward=True)
        if error
        else Detector(["class"], alarms=0.15, bins=fixed(np.arange(2.0)))
    )
    for part, given in enumerate((first, then)):
        values = (given.probabilities - given.truths) ** 2 if error else given.truths.astype(np.float64)
        begin = part * len(first.truths)
        for at in _fed(detector, values[:, None], begin, _ANSWERS, rng):
            return (at + 1) * 24 / _ANSWERS if part else None
    return None


def peers(quick: bool) -> dict[str, Any]:  # noqa: FBT001 - of this benchmark alone
    """False alarms a year of River's detectors on all ten features, and their delays on the one that changes."""
    found: dict[str, Any] = {}
    for name in drift_peers.NAMES:
        make = drift_peers.made(name)
        n = _KSWIN if name == "KSWIN" else (2 if quick else 10) * _A_DAY
        counts = {}
        for cycle in (False, True):
            quiet = rows(np.random.default_rng(9), 0, n, _A_DAY, cycle=cycle)
            told = sum(len(drift_peers.alarms(make(), quiet[:, at])) for at in range(len(NAMES)))
            counts["with a daily cycle" if cycle else "without a cycle"] = round(told * _YEAR * _A_DAY / n)
        delays = {}
        for kind in KINDS:
            rng, warm = np.random.default_rng(1), _KSWIN if name == "KSWIN" else _WARM * _A_DAY
            before = rows(rng, 0, warm, _A_DAY, cycle=True)
            after = rows(rng, warm, _KSWIN if name == "KSWIN" else _LATEST * _A_DAY, _A_DAY, cycle=True)
            kind.apply(after, np.arange(len(after)), _A_DAY, rng)
            values = np.concatenate([before[:, kind.column], after[:, kind.column]])
            later = [at for at in drift_peers.alarms(make(), values) if at >= warm]
            delays[kind.name] = round((later[0] - warm + 1) * 24 / _A_DAY, 2) if later else None
        found[name] = {"false_alarms_a_year": counts, "hours": delays}
    return found


def _hours(found: list[float | None]) -> dict[str, Any]:
    known = [hours for hours in found if hours is not None]
    return {"median_hours": round(float(np.median(known)), 2) if known else None, "found": f"{len(known)}/{len(found)}"}


def main() -> None:
    """Write the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", action="store_true", help="River's detectors too, which must be installed")
    given = parser.parse_args()
    begun, seeds = time.perf_counter(), 1 if given.quick else _SEEDS
    kinds = KINDS[:3] if given.quick else KINDS
    hours = {kind.name: _hours([delay(kind, seed) for seed in range(seeds)]) for kind in kinds}
    labels = 30 * _ANSWERS
    for name, error, changed in (
        ("label flip, 20 % of answers", True, {"flipped": 0.2}),
        ("prior shift, 10 to 20 % positive", False, {"rate": 0.2}),
    ):
        told = []
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            told.append(label_delay(answers(rng, labels), answers(rng, labels, **changed), error=error, seed=seed))
        hours[name] = _hours(told)
    runs = [(10, _A_DAY)] if given.quick else [(365, _A_DAY), *([(365, 640)] * 4)]
    counted = [false_alarms(days, a_day, seed) for seed, (days, a_day) in enumerate(runs)]
    years = sum(days for days, _ in runs) / _YEAR
    row = {
        "id": "L6",
        "value": round(sum(counted) / years, 2),
        "unit": "false alarms of inputs a year; at 1M events a day, and at 20,000",
        "target": 1.0,
        "reached": sum(counted) / years <= 1,
        "detail": {
            "runs": [
                {"days": days, "sampled_a_day": a, "alarms": n} for (days, a), n in zip(runs, counted, strict=True)
            ],
            "delays": hours,
            "peers": peers(given.quick) if given.peers else None,
            "seconds": round(time.perf_counter() - begun),
        },
    }
    write("drift.quick" if given.quick else "drift", [row])


if __name__ == "__main__":
    main()
