"""Raw records to columns: the good rows as a frame, the bad ones each with its reason.

Whether a record is good, and what it says, depends on the record alone (its value, key and Kafka timestamp), never
on the records beside it: a replay that cuts the stream into other batches gets the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.formats.exact_numbers import is_rounded, whole_number, with_whole_numbers
from tidemark.formats.foreign import foreign
from tidemark.formats.json_scan import DEEPEST, name_hashes, suspicious
from tidemark.pipeline import Pipeline, format_duration
from tidemark.pipeline.expressions import columns_schema
from tidemark.pipeline.sql.values import EXACT
from tidemark.records.record_formats import FORMATS, as_json
from tidemark.runtime.broker_time import broker_times, moved_to, wall_clock
from tidemark.runtime.processor import UNKNOWN_TIME, Batch
from tidemark.times.iso8601 import UNREADABLE
from tidemark.times.time_formats import LATEST, TIME_FORMATS
from tidemark.times.time_patterns import time_pattern

MAX_VALUE: Final = 1_048_576
"""Bytes of a value; Kafka's own default limit of a message."""
_SHOWN: Final = 60
_INT64: Final = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_PYTHON: Final[dict[str, Any]] = {"string": str, "int": _INT64, "float": float, "bool": bool}
_WANTED: Final = {
    "string": "text",
    "int": "a whole number within 64 bits",
    "float": "a number within 64 bits",
    "bool": "true or false",
}
_FAILURES: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError)
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
    bad: the other rows of the batch, rising.
    """

    frame: pl.DataFrame
    rows: NDArray[np.int64]
    times: NDArray[np.int64]
    bounded: NDArray[np.int64]
    bad: list[BadRow]


class Decoder:
    """Records of a pipeline's raw topics to columns."""

    def __init__(self, pipeline: Pipeline, form: str | None = None) -> None:
        """Prepare for a pipeline.

        Args:
            pipeline: whose records these are.
            form: of the records, if not the pipeline's own.

        """
        form = pipeline.raw[0].format if form is None else form
        self._form = None if form == "json" else FORMATS.get(form)
        self._columns = pipeline.columns
        self._time = pipeline.time
        self._keys = pipeline.keys
        self._needs_record_key = pipeline.needs_record_keys and not pipeline.repartitions
        names = list(pipeline.columns)
        field_of = {name: f"field_{i}" for i, name in enumerate(names)}
        self._getters: dict[str, Callable[[Any], Any]] = {name: attrgetter(field_of[name]) for name in names}
        self._schema = columns_schema(pipeline)
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        for name, column in sorted(pipeline.columns.items(), key=lambda item: not item[1].required):
            kind = _PYTHON[column.type]
            fields.append((field_of[name], kind) if column.required else (field_of[name], kind | None, None))
        rename = {field: name for name, field in field_of.items()}
        record = msgspec.defstruct("RawRecord", fields, rename=rename, gc=False)
        self._decode = msgspec.json.Decoder(record).decode
        own = field_of[self._time.column]
        timed = msgspec.defstruct(
            "RawTime", [(own, _PYTHON[self._columns[self._time.column].type])], rename=rename, gc=False
        )
        self._decode_time = msgspec.json.Decoder(timed).decode
        self._decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        self._hashes = name_hashes(names)
        self._read_times = TIME_FORMATS.get(self._time.format).read
        self._patterns = [time_pattern(text) for text in self._time.patterns or []]
        self._whole = [name for name, column in pipeline.columns.items() if column.type == "int"]
        self._floats = [name for name, column in pipeline.columns.items() if column.type == "float"]
        self._missing = [
            pl.when(pl.col(name).is_in(pl.Series(column.missing, dtype=self._schema[name]).implode()))
            .then(None)
            .otherwise(pl.col(name))
            .alias(name)
            for name, column in pipeline.columns.items()
            if column.missing
        ]

    def decode(self, batch: Batch, now: int | NDArray[np.int64] | None = None) -> Decoded:
        """Columns of a batch's good rows, and its bad rows with their reasons.

        Args:
            batch: raw records.
            now: clock of the process that read them first, µs since 1970, which bounds their timestamps; one, or one
                for each record; by default this process's.

        Returns:
            The rows.

        """
        batch, refused = (batch, {}) if self._form is None else as_json(self._form, batch)
        records, rows, bad = self._records(batch)
        if refused:
            bad = [BadRow(each.row, each.step, refused.get(each.row, each.reason)) for each in bad]
        columns: dict[str, Any] = {name: list(map(get, records)) for name, get in self._getters.items()}
        came = broker_times(batch.timestamps, wall_clock() if now is None else now)[rows]
        believed = came == batch.timestamps[rows] * 1_000
        times, reasons = self._times(columns.pop(self._time.column), came, believed)
        columns[self._time.column] = times
        frame = pl.DataFrame(columns, schema=self._schema)
        reasons |= self._rounded(frame, batch, rows)
        if self._missing:
            frame = frame.with_columns(self._missing)
        for key in self._keys:
            if frame[key].null_count():
                for i in np.flatnonzero(frame[key].is_null().to_numpy()).tolist():
                    reasons.setdefault(i, f"{key}: is null, and it is a key of the pipeline")
        if reasons:
            bad = sorted(
                [*bad, *(BadRow(int(rows[i]), _STEP, reason) for i, reason in reasons.items())],
                key=attrgetter("row"),
            )
            keep = np.ones(len(rows), np.bool_)
            keep[list(reasons)] = False
            frame, rows, times, came = frame.filter(pl.Series(keep)), rows[keep], times[keep], came[keep]
        return Decoded(frame, rows, times, moved_to(times, came, self._time.most_skew), bad)

    def event_times(self, batch: Batch) -> list[int]:
        """How far each record may move event time (µs), read without its other columns.

        `UNKNOWN_TIME` where it tells no time.
        """
        times = [UNKNOWN_TIME] * len(batch)
        told: dict[int, Any] = {}
        get = self._getters[self._time.column]
        if self._form is not None:
            batch, _ = as_json(self._form, batch)
        for row, value in enumerate(batch.values):
            try:
                told[row] = get(self._decode_time(value))  # type: ignore[arg-type]
            except _FAILURES:
                written = self._written_whole(value)
                if written is None:
                    continue
                try:
                    told[row] = get(self._decode_time(written))
                except _FAILURES:
                    continue
        came = broker_times(batch.timestamps[list(told)], wall_clock())
        found, wrong = self._times(list(told.values()), came, came >= 0)
        bounded = moved_to(found, came, self._time.most_skew)
        for i, row in enumerate(told):
            if i not in wrong:
                times[row] = int(bounded[i])
        return times

    def _records(self, batch: Batch) -> tuple[list[Any], NDArray[np.int64], list[BadRow]]:
        """Decoded structs of the rows whose columns are as declared; the rows; and the others."""
        values = batch.values
        everything = np.arange(len(values), dtype=np.int64)
        if not self._needs_record_key or None not in batch.keys:
            try:
                records = list(map(self._decode, values))  # type: ignore[arg-type]
                sizes = max(map(len, values), default=0)  # type: ignore[arg-type]
                if sizes <= MAX_VALUE and not suspicious(values, self._hashes).any():  # type: ignore[arg-type]
                    return records, everything, []
            except _FAILURES:
                pass  # one or more are bad: examined one by one
        good, records, bad = [], [], []
        for row, value in enumerate(values):
            reason = self._examine(value)
            if reason is None and self._needs_record_key and batch.keys[row] is None:
                reason = (
                    f"the Kafka record has no key: windows over '{self._keys[0]}' need records that are "
                    "partitioned by it; set the key where the record is produced"
                )
            if reason is None:
                good.append(row)
                records.append(self._record(value))  # type: ignore[arg-type]
            else:
                bad.append(BadRow(row, _STEP, reason))
        return records, np.array(good, np.int64), bad

    def _examine(self, value: bytes | None) -> str | None:
        """Why a value is bad; None if it is good. The same for a value wherever it stands."""
        if not value:
            return "empty value" if value is not None else "no value (a tombstone)"
        if len(value) > MAX_VALUE:
            return f"value of {len(value)} bytes, over the limit of {MAX_VALUE}: {_short(value)}"
        other = foreign(value)
        if other is not None:
            return f"{other}: {_short(value)}"
        doubtful = bool(suspicious([value], self._hashes)[0])
        if doubtful and _deeper_than(value, DEEPEST):
            return f"nested deeper than {DEEPEST} levels: {_short(value)}"
        try:
            self._record(value)
        except _FAILURES as error:
            return self._explain(value, error)
        return _repetition(value, self._columns) if doubtful else None

    def _record(self, value: bytes) -> Any:  # noqa: ANN401 - a struct that is made at run time
        """A record; `7.0` and `7e0` are the whole number 7."""
        try:
            return self._decode(value)
        except _FAILURES:
            written = self._written_whole(value)
            if written is None:
                raise
            return self._decode(written)

    def _written_whole(self, value: bytes | None) -> bytes | None:
        """A record with its whole numbers written as such; None where there is nothing to write so."""
        if not self._whole or value is None:
            return None
        try:
            return with_whole_numbers(self._decode_fields(value), self._whole)
        except _FAILURES:
            return None

    def _rounded(self, frame: pl.DataFrame, batch: Batch, rows: NDArray[np.int64]) -> dict[int, str]:
        """Why rows are bad whose whole number is beyond what their float column holds."""
        reasons: dict[int, str] = {}
        for name in self._floats:
            if name == self._time.column:
                continue
            numbers = frame[name].to_numpy()
            for i in np.flatnonzero(np.abs(numbers) >= EXACT).tolist():
                raw = bytes(self._decode_fields(batch.values[rows[i]])[name])
                if is_rounded(raw, float(numbers[i])):
                    reasons.setdefault(
                        i,
                        f"{name}: {_short(raw)} is beyond 2^53, and float64 does not hold it; declare the column "
                        "an int or a string, or write it as a float",
                    )
        return reasons

    def _explain(self, value: bytes, error: Exception) -> str:
        """What is wrong with a value that was refused with an error."""
        try:
            fields = self._decode_fields(value)
        except msgspec.ValidationError as not_object:
            return f"{str(not_object).lower()}, at the top level: {_short(value)}"
        except (msgspec.DecodeError, UnicodeDecodeError) as syntax:
            return f"{_syntax(syntax, value)}: {_short(value)}"
        for name, column in self._columns.items():
            raw = fields.get(name)
            if raw is None:
                if column.required:
                    return f"{name}: is missing"
                continue
            if column.type == "int" and whole_number(bytes(raw)) is not None:
                continue
            kind = _PYTHON[column.type]
            try:
                msgspec.json.decode(raw, type=kind if column.required else kind | None)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return f"{name}: expected {_WANTED[column.type]}, got {_short(bytes(raw))}"
        return f"{error}: {_short(value)}"

    def _times(
        self, values: list[Any], came: NDArray[np.int64], believed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], dict[int, str]]:
        """Event times, µs; and why those that are out of range or unreadable are bad (their time is 0).

        came: (n,) when the records came, µs.  believed: (n,) whether that is Kafka's timestamp.
        """
        times = self._read_times(values, self._patterns)
        limits = np.minimum(came + self._time.max_ahead, LATEST)
        wrong = (times < 0) | (times > limits)
        reasons = {
            i: self._time_reason(values[i], int(times[i]), int(limits[i]), believed=bool(believed[i]))
            for i in np.flatnonzero(wrong).tolist()
        }
        return np.where(wrong, 0, times), reasons

    def _time_reason(self, value: object, time: int, limit: int, *, believed: bool) -> str:
        name, shown = self._time.column, _short(json.dumps(value).encode())
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


