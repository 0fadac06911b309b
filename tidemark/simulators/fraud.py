"""Card payments with three kinds of fraud.

- A *stolen card*: for two or three days a customer's card also buys, mostly online, at several times the usual amount.
- A *skimmed terminal*: for some days copied cards, used by magnetic stripe, pay at it, often at night.
- *Card testing*, from a tenth of the stream on (a change that a model must learn from new labels): bursts of tiny
  online payments by many cards at one terminal.

Honest customers make it hard: shopping sprees, rare large purchases, night shifts, stripe-only terminals.
After the simulator of the Fraud Detection Handbook (Le Borgne et al. 2022), whose scenarios are the first two.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.simulators.simulation import DAY, START, Simulation, iso_time

CHANNELS = ("chip", "contactless", "online", "stripe")
LABEL_DELAY = 7 * DAY
_HOUR = DAY // 24
_CUSTOMERS_PER_EVENT = 1 / 75
_PAYMENTS_A_DAY = 1.25
_DIURNAL = np.array([2, 1, 1, 1, 1, 2, 4, 7, 9, 9, 10, 11, 13, 12, 10, 10, 11, 13, 14, 12, 9, 7, 5, 3], dtype=float)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class _Payments:
    """Columns gathered part by part."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []

    def add(self, *, time: Ints, customer: Ints, terminal: Ints, amount: Floats, channel: Ints, scenario: int) -> None:
        """Append payments; all arrays have the same length."""
        self._parts.append(
            pl.DataFrame(
                {
                    "time": time,
                    "customer": customer,
                    "terminal": terminal,
                    "amount": np.maximum(np.round(amount, 2), 0.01),
                    "channel": channel,
                    "scenario": np.full(len(time), scenario, dtype=np.int8),
                }
            )
        )

    def in_order(self, events: int) -> pl.DataFrame:
        """The first `events` payments in time order."""
        return pl.concat(self._parts).sort("time", maintain_order=True).head(events)


