"""Labels that are numbers: from a history to a model, and what makes a label one."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
from models import INCARNATION, label_of, pipeline_text

from tidemark.cli.train import _off
from tidemark.errors import ConfigError, ModelError, RecordError
from tidemark.pipeline import Pipeline, parse
from tidemark.records import encode
from tidemark.registry.schema import ModelSchema
from tidemark.training.dataset import LabelLog, check
from tidemark.training.first import from_history

NUMBER = 'type = "number"\nmin = -10\nmax = 10\ncolumn = "truth"'


def numbered(extra: str = "") -> Pipeline:
    text = pipeline_text(extra=extra).replace("classes = ['no', 'yes']\npositive = \"yes\"", NUMBER)
    assert NUMBER in text
    return parse(text, "p.toml")


def history(count: int = 400) -> pl.DataFrame:
    """An event an hour; the number follows from two features."""
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, count))
    return pl.DataFrame(
        {
            "key": [f"k{index % 40}" for index in range(count)],
            "time": [f"2025-01-{1 + index // 24:02d}T{index % 24:02d}:00:00Z" for index in range(count)],
            "a": a,
            "b": b,
            "c": c,
            "truth": np.clip(2 * a + np.abs(b) + 0.3 * rng.normal(size=count), -10, 10),
        }
    )


def test_a_history_of_numbers_gives_a_model_with_its_figures() -> None:
    made = from_history(numbered(), history(), "history.parquet")
    figures = made.manifest.metrics
    assert (made.counts, made.manifest.classes, made.manifest.used) == ((), [], 400 - 24)
    low, error, high = (figures[f"holdout_rmse{end}"] for end in ("_low", "", "_high"))
    assert low is not None
    assert error is not None
    assert high is not None
    assert low < error < high < 1.5
    assert (figures["holdout_r_squared"] or 0) > 0.6
    assert 0.75 < (figures["holdout_interval_coverage"] or 0) <= 1
    assert _off(figures, "mm").startswith("on the last fifth (76 rows), a model of the ")
    assert " mm on average (RMSE " in _off(figures, "mm")
    alike = _off({**figures, "holdout_r_squared": None}, "mm")
    assert re.search(r"\(RMSE \S+ mm\); \d+ % of its", alike), alike


def test_a_history_of_one_number_or_of_none_is_refused() -> None:
    with pytest.raises(ModelError, match="all of one number; a model needs two"):
        from_history(numbered(), history().with_columns(truth=pl.lit(1.0)), "h", all_known=True)
    with pytest.raises(ConfigError, match=r"column 'truth' holds 11\.0; expected a number from -10 to 10"):
        from_history(numbered(), history().with_columns(truth=pl.lit(11.0)), "h")


def test_labels_are_numbers_within_the_bounds_or_dead_letters() -> None:
    schema = ModelSchema.of(numbered())
    label = label_of(1, [0, 0, 0], "2.5")
    assert check(encode(label), schema, ["p.raw"]).label == "2.5"
    with pytest.raises(RecordError, match="'11' is no number from -10 to 10"):
        check(encode(label_of(1, [0, 0, 0], "11")), schema, ["p.raw"])
    former = check(encode(label_of(1, [0, 0, 0], "yes")), schema, ["p.raw"], former=["yes"])
    assert (former.status, former.label) == ("withdrawn", None)


def test_a_number_that_is_corrected_counts_as_a_new_label() -> None:
    schema = ModelSchema.of(numbered())
    log = LabelLog(schema)
    for offset, text in enumerate(["2.5", "2.5", "3.5"]):
        log.add(offset, label_of(1, [0, 0, 0], text))
    log.advance(2**61)
    assert (log.ever, log.counts) == (2, [1])
    rows = log.dataset()
    assert rows.of_numbers.tolist() == [3.5]
    assert rows.event_ids == (f"p.raw-0-1-{INCARNATION}",)
