"""A history with labels, made ready to be played: features, tiles, when labels are known, and where the exam begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.backtest.answers import Answers, Truth, answers_of, missing
from tidemark.backtest.stream import LabeledStream
from tidemark.errors import ConfigError
from tidemark.features.backfill import backfill
from tidemark.pipeline import Pipeline
from tidemark.pipeline.durations import format_duration
from tidemark.training.schedule import first_is_due

STREAMED: Final = 0.8
"""Share of the labels that come before the exam."""
_FEWEST: Final = 20
"""Labels that an exam needs."""


@dataclass(frozen=True, slots=True)
class History:
    """What is played, and what was found.

    stream: all of it.  events: rows.  labels: events with a label.  positives: of these, of the positive class.
    too_new: events left out, since their labels may not have arrived.  answers: how long after its event a label is
    known, µs.
    """

    stream: LabeledStream
    events: int
    labels: int
    positives: int
    too_new: int
    answers: int

    @property
    def unlabeled(self) -> int:
        """Events that are streamed and can't be asked about."""
        return self.events - self.labels


def prepared(
    pipeline: Pipeline, frame: pl.DataFrame, source: str, *, answers: int | None = None, all_known: bool = False
) -> History:
    """A history, ready to play.

    Args:
        pipeline: whose features these are.
        frame: its columns and `label.column`, as `tidemark.sources.history.read_history` gives them.
        source: its name, for people.
        answers: how long after its event an answer is known, µs; by default `label.delay`.
        all_known: also use the events of the last `label.delay`, whose truth may not have arrived when the file was
            written.

    Returns:
        The history.

    Raises:
        ConfigError: it has no labels, holds a class that is not the pipeline's, or has too few labels.

    """
    answered = answers_of(pipeline)
    target = _labels(answered, pipeline, frame, source)
    table = backfill(pipeline, frame)
    times = table["_time"].to_numpy()
    order = np.argsort(times, kind="stable")
    times, target = times[order], target[order]
    latest = int(times[-1]) if all_known else int(times[-1]) - pipeline.label.delay
    used = int(np.searchsorted(times, latest, side="right"))
    too_new = len(times) - used
    if not used:
        raise ConfigError(
            f"{source}: all events are of the last {format_duration(pipeline.label.delay)} (label.delay), whose truth "
            f"may not have arrived; give a longer history, or --all-known if it has{_and_how_soon(pipeline, answers)}"
        )
    times, target, order = times[:used], target[:used], order[:used]
    delay = pipeline.label.delay if answers is None else answers
    features = np.ascontiguousarray(table.select(pipeline.feature_names).to_numpy()[order].astype(np.float64))
    labeled = np.flatnonzero(~missing(target))
    exam = _exam(times, labeled) if len(labeled) else used
    stream = LabeledStream(features, target, times // pipeline.selection.tile, times + delay, exam=exam)
    _check(answered, pipeline, stream, source, times, delay)
    return History(stream, used, len(labeled), int(answered.sought(target).sum()), too_new, delay)


def _and_how_soon(pipeline: Pipeline, answers: int | None) -> str:
    """What a history also needs that is no longer than the answers take to come."""
    if answers is not None or not pipeline.label.delay:
        return ""
    return ", together with --answers: how long an answer takes, as 1h"


def _labels(answered: Answers, pipeline: Pipeline, frame: pl.DataFrame, source: str) -> Truth:
    column = pipeline.label.column
    if column is None or column not in frame.columns:
        name = "no label.column" if column is None else f"label.column = {column!r}"
        raise ConfigError(
            f"{source}: the pipeline has {name}, so that no row has a label; set label.column to the column of the "
            f"{'number' if pipeline.label.is_number else 'class'}"
        )
    try:
        return answered.column(frame[column])
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from error


def _exam(times: NDArray[np.int64], labeled: NDArray[np.int64]) -> int:
    """The first event of the time at which the last fifth of the labels begins."""
    return int(np.searchsorted(times, times[labeled[int(len(labeled) * STREAMED)]], side="left"))


def _check(
    answered: Answers, pipeline: Pipeline, stream: LabeledStream, source: str, times: NDArray[np.int64], delay: int
) -> None:
    """Raises ConfigError where there is too little to learn from, or to be examined on."""
    begins = int(times[min(stream.exam, len(times) - 1)])
    askable = stream.askable
    before = stream.target[: stream.exam][askable[: stream.exam]]
    known = stream.target[: stream.exam][askable[: stream.exam] & (stream.known_at[: stream.exam] <= begins)]
    after = stream.target[stream.exam :][askable[stream.exam :]]
    training = pipeline.training
    enough = len(after) >= _FEWEST and answered.tell_apart(after)
    if enough and first_is_due(pipeline, answered.counts(known)):
        return
    if enough and first_is_due(pipeline, answered.counts(before)):
        raise ConfigError(
            f"{source}: of {len(before):,} labels before the exam (the last fifth), {len(known):,} are known when it "
            f"begins, for an answer takes {format_duration(delay)} (label.delay)\n"
            "give a longer history, or how long answers take with --answers"
        )
    raise ConfigError(
        f"{source}: too few labels: {len(known):,} before the exam{answered.shown(known)}, "
        f"{len(after):,} in the exam, which is the last fifth{answered.shown(after)}\n"
        f"a simulation needs {training.min_labels:,}{answered.first} and {_FEWEST}{answered.needs}; give a longer "
        "history"
    )
