"""A history made ready to be played, and what is said of one that can't be."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from histories import MINUTE, frame, shop

from tidemark.backtest.history import prepared
from tidemark.errors import ConfigError
from tidemark.features.backfill import backfill


def test_events_come_in_the_order_of_time_with_the_features_of_the_backfill() -> None:
    pipeline, rows = shop(), frame()
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=3)
    one, other = (prepared(pipeline, each, "h") for each in (rows, shuffled))
    np.testing.assert_array_equal(one.stream.features, other.stream.features)
    np.testing.assert_array_equal(one.stream.target, other.stream.target)
    table = backfill(pipeline, rows).select(pipeline.feature_names).to_numpy()
    np.testing.assert_array_equal(one.stream.features, table[: one.events])
    assert (np.diff(one.stream.tiles) >= 0).all()


def test_the_exam_is_the_last_fifth_of_the_labels_and_no_label_of_it_can_be_known_before() -> None:
    pipeline = shop()
    found = prepared(pipeline, frame(unlabeled=0.3), "h")
    stream = found.stream
    labeled = int(stream.askable.sum())
    assert int(stream.askable[stream.exam :].sum()) == pytest.approx(labeled / 5, abs=1)
    assert found.labels == labeled
    assert found.unlabeled == found.events - labeled > 200
    assert stream.known_at[stream.exam :].min() > stream.tiles[stream.exam - 1] * pipeline.selection.tile


def test_events_whose_truth_may_not_have_arrived_are_left_out_unless_all_is_known() -> None:
    pipeline, rows = shop(), frame()
    assert prepared(pipeline, rows, "h").too_new == 20
    whole = prepared(pipeline, rows, "h", all_known=True)
    assert (whole.too_new, whole.events) == (0, len(rows))
    late = prepared(pipeline, rows, "h", answers=3 * MINUTE)
    assert (late.stream.known_at - late.stream.tiles * pipeline.selection.tile).max() < 63 * MINUTE


@pytest.mark.parametrize(
    ("rows", "settings", "why"),
    [
        (frame(60), {}, r"too few labels: \d+ before the exam \(\d+ 'bad'\), \d+ in the exam.* needs 12 \(2\) and 20"),
        (frame(900, rate=0.004), {}, r"too few labels: .* 'bad'"),
        (frame(900).drop("truth"), {}, "no row has a label; set label.column to the column of the class"),
        (frame(900).with_columns(pl.lit("maybe").alias("truth")), {}, "column 'truth' holds 'maybe'; expected"),
        (
            frame(900),
            {"delay": '"30d"'},
            "all events are of the last 30d.*--all-known if it has, together with --answers",
        ),
        (frame(900), {"delay": '"7h"'}, "are known when it begins, for an answer takes 7h.*--answers"),
    ],
)
def test_a_history_that_cannot_be_played_is_refused_in_a_sentence(
    rows: pl.DataFrame, settings: dict[str, str], why: str
) -> None:
    with pytest.raises(ConfigError, match=f"(?s){why}") as refused:
        prepared(shop(**settings), rows, "h.parquet")
    assert str(refused.value).startswith("h.parquet: ")
    assert len(str(refused.value).splitlines()) < 4