def _short(value: bytes) -> str:
    text = value[: _SHOWN * 4].decode(errors="backslashreplace")
    return text if len(text) <= _SHOWN and len(value) <= _SHOWN * 4 else f"{text[:_SHOWN]}…"


def _syntax(error: Exception, value: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if any(token in value for token in (b"NaN", b"Infinity", b"nan", b"inf")):
        return f"malformed JSON ({error}); JSON has no NaN and no Infinity, write null"
    return f"malformed JSON ({error})"


def _deeper_than(value: bytes, levels: int) -> bool:
    """Whether brackets outside of texts nest deeper."""
    depth = 0
    in_text = escaped = False
    for byte in value:
        if in_text:
            in_text = escaped or byte != ord('"')
            escaped = not escaped and byte == ord("\\")
        elif byte == ord('"'):
            in_text = True
        elif byte in b"{[":
            depth += 1
            if depth > levels:
                return True
        elif byte in b"}]":
            depth -= 1
    return False


def _repetition(value: bytes, names: Mapping[str, object]) -> str | None:
    """Why a value is bad whose outermost object gives one of the names more than once; None if it does not."""
    decoder = json.JSONDecoder(object_pairs_hook=list, parse_int=str, strict=False)  # numbers of any length
    try:
        pairs: list[tuple[str, Any]] = decoder.decode(value.decode(errors="replace"))
    except json.JSONDecodeError as error:
        return f"malformed JSON ({error}): {_short(value)}"
    seen: set[str] = set()
    for name, _ in pairs:
        if name in names and name in seen:
            return f"{name}: given more than once: {_short(value)}"
        seen.add(name)
    return None
