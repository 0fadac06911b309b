"""Rows as the raw records that the stream gets, and back through the stream's own decoder.

What is learnt from and what is predicted go one way: a history is read as the records that `ingest` would have sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from tidemark.errors import ConfigError
from tidemark.features.rows import Cleaner, surviving
from tidemark.formats.columns import json_values, refusal
from tidemark.formats.declared import Declared
from tidemark.formats.decoder import Decoded, Decoder, writer
from tidemark.pipeline import Pipeline
from tidemark.pipeline.record_keys import KeyForm, record_keys
from tidemark.pipeline.sql import parse_sql
from tidemark.records.raw_record import RawRecord
from tidemark.records.record_formats import as_record
from tidemark.runtime.json_names import parted
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.suggestions import did_you_mean

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_EXACT: Final = 2**53
NO_TIMESTAMP: Final = -1


class Records:
    """JSON objects as records of a pipeline: each in its format, with the key that its partition is chosen by."""

    def __init__(self, pipeline: Pipeline, topic: str | None = None) -> None:
        """Prepare for a pipeline.

        Args:
            pipeline: whose records these are.
            topic: raw topic that they are for, whose form their keys have; by default the first.

        """
        self._pipeline = pipeline
        raw = {raw.topic: raw for raw in pipeline.raw}[topic or pipeline.raw_topics[0]]
        own = pipeline.keys[0]
        self._form: KeyForm = "text" if raw.key in (None, "other") else raw.key
        self._whole = pipeline.columns[own].type == "int"
        names = list(dict.fromkeys((own, *(pipeline.columns[own].names or ()))))
        self._key_fields = [f"key_{i}" for i in range(len(names))]
        rename = dict(zip(self._key_fields, names, strict=True))
        keyed = msgspec.defstruct("Keyed", [(each, Any, None) for each in self._key_fields], rename=rename)
        self._keyed = msgspec.json.Decoder(keyed).decode
        self._default_key = pipeline.columns[own].default
        self._partition = Partition(raw.topic, 0, "")
        self._decoder = Decoder(pipeline, "json")
        self._pipeline = pipeline
        cleaner = Cleaner(pipeline)
        self._numbers = cleaner.schema[own] != pl.String
        cleans = any(parse_sql(sql).output_name == own for sql in pipeline.clean)
        self._cleaner, self._key = (cleaner if cleans else None), own
        column = pipeline.columns[own]
        self._changed = cleans or bool(column.missing or column.rules()) or any(map(parted, names))

    @cached_property
    def _own(self) -> Decoder:
        """Of records in the pipeline's own format."""
        return Decoder(self._pipeline)

    def records(self, values: Sequence[bytes]) -> list[RawRecord]:
        """The record of each value. What tells no key has none, and becomes a dead letter."""
        texts = [self._text(value) for value in values]
        if self._changed:  # rows are together whose keys are equal by the rules of the column and as they are cleaned
            for row, text in self._changed_keys(self.decode(values)):
                texts[row] = text
        write = self._writer
        return self._keyed_by(texts, values if write is None else [as_record(write, value) for value in values])

    def as_they_are(self, values: Sequence[bytes]) -> list[RawRecord]:
        """The record of each value that is one of the pipeline's format already. What tells no key has none.

        Raises:
            RegistryError: the records' schemas are with a registry that does not answer.

        """
        texts: list[str | None] = [None] * len(values)
        for row, text in self._changed_keys(self._own.decode(self._batch(values, NO_TIMESTAMP))):
            texts[row] = text
        return self._keyed_by(texts, values)

    def _changed_keys(self, decoded: Decoded) -> Iterator[tuple[int, str]]:
        """The row of each good record, and its key by the column's rules and as it is cleaned."""
        frame, failed = (decoded.frame, {}) if self._cleaner is None else surviving(self._cleaner, decoded.frame)
        good = [row for i, row in enumerate(decoded.rows.tolist()) if i not in failed]
        return zip(good, frame[self._key].cast(pl.String).to_list(), strict=True)

    def _keyed_by(self, texts: Sequence[str | None], values: Sequence[bytes]) -> list[RawRecord]:
        known = [text for text in texts if text is not None]
        keys = iter(record_keys(self._form, known, numbers=self._numbers))
        return [
            RawRecord(None if text is None else next(keys), value) for text, value in zip(texts, values, strict=True)
        ]

    @cached_property
    def _writer(self) -> Callable[[bytes], object] | None:
        """What writes records: made when the first is written, for a history is read without schemas."""
        return writer(self._pipeline)

    def _text(self, value: bytes) -> str | None:
        try:
            record = self._keyed(value)
        except _UNREADABLE:
            return None
        told = (getattr(record, each) for each in self._key_fields)
        key: object = next((each for each in told if each is not None), self._default_key)
        if self._whole and isinstance(key, float) and key.is_integer() and abs(key) < _EXACT:
            key = int(key)  # 7.0 is the number 7, so its rows belong to those of 7
        return None if key is None else str(key)

    def decode(self, values: Sequence[bytes], timestamp: int = NO_TIMESTAMP) -> Decoded:
        """What the stream would make of JSON objects.

        Args:
            values: of records.
            timestamp: Kafka's, in milliseconds, beyond which no event time may lie too far; by default unknown.

        """
        return self._decoder.decode(self._batch(values, timestamp))

    def _batch(self, values: Sequence[bytes], timestamp: int) -> Batch:
        return Batch(
            self._partition,
            np.arange(len(values)),
            np.full(len(values), timestamp, np.int64),
            [b""] * len(values),  # which key a record has does not change what it says
            list(values),
            [None] * len(values),
        )


def values_of(history: pl.DataFrame, pipeline: Pipeline) -> list[bytes]:
    """The rows of a frame as values of records: its declared columns, exactly.

    Raises:
        ConfigError: a column is absent, or of a type that can't be what it is declared.

    """
    declared = Declared.of(pipeline)
    for name in declared.required:
        if name not in history.columns:
            raise ConfigError(f"history: there is no column '{name}'; {did_you_mean(name, history.columns)}")
    names = [name for name in pipeline.columns if name in history.columns]
    for name in names:
        if reason := refusal(name, history.schema[name], declared):
            raise ConfigError(f"history: {reason}")
    columns = [json_values(history[name], declared) for name in names]
    encode = msgspec.json.Encoder().encode
    return [encode(dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]
