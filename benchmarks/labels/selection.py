"""`make bench-faults`, row F5: the measured quality is what it says it is.

Seeded streams (simulated clock, no broker) go through the real select flow, with a budget that binds in every tile,
crashes that take up again from what was committed, and people who skip. Each stream's quality is then estimated from
the labels as `monitor` does, and compared with the truth over every event of the tiles that were decided.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.labels.proposal_streams import Events, Record, Run, event_id, pipeline, propose
from benchmarks.support.report import write
from tidemark.evaluation import quality
from tidemark.pipeline.model import Pipeline
from tidemark.records import Candidate, Label, Metric, decode

STREAMS: Final = 2_000
COVERAGE: Final = (0.93, 0.97)
"""Share of the 95 % intervals that must hold the truth."""
STANDARD_ERRORS: Final = 3.0
"""How far the mean of the estimates may be from the mean of the truths."""
_TILE: Final = 1_000
_TILES: Final = 32
_SKIPPED: Final = 0.15
_CLASSES: Final = ["good", "bad"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One stream.

    truth: accuracy of the model on all events of its decided tiles.  unbiased, low, high: as estimated from the labels
    of the draw.  weighted: Horvitz and Thompson's estimate, by the inclusion probabilities, of
    every drawn event.  naive: accuracy on all labels, the policy's picks included.
    """

    truth: float
    unbiased: float
    low: float
    high: float
    weighted: float
    naive: float
    labels: int
    over_budget: bool
    repeated: int

    @property
    def covered(self) -> bool:
        """Whether the interval holds the truth."""
        return self.low <= self.truth <= self.high


def trial(seed: int) -> Trial:
    """Run one stream through selection, labeling and measuring."""
    rng = np.random.default_rng([5, seed])
    pipe = pipeline(
        partitions=2, tile="1ms", budget=10, explore=5, policy="margin", candidates_per_pick=2, version=str(seed)
    )
    log, right = _stream(pipe, rng)
    run = Run(pipe, log, step=int(rng.integers(1, 6)))
    outputs = run.crashing_at(rng.integers(0, len(log), 3).tolist())
    candidates = [decode(Candidate, output.value) for output in outputs if output.topic == "p.candidates"]
    metrics = [decode(Metric, output.value) for output in outputs if output.topic == "p.metrics"]
    decided = {int(metric.detail["tile"] or 0) for metric in metrics}
    inside = [
        right[event]
        for record in log
        for event, tile in zip(record.event_id, record.tile.tolist(), strict=True)
        if tile in decided
    ]
    labels = [_label(candidate, right[candidate.event_id], skipped=rng.random() < _SKIPPED) for candidate in candidates]
    estimate = next(m for m in quality(labels, classes=_CLASSES, positive="bad", at=0) if m.name == "accuracy")
    answered = [label for label in labels if label.status == "answered"]
    per_tile = np.unique([candidate.tile for candidate in candidates], return_counts=True)[1]
    return Trial(
        truth=float(np.mean(inside)),
        unbiased=estimate.value or 0.0,
        low=estimate.low or 0.0,
        high=estimate.high or 0.0,
        weighted=sum(right[c.event_id] / c.inclusion_probability for c in candidates if c.inclusion_probability)
        / len(inside),
        naive=float(np.mean([right[label.event_id] for label in answered])),
        labels=len(answered),
        over_budget=int(per_tile.max()) > pipe.selection.budget,
        repeated=len(candidates) - len({candidate.event_id for candidate in candidates}),
    )


