"""Raw records to columns: the good rows as a frame, the bad ones each with its reason.

Whether a record is good, and what it says, depends on the record alone (its value, key and Kafka timestamp), never
on the records beside it: a replay that cuts the stream into other batches gets the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.formats.column_rules import ColumnRules
from tidemark.formats.json_records import JsonReader, ReadRows, RowReader, Values
from tidemark.formats.shown import short
from tidemark.formats.told_columns import ToldReader
from tidemark.pipeline import Pipeline, format_duration
from tidemark.pipeline.expressions import columns_schema
from tidemark.records.record_formats import FORMATS, ColumnFormat, Format, RecordSchema, Told, as_json
from tidemark.runtime.broker_time import broker_times, moved_to, wall_clock
from tidemark.runtime.processor import UNKNOWN_TIME, Batch
from tidemark.times.iso8601 import UNREADABLE
from tidemark.times.time_formats import LATEST, time_reader

_STEP: Final = "decode"


@dataclass(frozen=True, slots=True)
class BadRow:
    """Row of a batch that can't be processed: the step that refused it, and why."""

    row: int
    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """Rows of a batch as columns.

    frame: the declared columns, typed; the time column is a timestamp in UTC.  rows: (m,) int64, each one's row in the
    batch, rising.  times: (m,) int64 event times, µs since 1970.  bounded: (m,) how far each may move the watermark.
    bad: the other rows of the batch, rising.  changed: how many values each rule changed, by column and rule.
    """

    frame: pl.DataFrame
    rows: NDArray[np.int64]
    times: NDArray[np.int64]
    bounded: NDArray[np.int64]
    bad: list[BadRow]
    changed: Mapping[tuple[str, str], int] = field(default_factory=dict)


def told(pipeline: Pipeline) -> list[Told]:
    """How records tell each column of a pipeline."""
    return [
        Told(
            name,
            column.type,
            column.required and column.default is None,
            tuple(dict.fromkeys((name, *(column.names or ())))),
        )
        for name, column in pipeline.columns.items()
    ]


def writer(pipeline: Pipeline) -> Callable[[bytes], object] | None:
    """What makes a record of a pipeline's raw topics from a JSON object; None where the object is the record.

    Raises:
        ConfigError: a setting of the format is wrong.

    """
    form = FORMATS.get(pipeline.raw[0].format)
    if isinstance(form, ColumnFormat):
        return form.open(_schema(pipeline, form, told(pipeline))).write
    return None if pipeline.raw[0].format == "json" else form.from_json


def _schema(pipeline: Pipeline, form: ColumnFormat, columns: list[Told]) -> RecordSchema:
    raw = pipeline.raw[0]
    settings = {name: value for name in form.settings if (value := getattr(raw, name)) is not None}
    return RecordSchema(columns, (pipeline.time.column, pipeline.time.format), settings, pipeline.folder)


class _Converting:
    """Records of a format that turns one record into JSON."""

    def __init__(self, form: Format, reader: JsonReader) -> None:
        self._form, self._reader = form, reader

    def read(self, batch: Batch) -> ReadRows:
        """The columns of the records."""
        batch, refused = as_json(self._form, batch)
        read = self._reader.read(batch)
        return replace(read, bad={row: refused.get(row, reason) for row, reason in read.bad.items()})


