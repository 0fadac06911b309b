"""Small histories with labels, and the pipeline whose they are: `from histories import ...`."""

from __future__ import annotations

import numpy as np
import polars as pl

from tidemark.backtest.history import History, prepared
from tidemark.pipeline import Pipeline
from tidemark.pipeline.loading import parse

START = 1_700_000_000_000_000
MINUTE = 60_000_000
PIPELINE = """
name = "shop"
title = "Shop"
partitions = 1
keys = ["customer"]
columns = { customer = { type = "string" }, at = { type = "int" }, x = { type = "float" }, y = { type = "float" } }
features = [{ name = "x" }, { name = "y" }]

[[raw]]
topic = "shop.raw"

[[windows]]
name = "customer_mean_1h"
key = "customer"
aggregate = "mean"
column = "x"
size = "1h"

[time]
column = "at"
format = "epoch_us"

[label]
classes = ["good", "bad"]
positive = "bad"
delay = "20m"
column = "truth"

[selection]
policy = "margin"
tile = "1h"
budget = 8
explore = 2

[start]
anomalies = 8

[training]
learner = "boosted"
min_labels = 12
min_positive = 2
params = { num_iterations = 4 }

[gates]
min_holdout = 6
"""


HOURS_PIPELINE = PIPELINE.replace(
    'classes = ["good", "bad"]\npositive = "bad"\n', 'type = "number"\nunit = "h"\nmin = 0\nmax = 240\n'
).replace('column = "truth"', 'column = "hours"')


def shop(**changes: str) -> Pipeline:
    """The pipeline. changes: by the text that is replaced, `_` for a blank."""
    return parse(shop_text(PIPELINE, **changes), "shop.toml")


def shop_text(text: str, **changes: str) -> str:
    """A pipeline file with some values changed; `changes` as `shop` has them."""
    for key, value in changes.items():
        lines = [line for line in text.splitlines() if line.startswith(f"{key} = ")]
        text = text.replace(lines[0], f"{key} = {value}")
    return text


def hours_shop(**changes: str) -> Pipeline:
    """The pipeline, of a number from 0 to 240 h instead of a class. changes: as `shop` has them."""
    return parse(shop_text(HOURS_PIPELINE, **changes), "shop.toml")


def frame(events: int = 900, seed: int = 0, unlabeled: float = 0.0, rate: float = 0.15) -> pl.DataFrame:
    """A history of one event a minute, whose class follows from x."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, events))
    bad = x + 0.2 * rng.normal(size=events) > np.quantile(x, 1 - rate)
    truth = np.where(bad, "bad", "good")
    return pl.DataFrame(
        {
            "customer": [f"c{at}" for at in rng.integers(0, 30, events)],
            "at": np.arange(events) * MINUTE + START,
            "x": x,
            "y": y,
            "truth": pl.Series(truth).set(pl.Series(rng.random(events) < unlabeled), None),
        }
    )


def hours_frame(events: int = 900, seed: int = 0, unlabeled: float = 0.0) -> pl.DataFrame:
    """The same events, with hours that follow from x, the less exactly the larger y."""
    rows, rng = frame(events, seed), np.random.default_rng([seed, 1])
    noise = 3 * (1 + rows["y"].abs().to_numpy()) * rng.normal(size=events)
    hours = np.clip(100 + 30 * rows["x"].to_numpy() + noise, 0, 240)
    hidden = pl.Series(rng.random(events) < unlabeled)
    return rows.drop("truth").with_columns(hours=pl.Series(hours).set(hidden, None))


def history(pipeline: Pipeline | None = None, **options: float) -> History:
    """That history, prepared."""
    return prepared(pipeline or shop(), frame(**options), "h.parquet")  # type: ignore[arg-type]
