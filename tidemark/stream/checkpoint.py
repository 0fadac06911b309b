"""What is committed with a partition's offset: where its state can be rebuilt from, and what held before."""

from __future__ import annotations

import json
from typing import Annotated

import msgspec

from tidemark.errors import TopicError
from tidemark.runtime.processor import Partition

_Offset = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
_Time = Annotated[int, msgspec.Meta(gt=-(2**62), lt=2**62)]


class Position(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """State of a partition at a committed offset.

    rewind: offset of the oldest record that the windows depend on; None if they depend on none.
    watermark: before the record at `rewind`, or at the committed offset if that is None; None before the first row.
    reached: watermark at the committed offset, where rows are to be replayed.  clock: of the process that committed,
    µs, where rows are to be replayed: both bound the replay, so that it ends where the first processing did.
    rebuild: read all again that the topic holds, and let the watermark follow from it: written by `tidemark reset`.
    model: version in force: a record for people (`tidemark status`). It is not restored at a takeover: the model in
    force follows from `P.models`, which whoever takes over has read to its end.
    reach: how far behind the watermark a row mattered, µs; None in positions of earlier versions.
    sampled: what the background sample has counted of the partition: a day of event time, its rows so far, and those of
    the day before it.
    steps: states of a user's own steps before the record at `rewind`, base64, by the names of the steps.
    """

    rewind: _Offset | None = None
    watermark: _Time | None = None
    reached: _Time | None = None
    clock: _Time | None = None
    rebuild: bool = False
    model: str = "none"
    reach: _Time | None = None
    sampled: tuple[_Time, _Offset, _Offset] | None = None
    steps: dict[str, str] = {}


_decode = msgspec.json.Decoder(Position).decode


def pack(position: Position) -> str:
    """Metadata of a committed offset, ASCII."""
    return json.dumps(msgspec.to_builtins(position), separators=(",", ":"))


def unpack(partition: Partition, metadata: str) -> Position:
    """What `pack` wrote; of an empty text, the position of a partition that was never processed.

    Raises:
        TopicError: the metadata is not of the stream processor.

    """
    if not metadata:
        return Position()
    try:
        return _decode(metadata)
    except msgspec.DecodeError as error:
        raise TopicError(
            f"{partition.topic}[{partition.index}]: the committed metadata is not of the stream flow ({error}); "
            "another program commits under its group, or the group must be reset"
        ) from error
