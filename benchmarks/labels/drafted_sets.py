"""Labelled sets as a user would stream them: the pipeline is what `tidemark init` drafts from the first records.

A file as in `benchmarks.labels.labeled_sets`, with two more keys where they apply:

    time = "column"    event time; left out: rows come a minute apart
    key = "column"     entity whose windows are kept; left out: one for all rows

Where the label is a number, one key and two bounds stand in for `label` and `positive`:

    number = "SQL"     over the columns, what is asked for; rows without it are left out
    min, max = 0, 100  what can be right; a number beyond them is at the bound

Only the draft knows a set. What a person fills in after it are the classes, and here the length of a tile and the
budget by one rule for all sets. Of a set that has a pipeline file, features come from the file and the rest from the
draft.
"""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.labels.labeled_sets import PIPELINES, STREAMED, classes_of, described_in
from tidemark.backtest.answers import Truth
from tidemark.backtest.stream import LabeledStream
from tidemark.datasets import DATASETS
from tidemark.features.backfill import backfill
from tidemark.pipeline import Pipeline
from tidemark.pipeline.draft import Sample, draft

_SAMPLED: Final = 2_000
"""Records that `tidemark init` looks at."""
_TIME: Final = "event_time"
_KEY: Final = "source"
_NUMBER: Final = "_number"
_START: Final = 1_600_000_000_000
_MINUTE: Final = 60_000
_TILES: Final = 64
_EVENTS_A_LABEL: Final = 30
"""A tile of fewer events than these for each case of the draft's budget has a smaller budget, of at least 4."""
_LEAST_BUDGET: Final = 4
_FROM_DRAFT: Final = ("selection", "training", "gates", "start")


@dataclass(frozen=True, slots=True)
class DraftedSet:
    """A set, ready to stream: rows in the order of time, the first four fifths are the stream, the rest an exam.

    document: the pipeline file.  features: (n, d), NaN is missing.  target: (n,) classes, or numbers.  tiles: (n,)
    tile of each row.
    """

    name: str
    document: dict[str, Any]
    features: NDArray[np.float64]
    target: Truth
    tiles: NDArray[np.int64]

    @property
    def streamed(self) -> int:
        """Rows of the stream."""
        return int(len(self.target) * STREAMED)

    @property
    def stream(self) -> LabeledStream:
        """What the loop is played over: a label is known when its tile closes."""
        known_at = self.tiles * self.pipeline({}).selection.tile
        return LabeledStream(self.features, self.target, self.tiles, known_at, exam=self.streamed)

    def pipeline(self, settings: Mapping[str, Any]) -> Pipeline:
        """The pipeline with some values changed: `table.key` to a value as in TOML."""
        document = copy.deepcopy(self.document)
        for place, value in settings.items():
            table, _, key = place.partition(".")
            document.setdefault(table, {})[key] = value
        return Pipeline.model_validate(document)


def drafted_sets(folder: Path, described: Path, names: list[str] | None = None) -> Iterator[DraftedSet]:
    """Every set that is described and whose file is there.

    Args:
        folder: of the Parquet files.
        described: folder of the TOML files.
        names: of the sets that are wanted; None: all.

    Yields:
        The sets, by name.

    """
    for name, given in described_in(folder, described):
        if names is None or name in names:
            yield _computed(name, folder, given) if "dataset" in given else _plain(name, folder, given)


def _plain(name: str, folder: Path, given: dict[str, Any]) -> DraftedSet:
    frame = pl.read_parquet(folder / f"{name}.parquet").gather_every(given.get("every", 1))
    if "number" in given:
        frame = frame.with_columns(pl.sql_expr(given["number"]).alias(_NUMBER)).drop_nulls(_NUMBER)
    asked = given.get("label", _NUMBER)
    target, label = (_numbers if "number" in given else _classes)(frame[asked], given)
    events = frame.drop(asked, *given.get("leave", []))
    if "time" not in given:
        times = pl.int_range(len(frame), dtype=pl.Int64, eager=True) * _MINUTE + _START
        events = events.with_columns(times.alias(_TIME))
    if "key" not in given:
        events = events.with_columns(pl.lit("all").alias(_KEY))
    time, key = given.get("time", _TIME), given.get("key", _KEY)
    order = events[time].arg_sort(nulls_last=True)
    events, target = _as_records(events[order]), target[order.to_numpy()]
    document = _drafted(events, time, key)
    for column in events.columns:
        if events[column].null_count() and column in document["columns"] and column not in (time, key):
            document["columns"][column]["required"] = False
    for key in ("classes", "positive"):
        document["label"].pop(key, None)
    document["label"] |= label
    return _streamed(name, document, events, target)


