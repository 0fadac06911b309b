"""The loop over a history whose labels are numbers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from histories import hours_frame, hours_shop

from tidemark.backtest.answers import answers_of
from tidemark.backtest.examination import Examination
from tidemark.backtest.history import prepared
from tidemark.backtest.loop import Loop
from tidemark.backtest.playing import play
from tidemark.errors import ConfigError
from tidemark.records.event_id import parse_event_id
from tidemark.registry.sandbox import Sandbox


def test_the_loop_asks_learns_and_foretells_numbers() -> None:
    pipeline = hours_shop()
    stream = prepared(pipeline, hours_frame(), "h").stream
    exam = Examination(stream, pipeline, np.arange(stream.exam, len(stream.target)))
    qualities = []
    with Sandbox() as sandbox:
        loop = Loop(pipeline, sandbox, headline=False)
        for moment in play(stream, pipeline, loop):
            assert moment.positives == 0
            if moment.champion is not None:
                qualities.append(exam.of(moment.champion.says(exam.features)))
    assert exam.constant == 0
    assert qualities[-1] > max(0.3, qualities[0])
    for _, label in loop.labels:
        assert float(label.label or "") == stream.target[parse_event_id(label.event_id).offset]
        assert label.probabilities is None, "a number has none"


def test_a_strategy_is_told_how_wide_the_interval_of_each_event_is() -> None:
    pipeline = hours_shop()
    stream = prepared(pipeline, hours_frame(), "h").stream
    with Sandbox() as sandbox:
        loop = Loop(pipeline, sandbox, headline=False)
        for number, rows in stream.by_tile():
            model, features = loop.champion, stream.features[rows]
            picks = loop.ask(number, rows, features)
            chosen = [pick.proposal for pick in picks if pick.reason == "uncertain"]
            if model is not None and chosen:
                widths = np.diff(model.estimates(features)[:, 1:], axis=1)[:, 0] / 240
                drawn = {pick.proposal.event_id for pick in picks if pick.reason == "explore"}
                most = np.sort([w for w, row in zip(widths, rows, strict=True) if _id(row, picks) not in drawn])
                np.testing.assert_allclose(
                    sorted(case.uncertainty or 0 for case in chosen), most[-len(chosen) :], rtol=1e-9
                )
                return
            answers = answers_of(pipeline)
            loop.learn(
                [(pick, answers.text(stream.target[parse_event_id(pick.proposal.event_id).offset])) for pick in picks]
            )
    pytest.fail("no model came")


def _id(row: int, picks: list) -> str:  # type: ignore[type-arg]
    return next((p.proposal.event_id for p in picks if parse_event_id(p.proposal.event_id).offset == row), "")


def test_quality_is_the_share_of_variance_that_is_foretold() -> None:
    answers = answers_of(hours_shop())
    truth = np.array([1.0, 2.0, 3.0, 6.0])
    assert answers.quality(truth, truth[:, None]) == 1
    assert answers.quality(truth, np.full((4, 1), truth.mean())) == pytest.approx(answers.of_constant(truth))
    assert answers.quality(truth, (truth + 1)[:, None]) == pytest.approx(1 - 1 / truth.var())
    assert answers.spread(truth) == pytest.approx(truth.std())


def test_rows_without_a_number_are_streamed_and_not_asked_about() -> None:
    found = prepared(hours_shop(), hours_frame(unlabeled=0.3), "h")
    assert found.positives == 0
    assert found.unlabeled == found.events - found.labels > 200
    assert int(found.stream.askable.sum()) == found.labels


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (hours_frame(60), r"too few labels: \d+ before the exam, \d+ in the exam.*needs 12 and 20, not all alike"),
        (hours_frame().with_columns(hours=pl.lit(5.0)), "too few labels"),
        (
            hours_frame().with_columns(hours=pl.lit(500.0)),
            "column 'hours' holds 500.0; expected a number from 0 to 240",
        ),
        (hours_frame().drop("hours"), "no row has a label; set label.column to the column of the number"),
    ],
)
def test_a_history_that_cannot_be_played_is_refused_in_a_sentence(rows: pl.DataFrame, why: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){why}"):
        prepared(hours_shop(), rows, "h")


def test_labels_that_are_all_alike_without_a_part_of_the_exam_leave_its_band_finite() -> None:
    """Where most labels are 0, a part of the exam may hold all that are not: the rest has no variance."""
    pipeline = hours_shop()
    stream = prepared(pipeline, hours_frame(), "h").stream
    exam = Examination(stream, pipeline, np.arange(stream.exam, len(stream.target)))
    exam.truth[:] = 0
    exam.truth[3] = 100
    said = np.full((len(exam.truth), 3), 1.0)
    whole, without = exam.with_blocks(said, 8)
    assert -1 < whole < 0
    assert max(without) == 0.0, "nothing was there to be foretold"
    assert min(without) > -1
    answers = answers_of(pipeline)
    assert answers.quality(np.full(5, 0.1), np.full((5, 3), 0.1)) == 1.0
