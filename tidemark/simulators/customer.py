"""Service customers who write, wait and sometimes leave.

Each contact has a channel, a wait, a team's quality and the customer's mood. Annoyance gathers over contacts, fades
over days, and above a level of their own they are likely to leave within a week. The question asked of a contact: is
this customer about to leave?
"""

from __future__ import annotations

import numpy as np
import polars as pl

from tidemark.simulators.simulation import DAY, START, Simulation, iso_time

CHANNELS = ("phone", "mail", "chat", "form")
TOPICS = ("billing", "delivery", "defect", "question")
LABEL_DELAY = 7 * DAY
_HALF_LIFE_DAYS = 5.0


def simulate(seed: int, events: int) -> Simulation:
    """`events` contacts; six to ten in a hundred come from customers who leave within a week."""
    rng = np.random.default_rng([seed, 0x43555354])
    customers = max(events // 12, 10)
    teams = max(customers // 150, 6)
    span_days = 60.0
    weight = rng.gamma(1.5, 1.0, customers)
    who = rng.choice(customers, events, p=weight / weight.sum())
    day = np.sort(rng.uniform(0, span_days, events))
    team = rng.integers(0, teams, events)
    quality = rng.normal(0, 1, teams)
    strained = (rng.random((teams, int(span_days) + 1)) < 0.12)[team, day.astype(np.int64)]
    channel = rng.choice(4, events, p=[0.35, 0.3, 0.25, 0.1])
    topic = rng.choice(4, events, p=[0.25, 0.25, 0.15, 0.35])
    wait = np.round(rng.gamma(1.5, 6.0, events) * np.where(strained, 4.0, 1.0) * np.array([1, 3, 0.6, 4])[channel], 1)
    solved = rng.random(events) < 1 / (1 + np.exp(-(1.4 + 0.7 * quality[team] - 0.9 * (topic == 2) - 1.2 * strained)))
    annoyance = _gathered(who, day, (~solved) * 1.0 + np.log1p(wait) / 6)
    patience = rng.normal(4.5, 0.5, customers)
    leaves = rng.random(events) < 1 / (1 + np.exp(-4.0 * (annoyance - patience[who])))
    mood = np.clip(np.round(0.5 - 0.28 * annoyance + rng.normal(0, 0.35, events), 3), -1, 1)
    number = pl.col("number").cast(pl.String).str.zfill(9)
    frame = pl.DataFrame(
        {
            "time": START + (day * DAY).astype(np.int64),
            "customer": who,
            "team": team,
            "channel": channel,
            "topic": topic,
            "wait_minutes": wait,
            "mood": np.where(rng.random(events) < 0.15, np.nan, mood),
            "solved": solved,
            "leaves": leaves,
        }
    ).with_row_index("number")
    rows = frame.select(
        pl.format("K{}-{}", pl.lit(seed), number).alias("contact_id"),
        iso_time(),
        pl.format("C{}", pl.col("customer").cast(pl.String).str.zfill(6)).alias("customer_id"),
        pl.format("G{}", pl.col("team").cast(pl.String).str.zfill(3)).alias("team_id"),
        pl.col("channel").replace_strict(list(range(4)), CHANNELS, return_dtype=pl.String),
        pl.col("topic").replace_strict(list(range(4)), TOPICS, return_dtype=pl.String),
        "wait_minutes",
        pl.col("mood").fill_nan(None),
        pl.col("solved"),
    )
    truth = frame.select(
        rows["contact_id"].alias("business_id"),
        pl.when("leaves").then(pl.lit("leaves")).otherwise(pl.lit("stays")).alias("label"),
        pl.col("time"),
        (pl.col("time") + LABEL_DELAY).alias("known_at"),
    )
    return Simulation(events=rows, truth=truth)


def _gathered(who: np.ndarray, day: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Exponentially fading sum of each customer's amounts up to and with each contact."""
    level = np.zeros(int(who.max()) + 1)
    seen = np.zeros(len(level))
    result = np.empty(len(who))
    for row, (customer, when, more) in enumerate(zip(who.tolist(), day.tolist(), amount.tolist(), strict=True)):
        level[customer] = level[customer] * 0.5 ** ((when - seen[customer]) / _HALF_LIFE_DAYS) + more
        seen[customer] = when
        result[row] = level[customer]
    return result
