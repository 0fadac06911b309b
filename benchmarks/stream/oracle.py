"""What the fraud pipeline must predict, computed event by event in event order. It shares no code with the product.

Features are those of `pipelines/fraud.toml`, written down once more: plain loops over the earlier events of a key. The
forest is LightGBM's own. Compiled, since a backlog has millions of events.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import lightgbm
import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
FEATURES: Final = 23
_SECOND: Final = 1_000_000
_HOUR: Final = 3_600 * _SECOND
_DAY: Final = 24 * _HOUR
_WEEK: Final = 7 * _DAY
_CHANNELS: Final = {"chip": 0.0, "contactless": 1.0, "online": 2.0, "stripe": 3.0}
_BLOCK: Final = 500_000


def expected(events: pl.DataFrame, model_file: Path) -> Floats:
    """Probability of fraud of each event.

    Args:
        events: as the simulator gives them, by event time.
        model_file: LightGBM's text.

    Returns:
        (n,), in the order of the events.

    """
    booster = lightgbm.Booster(model_file=str(model_file))
    values = features(events)
    blocks = [booster.predict(block) for block in _blocks(values)]
    return np.concatenate([np.asarray(block, np.float64) for block in blocks])


def features(events: pl.DataFrame) -> Floats:
    """Features of each event, in the order of the pipeline file.

    Args:
        events: as the simulator gives them, by event time.

    Returns:
        (n, 23), NaN where missing.

    """
    amount = events["amount"].to_numpy().astype(np.float64)
    moments = [datetime.fromisoformat(text) for text in events["time"].to_list()]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    passed = [moment - epoch for moment in moments]
    time = np.array([(p.days * 86_400 + p.seconds) * _SECOND + p.microseconds for p in passed], np.int64)
    hour = np.array([moment.hour for moment in moments], np.float64)
    minute = np.array([moment.minute for moment in moments], np.float64)
    found = np.full((len(events), FEATURES), np.nan)
    found[:, 0] = amount
    found[:, 1] = np.log1p(amount)
    found[:, 2] = hour + minute / 60.0
    found[:, 3] = [moment.isoweekday() for moment in moments]
    found[:, 4] = hour < 6
    found[:, 5] = [_CHANNELS.get(channel, np.nan) for channel in events["channel"].to_list()]
    by_customer = _windows(*_histories(events["customer_id"]), time, amount)
    by_terminal = _windows(*_histories(events["terminal_id"]), time, amount)
    count_1h, count_1d, mean_1d, count_7d, mean_7d, std_7d, max_7d, since = range(8)
    found[:, 6:13] = by_customer[:, [count_1h, count_1d, mean_1d, mean_7d, std_7d, max_7d, since]]
    found[:, 13:19] = by_terminal[:, [count_1h, count_1d, mean_1d, count_7d, mean_7d, since]]
    with np.errstate(divide="ignore", invalid="ignore"):
        found[:, 19] = amount / by_customer[:, mean_7d]
        found[:, 20] = amount / by_customer[:, max_7d]
        found[:, 21] = amount / by_terminal[:, mean_7d]
        found[:, 22] = by_terminal[:, count_1d] / (by_terminal[:, count_7d] + 1.0)
    found[np.isinf(found)] = np.nan
    return found


def _blocks(values: Floats) -> Iterator[Floats]:
    for begin in range(0, len(values), _BLOCK):
        yield values[begin : begin + _BLOCK]


def _histories(keys: pl.Series) -> tuple[Integers, Integers]:
    """Numbers of the events key by key, each key's in order; and where each key's begin."""
    codes = keys.rank("dense").to_numpy().astype(np.int64)
    order = np.argsort(codes, kind="stable")
    begins = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return order, np.append(begins, len(order))


@njit(nogil=True)
def _windows(order: Integers, begins: Integers, time: Integers, amount: Floats) -> Floats:
    """Count within an hour and a day, mean of the day; count, mean, std, max of the week; seconds since the last."""
    out = np.full((len(order), 8), np.nan)
    for key in range(len(begins) - 1):
        for place in range(begins[key], begins[key + 1]):
            event = order[place]
            hour, day, week = 0, 0, 0
            sum_day, sum_week, most = 0.0, 0.0, -np.inf
            earlier = place - 1
            while earlier >= begins[key] and time[event] - time[order[earlier]] < _WEEK:
                age, value = time[event] - time[order[earlier]], amount[order[earlier]]
                week += 1
                sum_week += value
                most = max(most, value)
                if age < _DAY:
                    day += 1
                    sum_day += value
                if age < _HOUR:
                    hour += 1
                earlier -= 1
            out[event, 0], out[event, 1], out[event, 3] = hour, day, week
            if day:
                out[event, 2] = sum_day / day
            if week:
                mean = sum_week / week
                out[event, 4], out[event, 6] = mean, most
                out[event, 7] = (time[event] - time[order[place - 1]]) / _SECOND
                if week > 1:
                    squares = 0.0
                    for other in range(earlier + 1, place):
                        squares += (amount[order[other]] - mean) ** 2
                    out[event, 5] = np.sqrt(squares / (week - 1))
    return out
