"""Times in forms of one's own: a pattern in the notation of strptime, read strictly and alike on every machine.

Python's strptime takes a month of one digit, names of the machine's language, and `%p` beside `%H` without a look at
it. Here each directive is a fixed form, every character of a text counts, and a weekday must be the date's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

_DAY_NAMES: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTH_NAMES: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_FORMS: Final = {
    "Y": r"[0-9]{4}",
    "m": r"[0-9]{2}",
    "d": r"[0-9]{2}",
    "j": r"[0-9]{3}",
    "H": r"[0-9]{2}",
    "I": r"[0-9]{2}",
    "M": r"[0-9]{2}",
    "S": r"[0-9]{2}",
    "f": r"[0-9]{1,12}",
    "-m": r"[0-9]{1,2}",
    "-d": r"[0-9]{1,2}",
    "-H": r"[0-9]{1,2}",
    "-I": r"[0-9]{1,2}",
    "p": "[AaPp][Mm]",
    "z": "[Zz]|[+-][0-9]{2}:?[0-9]{2}",
    "a": "|".join(name[:3] for name in _DAY_NAMES),
    "A": "|".join(_DAY_NAMES),
    "b": "|".join(name[:3] for name in _MONTH_NAMES),
    "B": "|".join(_MONTH_NAMES),
}
_DIRECTIVE: Final = re.compile(r"%(-?[A-Za-z%])")
_EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class TimePattern:
    """A way in which times are written."""

    text: str
    form: re.Pattern[str]

    def microseconds(self, text: str) -> int | None:
        """µs since 1970 that a text tells, UTC where it tells no offset; None where it is not of this form."""
        match = self.form.fullmatch(text)
        if match is None:
            return None
        told = match.groupdict()
        try:
            day = _day(told)
        except ValueError:
            return None
        hour = int(told.get("H", "0"))
        if "I" in told:
            hour = int(told["I"])
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + (12 if told["p"][0] in "Pp" else 0)
        offset = offset_minutes(told.get("z", "Z"))
        return microseconds_of(day, (hour, int(told.get("M", "0")), int(told.get("S", "0"))), told.get("f", ""), offset)


def time_pattern(text: str) -> TimePattern:
    """A pattern, ready to read.

    Args:
        text: as `%d/%m/%Y %H:%M:%S`.

    Returns:
        The pattern.

    Raises:
        ValueError: a directive is unknown or there twice, or together they tell no time; says what to write.

    """
    names: list[str] = []
    parts = _DIRECTIVE.split(text)
    written = []
    for i, part in enumerate(parts):
        if i % 2 == 0 or part == "%":
            written.append(re.escape(part))
            continue
        if part not in _FORMS:
            raise ValueError(f"'%{part}' is not known; known are {', '.join(f'%{name}' for name in _FORMS)}, %%")
        names.append(part.lstrip("-"))
        written.append(f"(?P<{part.lstrip('-')}>{_FORMS[part]})")
    if "%" in "".join(parts[::2]):
        raise ValueError("a '%' stands alone; write '%%' for the character")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"'%{twice[0]}' is there twice; write it once")
    known = set(names)
    months = len(known & {"m", "b", "B"})
    whole = "Y" in known and ((months == 1 and "d" in known) or (months == 0 and "j" in known and "d" not in known))
    if not whole:
        raise ValueError("it tells no day; write '%Y', '%m' and '%d', or '%Y' and '%j'")
    if ("I" in known) != ("p" in known) or {"H", "I"} <= known:
        raise ValueError("write '%H', or '%I' with '%p'")
    if ("M" in known and not known & {"H", "I"}) or ("S" in known and "M" not in known):
        raise ValueError("a minute needs its hour, and a second its minute")
    if "f" in known and "S" not in known:
        raise ValueError("a fraction needs its second")
    return TimePattern(text, re.compile("".join(written)))


def offset_minutes(text: str) -> int | None:
    """Minutes east of UTC of `Z`, `+HH`, `+HHMM` or `+HH:MM`; None where there are no such hours or minutes."""
    if text in "Zz":
        return 0
    hours, minutes = int(text[1:3]), int(text[-2:]) if len(text) > 3 else 0
    if hours > 23 or minutes > 59:
        return None
    return (hours * 60 + minutes) * (-1 if text[0] == "-" else 1)


def microseconds_of(day: int, clock: tuple[int, int, int], fraction: str, offset: int | None) -> int | None:
    """µs since 1970 of an ordinal day and a time of day; None where a part is out of range.

    Digits of a fraction beyond microseconds are cut.
    """
    hour, minute, second = clock
    if offset is None or hour > 23 or minute > 59 or second > 59:
        return None
    seconds = (day - _EPOCH) * 86_400 + hour * 3_600 + (minute - offset) * 60 + second
    return seconds * 1_000_000 + int(f"{fraction[:6]:0<6}")


def _day(told: dict[str, str]) -> int:
    year = int(told["Y"])
    if "j" in told:
        number = int(told["j"])
        day = date(year, 1, 1).toordinal() + number - 1
        if number < 1 or date.fromordinal(day).year != year:
            raise ValueError("no day of that year")
    else:
        names = [name[:3] for name in _MONTH_NAMES] if "b" in told else list(_MONTH_NAMES)
        month = int(told["m"]) if "m" in told else names.index(told.get("b") or told["B"]) + 1
        day = date(year, month, int(told["d"])).toordinal()
    weekday = told.get("a") or told.get("A")
    if weekday is not None and not _DAY_NAMES[(day - 1) % 7].startswith(weekday):
        raise ValueError("another weekday")
    return day