def rows(*, quick: bool) -> list[dict[str, Any]]:
    """F5: coverage of the 95 % intervals; reached if it is right and the estimates are unbiased too."""
    count = 200 if quick else STREAMS
    trials = [trial(seed) for seed in range(count)]
    bias, weighted_bias = deviation(trials, "unbiased"), deviation(trials, "weighted")
    coverage = sum(one.covered for one in trials) / count
    low, high = coverage_bounds(count)
    over, repeated = sum(one.over_budget for one in trials), sum(one.repeated for one in trials)
    unbiased = max(abs(bias), abs(weighted_bias)) <= STANDARD_ERRORS
    return [
        {
            "id": "F5",
            "value": round(coverage, 4),
            "unit": "share of 95 % intervals that hold the truth",
            "target": [round(low, 4), round(high, 4)],
            "reached": low <= coverage <= high and unbiased and over == repeated == 0,
            "detail": {
                "quick": quick,
                "streams": count,
                "mean_truth": round(float(np.mean([one.truth for one in trials])), 5),
                "mean_estimate": round(float(np.mean([one.unbiased for one in trials])), 5),
                "bias_in_standard_errors": round(bias, 2),
                "horvitz_thompson_bias_in_standard_errors": round(weighted_bias, 2),
                "mean_of_all_labels": round(float(np.mean([one.naive for one in trials])), 5),
                "mean_labels": round(float(np.mean([one.labels for one in trials])), 1),
                "mean_width": round(float(np.mean([one.high - one.low for one in trials])), 4),
                "streams_over_budget": over,
                "candidates_repeated": repeated,
            },
        }
    ]


def coverage_bounds(streams: int) -> tuple[float, float]:
    """`COVERAGE`, or wider where so few streams say no more: 99.9 % of the runs of an exact interval stay within."""
    chance = 3.29 * math.sqrt(0.95 * 0.05 / streams)
    return min(COVERAGE[0], 0.95 - chance), max(COVERAGE[1], 0.95 + chance)


def deviation(trials: list[Trial], name: str) -> float:
    """Mean error of an estimate over the trials, in its standard errors."""
    errors = np.array([getattr(one, name) - one.truth for one in trials])
    return float(errors.mean() / (errors.std(ddof=1) / math.sqrt(len(trials))))


def _stream(pipe: Pipeline, rng: np.random.Generator) -> tuple[list[Record], dict[str, bool]]:
    """Two partitions whose records come in a random order, and whether the model is right on each event.

    Busy tiles are the harder ones, and the model is right as often as it says only on average: a plain mean over
    labels, or one that forgets the tiles' sizes, is wrong.
    """
    right: dict[str, bool] = {}
    queues: list[list[Record]] = []
    load = rng.integers(8, 50, _TILES)
    for partition in range(pipe.partitions):
        tile = np.repeat(np.arange(_TILES), rng.poisson(load) + 1)
        time = np.sort(tile * _TILE + rng.integers(0, _TILE, tile.shape[0]))
        confidence = np.round(0.5 + 0.5 * rng.beta(2, 1, tile.shape[0]), 3)
        hit = rng.random(tile.shape[0]) < confidence - 0.004 * load[tile]
        says_bad = rng.random(tile.shape[0]) < 0.3
        positive = np.where(says_bad, confidence, 1 - confidence)
        positive[positive == 0.5] = 0.501
        watermark: int | None = None
        queue = []
        for rows in np.array_split(np.arange(tile.shape[0]), 8):
            batch = Events(partition, rows, time[rows], positive[rows], np.zeros((rows.shape[0], 2)))
            record = propose(pipe, batch, watermark)
            watermark = record.watermark
            queue.append(record)
        right |= {event_id(partition, offset): bool(is_hit) for offset, is_hit in enumerate(hit)}
        queues.append(queue)
    log = []
    while any(queues):
        queue = queues[int(rng.choice([i for i, left in enumerate(queues) if left]))]
        log.append(queue.pop(0))
    return log, right


def _label(candidate: Candidate, right: bool, *, skipped: bool) -> Label:  # noqa: FBT001 - what is known of the event
    assert candidate.probabilities is not None  # noqa: S101 - every event of these streams is scored
    said = int(candidate.probabilities[1] > candidate.probabilities[0])
    return Label(
        event_id=candidate.event_id,
        business_id=None,
        key=None,
        time=candidate.time,
        status="skipped" if skipped else "answered",
        label=None if skipped else _CLASSES[said if right else 1 - said],
        annotator="a",
        known_at=candidate.time,
        answered_at=candidate.time,
        reason=candidate.reason,
        inclusion_probability=candidate.inclusion_probability,
        tile=candidate.tile,
        tile_count=candidate.tile_count,
        policy=candidate.policy,
        features={},
        probabilities=candidate.probabilities,
        uncertainty=candidate.uncertainty,
        model=candidate.model,
    )


def main() -> None:
    """Run and write `benchmarks/results/selection.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 streams instead of 2,000")
    write("selection", rows(quick=parser.parse_args().quick))


if __name__ == "__main__":
    main()
