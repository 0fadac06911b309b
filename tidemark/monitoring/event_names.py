"""What predicted events are called, kept as numbers: an outcome that becomes a label must say of which event it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidemark.errors import RecordError
from tidemark.records import Prediction
from tidemark.records.event_id import event_id, parse_event_id

FIELDS: Final = [
    ("offset", "i8"),
    ("topic", "i2"),
    ("raw", "i4"),
    ("place", "i8"),
    ("incarnation", "u4"),
    ("key", "i8"),
]
"""Columns of a table of predictions: offset of the prediction's record; the event's raw topic by its number, -1 where
its id is none of ours, partition, offset and incarnation; number of its key, -1 for none."""
_IN_FLIGHT: Final = 200_000
"""Predictions that may be decoded and not held yet: their keys must not be forgotten."""


class EventNames:
    """Event ids and keys of the predictions that are held. raw_topics: of the pipeline."""

    def __init__(self, raw_topics: Sequence[str]) -> None:
        self._topics = list(raw_topics)
        self._keys: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._used: dict[int, int] = {}
        self._decoded = self._next = 0

    def number(self, rows: NDArray[Any], found: Sequence[Prediction], offsets: NDArray[np.int64]) -> None:
        """Write the names of predictions into their rows.

        Args:
            rows: (n,) with `FIELDS`, written.
            found: n predictions.
            offsets: (n,) of their records.

        """
        rows["offset"] = offsets
        for row, prediction in zip(rows, found, strict=True):
            row["topic"], row["raw"], row["place"], row["incarnation"] = self._position(prediction.event_id)
            row["key"] = -1 if prediction.key is None else self._key(prediction.key)

    def of(self, row: NDArray[Any]) -> tuple[str, str | None] | None:
        """Event id and key of a row; None where its id is none of ours."""
        if row["topic"] < 0:
            return None
        name = event_id(
            self._topics[int(row["topic"])], int(row["raw"]), int(row["place"]), f"{int(row['incarnation']):08x}"
        )
        return name, None if row["key"] < 0 else self._keys[int(row["key"])]

    def forget(self, rows: NDArray[Any]) -> None:
        """Forget keys that no row has, now and then. rows: all that are held."""
        if len(self._keys) <= 2 * (len(rows) + _IN_FLIGHT):
            return
        held = set(rows["key"].tolist())
        for number, used in list(self._used.items()):
            if number not in held and used < self._decoded - _IN_FLIGHT:
                del self._used[number]
                del self._numbers[self._keys.pop(number)]

    def _key(self, key: str) -> int:
        self._decoded += 1
        number = self._numbers.setdefault(key, self._next)
        if number == self._next:
            self._keys[number] = key
            self._next += 1
        self._used[number] = self._decoded
        return number

    def _position(self, name: str) -> tuple[int, int, int, int]:
        try:
            position = parse_event_id(name)
            incarnation = int(position.incarnation, 16)
        except (RecordError, ValueError):
            return -1, 0, 0, 0
        again = event_id(position.topic, position.partition, position.offset, f"{incarnation & 0xFFFFFFFF:08x}")
        if position.topic not in self._topics or again != name:
            return -1, 0, 0, 0
        return self._topics.index(position.topic), position.partition, position.offset, incarnation
