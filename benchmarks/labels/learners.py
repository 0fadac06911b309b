"""`make bench-labels`, row LL: what each learner makes of few labels, drawn at random.

From the stream of each set, 40, 120 and 360 labels are drawn, the fewer among the more. Quality is that on the exam:
average precision for two classes, macro-F1 for more. What a learner is worth is how many times more labels boosted
trees need to equal it: the point where their own curve, drawn at 20 to 1,440 labels, reaches its quality. Where that is
outside the curve, the curve's end counts.

    python -m benchmarks labels [--data FOLDER] [--sets FOLDER] [--seeds 0 1 2] [--quick]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.labels.labeled_sets import OURS, LabeledSet, sets_in
from benchmarks.support import report
from tidemark.backtest.quality import quality
from tidemark.pipeline.model import LearnerName
from tidemark.registry.schema import ModelSchema
from tidemark.training.dataset import Dataset
from tidemark.training.trainer import train

LEARNERS: Final[tuple[LearnerName, ...]] = get_args(LearnerName)
LABELS: Final = (40, 120, 360)
_CURVE: Final = (20, 40, 60, 80, 120, 180, 240, 360, 480, 720, 1_440)
_EXAM: Final = 20_000
_BINS: Final = 10


def drawn(data: LabeledSet, seed: int, count: int) -> Dataset:
    """So many random labels of the stream, in the order of time."""
    order = np.random.default_rng([seed, 17]).permutation(data.streamed)
    rows = np.sort(order[:count])
    ids = tuple(map(str, rows.tolist()))
    return Dataset(
        data.features[rows], data.target[rows], ids, rows, 0, rows, np.full(len(rows), count / data.streamed)
    )


def measured(data: LabeledSet, learner: LearnerName, seed: int, count: int) -> dict[str, Any]:
    """Quality, log-loss and seconds of a learner."""
    labels = drawn(data, seed, count)
    exam = np.arange(data.streamed, len(data.target))
    exam = exam[:: max(1, len(exam) // _EXAM)]
    truth = data.target[exam]
    schema = ModelSchema(data.names, tuple(f"c{index}" for index in range(data.classes)), "")
    begun = time.process_time()
    if len(np.unique(labels.target)) < 2:
        given = np.tile(np.eye(data.classes)[labels.target[0]] * 0.98 + 0.02 / data.classes, (len(exam), 1))
    else:
        given = train(labels, schema, learner=learner, seed=seed).probabilities(data.features[exam])
    own = np.clip(given[np.arange(len(exam)), truth], 1e-6, 1)
    return {
        "quality": quality(truth, given),
        "log_loss": float(-np.log(own).mean()),
        "calibration_error": calibration_error(truth, given),
        "seconds": time.process_time() - begun,
    }


def calibration_error(truth: NDArray[np.int64], given: NDArray[np.float64]) -> float:
    """Expected calibration error of the likeliest class, ten bins of equally many rows."""
    sure, right = given.max(axis=1), given.argmax(axis=1) == truth
    bins = np.array_split(np.argsort(sure, kind="stable"), _BINS)
    return float(sum(len(each) * abs(sure[each].mean() - right[each].mean()) for each in bins) / len(truth))


def worth(quality: float, curve: Sequence[tuple[int, float]], labels: int) -> float:
    """How many times `labels` the curve needs to reach a quality, between its points by the logarithm of labels."""
    best = np.maximum.accumulate([value for _, value in curve])
    counts = np.log([count for count, _ in curve])
    at = int(np.searchsorted(best, quality))
    if at == 0 or at == len(curve):
        return float(np.exp(counts[min(at, len(curve) - 1)]) / labels)
    part = (quality - best[at - 1]) / (best[at] - best[at - 1])
    return float(np.exp(counts[at - 1] + part * (counts[at] - counts[at - 1])) / labels)


def of_set(data: LabeledSet, seeds: Sequence[int], counts: Sequence[int]) -> dict[str, Any]:
    """Every figure of a set."""

    def mean(learner: LearnerName, count: int) -> dict[str, float]:
        each = [measured(data, learner, seed, count) for seed in seeds]
        return {name: statistics.mean(one[name] for one in each) for name in each[0]}

    sizes = [count for count in _CURVE if count <= data.streamed and count <= 4 * max(counts)]
    curve = [(count, mean("boosted", count)["quality"]) for count in sizes]
    found: dict[str, Any] = {"rows": len(data.target), "features": len(data.names), "classes": data.classes}
    found["boosted_curve"] = [[count, round(value, 4)] for count, value in curve]
    for learner in LEARNERS:
        for count in counts:
            figures = mean(learner, count)
            figures["worth"] = worth(figures["quality"], curve, count)
            found[f"{learner}@{count}"] = {name: round(value, 4) for name, value in figures.items()}
    return found


def rows_of(found: dict[str, dict[str, Any]], counts: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each learner and number of labels: its worth, the geometric mean over sets."""
    rows = []
    for count in counts:
        for learner in LEARNERS:
            own = {name: each[f"{learner}@{count}"] for name, each in found.items()}
            value = statistics.geometric_mean(each["worth"] for each in own.values())
            rows.append(
                {
                    "id": f"LL {learner} {count}",
                    "value": round(value, 2),
                    "unit": "times the labels that boosted trees need to equal it, geometric mean over sets",
                    "target": 1.0 if learner == "auto" else None,
                    "reached": learner != "auto" or value >= 1.0,
                    "detail": {"sets": own, "least": min(each["worth"] for each in own.values())},
                }
            )
    return rows


def main() -> None:
    """Measure every set, print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TIDEMARK_DATA", "data")))
    parser.add_argument("--sets", type=Path, default=OURS, help="folder of TOML files; by default the project's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="one seed, 40 labels")
    given = parser.parse_args()
    seeds, counts = ([0], LABELS[:1]) if given.quick else (given.seeds, LABELS)
    found = {}
    for data in sets_in(given.data, given.sets):
        found[data.name] = of_set(data, seeds, counts)
        of_auto = {count: found[data.name][f"auto@{count}"]["worth"] for count in counts}
        Console().print(f"{data.name}: auto is worth {of_auto}", highlight=False)
    if not found:
        raise SystemExit(f"{given.data} holds the file of none of the sets in {given.sets}; name it with --data")
    report.write("label_learners.quick" if given.quick else "label_learners", rows_of(found, counts))


if __name__ == "__main__":
    main()
