"""`make bench-headline`: how soon the headline tells how good a model is, and how often its intervals hold.

N2: the loop without Kafka over the four real pipelines (docs/how-to/real-data.md): labels until the interval of the
metric `quality` is narrower than ±0.1, or ±0.15 where it is an average precision, and stays so. Beside it what the
champion of that time reaches on all later events. Each with the uniform and with the focused draw.

N2-coverage (L4): the share of simulated samples whose 95 % interval holds the truth, for accuracy and average
precision, at rates of positives of 0.1 to 50 % and 20 to 2,000 answers, with equal weights, with weights of 1 to 4, and
of the focused draw. Where there is no positive nothing is said, which is counted apart.

L4-width: how much wider the intervals of the uniform draw are than those of the focused one on as many answers, where
at least half of the samples of both can tell something; the geometric mean.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.labels.efficiency import Loop
from benchmarks.support.report import write
from tidemark.datasets import DATASETS
from tidemark.evaluation.focus import sizes
from tidemark.evaluation.headline import NARROW, Sample, headline
from tidemark.evaluation.metrics import average_precision
from tidemark.features.backfill import backfill
from tidemark.pipeline import Pipeline, load
from tidemark.records import Metric
from tidemark.records.event_id import parse_event_id
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.serving import ActiveModel

_PIPELINES: Final = Path(__file__).parents[2] / "pipelines" / "real"
_EVENTS: Final = {"handbook": 150_000, "itsm": 60_000, "physionet": 60_000, "backblaze": 120_000}
_MOST_LABELS: Final = 1_500
_TARGET: Final = 200
_RATES: Final = (0.001, 0.01, 0.05, 0.1, 0.2, 0.5)
_SIZES: Final = (20, 50, 200, 500, 2_000)
_SKILLS: Final = (0.0, 0.75, 1.5)
_DESIGNS: Final = ("equal", "weighted", "focused")
_POPULATION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Stream:
    """A data set as the loop sees it: features (n, d), tile and answer of each event."""

    pipeline: Pipeline
    features: NDArray[np.float64]
    tiles: NDArray[np.int64]
    answers: list[str]

    @classmethod
    def of(cls, name: str, folder: Path, events: int, draw: str) -> Stream:
        """The first events of a data set, under a draw."""
        pipeline = load(_PIPELINES / f"{name}.toml")
        pipeline = pipeline.model_copy(update={"selection": pipeline.selection.model_copy(update={"draw": draw})})
        data = DATASETS[name].load(folder, events)
        features = backfill(pipeline, data.events).select(pipeline.feature_names).to_numpy().astype(np.float64)
        tiles = data.truth["time"].to_numpy() // pipeline.selection.tile
        return cls(pipeline, features, tiles, data.truth["label"].to_list())


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
    loop = Loop(stream.pipeline, sandbox)
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


@dataclass(slots=True)
class Cell:
    """What the samples of one design tell by one measure. width: sum over those that can tell."""

    told: int = 0
    held: int = 0
    width: float = 0.0


def cells(rate: float, n: int, skill: float, design: str, repetitions: int) -> dict[str, Cell]:
    """Samples of a number of answers, at a rate of positives and a skill of the model."""
    rng = np.random.default_rng([int(rate * 1e4), n, int(10 * skill), _DESIGNS.index(design)])
    truth = (rng.random(_POPULATION) < rate).astype(np.int64)
    leaning = rng.normal(size=_POPULATION) + skill * (2 * truth - 1)
    positive = 1 / (1 + np.exp(-(2 * max(skill, 0.25) * leaning + np.log(rate / (1 - rate)))))
    table = np.column_stack((1 - positive, positive))
    whole = {
        "accuracy": float(((positive > 0.5) == truth).mean()),
        "average_precision": average_precision(truth == 1, positive),
    }
    size = sizes(table) if design == "focused" else np.ones(_POPULATION)
    reach = np.cumsum(size) / size.sum()
    found = {name: Cell() for name in whole}
    for _ in range(repetitions):
        rows = np.minimum(np.searchsorted(reach, rng.random(n)), _POPULATION - 1)
        weight = rng.choice([1.0, 2.0, 4.0], n) if design == "weighted" else 1 / size[rows]
        told = headline(Sample(truth[rows], table[rows], weight), ["no", "yes"], "yes")
        if told.value is not None and told.about == "yes":
            cell = found[told.metric]
            cell.told += 1
            cell.held += told.low <= whole[told.metric] <= told.high
            cell.width += told.high - told.low
    return found


def coverage(rate: float, n: int, repetitions: int) -> list[dict[str, Any]]:
    """Coverage of both measures at a rate of positives and a number of answers; widths of both draws."""
    found = {(skill, design): cells(rate, n, skill, design, repetitions) for skill in _SKILLS for design in _DESIGNS}
    rows = []
    for name in ("accuracy", "average_precision"):
        known = {key: each[name] for key, each in found.items() if each[name].told >= repetitions // 5}
        ratios = [
            (plain.width / plain.told) / (focused.width / focused.told)
            for skill in _SKILLS
            if (plain := found[skill, "equal"][name]).told >= repetitions // 2
            and (focused := found[skill, "focused"][name]).told >= repetitions // 2
        ]
        if known:
            lowest = min(known, key=lambda key: known[key].held / known[key].told)
            rows.append(
                {
                    "rate": rate,
                    "answers": n,
                    "metric": name,
                    "lowest": round(known[lowest].held / known[lowest].told, 3),
                    "lowest_at": f"skill {lowest[0]}, {lowest[1]}",
                    "mean": round(
                        sum(each.held for each in known.values()) / sum(each.told for each in known.values()), 3
                    ),
                    "told": round(sum(each[name].told for each in found.values()) / (repetitions * len(found)), 3),
                    "uniform_over_focused": [round(ratio, 2) for ratio in ratios],
                }
            )
    return rows


def covered(repetitions: int) -> list[dict[str, Any]]:
    """Rows N2-coverage and L4-width."""
    rows = [row for rate in _RATES for n in _SIZES for row in coverage(rate, n, repetitions)]
    lowest = min(row["lowest"] for row in rows)
    ratios = [ratio for row in rows for ratio in row["uniform_over_focused"]]
    narrower = round(float(np.exp(np.mean(np.log(ratios)))), 3)
    return [
        {
            "id": "N2-coverage",
            "value": round(float(np.mean([row["mean"] for row in rows])), 3),
            "unit": "share of 95 % intervals that hold the truth, mean over rates and sizes; the lowest in detail",
            "target": "0.93 to 0.97",
            "reached": lowest >= 0.93 and max(row["mean"] for row in rows) <= 0.97,
            "detail": {"repetitions": repetitions, "lowest": lowest, "rows": rows},
        },
        {
            "id": "L4-width",
            "value": narrower,
            "unit": "width of the uniform draw's intervals over the focused draw's, geometric mean",
            "target": 1.3,
            "reached": narrower >= 1.3,
            "detail": {"repetitions": repetitions, "cells": len(ratios), "least": min(ratios), "most": max(ratios)},
        },
    ]


def main() -> None:
    """Write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--simulated", action="store_true", help="leave the real pipelines out")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TIDEMARK_DATA", "data")))
    given = parser.parse_args()
    rows = covered(20 if given.quick else 1_000)
    with Sandbox() as sandbox:
        for name in _EVENTS:
            if given.simulated:
                continue
            if all(path.is_file() for path in DATASETS[name].paths(given.data)):
                rows += [soonest(name, given.data, sandbox, draw, quick=given.quick) for draw in ("uniform", "focused")]
            else:
                Console(stderr=True).print(f"{name}: its files are not in {given.data}; name the folder with --data")
    write("headline.quick" if given.quick else "headline", rows)


if __name__ == "__main__":
    main()
