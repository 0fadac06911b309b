"""`make bench-headline`: how soon the headline tells how good a model is, and how often its intervals hold.

N2: the loop without Kafka over the four real pipelines (docs/how-to/real-data.md): labels until the interval of the
metric `quality` is narrower than ±0.1, or ±0.15 where it is an average precision, and stays so. Beside it what the
champion of that time reaches on all later events. Each with the uniform and with the focused draw.

N2-coverage, L4-coverage, L4-width: how often the intervals hold the truth, by simulation, and how much the focused draw
narrows them (`benchmarks.labels.interval_coverage`).
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.labels.interval_coverage import covered
from benchmarks.support.report import earlier, write
from tidemark.backtest.loop import Loop
from tidemark.datasets import DATASETS
from tidemark.evaluation.headline import NARROW
from tidemark.evaluation.metrics import average_precision
from tidemark.features.backfill import backfill
from tidemark.pipeline import Pipeline, load
from tidemark.records import Metric
from tidemark.records.event_id import parse_event_id
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.serving import ActiveModel

_PIPELINES: Final = Path(__file__).parents[2] / "pipelines" / "real"
_EVENTS: Final = {"handbook": 150_000, "itsm": 60_000, "physionet": 60_000, "backblaze": 120_000}
_MOST_LABELS: Final = 600
_TARGET: Final = 200


@dataclass(frozen=True, slots=True)
class Stream:
    """A data set as the loop sees it: features (n, d), tile, answer and first key of each event."""

    pipeline: Pipeline
    features: NDArray[np.float64]
    tiles: NDArray[np.int64]
    answers: list[str]
    keys: list[str]

    @classmethod
    def of(cls, name: str, folder: Path, events: int, draw: str) -> Stream:
        """The first events of a data set, under a draw."""
        pipeline = load(_PIPELINES / f"{name}.toml")
        pipeline = pipeline.model_copy(update={"selection": pipeline.selection.model_copy(update={"draw": draw})})
        data = DATASETS[name].load(folder, events)
        features = backfill(pipeline, data.events).select(pipeline.feature_names).to_numpy().astype(np.float64)
        tiles = data.truth["time"].to_numpy() // pipeline.selection.tile
        keys = data.events[pipeline.keys[0]].cast(pl.String).to_list()
        return cls(pipeline, features, tiles, data.truth["label"].to_list(), keys)


@dataclass(frozen=True, slots=True)
class Look:
    """A headline: labels answered so far, the record, and what the champion reaches on all later events."""

    labels: int
    metric: Metric
    later: float | None

    @property
    def narrow(self) -> bool:
        """Whether its interval tells enough."""
        goal = NARROW[self.metric.detail["metric"]]  # type: ignore[index]  # a measure's name
        return self.metric.value is not None and (self.metric.high or 1) - (self.metric.low or 0) <= 2 * goal


def looks(stream: Stream, sandbox: Sandbox) -> list[Look]:
    """Headlines as labels come."""
    loop = Loop(stream.pipeline, sandbox, keys=stream.keys)
    found: list[Look] = []
    champion: ActiveModel | None = None
    asked = 0
    for number in np.unique(stream.tiles).tolist():
        rows = np.flatnonzero(stream.tiles == number)
        picks = loop.ask(number, rows, stream.features[rows])
        told = len(loop.metrics)
        answers = [(pick, stream.answers[parse_event_id(pick.proposal.event_id).offset]) for pick in picks]
        asked += len(answers)
        champion = loop.learn(answers) or champion
        newest = [each for each in loop.metrics[told:] if each.name == "quality"][-1:]
        found += [Look(asked, metric, _later(stream, int(rows[-1]) + 1, champion, metric)) for metric in newest]
        if asked >= _MOST_LABELS:
            break
    return found


def _later(stream: Stream, begin: int, champion: ActiveModel | None, metric: Metric) -> float | None:
    """The same measure of the champion on all events from `begin` on."""
    if champion is None or metric.model != champion.version or begin >= len(stream.answers):
        return None
    classes = stream.pipeline.label.classes
    truth = np.array([classes.index(answer) for answer in stream.answers[begin:]])
    table = champion.probabilities(stream.features[begin:])
    if metric.detail["metric"] == "accuracy":
        return float((table.argmax(axis=1) == truth).mean())
    index = classes.index(str(metric.detail["of_class"]))
    return average_precision(truth == index, np.ascontiguousarray(table[:, index]))


def soonest(name: str, folder: Path, sandbox: Sandbox, draw: str, *, quick: bool) -> dict[str, Any]:
    """Row N2 of a data set under a draw."""
    stream = Stream.of(name, folder, _EVENTS[name] // (10 if quick else 1), draw)
    found = looks(stream, sandbox)
    wide = [place for place, look in enumerate(found) if not look.narrow]
    at = wide[-1] + 1 if wide else 0
    reached = found[at] if at < len(found) else None
    shown = [
        {
            "labels": look.labels,
            "drawn": look.metric.n,
            "metric": look.metric.detail["metric"],
            "value": look.metric.value,
            "low": look.metric.low,
            "high": look.metric.high,
            "base_rate": look.metric.detail["base_rate"],
            "later": look.later,
        }
        for look in found[:: max(1, len(found) // 12)]
    ]
    return {
        "id": f"N2 {name}" if draw == "uniform" else f"N2 {name} {draw}",
        "value": None if reached is None else reached.labels,
        "unit": "labels until the headline's interval is narrower than its goal",
        "target": _TARGET,
        "reached": reached is not None and reached.labels <= _TARGET,
        "detail": {
            "drawn": None if reached is None else reached.metric.n,
            "metric": None if reached is None else reached.metric.detail["metric"],
            "draw": draw,
            "most_labels": found[-1].labels if found else 0,
            "later_inside": _share_inside(found),
            "looks": shown,
            "quick": quick,
        },
    }


def _share_inside(found: list[Look]) -> float | None:
    """Share of the headlines whose interval holds what the champion reached on later events."""
    told = [look for look in found if look.later is not None and look.metric.value is not None]
    if not told:
        return None
    return sum((look.metric.low or 0) <= (look.later or 0) <= (look.metric.high or 1) for look in told) / len(told)


def main() -> None:
    """Write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--simulated", action="store_true", help="leave the real pipelines out")
    only.add_argument("--real", action="store_true", help="leave the simulation out; its rows of the record stay")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TIDEMARK_DATA", "data")))
    given = parser.parse_args()
    record = "headline.quick" if given.quick else "headline"
    real = [row for row in earlier(record) if row["id"].startswith("N2 ")]
    simulated = [row for row in earlier(record) if row not in real]
    rows = simulated if given.real else covered(20 if given.quick else 1_000)
    with Sandbox() as sandbox:
        for name in _EVENTS:
            if given.simulated:
                continue
            if all(path.is_file() for path in DATASETS[name].paths(given.data)):
                rows += [soonest(name, given.data, sandbox, draw, quick=given.quick) for draw in ("uniform", "focused")]
            else:
                Console(stderr=True).print(f"{name}: its files are not in {given.data}; name the folder with --data")
    write(record, [*rows, *(real if given.simulated else [])])


if __name__ == "__main__":
    main()
