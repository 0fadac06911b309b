"""The features of `pipelines/fraud.toml` event by event, for engines whose users write Python functions.

A history is a list of (time in µs, amount) of a key's earlier events, sorted by time.
"""

from __future__ import annotations

import math
import os
from bisect import insort
from datetime import datetime
from typing import Any, Final

Pair = tuple[int, float]
NAN: Final = float("nan")
_SECOND: Final = 1_000_000
_HOUR: Final = 3_600 * _SECOND
_DAY: Final = 24 * _HOUR
_WEEK: Final = 7 * _DAY
_KEPT: Final = _WEEK + 6 * _HOUR
_NIGHT: Final = 6
_CHANNELS: Final = {"chip": 0.0, "contactless": 1.0, "online": 2.0, "stripe": 3.0}
_VERSION: Final = os.environ.get("PEER_VERSION", "")


def row(time: str, amount: float, channel: str | None) -> tuple[int, list[float]]:
    """Event time in µs, and the features that a payment tells by itself."""
    when = datetime.fromisoformat(time)
    hour = when.hour + when.minute / 60.0
    night = 1.0 if when.hour < _NIGHT else 0.0
    code = _CHANNELS.get(channel or "", NAN)
    features = [amount, math.log1p(amount), hour, float(when.isoweekday()), night, code]
    return round(when.timestamp() * _SECOND), features


def remember(history: list[Pair], time: int, amount: float) -> None:
    """Add an event to a history, and drop what no window reaches any more."""
    pair = (time, amount)
    if history and time < history[-1][0]:
        insort(history, pair)
    else:
        history.append(pair)
    oldest = history[-1][0] - _KEPT
    old = 0
    while history[old][0] <= oldest:
        old += 1
    del history[:old]


def _within(history: list[Pair], time: int) -> tuple[list[float], int, int, float, float]:
    """Amounts of the week, newest first; events of the hour and the day, the day's sum, seconds since the last."""
    week: list[float] = []
    hour = day = 0
    total, since = 0.0, NAN
    for at, amount in reversed(history):
        age = time - at
        if age < 0:
            continue
        if age >= _WEEK:
            break
        if not week:
            since = age / _SECOND
        week.append(amount)
        if age < _DAY:
            day += 1
            total += amount
            hour += age < _HOUR
    return week, hour, day, total, since


def customer(history: list[Pair], time: int) -> list[float]:
    """The seven windows over the customer."""
    week, hour, day, total, since = _within(history, time)
    count = len(week)
    mean = sum(week) / count if count else NAN
    std = math.sqrt(sum((amount - mean) ** 2 for amount in week) / (count - 1)) if count > 1 else NAN
    return [float(hour), float(day), total / day if day else NAN, mean, std, max(week, default=NAN), since]


def terminal(history: list[Pair], time: int) -> list[float]:
    """The six windows over the terminal."""
    week, hour, day, total, since = _within(history, time)
    count = len(week)
    mean = sum(week) / count if count else NAN
    return [float(hour), float(day), total / day if day else NAN, float(count), mean, since]


def derived(own: list[float], by_customer: list[float], by_terminal: list[float]) -> list[float]:
    """What compares a payment with its windows."""
    amount = own[0]
    ratios = (amount / other if other else NAN for other in (by_customer[3], by_customer[5], by_terminal[4]))
    return [*ratios, by_terminal[1] / (by_terminal[3] + 1.0)]


def prediction(event_id: str, business_id: str, key: str, time: int, probability: float) -> dict[str, Any]:
    """The record that goes out, as Tidemark's."""
    other = 1.0 - probability
    return {
        "event_id": event_id,
        "business_id": business_id,
        "key": key,
        "time": time,
        "probabilities": [other, probability],
        "uncertainty": 1.0 - abs(probability - other),
        "model": _VERSION,
        "late": False,
    }
