"""`make bench-labels`, row L7: what wrong answers cost, without and with a measure of who gives them.

Of each set's stream so many cases are drawn at random, and each is answered by one of five annotators. Two ways to be
wrong: `malicious`, one of the five always names another class, so that a fifth of the answers is wrong; `both`, the
other four are wrong in 20 % of cases besides. Quality is that on the exam: average precision for two classes, macro-F1
for more. What is lost is against the same cases answered rightly: unhandled, by `tidemark.training.trust` alone, and
with a second look at the tenth of the labels that are most doubtful, each by another annotator of the same kind.

    python -m benchmarks wrong-answers [--data FOLDER] [--sets FOLDER] [--seeds 0 1 2] [--quick]
"""

from __future__ import annotations

import argparse
import os
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from benchmarks.labels.labeled_sets import OURS, LabeledSet, sets_in
from benchmarks.labels.learners import drawn
from benchmarks.support import report
from tidemark.backtest.quality import quality
from tidemark.registry.schema import ModelSchema
from tidemark.training.dataset import Dataset
from tidemark.training.learners.member import Task
from tidemark.training.trainer import stand_in
from tidemark.training.trust import doubtful, measured

ANNOTATORS: Final = 5
MALICIOUS: Final = 0
WRONG: Final = 0.2
LABELS: Final = (120, 360)
_EXAM: Final = 20_000
_LOOKS: Final = 10
"""One label in so many is looked at again."""
WAYS: Final = ("malicious", "both")


def answer(truth: int, annotator: int, way: str, classes: int, rng: np.random.Generator) -> int:
    """What an annotator says."""
    wrong = annotator == MALICIOUS or (way == "both" and rng.random() < WRONG)
    return int((truth + rng.integers(1, classes)) % classes) if wrong else truth


def losses(data: LabeledSet, way: str, seed: int, count: int) -> dict[str, float]:
    """Quality of a model of right answers, of the answers as they are, and of what is made of them."""
    rng = np.random.default_rng([seed, 29])
    schema = ModelSchema(data.names, tuple(f"c{index}" for index in range(data.classes)), "")
    right = drawn(data, seed, count)
    who = rng.integers(0, ANNOTATORS, count).tolist()
    said = [answer(truth, by, way, data.classes, rng) for truth, by in zip(right.target.tolist(), who, strict=True)]
    given = replace(right, target=np.array(said, np.int64), sources=tuple(f"a{by}" for by in who))
    exam = np.arange(data.streamed, len(data.target))
    exam = exam[:: max(1, len(exam) // _EXAM)]

    def judged(rows: Dataset) -> float:
        if len(np.unique(rows.target)) < 2:
            flat = np.full((len(exam), data.classes), 1 / data.classes)
            return quality(data.target[exam], flat)
        model = stand_in(rows, schema, learner="mean", seed=seed)
        return quality(data.target[exam], model(data.features[exam]))

    task = Task(schema, seed=seed)
    found = {"right": judged(right), "unhandled": judged(given), "trusted": judged(trusted(given, task))}
    again = list(said)
    trust = measured(given, task)
    for row in [] if trust is None else doubtful(trust, given.target)[: count // _LOOKS].tolist():
        other = (who[row] + int(rng.integers(1, ANNOTATORS))) % ANNOTATORS
        again[row] = answer(int(right.target[row]), other, way, data.classes, rng)
        who[row] = other
    looked = replace(given, target=np.array(again, np.int64), sources=tuple(f"a{by}" for by in who))
    found["reviewed"] = judged(trusted(looked, task))
    return found


def trusted(rows: Dataset, task: Task) -> Dataset:
    """Rows with what each label is to count."""
    trust = measured(rows, task)
    return rows if trust is None else rows.trusted(trust.weights)


def of_set(data: LabeledSet, way: str, seeds: list[int], count: int) -> dict[str, float]:
    """Means over seeds."""
    each = [losses(data, way, seed, count) for seed in seeds]
    return {name: statistics.mean(one[name] for one in each) for name in each[0]}


def row_of(found: dict[str, dict[str, float]], way: str, count: int) -> dict[str, Any]:
    """A row: what is lost of quality in all sets together, handled over unhandled."""

    def lost(name: str) -> float:
        return sum(each["right"] - each[name] for each in found.values())

    share = {name: lost(name) / lost("unhandled") if lost("unhandled") > 0 else 0.0 for name in ("trusted", "reviewed")}
    return {
        "id": f"L7 {way} {count}",
        "value": round(share["trusted"], 3),
        "unit": "loss of quality by wrong answers over the unhandled loss, all sets together",
        "target": 0.333,
        "reached": share["trusted"] <= 1 / 3,
        "detail": {
            "with_a_second_look": round(share["reviewed"], 3),
            "unhandled_loss": round(lost("unhandled") / len(found), 4),
            "sets": {name: {key: round(value, 4) for key, value in each.items()} for name, each in found.items()},
        },
    }


def main() -> None:
    """Measure every set, print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TIDEMARK_DATA", "data")))
    parser.add_argument("--sets", type=Path, default=OURS, help="folder of TOML files; by default the project's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="one seed, 120 labels")
    given = parser.parse_args()
    seeds, counts = ([0], LABELS[:1]) if given.quick else (given.seeds, LABELS)
    found: dict[tuple[str, int], dict[str, dict[str, float]]] = {}
    for data in sets_in(given.data, given.sets):
        for way in WAYS:
            for count in counts:
                if count <= data.streamed:
                    found.setdefault((way, count), {})[data.name] = of_set(data, way, seeds, count)
                    Console().print(f"{data.name} {way} {count}: {found[way, count][data.name]}")
    rows = [row_of(sets, way, count) for (way, count), sets in found.items()]
    if not rows:
        raise SystemExit(f"{given.data} holds the file of none of the sets in {given.sets}; name it with --data")
    report.write("wrong_answers.quick" if given.quick else "wrong_answers", rows)


if __name__ == "__main__":
    main()
