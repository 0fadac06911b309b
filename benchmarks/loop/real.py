"""`make bench-real`: the whole loop on real data (docs/how-to/real-data.md), rows R1 to R4.

R1: the handbook's transactions, with a first champion of those before. Violations of any promise
(`benchmarks.loop.loop_invariants`), backfill parity among them: every event's features as streamed against an offline
computation over the recorded hop order. R2 to R4: drives, incidents and stays; the average precision of the last
champion on later events that no label came from. Its 95 % interval is of a bootstrap over cases (drives, incidents,
stays), for a case's events are alike; cases that were streamed are left out where each has one truth and an end.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.loop.loop_invariants import gather, violations
from benchmarks.support.report import write
from tidemark.cli.demonstration import ERRORS, Show, demonstrate
from tidemark.datasets import DATASETS
from tidemark.evaluation.metrics import average_precision, roc_auc
from tidemark.features.backfill import backfill
from tidemark.pipeline import Pipeline, load
from tidemark.records import ModelManifest
from tidemark.registry.reading import read_registry
from tidemark.runtime.settings import Settings
from tidemark.simulators import Simulation
from tidemark.training.first import FirstModel, from_history
from tidemark.training.trainer import probabilities

_PIPELINES: Final = Path(__file__).parents[2] / "pipelines" / "real"
_RESAMPLES: Final = 400


@dataclass(frozen=True, slots=True)
class Trial:
    """A row over a data set. history: events whose truth makes a first champion; then streamed, then later ones.

    endless: cases go on, so that those of the later events were streamed, too.
    """

    id: str
    data: str
    streamed: int
    later: int
    history: int = 0
    endless: bool = False


TRIALS: Final = (
    Trial("R2", "backblaze", streamed=120_000, later=60_000, history=150_000, endless=True),
    Trial("R3", "itsm", streamed=60_000, later=20_000),
    Trial("R4", "physionet", streamed=60_000, later=40_000),
)


@dataclass(slots=True)
class Champion:
    """What was in force at the end."""

    manifest: ModelManifest | None = None
    text: str = ""
    models: int = 0

    def find(self, pipeline: Pipeline, settings: Settings) -> None:
        """Read it from Kafka."""
        registry = read_registry(settings, pipeline.topics.models, settled=True)
        self.models = len(registry.manifests)
        if registry.champion is not None:
            self.manifest = registry.manifests[registry.champion.version]
            self.text = registry.text(registry.champion.version)


def parity(folder: Path, *, quick: bool) -> dict[str, Any]:
    """R1."""
    history, count, later = (50_000, 5_000, 1_000) if quick else (100_000, 100_000, 1_000)
    data = DATASETS["handbook"]
    whole = data.load(folder, history + count + later)
    first = _first(load(_PIPELINES / "handbook.toml"), whole, history, data.files[0])
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as home:
        file = Path(home) / "handbook.toml"
        text = (_PIPELINES / "handbook.toml").read_text(encoding="utf-8")
        file.write_text("features_topic = true\n" + text, encoding="utf-8")
        found: dict[str, int] = {}
        counts: dict[str, int] = {}

        def inspect(pipeline: Pipeline, settings: Settings) -> None:
            evidence = gather(settings, pipeline)
            found.update(violations(pipeline, evidence))
            counts["predictions"] = len(evidence.predictions)
            counts["models"] = len(evidence.models)

        rest = _part(whole, history, count + later)
        show = Show(file, rest, count, 1, ERRORS, wait_for_truth=True, first=first)
        result = demonstrate(show, view=False, inspect=inspect)
    return {
        "id": "R1",
        "value": sum(found.values()),
        "unit": "violations, features other than offline among them",
        "target": 0,
        "reached": not any(found.values()),
        "detail": {
            "quick": quick,
            "history": history,
            "events": count,
            "checks": found,
            **counts,
            "labels": result.accounting.labels,
            "seconds": round(result.seconds, 1),
        },
    }


def quality(trial: Trial, folder: Path, *, quick: bool) -> dict[str, Any]:
    """R2, R3 or R4."""
    share = 10 if quick else 1
    history, streamed, later = trial.history // share, trial.streamed // share, trial.later // share
    data = DATASETS[trial.data]
    file = _PIPELINES / f"{trial.data}.toml"
    pipeline = load(file)
    whole = data.load(folder, history + streamed + later)
    rest = _part(whole, history, streamed + later)
    first = _first(pipeline, whole, history, data.files[0]) if history else None
    errors = dict.fromkeys(pipeline.label.classes, 0.0)
    champion = Champion()
    show = Show(file, rest, streamed, 1, errors, wait_for_truth=True, first=first)
    result = demonstrate(show, view=False, inspect=champion.find)
    features = backfill(pipeline, rest.events).select(pipeline.feature_names).to_numpy().astype(np.float64)
    cases = rest.events[data.case or pipeline.keys[0]].cast(pl.String)
    asked = np.arange(len(rest.events)) >= streamed
    if not trial.endless:
        asked &= ~cases.is_in(cases.head(streamed).unique().to_list()).to_numpy()
    truth = (rest.truth["label"] == pipeline.label.positive).to_numpy()
    detail: dict[str, Any] = {
        "quick": quick,
        "history": history,
        "events": streamed,
        "later_events": int(asked.sum()),
        "later_positives": int(truth[asked].sum()),
        "later_cases": cases.filter(pl.Series(asked)).n_unique(),
        "base_rate": round(float(truth[asked].mean()), 5),
        "labels": result.accounting.labels,
        "lost": result.accounting.lost,
        "doubled": result.accounting.doubled,
        "models": champion.models,
        "champion": champion.manifest.version if champion.manifest else None,
        "champion_labels": champion.manifest.used if champion.manifest else None,
        "seconds": round(result.seconds, 1),
    }
    value: float | None = None
    if champion.manifest is not None:
        positive = pipeline.label.classes.index(pipeline.label.positive)
        score = probabilities(lgb.Booster(model_str=champion.text), features[asked])[:, positive]
        value = average_precision(truth[asked], score)
        low, high = interval(truth[asked], score, cases.filter(pl.Series(asked)).to_physical().rank("dense").to_numpy())
        detail |= {"low": round(low, 4), "high": round(high, 4), "roc_auc": round(roc_auc(truth[asked], score), 4)}
    return {
        "id": trial.id,
        "value": None if value is None else round(value, 4),
        "unit": "average precision of the last champion on later events; its 95 % interval in detail",
        "target": None,
        "reached": True,
        "detail": detail,
    }


def interval(truth: NDArray[np.bool_], score: NDArray[np.float64], cases: NDArray[Any]) -> tuple[float, float]:
    """95 % interval of the average precision by a bootstrap over whole cases. truth, score, cases: (n,)."""
    _, numbers = np.unique(cases, return_inverse=True)
    rng = np.random.default_rng(400)
    count = int(numbers.max()) + 1
    values = []
    for _ in range(_RESAMPLES):
        weight = np.bincount(rng.integers(0, count, count), minlength=count)[numbers].astype(np.float64)
        if weight[truth].sum() > 0:
            values.append(average_precision(truth, score, weight))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _part(whole: Simulation, begin: int, count: int) -> Simulation:
    return Simulation(whole.events.slice(begin, count), whole.truth.slice(begin, count))


def _first(pipeline: Pipeline, whole: Simulation, count: int, source: str) -> FirstModel:
    """Model of the first events, of their labels that were known when the next one happened."""
    labeled = pipeline.model_copy(update={"label": pipeline.label.model_copy(update={"column": "_label"})})
    begin = int(whole.truth["time"][count])
    history = _part(whole, 0, count)
    known = history.truth.select(pl.when(pl.col("known_at") <= begin).then("label").alias("_label"))
    return from_history(labeled, history.events.hstack(known), source, all_known=True)


def main() -> None:
    """Run and write `benchmarks/results/real.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the events, or fewer")
    quick: bool = parser.parse_args().quick
    folder = Settings.from_environment().data_dir
    console = Console()
    rows: list[dict[str, Any]] = []
    wanted = {"R1": "handbook", **{trial.id: trial.data for trial in TRIALS}}
    for name, data in wanted.items():
        if absent := [str(path) for path in DATASETS[data].paths(folder) if not path.is_file()]:
            console.print(f"{name} is left out: there is no {', '.join(absent)}; name the folder in TIDEMARK_DATA")
            continue
        trial = next((trial for trial in TRIALS if trial.id == name), None)
        rows.append(parity(folder, quick=quick) if trial is None else quality(trial, folder, quick=quick))
        console.print(f"{name}: {rows[-1]['value']} {rows[-1]['unit']}", highlight=False)
    if rows:
        write("real.quick" if quick else "real", rows)


if __name__ == "__main__":
    main()