class Decoder:
    """Records of a pipeline's raw topics to columns."""

    def __init__(self, pipeline: Pipeline, form: str | None = None) -> None:
        """Prepare for a pipeline.

        Args:
            pipeline: whose records these are.
            form: of the records, if not the pipeline's own.

        Raises:
            ConfigError: a setting of the format is wrong.

        """
        self._time = pipeline.time
        self._keys = pipeline.keys
        self._needs_record_key = pipeline.needs_record_keys and not pipeline.repartitions
        self._schema = columns_schema(pipeline)
        columns = told(pipeline)
        name = pipeline.raw[0].format if form is None else form
        self._reader = _reader(pipeline, name, columns)
        timed = [each for each in columns if each.name == self._time.column]
        self._time_reader = _reader(pipeline, name, timed, examined=False)
        self._floats = [each.name for each in columns if each.kind == "float" and each.name != self._time.column]
        self._read_times = time_reader(self._time.format, self._time.patterns)
        self._rules = ColumnRules(pipeline)

    def decode(self, batch: Batch, now: int | NDArray[np.int64] | None = None) -> Decoded:
        """Columns of a batch's good rows, and its bad rows with their reasons.

        Args:
            batch: raw records.
            now: clock of the process that read them first, µs since 1970, which bounds their timestamps; one, or one
                for each record; by default this process's.

        Returns:
            The rows.

        Raises:
            RegistryError: the records' schemas are with a registry that does not answer.

        """
        read = self._reader.read(batch)
        columns: dict[str, Any] = dict(read.columns)
        rows = read.rows
        bad = [BadRow(row, _STEP, reason) for row, reason in sorted(read.bad.items())]
        came = broker_times(batch.timestamps, wall_clock() if now is None else now)[rows]
        believed = came == batch.timestamps[rows] * 1_000
        times, reasons = self._times(columns.pop(self._time.column), came, believed)
        columns[self._time.column] = times
        frame = pl.DataFrame(columns, schema=self._schema)
        if read.rounded is not None:
            reasons |= read.rounded({name: frame[name].to_numpy() for name in self._floats})
        for i, reason in read.doubtful.items():
            reasons.setdefault(i, reason)
        ruled = self._rules(frame)
        frame = ruled.frame
        for i, reason in ruled.refused.items():
            reasons.setdefault(i, reason)
        self._add_keyless(reasons, frame, batch, rows)
        if reasons:
            bad = sorted(
                [*bad, *(BadRow(int(rows[i]), _STEP, reason) for i, reason in reasons.items())],
                key=attrgetter("row"),
            )
            keep = np.ones(len(rows), np.bool_)
            keep[list(reasons)] = False
            frame, rows, times, came = frame.filter(pl.Series(keep)), rows[keep], times[keep], came[keep]
        return Decoded(frame, rows, times, moved_to(times, came, self._time.most_skew), bad, ruled.changed)

    def _add_keyless(self, reasons: dict[int, str], frame: pl.DataFrame, batch: Batch, rows: NDArray[np.int64]) -> None:
        """Why rows are bad that lack a key, in their columns or of their records."""
        for key in self._keys:
            if frame[key].null_count():
                for i in np.flatnonzero(frame[key].is_null().to_numpy()).tolist():
                    reasons.setdefault(i, f"{key}: is null, and it is a key of the pipeline")
        if self._needs_record_key and None in batch.keys:
            for i, row in enumerate(rows.tolist()):
                if batch.keys[row] is None:
                    reasons[i] = (
                        f"the Kafka record has no key: windows over '{self._keys[0]}' need records that are "
                        "partitioned by it; set the key where the record is produced"
                    )

    def event_times(self, batch: Batch) -> list[int]:
        """How far each record may move event time (µs), read without its other columns.

        `UNKNOWN_TIME` where it tells no time.
        """
        times = [UNKNOWN_TIME] * len(batch)
        read = self._time_reader.read(batch)
        came = broker_times(batch.timestamps[read.rows], wall_clock())
        found, wrong = self._times(read.columns[self._time.column], came, came >= 0)
        bounded = moved_to(found, came, self._time.most_skew)
        for i, row in enumerate(read.rows.tolist()):
            if i not in wrong:
                times[row] = int(bounded[i])
        return times

    def _times(
        self, values: Values, came: NDArray[np.int64], believed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], dict[int, str]]:
        """Event times, µs; and why those that are out of range or unreadable are bad (their time is 0).

        came: (n,) when the records came, µs.  believed: (n,) whether that is Kafka's timestamp.
        """
        values = values.to_list() if isinstance(values, pl.Series) else values
        times = self._read_times(values)
        limits = np.minimum(came + self._time.max_ahead, LATEST)
        wrong = (times < 0) | (times > limits)
        reasons = {
            i: self._time_reason(values[i], int(times[i]), int(limits[i]), believed=bool(believed[i]))
            for i in np.flatnonzero(wrong).tolist()
        }
        return np.where(wrong, 0, times), reasons

    def _time_reason(self, value: object, time: int, limit: int, *, believed: bool) -> str:
        name, shown = self._time.column, short(json.dumps(value).encode())
        if time == UNREADABLE:
            also = f" nor of {self._time.patterns}" if self._time.patterns else ""
            return f"{name}: {shown} is no time of format '{self._time.format}'{also}"
        if time < 0:
            return f"{name}: {shown} lies before 1970"
        if limit < time <= LATEST:
            ahead = f"{(time - limit + self._time.max_ahead) / 86_400_000_000:.1f} days"
            since = "Kafka's timestamp" if believed else "the record was read, and its Kafka timestamp is none or later"
            return f"{name}: {shown} lies {ahead} after {since}; at most {format_duration(self._time.max_ahead)}"
        return f"{name}: {shown} lies after the year 9999"


def _reader(pipeline: Pipeline, name: str, columns: list[Told], *, examined: bool = True) -> RowReader:
    form = FORMATS.get(name)
    if isinstance(form, ColumnFormat):
        return ToldReader(columns, form.open(_schema(pipeline, form, columns)))
    reader = JsonReader(columns, examined=examined)
    return reader if name == "json" else _Converting(form, reader)
