"""Rows on their way through the stages: read from raw records or hops, handed on as hops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.errors import RecordError
from tidemark.features.windows import KeyWindows
from tidemark.formats.arrow_columns import check_columns, check_present
from tidemark.pipeline import Pipeline
from tidemark.pipeline.expressions import Schema
from tidemark.pipeline.sql.values import TIMESTAMP
from tidemark.runtime.processor import Partition
from tidemark.stream.fitting import Fitting
from tidemark.stream.hops import Hop

_FEATURE: Final = "f_"


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows between two stages.

    origins: the raw partitions they came from; origin: (n,) uint32 index into them.  offsets: (n,) int64 of the raw
    records.  times: (n,) int64 event times, µs.  bounded: (n,) how far each may move the watermark: its time, or less
    where its clock runs ahead.  late: (n,) bool.  keys: text of each key of the pipeline.
    columns: those cleaned columns that are still needed.  features: those computed so far, float64.
    """

    origins: Sequence[Partition]
    origin: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    times: NDArray[np.int64]
    bounded: NDArray[np.int64]
    late: NDArray[np.bool_]
    keys: list[pl.Series]
    columns: pl.DataFrame
    features: pl.DataFrame

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.times)

    def only(self, keep: NDArray[np.bool_]) -> Rows:
        """Some of the rows. keep: (n,) which."""
        mask = pl.Series(keep)
        return Rows(
            origins=self.origins,
            origin=self.origin[keep],
            offsets=self.offsets[keep],
            times=self.times[keep],
            bounded=self.bounded[keep],
            late=self.late[keep],
            keys=[key.filter(mask) for key in self.keys],
            columns=self.columns.filter(mask),
            features=self.features.filter(mask) if self.features.width else self.features,
        )


class Layout:
    """Which columns rows carry, and how they lie in a hop's frame. `features`: those computed before the hop."""

    def __init__(self, pipeline: Pipeline, cleaned: Schema, features: Sequence[str]) -> None:
        self.keys = pipeline.keys
        self._topics = frozenset(pipeline.raw_topics)
        self._features = list(features)
        needed = [*pipeline.label.context]
        if pipeline.label.business_id is not None:
            needed.append(pipeline.label.business_id)
        if pipeline.deduplicate is not None and pipeline.repartitions:
            needed.append(pipeline.deduplicate.key)
        for key in pipeline.hops:
            needed += KeyWindows(pipeline, key).columns
        self._implied = {name: f"_key_{self.keys.index(name)}" for name in self.keys if cleaned[name] == pl.String}
        self._time = pipeline.time.column
        self.carried = [name for name in dict.fromkeys(needed) if name not in self._implied and name != self._time]
        self.fitting = Fitting(pipeline, cleaned, self.carried, self._features)
        self._keys: dict[str, pl.DataType] = {f"_key_{i}": pl.String() for i in range(len(self.keys))}
        self._wanted = {
            **self._keys,
            **{name: cleaned[name] for name in self.carried},
            **{prefixed(name): pl.Float64() for name in self._features},
        }

    def pack(self, rows: Rows) -> pl.DataFrame:
        """Frame of a hop (see `tidemark.stream.hops`)."""
        own = [
            pl.Series("_origin", rows.origin),
            pl.Series("_offset", rows.offsets),
            pl.Series("_time", rows.times),
            pl.Series("_bounded", rows.bounded),
            pl.Series("_late", rows.late),
            *(key.alias(f"_key_{i}") for i, key in enumerate(rows.keys)),
        ]
        features = renamed(rows.features, map(prefixed, rows.features.columns))
        return pl.DataFrame(own).hstack(rows.columns[self.carried]).hstack(features)

    def check(self, hop: Hop) -> None:
        """Whether a hop is of this pipeline, as it is.

        Raises:
            RecordError: it was written for another version of the pipeline file, or by somebody else.

        """
        given = frozenset(hop.rows.columns)
        absent = [name for name in self._wanted if name not in given]
        if absent:
            raise RecordError("decode", f"the hop lacks {', '.join(absent)}: it was written for another pipeline file")
        check_columns(hop.rows, self._wanted, "the rows of a hop")
        check_present(hop.rows, [*self._keys, *map(prefixed, self._features)], "the rows of a hop")
        strange = {origin.topic for origin in hop.origins} - self._topics
        if strange:
            raise RecordError("decode", f"a hop of {min(strange)[:249]!r}, which is no raw topic of the pipeline")

    def unpack(self, hop: Hop, limits: NDArray[np.int64]) -> Rows:
        """The rows of a hop. limits: (n,) how far each may move the watermark by when its record came, µs."""
        frame = hop.rows
        implied = [frame[own].alias(name) for name, own in self._implied.items()]
        times = frame["_time"].cast(TIMESTAMP).alias(self._time)
        return Rows(
            origins=hop.origins,
            origin=frame["_origin"].to_numpy(),
            offsets=frame["_offset"].to_numpy(),
            times=frame["_time"].to_numpy(),
            bounded=np.minimum(np.minimum(frame["_bounded"].to_numpy(), frame["_time"].to_numpy()), limits),
            late=frame["_late"].to_numpy(),
            keys=[frame[f"_key_{i}"] for i in range(len(self.keys))],
            columns=frame[self.carried].hstack([*implied, times]) if self.carried else pl.DataFrame([*implied, times]),
            features=without_prefix(frame, self._features),
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Rows `begin` to `end` of an arrival: those of one partition.

    first_offset, last_offset: of the records that brought them, inclusive.
    """

    partition: Partition
    begin: int
    end: int
    first_offset: int
    last_offset: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """Rows that arrived at a stage together, batch after batch, and which of them came in which."""

    rows: Rows
    parts: list[Part]


def renamed(frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """The frame under other names; much cheaper than `DataFrame.rename`, which runs a query."""
    other = frame.clone()
    other.columns = list(names)
    return other


def without_prefix(frame: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The features of a frame under their names; a frame of no columns where a pipeline has none yet."""
    return renamed(frame[[prefixed(name) for name in names]], names) if names else pl.DataFrame()


def prefixed(name: str) -> str:
    """Name of a feature's column beside the columns of a row."""
    return _FEATURE + name
