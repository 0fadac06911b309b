"""Label efficiency without Kafka: selection and training over simulated payments, many seeds in minutes.

For whoever tunes a policy or a trigger. The features are those of the backfill, a label is known when its tile closes,
and a model is in force from the next tile on; what is asked and when is trained is decided by the product's own code
(`tidemark.selection.choice`, `tidemark.training.RetrainProcessor`). It writes no row: what counts is `make bench-demo`,
where the flows race, on seeds 1 to 5. Tune on others:

    python -m benchmarks.labels.efficiency --seeds 11 12 13 --set training.every=50 --set selection.policy='"margin"'
"""

from __future__ import annotations

import argparse
import statistics
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console

from tidemark.backtest.loop import Loop
from tidemark.cli.demonstration import ERRORS
from tidemark.demo.experiment import Exam, Stream, random_arm
from tidemark.evaluation.metrics import average_precision
from tidemark.features.backfill import backfill
from tidemark.pipeline.model import Pipeline
from tidemark.records.event_id import parse_event_id
from tidemark.registry.sandbox import Sandbox
from tidemark.simulators import Annotator, Simulation, simulate

_FRAUD: Final = Path(__file__).parents[2] / "pipelines" / "fraud.toml"
_NEVER: Final = 1.0
_ONLY_AT_THE_END: Final = 10**9


@dataclass(frozen=True, slots=True)
class Point:
    """A champion: labels spent before it was trained, and its average precision on the later period."""

    labels: int
    average_precision: float


@dataclass(frozen=True, slots=True)
class Trial:
    """A stream, its later period, and what its annotators answer."""

    pipeline: Pipeline
    stream: Stream
    exam: Exam

    @classmethod
    def of(
        cls, pipeline: Pipeline, simulation: Simulation, streamed: int, errors: Mapping[str, float] = ERRORS
    ) -> Trial:
        """The first `streamed` events are the stream, the others the later period. errors: by the true class."""
        truth = simulation.truth
        matrix = backfill(pipeline, simulation.events).select(pipeline.feature_names).to_numpy().astype(np.float64)
        positive = (truth["label"] == pipeline.label.positive).to_numpy()
        annotator = Annotator(name="demo", classes=pipeline.label.classes, errors=errors)
        names, classes = truth["business_id"].to_list(), truth["label"].to_list()
        tiles = truth["time"].to_numpy()[:streamed] // pipeline.selection.tile
        index = pipeline.label.classes.index(pipeline.label.positive)
        return cls(
            pipeline,
            Stream(matrix[:streamed], tiles, lambda row: annotator.answer(names[row], classes[row])),
            Exam(matrix[streamed:], positive[streamed:], index),
        )

    def goal(self, spent: dict[int, int], seed: int) -> float:
        """Average precision that the random arm ends with."""
        training = self.pipeline.training.model_copy(update={"every": _ONLY_AT_THE_END})
        once = self.pipeline.model_copy(update={"training": training})
        points = random_arm(once, self.stream, spent, self.exam, seed=seed)
        return points[-1].average_precision if points else 0.0

    def active(self, sandbox: Sandbox) -> Iterator[Point]:
        """Every champion, in order, as the stream goes by."""
        loop = Loop(self.pipeline, sandbox)
        features = self.stream.features
        asked = 0
        for number in np.unique(self.stream.tiles).tolist():
            rows = np.flatnonzero(self.stream.tiles == number)
            picks = loop.ask(number, rows, features[rows])
            asked += len(picks)
            champion = loop.learn(
                [(pick, self.stream.answer(parse_event_id(pick.proposal.event_id).offset)) for pick in picks]
            )
            if champion is not None:
                probabilities = champion.probabilities(self.exam.features)[:, self.exam.positive]
                yield Point(asked, average_precision(self.exam.truth, probabilities))


def ratio(trial: Trial, sandbox: Sandbox, seed: int) -> float:
    """Labels that the active arm needs for the random arm's final average precision, over the random arm's."""
    budget, tiles = trial.pipeline.selection.budget, Counter(trial.stream.tiles.tolist())
    spent = {tile: min(budget, events) for tile, events in tiles.items()}
    goal, most = trial.goal(spent, seed), sum(spent.values())
    found = next((point.labels for point in trial.active(sandbox) if point.average_precision >= goal), None)
    return _NEVER if found is None else found / most


def changed(file: Path, settings: list[str]) -> Pipeline:
    """Pipeline of a file with some values changed: `table.key=VALUE`, the value as in TOML."""
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    for setting in settings:
        place, _, value = setting.partition("=")
        *tables, key = place.split(".")
        table = content
        for name in tables:
            table = table.setdefault(name, {})
        table[key] = tomllib.loads(f"value = {value}")["value"]
    return Pipeline.model_validate(content)


def main() -> None:
    """Print the ratio of each seed, and their median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", type=Path, default=_FRAUD)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(11, 21)))
    parser.add_argument("--events", type=int, default=150_000)
    parser.add_argument("--later", type=int, default=40_000)
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="e.g. training.every=50")
    given = parser.parse_args()
    pipeline = changed(given.pipeline, given.set)
    found = []
    with Sandbox() as sandbox:
        for seed in given.seeds:
            trial = Trial.of(pipeline, simulate("fraud", seed, given.events + given.later), given.events)
            found.append(ratio(trial, sandbox, seed))
            Console().print(f"seed {seed}: {found[-1]:.3f}", highlight=False)
    Console().print(f"median of {len(found)} seeds: {statistics.median(found):.3f}", highlight=False)


if __name__ == "__main__":
    main()
