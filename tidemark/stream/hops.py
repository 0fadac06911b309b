"""Hops: rows on their way from the windows over one key to the windows over the next.

One Kafka record for each (round of source batches, target partition): an Arrow IPC stream of rows in the order of
their event times. The header `origins` is a JSON list of the raw partitions that its rows came from, the header
`latest` the latest `_bounded` (decimal). Columns:

| column | type | |
|---|---|---|
| `_origin` | uint32 | index into the origins |
| `_offset` | int | offset of the raw record |
| `_time` | int | event time, µs |
| `_bounded` | int | how far the row may move the watermark, µs; absent in hops of older versions, which is its time |
| `_late` | bool | a window so far may have lost rows to the lateness |
| `_key_0`, `_key_1` … | text | values of the pipeline's keys |
| raw and cleaned columns | as cleaned | those that later stages, the person who labels or the outcome need |
| `f_NAME` | float | the features so far |

Rows of a hop partition are in the order (offset of the record, row in the record).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.errors import RecordError
from tidemark.formats.arrow import from_ipc, to_ipc
from tidemark.formats.arrow_columns import LATEST_TIME, check_columns, check_offsets, check_present, check_times
from tidemark.runtime.processor import UNKNOWN_TIME, Headers, Partition
from tidemark.stream.pieces import RECORD_BYTES, in_pieces

ORIGINS: Final = "origins"
"""Header that names the raw partitions."""
_LATEST: Final = "latest"
_DIGITS: Final = 18
"""Of the last microsecond of the year 9999."""
_SCHEMA: Final[dict[str, pl.DataType]] = {
    "_origin": pl.UInt32(),
    "_offset": pl.Int64(),
    "_time": pl.Int64(),
    "_late": pl.Boolean(),
    "_bounded": pl.Int64(),
}
_Index = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
_Incarnation = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}$")]
_Origin = tuple[str, _Index, _Incarnation]
_TEXTS: Final = {"head": pl.String(), "tail": pl.String()}
_MANY_ORIGINS: Final = 100
_decoder: Final = msgspec.json.Decoder(list[_Origin])


@dataclass(frozen=True, slots=True)
class Hop:
    """A decoded record: its rows, and the raw partitions that `_origin` points to."""

    origins: list[Partition]
    rows: pl.DataFrame


def encode_hop(origins: Sequence[Partition], rows: pl.DataFrame) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """Value and headers of a record."""
    named = [(origin.topic, origin.index, origin.incarnation) for origin in origins]
    moved = rows["_bounded" if "_bounded" in rows.columns else "_time"]
    latest = str(moved.max() if len(rows) else UNKNOWN_TIME).encode()
    return to_ipc(rows), ((ORIGINS, msgspec.json.encode(named)), (_LATEST, latest))


def encode_hops(
    origins: Sequence[Partition], rows: pl.DataFrame
) -> Iterator[tuple[bytes, tuple[tuple[str, bytes], ...]]]:
    """Values and headers of as many records as the rows need, none larger than a topic takes."""

    def encode(begin: int, end: int) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
        piece = rows[begin:end]
        if len(origins) < _MANY_ORIGINS:
            return encode_hop(origins, piece)
        used, index = np.unique(piece["_origin"].to_numpy(), return_inverse=True)
        moved = pl.Series("_origin", index.astype(np.uint32))
        return encode_hop([origins[i] for i in used.tolist()], piece.with_columns(moved))

    pieces = in_pieces(len(rows), int(rows.estimated_size()), encode, RECORD_BYTES)
    return ((value, headers) for _, _, value, headers in pieces)


def latest_time(headers: Headers | None) -> int:
    """How far a hop's rows move event time, µs; `UNKNOWN_TIME` where the record does not tell."""
    told = next((content for name, content in headers or [] if name == _LATEST), None)
    if told is None or len(told) > _DIGITS:
        return UNKNOWN_TIME
    try:
        latest = int(told)
    except ValueError:
        return UNKNOWN_TIME
    return latest if 0 <= latest <= LATEST_TIME else UNKNOWN_TIME


def decode_hop(value: bytes | None, headers: Headers | None) -> Hop:
    """What `encode_hop` wrote.

    Raises:
        RecordError: the record is no hop; the reason names what is missing.

    """
    named = next((content for name, content in headers or [] if name == ORIGINS), None)
    if named is None:
        raise RecordError("decode", f"no header '{ORIGINS}' where a hop was expected")
    try:
        origins = [Partition(*origin) for origin in _decoder.decode(named)]
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
        raise RecordError("decode", f"header '{ORIGINS}' of a hop: {error}") from error
    rows = from_ipc(value, "a hop")
    if "_bounded" not in rows.columns:
        rows = rows.with_columns(_bounded=pl.col("_time"))
    check_columns(rows, _SCHEMA, "the rows of a hop")
    check_present(rows, _SCHEMA, "the rows of a hop")
    check_times(rows, "_time", "the rows of a hop")
    check_times(rows, "_bounded", "the rows of a hop")
    check_offsets(rows, "_offset", "the rows of a hop")
    if len(rows) and int(rows["_origin"].max()) >= len(origins):  # type: ignore[arg-type]
        raise RecordError("decode", f"a hop's '_origin' points beyond its {len(origins)} origins")
    return Hop(origins, rows)


def event_ids(origins: Sequence[Partition], origin: NDArray[np.uint32], offsets: NDArray[np.int64]) -> pl.Series:
    """Event id (`tidemark.records.event_id`) of each row: its offset in the partition that `origin` points to."""
    offset = pl.Series(offsets, dtype=pl.Int64).cast(pl.String)
    heads, tails = [f"{o.topic}-{o.index}-" for o in origins], [f"-{o.incarnation}" for o in origins]
    if len(origins) == 1:
        head, tail = pl.Series(heads), pl.Series(tails)
    else:
        # Rows of a frame are taken without a query, unlike those of a series.
        head, tail = pl.DataFrame({"head": heads, "tail": tails}, schema_overrides=_TEXTS)[origin].get_columns()
    return (head + offset + tail).alias("event_id")


def merge(hops: Sequence[Hop]) -> Hop:
    """The rows of several records as one, in order."""
    if len(hops) == 1:
        return hops[0]
    origins: dict[Partition, int] = {}
    moved = []
    for hop in hops:
        index = np.array([origins.setdefault(origin, len(origins)) for origin in hop.origins], np.uint32)
        moved.append(index[hop.rows["_origin"].to_numpy()])
    rows = pl.concat([hop.rows for hop in hops], rechunk=True)
    rows.replace_column(
        rows.get_column_index("_origin"), pl.Series("_origin", np.concatenate(moved), dtype=pl.UInt32())
    )
    return Hop(list(origins), rows)
