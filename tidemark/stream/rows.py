"""Rows on their way through the stages: read from raw records or hops, handed on as hops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.errors import RecordError
from tidemark.features.rows import Cleaner, RowFeatures, surviving
from tidemark.features.windows import KeyWindows
from tidemark.formats.arrow_columns import check_columns, check_present
from tidemark.formats.json_records import BadRow, Decoder
from tidemark.pipeline import Pipeline
from tidemark.pipeline.expressions import EvaluationError, Schema
from tidemark.pipeline.sql.values import TIMESTAMP
from tidemark.runtime.broker_time import broker_times
from tidemark.runtime.processor import Batch, Partition
from tidemark.stream.admission import KEY, LIMITS, Admission
from tidemark.stream.fitting import Fitting
from tidemark.stream.hops import Hop, decode_hop, merge

_FEATURE: Final = "f_"
_PORTION: Final = 10_000
"""Rows of hops that are handled together: enough for columns to pay, and bounded in memory."""


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


class Layout:
    """Which columns rows carry, and how they lie in a hop's frame. `features`: those computed before the hop."""

    def __init__(self, pipeline: Pipeline, cleaned: Schema, features: Sequence[str]) -> None:
        self.keys = pipeline.keys
        self._topics = frozenset(pipeline.raw_topics)
        self._features = list(features)
        needed = [*pipeline.label.context]
        if pipeline.label.business_id is not None:
            needed.append(pipeline.label.business_id)
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
            **{_prefixed(name): pl.Float64() for name in self._features},
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
        features = renamed(rows.features, map(_prefixed, rows.features.columns))
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
        check_present(hop.rows, [*self._keys, *map(_prefixed, self._features)], "the rows of a hop")
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
            features=_features(frame, self._features),
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Rows `begin` to `end` of an arrival: those of one batch, by its number among the batches.

    first_offset, last_offset: of the records that brought them, inclusive.
    """

    batch: int
    begin: int
    end: int
    first_offset: int
    last_offset: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """Rows that arrived at a stage together, batch after batch, and which of them came in which."""

    rows: Rows
    parts: list[Part]


class RawReader:
    """Raw records to rows: decoded, cleaned, with the features of the row itself."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._decoder = Decoder(pipeline)
        self._cleaner = Cleaner(pipeline)
        self._features = RowFeatures(pipeline, self._cleaner.schema)
        self._keys = pipeline.keys
        self.schema = self._cleaner.schema
        self._admission = Admission(pipeline, self.schema)

    def event_times(self, batch: Batch) -> list[int]:
        """How far each record may move event time (µs); `UNKNOWN_TIME` where it tells none."""
        return self._decoder.event_times(batch)

    def read(self, batches: Sequence[Batch], now: Sequence[int]) -> tuple[Arrival | None, list[list[BadRow]]]:
        """The good rows of batches of different partitions, None if there are none; each batch's others in order.

        now: for each batch the clock of the process that read it first, µs since 1970.
        """
        joined = Batch.joined(batches)
        decoded = self._decoder.decode(joined, np.repeat(now, [len(batch) for batch in batches]))
        computed, reasons = surviving(self._compute, decoded.frame)
        rows, times, bounded = decoded.rows, decoded.times, decoded.bounded
        bad = decoded.bad
        if reasons:
            bad = [*bad, *(BadRow(int(rows[i]), "features", text) for i, text in reasons.items())]
            keep = np.ones(len(rows), np.bool_)
            keep[list(reasons)] = False
            rows, times, bounded = rows[keep], times[keep], bounded[keep]
        ends = np.cumsum([len(batch) for batch in batches])
        refusals = self._refusals(batches, joined, computed, rows, ends)
        if refusals:
            bad = [*bad, *(BadRow(int(rows[i]), step, text) for i, (step, text) in refusals.items())]
            keep = np.ones(len(rows), np.bool_)
            keep[list(refusals)] = False
            computed, rows = computed.filter(pl.Series(keep)), rows[keep]
            times, bounded = times[keep], bounded[keep]
        bad = sorted(bad, key=_row)
        refused: list[list[BadRow]] = [[] for _ in batches]
        for row in bad:
            i = int(np.searchsorted(ends, row.row, "right"))
            refused[i].append(BadRow(row.row - int(ends[i]) + len(batches[i]), row.step, row.reason))
        if not len(rows):
            return None, refused
        columns = computed[list(self.schema)]
        features = _features(computed, self._features.names)
        origin = np.searchsorted(ends, rows, "right").astype(np.uint32)
        good = Rows(
            origins=[batch.partition for batch in batches],
            origin=origin,
            offsets=joined.offsets[rows],
            times=times,
            bounded=bounded,
            late=np.zeros(len(rows), np.bool_),
            keys=[columns[key].cast(pl.String) for key in self._keys],
            columns=columns,
            features=features,
        )
        cuts = np.searchsorted(origin, np.arange(len(batches) + 1)).tolist()
        parts = [
            Part(i, begin, end, int(batch.offsets[0]), int(batch.offsets[-1]))
            for i, (batch, begin, end) in enumerate(zip(batches, cuts, cuts[1:], strict=False))
            if end > begin
        ]
        return Arrival(good, parts), refused

    def _refusals(
        self,
        batches: Sequence[Batch],
        joined: Batch,
        computed: pl.DataFrame,
        rows: NDArray[np.int64],
        ends: NDArray[np.int64],
    ) -> dict[int, tuple[str, str]]:
        """Step and reason of each row of `computed` that is too large, or wrongly keyed."""
        refusals = {row: (LIMITS, reason) for row, reason in self._admission.too_large(computed).items()}
        keys = joined.keys if len(rows) == len(joined) else [joined.keys[row] for row in rows.tolist()]
        texts = computed[self._keys[0]].cast(pl.String)
        runs = zip(np.searchsorted(rows, ends).tolist(), (batch.partition.topic for batch in batches), strict=True)
        for row, reason in self._admission.wrongly_keyed(keys, texts, list(runs)).items():
            refusals.setdefault(row, (KEY, reason))
        return refusals

    def _compute(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Cleaned columns, and the features with a prefix behind them."""
        cleaned = self._cleaner(frame)
        for key in self._keys:
            if cleaned[key].null_count():
                raise EvaluationError(f"{key}: became null by cleaning, and it is a key of the pipeline")
        features = self._features(cleaned)
        return cleaned.hstack(renamed(features, map(_prefixed, features.columns)))


def renamed(frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """The frame under other names; much cheaper than `DataFrame.rename`, which runs a query."""
    other = frame.clone()
    other.columns = list(names)
    return other


def _features(frame: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The features of a frame under their names; a frame of no columns where a pipeline has none yet."""
    return renamed(frame[[_prefixed(name) for name in names]], names) if names else pl.DataFrame()


def _prefixed(name: str) -> str:
    return _FEATURE + name


def _row(bad: BadRow) -> int:
    return bad.row


def read_hops(
    layout: Layout, batches: Sequence[Batch], now: Sequence[int], skew: int
) -> tuple[list[Arrival], list[list[BadRow]]]:
    """Rows of batches of hops in portions of bounded size; of each batch the records that are no hops.

    now: for each batch the clock of the process that read it first, µs.  skew: how far rows may move the watermark
    beyond when they came.
    """
    arrivals: list[Arrival] = []
    bad: list[list[BadRow]] = [[] for _ in batches]
    portion: list[_Record] = []
    size = 0
    for number, batch in enumerate(batches):
        limits = broker_times(batch.timestamps, now[number]) + skew
        for row, value in enumerate(batch.values):
            try:
                hop = decode_hop(value, batch.headers[row])
                hop = Hop(hop.origins, layout.fitting.fit(hop.rows, batch.headers[row]))
                layout.check(hop)
            except RecordError as error:
                bad[number].append(BadRow(row, error.step, error.reason))
                continue
            if not len(hop.rows):
                continue
            if portion and size + len(hop.rows) > _PORTION:
                arrivals.append(_arrival(layout, portion))
                portion, size = [], 0
            portion.append(_Record(number, int(batch.offsets[row]), int(limits[row]), hop))
            size += len(hop.rows)
    if portion:
        arrivals.append(_arrival(layout, portion))
    return arrivals, bad


class _Record(NamedTuple):
    """A hop, where it came from, and how far it may move the watermark (µs)."""

    batch: int
    offset: int
    limit: int
    hop: Hop


def _arrival(layout: Layout, records: list[_Record]) -> Arrival:
    parts = []
    begin = 0
    for batch, group in groupby(records, key=attrgetter("batch")):
        own = list(group)
        end = begin + sum(len(record.hop.rows) for record in own)
        parts.append(Part(batch, begin, end, own[0].offset, own[-1].offset))
        begin = end
    limits = np.repeat([record.limit for record in records], [len(record.hop.rows) for record in records])
    return Arrival(layout.unpack(merge([record.hop for record in records]), limits), parts)
