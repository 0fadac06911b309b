"""Numbers, money, times and durations as people read them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_WITHOUT_CENTS: Final = frozenset({"CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF"})
_LARGE: Final = 1e15
_STEPS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NOTHING: Final = "–"
"""Shown where there is no value."""


def number(value: float, digits: int = 4) -> str:
    """A number with a few significant digits, its thousands apart.

    Args:
        value: any, also none.
        digits: significant ones; those before the point are all shown.

    Returns:
        It, with a true minus sign.

    """
    if not math.isfinite(value):
        return NOTHING
    size = abs(value)
    if size >= _LARGE or 0 < size < 1e-4:
        text = f"{value:.{digits - 1}e}"
    elif float(value).is_integer():
        text = f"{value:,.0f}"
    else:
        decimals = max(digits - 1 - math.floor(math.log10(size)), 0)
        text = f"{value:,.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "\u2212")


def money(value: float, currency: str) -> str:
    """An amount with the digits of its currency."""
    decimals = 0 if currency in _WITHOUT_CENTS else 2
    return f"{value:,.{decimals}f}".replace("-", "\u2212") + f" {currency}"


def measured(value: float, unit: str, digits: int = 4) -> str:
    """A number with its unit: a currency by its three capitals, or what is written behind a number; "" for none."""
    if not math.isfinite(value):
        return NOTHING
    if _CURRENCY.fullmatch(unit) and abs(value) < _LARGE:
        return money(value, unit)
    if unit == "%":
        return f"{number(value, digits)} %"
    return f"{number(value, digits)} {unit}" if unit else number(value, digits)


def duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    if not math.isfinite(seconds):
        return NOTHING
    sign, left = ("\u2212" if seconds < 0 else ""), abs(seconds)
    if left < 1:
        return f"{sign}{1_000 * left:.0f} ms"
    left = round(left)
    parts: list[str] = []
    for unit, length in _STEPS:
        count, left = divmod(left, length)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return sign + " ".join(part for part in parts if part)


def due_in(seconds: float) -> str:
    """How long until something is due, or for how long it is overdue, to the minute. seconds: below 0 once overdue."""
    minutes = int(abs(seconds) // 60)
    words = duration(60.0 * minutes) if minutes else "less than a minute"
    return f"due in {words}" if seconds > 0 else f"overdue by {words}"


def share(value: float) -> str:
    """A probability in percent: never 0 or 100 where it is not."""
    if not math.isfinite(value):
        return NOTHING
    percent = 100 * value
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %" if percent < 10 or percent > 90 else f"{percent:.0f} %"


@dataclass(frozen=True, slots=True)
class Times:
    """Times of one pipeline's zone. name: of the zone."""

    zone: tzinfo
    name: str

    @classmethod
    def of(cls, zone: str | None) -> Times:
        """Of a zone's name; None for UTC."""
        return cls(UTC, "UTC") if zone is None else cls(ZoneInfo(zone), zone)

    def at(self, us: int) -> datetime | None:
        """A moment, µs since 1970; None where no calendar has it."""
        try:
            return (_EPOCH + timedelta(microseconds=us)).astimezone(self.zone)
        except (OverflowError, ValueError):
            return None

    def moment(self, us: int) -> str:
        """A moment to the second, with its zone."""
        when = self.at(us)
        if when is None:
            return f"{us} µs"
        return f"{when:%a} {when.day} {when:%b %Y, %H:%M:%S} {when.tzname() or self.name}"

    def minute(self, us: int) -> str:
        """A moment to the minute, without its zone."""
        when = self.at(us)
        if when is None:
            return f"{us} µs"
        return f"{when.day} {_MONTHS[when.month - 1]} {when.year}, {when.hour:02}:{when.minute:02}"

    def day(self, us: int) -> str:
        """A day."""
        when = self.at(us)
        return f"{us} µs" if when is None else f"{when.day} {when:%b}"

    def iso(self, us: int) -> str:
        """A moment for programs."""
        when = self.at(us)
        return "" if when is None else when.isoformat()
