"""Labelled sets for benchmarks of label efficiency: a Parquet file in the order of time, and a small TOML of its name.

    label = "column"          text or number of the class
    positive = "value"        two classes: this one and all others; left out: a class for each value
    leave = ["column", ...]   what must not become a feature
    every = 20                each 20th row alone
    dataset = "handbook"      or instead: a set and pipeline file of `pipelines/real`, whose features are computed
    skip, rows = 60000, 60000 of that

Numbers are features as they are. A text is one of the texts of the first twentieth of the rows, or missing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.datasets import DATASETS
from tidemark.features.backfill import backfill
from tidemark.pipeline import load

OURS: Final = Path(__file__).parent / "sets"
PIPELINES: Final = Path(__file__).parents[2] / "pipelines" / "real"
_MOST_TEXTS: Final = 60
STREAMED: Final = 0.8


@dataclass(frozen=True, slots=True)
class LabeledSet:
    """Rows in the order of time: the first four fifths are the stream, the last fifth is an exam.

    features: (n, d), NaN is missing.  target: (n,) classes.  names: of the features.  classes: how many.
    """

    name: str
    features: NDArray[np.float64]
    target: NDArray[np.int64]
    names: tuple[str, ...]
    classes: int

    @property
    def streamed(self) -> int:
        """Rows of the stream."""
        return int(len(self.target) * STREAMED)


def sets_in(folder: Path, described: Path) -> Iterator[LabeledSet]:
    """Every set that is described and whose file is there.

    Args:
        folder: of the Parquet files.
        described: folder of the TOML files.

    Yields:
        The sets, by name.

    """
    for name, given in described_in(folder, described):
        if "dataset" in given:
            yield _computed(name, folder, given)
        else:
            yield _plain(name, pl.read_parquet(folder / f"{name}.parquet"), given)


def described_in(folder: Path, described: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and description of every set whose files are there; arguments as `sets_in` has them."""
    for path in sorted(described.glob("*.toml")):
        given = tomllib.loads(path.read_text(encoding="utf-8"))
        files = DATASETS[given["dataset"]].paths(folder) if "dataset" in given else [folder / f"{path.stem}.parquet"]
        if all(file.is_file() for file in files):
            yield path.stem, given


def _plain(name: str, frame: pl.DataFrame, given: dict[str, Any]) -> LabeledSet:
    frame = frame.gather_every(given.get("every", 1))
    label = frame[given["label"]].cast(pl.String)
    target, classes = classes_of(label, given.get("positive"))
    columns = [column for column in frame.columns if column not in (given["label"], *given.get("leave", []))]
    features = np.column_stack([_numbers(frame[column]) for column in columns])
    return LabeledSet(
        name, np.ascontiguousarray(features), target, tuple(f"f{at}" for at in range(len(columns))), classes
    )


def classes_of(label: pl.Series, positive: str | None) -> tuple[NDArray[np.int64], int]:
    """Class of each row, and how many there are; `positive`: of two classes, against all others."""
    if positive is not None:
        return (label == positive).to_numpy().astype(np.int64), 2
    values = sorted(label.unique().to_list())
    return np.array([values.index(value) for value in label.to_list()], np.int64), len(values)


def _numbers(column: pl.Series) -> NDArray[np.float64]:
    if column.dtype != pl.String:
        return column.cast(pl.Float64).to_numpy()
    head = column.head(max(200, len(column) // 20)).drop_nulls()
    known = sorted(head.value_counts(sort=True)[column.name].head(_MOST_TEXTS).to_list())
    places = {text: float(place) for place, text in enumerate(known)}
    return np.array([places.get(text, np.nan) for text in column.to_list()])


def _computed(name: str, folder: Path, given: dict[str, Any]) -> LabeledSet:
    dataset, skip = given["dataset"], given.get("skip", 0)
    pipeline = load(PIPELINES / f"{dataset}.toml")
    whole = DATASETS[dataset].load(folder, skip + given["rows"])
    table = backfill(pipeline, whole.events).select(pipeline.feature_names).to_numpy().astype(np.float64)
    classes = pipeline.label.classes
    target = np.array([classes.index(value) for value in whole.truth["label"].to_list()], np.int64)
    names = tuple(pipeline.feature_names)
    return LabeledSet(name, np.ascontiguousarray(table[skip:]), target[skip:], names, len(classes))