def simulate(seed: int, events: int) -> Simulation:
    """`events` card payments, about one in a hundred fraudulent; the same for the same seed and number."""
    rng = np.random.default_rng([seed, 0x46524155])
    customers = max(int(events * _CUSTOMERS_PER_EVENT), 20)
    terminals = customers * 2
    days = events / (customers * _PAYMENTS_A_DAY)
    span = int(days * DAY)
    usual_amount = np.exp(rng.normal(3.4, 0.6, customers))
    nearby = _nearby_terminals(rng, customers, terminals)
    stripe_only = rng.random(terminals) < 0.03
    payments = _Payments()
    _honest(payments, rng, int(events * 1.02), span, usual_amount, nearby, stripe_only)
    _sprees(payments, rng, customers // 8, span, usual_amount, nearby)
    _stolen_cards(payments, rng, round(events * 0.0045 / 6), span, usual_amount, terminals)
    _skimmed_terminals(payments, rng, round(events * 0.0035 / 14), span, usual_amount, terminals)
    _card_testing(payments, rng, round(events * 0.0030 / 18), span, customers, terminals)
    frame = payments.in_order(events).with_row_index("number")
    number = pl.col("number").cast(pl.String).str.zfill(9)
    rows = frame.select(
        pl.format("T{}-{}", pl.lit(seed), number).alias("transaction_id"),
        iso_time(),
        pl.format("C{}", pl.col("customer").cast(pl.String).str.zfill(6)).alias("customer_id"),
        pl.format("M{}", pl.col("terminal").cast(pl.String).str.zfill(6)).alias("terminal_id"),
        "amount",
        pl.col("channel").replace_strict(list(range(4)), CHANNELS, return_dtype=pl.String).alias("channel"),
    )
    truth = frame.select(
        rows["transaction_id"].alias("business_id"),
        pl.when(pl.col("scenario") > 0).then(pl.lit("fraud")).otherwise(pl.lit("legitimate")).alias("label"),
        pl.col("time"),
        (pl.col("time") + LABEL_DELAY).alias("known_at"),
        "scenario",
    )
    return Simulation(events=rows, truth=truth)


def _nearby_terminals(rng: np.random.Generator, customers: int, terminals: int) -> Ints:
    """(customers, 12) terminals each customer uses: the nearest of 200 that were looked at."""
    home = rng.random((customers, 2))
    place = rng.random((terminals, 2))
    seen = rng.integers(0, terminals, (customers, 200))
    distance = np.linalg.norm(place[seen] - home[:, None, :], axis=2)
    nearest = np.argpartition(distance, 11, axis=1)[:, :12]
    return np.take_along_axis(seen, nearest, axis=1)


def _moments(rng: np.random.Generator, count: int, span: int, hours: Floats) -> Ints:
    """`count` times within the span, by the hours' weights."""
    day = rng.integers(0, max(span // DAY, 1) + 1, count)
    hour = rng.choice(24, count, p=hours / hours.sum())
    time = day * DAY + hour * _HOUR + rng.integers(0, _HOUR, count)
    return START + np.where(time < span, time, rng.integers(0, span, count))


def _honest(
    payments: _Payments,
    rng: np.random.Generator,
    count: int,
    span: int,
    usual_amount: Floats,
    nearby: Ints,
    stripe_only: NDArray[np.bool_],
) -> None:
    weight = rng.gamma(2.0, 1.0, len(usual_amount))
    customer = rng.choice(len(usual_amount), count, p=weight / weight.sum())
    terminal = nearby[customer, rng.integers(0, nearby.shape[1], count)]
    night_worker = rng.random(len(usual_amount)) < 0.04
    time = _moments(rng, count, span, _DIURNAL)
    time = np.where(night_worker[customer], time + 12 * _HOUR, time)
    large = np.where(rng.random(count) < 0.015, rng.uniform(2.5, 9, count), 1.0)
    channel = rng.choice(4, count, p=[0.42, 0.33, 0.22, 0.03])
    payments.add(
        time=time,
        customer=customer,
        terminal=terminal,
        amount=usual_amount[customer] * np.exp(rng.normal(0, 0.5, count)) * large,
        channel=np.where(stripe_only[terminal], 3, channel),
        scenario=0,
    )


def _sprees(
    payments: _Payments, rng: np.random.Generator, count: int, span: int, usual_amount: Floats, nearby: Ints
) -> None:
    """Honest afternoons in the shops: many payments in two hours, some of them dear."""
    size = rng.integers(4, 9, count)
    who = np.repeat(rng.integers(0, len(usual_amount), count), size)
    begin = np.repeat(_moments(rng, count, span, _DIURNAL), size)
    total = int(size.sum())
    payments.add(
        time=begin + rng.integers(0, 2 * _HOUR, total),
        customer=who,
        terminal=nearby[who, rng.integers(0, nearby.shape[1], total)],
        amount=usual_amount[who] * np.exp(rng.normal(0.5, 0.6, total)),
        channel=rng.choice(4, total, p=[0.5, 0.35, 0.13, 0.02]),
        scenario=0,
    )


def _stolen_cards(
    payments: _Payments, rng: np.random.Generator, count: int, span: int, usual_amount: Floats, terminals: int
) -> None:
    size = rng.integers(3, 10, count)
    who = np.repeat(rng.integers(0, len(usual_amount), count), size)
    begin = np.repeat(_moments(rng, count, span, np.ones(24)), size)
    total = int(size.sum())
    payments.add(
        time=begin + rng.integers(0, 60 * _HOUR, total),
        customer=who,
        terminal=rng.integers(0, terminals, total),
        amount=usual_amount[who] * rng.uniform(2.5, 7, total),
        channel=rng.choice(4, total, p=[0.08, 0.1, 0.8, 0.02]),
        scenario=1,
    )


def _skimmed_terminals(
    payments: _Payments, rng: np.random.Generator, count: int, span: int, usual_amount: Floats, terminals: int
) -> None:
    size = rng.integers(8, 21, count)
    where = np.repeat(rng.integers(0, terminals, count), size)
    begin = np.repeat(_moments(rng, count, span, np.ones(24)), size)
    total = int(size.sum())
    who = rng.integers(0, len(usual_amount), total)
    night = np.where(rng.random(total) < 0.5, rng.integers(0, 6, total), rng.integers(0, 24, total))
    begin_day = (begin - START) // DAY * DAY + START
    payments.add(
        time=begin_day + rng.integers(0, 4, total) * DAY + night * _HOUR + rng.integers(0, _HOUR, total),
        customer=who,
        terminal=where,
        amount=usual_amount[who] * np.exp(rng.normal(0.5, 0.5, total)),
        channel=rng.choice(4, total, p=[0.1, 0.05, 0.05, 0.8]),
        scenario=2,
    )


def _card_testing(
    payments: _Payments, rng: np.random.Generator, count: int, span: int, customers: int, terminals: int
) -> None:
    size = rng.integers(10, 27, count)
    where = np.repeat(rng.integers(0, terminals, count), size)
    begin = np.repeat(START + (span * rng.uniform(0.1, 1.0, count)).astype(np.int64), size)
    total = int(size.sum())
    payments.add(
        time=begin + rng.integers(0, _HOUR, total),
        customer=rng.integers(0, customers, total),
        terminal=where,
        amount=rng.uniform(0.5, 3.0, total),
        channel=np.full(total, 2),
        scenario=3,
    )
