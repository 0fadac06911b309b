"""How records tell event times: one table, which the decoder, the readers of files, the checks and `init` share.

A format of Tidemark's own is a row here. A format of another package is an entry point of the group
`tidemark.time_formats` that names its `TimeFormat`, or `module:attribute` in the pipeline file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from tidemark.runtime.plugins import Plugins
from tidemark.times.time_patterns import TimePattern, time_pattern

if TYPE_CHECKING:  # whoever reads a pipeline file reads no times
    import numpy as np
    from numpy.typing import NDArray

GROUP: Final = "tidemark.time_formats"
"""Group of the entry points of other packages' time formats."""
LATEST: Final = (datetime(9999, 12, 31, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
"""The latest event time, µs since 1970."""
_DAY_US: Final = 86_400_000_000
_SAMPLES: Final = (0, 1_735_787_045_000_000, 1_735_787_046_000_000)
_JUNK: Final[dict[str, object]] = {"string": "no time at all", "int": 2**63 - 1, "float": -1e300, "bool": True}
Read: TypeAlias = "Callable[[Sequence[Any], Sequence[TimePattern]], NDArray[np.int64]]"


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """One way to tell a time.

    Attributes:
        types: of the columns that may tell times so: `string`, `int`, `float`.
        read: (n) values of such a column, and the patterns that the file names, to (n,) int64 µs since 1970;
            `iso8601.UNREADABLE` where a value is no time. It never raises, and a value's time depends on it alone.
        write: µs since 1970 to the value that msgspec writes as JSON.
        looks: whether values of a column of some type, none of them null, look as if they told times so.
        patterned: whether the file may name patterns.

    """

    types: tuple[str, ...]
    read: Read
    write: Callable[[int], object]
    looks: Callable[[Sequence[Any], str], bool]
    patterned: bool = False


def _read_iso(values: Sequence[Any], patterns: Sequence[TimePattern]) -> NDArray[np.int64]:
    from tidemark.times.iso8601 import iso_times  # noqa: PLC0415 - brings the compiler of its kernel

    return iso_times(values, patterns)


def _write_iso(at: int) -> object:
    days, rest = divmod(at, _DAY_US)
    try:
        day = date.fromordinal(days + date(1970, 1, 1).toordinal()).isoformat()
    except (ValueError, OverflowError):
        return f"{at} µs since 1970, which is no year of four digits"
    seconds, fraction = divmod(rest, 1_000_000)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{day}T{clock}{f'.{fraction:06d}' if fraction else ''}Z"


def _looks_iso(values: Sequence[Any], kind: str) -> bool:
    from tidemark.times.iso8601 import UNREADABLE  # noqa: PLC0415 - as above

    return kind == "string" and bool((_read_iso(values, ()) != UNREADABLE).all())


def _read_epoch(unit: int, values: Sequence[Any], _: Sequence[TimePattern]) -> NDArray[np.int64]:
    """µs since 1970 of numbers; a time beyond the year 9999 stays beyond."""
    import numpy as np  # noqa: PLC0415 - as at the top

    bound = (LATEST + 1) // unit + 1
    scaled = np.clip(np.array(values), -bound, bound) * unit
    times: NDArray[np.int64] = (scaled if scaled.dtype.kind == "i" else np.rint(scaled)).astype(np.int64)
    return times


def _write_epoch(unit: int, at: int) -> object:
    whole, rest = divmod(at, unit)
    if not rest:
        return whole
    places = len(str(unit)) - 1
    return msgspec.Raw(f"{'-' if at < 0 else ''}{abs(at) // unit}.{abs(at) % unit:0{places}d}".encode())


def _epoch(unit: int, types: tuple[str, ...], low: float, high: float) -> TimeFormat:
    """Numbers since 1970. unit: µs.  low, high: numbers that are likely to be times."""

    def looks(values: Sequence[Any], kind: str) -> bool:
        return kind in types and all(low <= value <= high for value in values)

    return TimeFormat(types, partial(_read_epoch, unit), partial(_write_epoch, unit), looks)


def _accept(_: str, found: object) -> TimeFormat:
    import numpy as np  # noqa: PLC0415 - as at the top

    if not isinstance(found, TimeFormat):
        raise ValueError(f"it is a {type(found).__name__}, not a tidemark.times.time_formats.TimeFormat")  # noqa: TRY004
    if not found.types or not set(found.types) <= set(_JUNK):
        raise ValueError(f"its types are {found.types!r}; name some of {', '.join(_JUNK)}")
    try:
        written = [msgspec.json.decode(msgspec.json.encode(found.write(at))) for at in _SAMPLES]
        back = np.asarray(found.read(written, ()))
        junk = [np.asarray(found.read([_JUNK[kind]], ())) for kind in found.types]
    except Exception as error:  # a stranger's function may raise anything
        raise ValueError(f"it raises {type(error).__name__} ({error}) for a time that it is tried with") from error
    if any(each.dtype != np.int64 or each.shape != (1,) for each in junk) or back.dtype != np.int64:
        raise ValueError("its 'read' must give int64, one number for each value")
    if back.tolist() != list(_SAMPLES):
        raise ValueError(f"it reads {back.tolist()} µs from what it writes for {list(_SAMPLES)} µs")
    return found


TIME_FORMATS: Final = Plugins(
    "time format",
    GROUP,
    {
        "iso8601": TimeFormat(("string",), _read_iso, _write_iso, _looks_iso, patterned=True),
        "epoch_s": _epoch(1_000_000, ("int", "float"), 1e8, 5e9),
        "epoch_ms": _epoch(1_000, ("int", "float"), 1e11, 5e12),
        "epoch_us": _epoch(1, ("int",), 1e14, 5e15),
    },
    _accept,
)
"""Every time format by its name."""


def time_reader(name: str, patterns: Sequence[str] | None) -> Callable[[Sequence[Any]], NDArray[np.int64]]:
    """What reads the times of a pipeline.

    Args:
        name: of a time format.
        patterns: that the pipeline file names besides.

    Returns:
        Of n values their (n,) int64 µs since 1970, as `TimeFormat.read` has it.

    """
    read, known = TIME_FORMATS.get(name).read, [time_pattern(text) for text in patterns or ()]
    return lambda values: read(values, known)