def _classes(column: pl.Series, given: dict[str, Any]) -> tuple[Truth, dict[str, Any]]:
    """The class of each row, and what a person fills in of `[label]`."""
    label = column.cast(pl.String)
    target, count = classes_of(label, given.get("positive"))
    names = ["other", str(given["positive"])] if "positive" in given else sorted(label.unique().to_list())
    positive = 1 if count == 2 else int(np.argsort(-np.bincount(target, minlength=count), kind="stable")[1])
    return target, {"classes": names, "positive": names[positive]}


def _numbers(column: pl.Series, given: dict[str, Any]) -> tuple[Truth, dict[str, Any]]:
    """The number of each row, and what a person fills in of `[label]`."""
    target = np.clip(column.cast(pl.Float64).to_numpy(), given["min"], given["max"])
    return target, {"type": "number", "min": given["min"], "max": given["max"]}


def _as_records(events: pl.DataFrame) -> pl.DataFrame:
    """What JSON can hold: times as text, no number that is none."""
    return events.with_columns(
        pl.selectors.temporal().cast(pl.String), pl.selectors.float().cast(pl.Float64).fill_nan(None),
        pl.selectors.categorical().cast(pl.String),
    )  # fmt: skip


def _drafted(events: pl.DataFrame, time: str | None, key: str | None) -> dict[str, Any]:
    records = [Sample(None, json.dumps(row, default=str).encode()) for row in events.head(_SAMPLED).to_dicts()]
    return tomllib.loads(draft("labels.raw", records, partitions=1, time=time, key=key))


def _computed(name: str, folder: Path, given: dict[str, Any]) -> DraftedSet:
    dataset, skip = given["dataset"], given.get("skip", 0)
    document = tomllib.loads((PIPELINES / f"{dataset}.toml").read_text(encoding="utf-8"))
    whole = DATASETS[dataset].load(folder, skip + given["rows"])
    drafted = _drafted(whole.events, document["time"]["column"], document["keys"][0])
    for table in _FROM_DRAFT:
        document.pop(table, None)
        if table in drafted:
            document[table] = drafted[table]
    target = np.array([document["label"]["classes"].index(value) for value in whole.truth["label"].to_list()], np.int64)
    return _streamed(name, document, whole.events, target, skip)


def _streamed(name: str, document: dict[str, Any], events: pl.DataFrame, target: Truth, skip: int = 0) -> DraftedSet:
    """The set with the features of its pipeline, cut into tiles; `skip` rows come before it."""
    pipeline = Pipeline.model_validate(document)
    table = backfill(pipeline, events)[skip:]
    features = np.ascontiguousarray(table.select(pipeline.feature_names).to_numpy().astype(np.float64))
    times = _spread(table["_time"].to_numpy())
    streamed = int(len(times) * STREAMED)
    length = _tile_length(times[:streamed])
    selection = document["selection"]
    most = max(_LEAST_BUDGET, streamed // _TILES // _EVENTS_A_LABEL)
    if selection["budget"] > most:
        selection["explore"] = max(1, round(selection["explore"] * most / selection["budget"]))
        selection["budget"] = most
    selection["tile"] = f"{length // 1_000}ms"
    return DraftedSet(name, document, features, target[skip:], times // length)


def _spread(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times of which no two are the same: rows of one time are spread evenly up to the next."""
    distinct, first, counts = np.unique(times, return_index=True, return_counts=True)
    gaps = np.diff(distinct, append=distinct[-1] + (int(np.median(np.diff(distinct))) if len(distinct) > 1 else 1))
    place = np.arange(len(times)) - np.repeat(first, counts)
    spread: NDArray[np.int64] = times + place * np.repeat(gaps, counts) // np.repeat(counts, counts)
    return spread


def _tile_length(times: NDArray[np.int64]) -> int:
    """µs of event time, in whole seconds, that make about so many tiles that are not empty."""
    low, high = 1, int(times[-1] - times[0]) // 1_000_000 + 1
    while low < high:
        middle = (low + high) // 2
        if len(np.unique(times // (middle * 1_000_000))) > _TILES:
            low = middle + 1
        else:
            high = middle
    return low * 1_000_000
