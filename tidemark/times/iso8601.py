"""ISO 8601 texts to microseconds since 1970, by one strict grammar. A kernel reads the common form (`iso8601_scan`).

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
from numpy.typing import NDArray

from tidemark.times.time_patterns import TimePattern, microseconds_of, offset_minutes

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


def iso_times(texts: Sequence[str], patterns: Sequence[TimePattern] = ()) -> NDArray[np.int64]:
    """µs since 1970 of each text.

    Args:
        texts: by the grammar above.
        patterns: further ways in which a time may be written, tried in order.

    Returns:
        (n,) int64, `UNREADABLE` where a text is no such time.

    """
    from tidemark.times import iso8601_scan  # noqa: PLC0415 numba, which who never reads a time need not wait for

    joined = "".join(texts)
    out = np.full(len(texts), UNREADABLE, np.int64)
    if joined.isascii():
        ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        iso8601_scan.parse(np.frombuffer(joined.encode(), np.uint8), ends, out)
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
