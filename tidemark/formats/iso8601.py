"""ISO 8601 texts to microseconds since 1970, by one strict grammar. A kernel reads the common form of it.

- A date is `2025-01-31`, `20250131`, a week's day `2025-W05-5`, `2025W055`, or a year's day `2025-031`, `2025031`.
- A time follows `T`, `t` or one space: `09`, `09:30`, `09:30:15`, with a fraction of the second behind a point or a
  comma; behind a date without hyphens without colons. Digits beyond microseconds are cut.
- An offset follows a time: `Z`, `z`, `+02`, `+0200`, `+02:00`. Without one it is UTC.
- Every character counts. There is no hour 24, no second 60, no year 0, no offset of seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tidemark.formats.time_patterns import TimePattern, microseconds_of, offset_minutes

UNREADABLE: Final = -(2**63)
"""In place of a time where a text is none."""
_DATE: Final = (
    r"(?P<year>[0-9]{4})(?:{0}(?P<month>[0-9]{2}){0}(?P<day>[0-9]{2})"
    r"|{0}W(?P<week>[0-9]{2}){0}(?P<weekday>[1-7])|{0}(?P<ordinal>[0-9]{3}))"
)
_CLOCK: Final = (
    r"(?P<hour>[0-9]{2})(?:{1}(?P<minute>[0-9]{2})(?:{1}(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?)?"
)
_OFFSET: Final = r"(?P<offset>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?"
_FORMS: Final = tuple(
    re.compile(f"{_DATE}(?:[Tt ]{_CLOCK}{_OFFSET})?".replace("{0}", hyphen).replace("{1}", colon))
    for hyphen, colon in (("-", ":"), ("", ""))
)
_SHORTEST: Final = len("2025-01-01T00:00:00Z")
_LONGEST: Final = len("2025-01-01T00:00:00.000000Z")
_ZERO, _NINE, _DOT, _Z = (np.uint8(ord(c)) for c in "09.Z")
_PATTERN: Final = np.frombuffer(b"0000-00-00T00:00:00", np.uint8)
_DAYS_BEFORE: Final = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365], np.int64)


def iso_times(texts: Sequence[str], patterns: Sequence[TimePattern] = ()) -> NDArray[np.int64]:
    """µs since 1970 of each text.

    Args:
        texts: by the grammar above.
        patterns: further ways in which a time may be written, tried in order.

    Returns:
        (n,) int64, `UNREADABLE` where a text is no such time.

    """
    joined = "".join(texts)
    out = np.full(len(texts), UNREADABLE, np.int64)
    if joined.isascii():
        ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        _parse(np.frombuffer(joined.encode(), np.uint8), ends, out)
    for i in np.flatnonzero(out == UNREADABLE).tolist():
        time = iso_time(texts[i])
        for pattern in patterns:
            time = pattern.microseconds(texts[i]) if time is None else time
        out[i] = UNREADABLE if time is None else time
    return out


def iso_time(text: str) -> int | None:
    """µs since 1970 of a text by the grammar above; None where it is none."""
    match = _FORMS[0].fullmatch(text) or _FORMS[1].fullmatch(text)
    if match is None:
        return None
    told = match.groupdict()
    try:
        day = _day(told)
    except ValueError:
        return None
    clock = (int(told["hour"] or 0), int(told["minute"] or 0), int(told["second"] or 0))
    return microseconds_of(day, clock, told["fraction"] or "", offset_minutes(told["offset"] or "Z"))


def _day(told: dict[str, str | None]) -> int:
    """Ordinal of the date; ValueError where there is none."""
    year = int(told["year"] or 0)
    if told["week"] is not None:
        return date.fromisocalendar(year, int(told["week"]), int(told["weekday"] or 0)).toordinal()
    if told["ordinal"] is not None:
        day = date(year, 1, 1).toordinal() + int(told["ordinal"]) - 1
        if int(told["ordinal"]) < 1 or date.fromordinal(day).year != year:
            raise ValueError("no day of that year")
        return day
    return date(year, int(told["month"] or 0), int(told["day"] or 0)).toordinal()


@njit(cache=True, nogil=True)
def _number(data: NDArray[np.uint8], begin: int, end: int) -> int:
    value = 0
    for p in range(begin, end):
        value = value * 10 + int(data[p]) - 48
    return value


@njit(cache=True, nogil=True)
def _parse(data: NDArray[np.uint8], ends: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    """`YYYY-MM-DDTHH:MM:SS[.f to .ffffff]Z`; leaves `out` as it is for any other form."""
    begin = 0
    for i in range(ends.shape[0]):
        p, end = begin, ends[i]
        begin = end
        if not _SHORTEST <= end - p <= _LONGEST or end - p == _SHORTEST + 1 or data[end - 1] != _Z:
            continue
        right = end - p == _SHORTEST or data[p + 19] == _DOT
        for k in range(_PATTERN.shape[0]):
            c, wanted = data[p + k], _PATTERN[k]
            right &= (_ZERO <= c <= _NINE) if wanted == _ZERO else c == wanted
        for k in range(p + 20, end - 1):
            right &= _ZERO <= data[k] <= _NINE
        if not right:
            continue
        year, month, day = _number(data, p, p + 4), _number(data, p + 5, p + 7), _number(data, p + 8, p + 10)
        hour, minute, second = (
            _number(data, p + 11, p + 13),
            _number(data, p + 14, p + 16),
            _number(data, p + 17, p + 19),
        )
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        if year < 1 or not 1 <= month <= 12 or hour > 23 or minute > 59 or second > 59:
            continue
        length = _DAYS_BEFORE[month] - _DAYS_BEFORE[month - 1] + (leap and month == 2)
        if not 1 <= day <= length:
            continue
        before = year - 1
        days = before * 365 + before // 4 - before // 100 + before // 400 - 719_162
        days += _DAYS_BEFORE[month - 1] + (leap and month > 2) + day - 1
        fraction = 0
        if end - p > _SHORTEST:
            digits = end - p - _SHORTEST - 1
            fraction = _number(data, p + 20, end - 1)
            for _ in range(6 - digits):
                fraction *= 10
        out[i] = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + fraction
