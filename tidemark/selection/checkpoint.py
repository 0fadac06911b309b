"""What `select` commits with its offset: where to rewind to, the state that held there, and the ledger."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from typing import Final

from tidemark.errors import ConfigError, TopicError
from tidemark.selection.clock import Watermarks
from tidemark.selection.ledger import Ledger

MAX_BYTES: Final = 4_000
LONG_AGO: Final = -(2**63)
"""Number of a tile before every tile."""

_PREFIX: Final = "select1:"
_HEAD: Final = struct.Struct(">qqqqqH")
_WINDOWS: Final = struct.Struct(">qqqq")
"""Hour, spent in it, day, spent in it: at the end, where the budget has such bounds."""
_ALARM: Final = struct.Struct(">qq")
"""Alarm of drift that is followed, extra cases since: after hours and days, where there was one."""
_NONE: Final = -(2**63)
_TAILS: Final = (0, _WINDOWS.size, _WINDOWS.size + _ALARM.size)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Committed state of the selection.

    tile_length: µs, by which tiles are numbered.  rewind: offset of the first record of the oldest open tile; None if
    no tile is open.  watermarks, first_open: as they were before that record (or are now).  settled: first tile that
    is open now; those below were decided, and a replay drops what it finds of them.  ledger: cases asked for.
    """

    tile_length: int
    rewind: int | None
    watermarks: Watermarks
    first_open: int
    settled: int
    ledger: Ledger

    def encode(self) -> str:
        """ASCII text of fixed length for a number of partitions; longer where hours and days are counted."""
        times = [_NONE if time is None else time for time in self.watermarks.times]
        flags = sum(idle << index for index, idle in enumerate(self.watermarks.idle))
        rewind = _NONE if self.rewind is None else self.rewind
        head = _HEAD.pack(self.tile_length, rewind, self.first_open, self.settled, self.ledger.in_all, len(times))
        body = struct.pack(f">{len(times)}q", *times) + flags.to_bytes(-(-len(times) // 8), "big")
        if any(self.ledger.windows) or self.ledger.alarm:
            body += _WINDOWS.pack(*self.ledger.windows)
        if self.ledger.alarm:
            body += _ALARM.pack(self.ledger.alarm, self.ledger.extra)
        return _PREFIX + base64.b85encode(head + body).decode("ascii")

    @classmethod
    def decode(cls, text: str) -> Checkpoint:
        """Checkpoint of committed metadata.

        Raises:
            TopicError: the metadata was not written by this flow.

        """
        try:
            data = base64.b85decode(text.removeprefix(_PREFIX))
            length, rewind, first_open, settled, spent, count = _HEAD.unpack_from(data)
            times = struct.unpack_from(f">{count}q", data, _HEAD.size)
        except (ValueError, struct.error) as error:
            raise TopicError(_foreign(text)) from error
        rest = data[_HEAD.size + 8 * count :]
        flags, windows = rest[: -(-count // 8)], rest[-(-count // 8) :]
        known = text.startswith(_PREFIX) and len(flags) == -(-count // 8) and len(windows) in _TAILS
        if not known:
            raise TopicError(_foreign(text))
        counted = _WINDOWS.unpack(windows[: _WINDOWS.size]) if windows else ()
        alarm = _ALARM.unpack(windows[_WINDOWS.size :]) if len(windows) > _WINDOWS.size else ()
        ledger = Ledger(spent, *counted, *alarm)
        bits = int.from_bytes(flags, "big")
        watermarks = Watermarks(
            tuple(None if time == _NONE else time for time in times),
            tuple(bool(bits >> index & 1) for index in range(count)),
        )
        return cls(length, None if rewind == _NONE else rewind, watermarks, first_open, settled, ledger)


def _foreign(text: str) -> str:
    return (
        f"the state committed for the select flow, {text[:40]!r}..., is not one it wrote; if another program used its "
        "consumer group, run `tidemark reset FILE select --to earliest`: what was asked is not asked again"
    )


def check_fits(partitions: int, *, windows: bool = False, alarm: bool = False) -> None:
    """Refuse a number of partitions whose checkpoint would be longer than Kafka takes.

    Args:
        partitions: their number.
        windows: whether hours and days are counted.
        alarm: whether alarms of drift are followed.

    Raises:
        ConfigError: naming the number that fits.

    """

    def size(n: int) -> int:
        return encoded_size(n, windows=windows, alarm=alarm)

    if size(partitions) > MAX_BYTES:
        most = next(n for n in range(partitions, 0, -1) if size(n) <= MAX_BYTES)
        raise ConfigError(
            f"pipeline.partitions: {partitions} partitions' watermarks don't fit the {MAX_BYTES} bytes that Kafka "
            f"keeps with an offset; use at most {most}"
        )


def encoded_size(partitions: int, *, windows: bool = False, alarm: bool = False) -> int:
    """Bytes of a checkpoint of so many partitions, of hours and days, and of an alarm."""
    raw = _HEAD.size + 8 * partitions + -(-partitions // 8) + (windows or alarm) * _WINDOWS.size + alarm * _ALARM.size
    return len(_PREFIX) + raw // 4 * 5 + (raw % 4 + 1 if raw % 4 else 0)
