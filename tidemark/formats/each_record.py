"""Raw records in a format of the user's own: a function from the bytes of one record to its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemark.formats.decoder import BadRow, Decoded, Decoder
from tidemark.pipeline import Pipeline
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.processor import UNKNOWN_TIME, Batch

_STEP: Final = "decode"
_SHOWN: Final = 500
_REFUSALS: Final = (ValueError, LookupError, TypeError, ArithmeticError, msgspec.MsgspecError)
"""What a function raises of a record that it can't read. Whatever else it raises is a bug, and ends the flow."""


class EachRecord:
    """Decodes records by a function, and checks what it gives as if it had come as JSON.

    columns: the columns of one record, by name. What it raises of a record (a ValueError, LookupError, TypeError or
        ArithmeticError) is the reason of its dead letter. It must depend on the record alone.
    """

    def __init__(self, pipeline: Pipeline, columns: Callable[[bytes], Mapping[str, object]]) -> None:
        self._columns = columns
        self._decoder = Decoder(pipeline, "json")

    def decode(self, batch: Batch, now: int | NDArray[np.int64] | None = None) -> Decoded:
        """Columns of a batch's good rows, and its bad rows with their reasons.

        Args:
            batch: raw records.
            now: clock of the process that read them first, µs since 1970; one, or one for each record; by default
                this process's.

        Returns:
            The rows.

        """
        told, places, bad = self._as_json(batch)
        clocks = np.broadcast_to(wall_clock() if now is None else now, len(batch))
        decoded = self._decoder.decode(told, clocks[places])
        bad += [replace(one, row=int(places[one.row])) for one in decoded.bad]
        return replace(decoded, rows=places[decoded.rows], bad=sorted(bad, key=attrgetter("row")))

    def event_times(self, batch: Batch) -> list[int]:
        """How far each record may move event time (µs); `UNKNOWN_TIME` where it tells none."""
        times = [UNKNOWN_TIME] * len(batch)
        told, places, _ = self._as_json(batch)
        for place, time in zip(places.tolist(), self._decoder.event_times(told), strict=True):
            times[place] = time
        return times

    def _as_json(self, batch: Batch) -> tuple[Batch, NDArray[np.int64], list[BadRow]]:
        """The records that the function can read, as JSON; their places in the batch; and the others."""
        values: list[bytes | None] = []
        places = []
        bad = []
        for row, value in enumerate(batch.values):
            try:
                values.append(None if value is None else msgspec.json.encode(dict(self._columns(value))))
            except _REFUSALS as error:
                bad.append(BadRow(row, _STEP, f"{type(error).__name__}: {error}"[:_SHOWN]))
            else:
                places.append(row)
        kept = np.array(places, np.int64)
        keys = [batch.keys[row] for row in places]
        return Batch(batch.partition, batch.offsets[kept], batch.timestamps[kept], keys, values), kept, bad
