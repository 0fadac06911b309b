"""Operators over rows: decoded, with features of the row and of windows, repartitioned, predicted, proposed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl
from bytewax.dataflow import Stream, operator

from dataflows.operators.envelope import Round
from dataflows.operators.split import RowsAndErrors, split
from dataflows.operators.step import step
from tidemark.pipeline import Pipeline
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Output
from tidemark.stream.models import ModelSource
from tidemark.stream.rows import Arrival
from tidemark.stream.stages import Hop, Stage, cleaned_schema, stages
from tidemark.stream.steps import (
    DecodeStep,
    DuplicateCountsStep,
    MapColumnsStep,
    Predicted,
    PredictStep,
    ProposeStep,
    ReceiveStep,
    RepartitionStep,
    RowFeaturesStep,
    RuleCountsStep,
    SampleStep,
    Windowed,
    WindowFeaturesStep,
)
from tidemark.stream.steps.decode import DecodedBatches, RecordDecoder


@operator
def decode(
    step_id: str,  # noqa: ARG001
    up: Stream[Round[Received]],
    pipeline: Pipeline,
    decoder: Callable[[], RecordDecoder] | None = None,
) -> RowsAndErrors[list[DecodedBatches]]:
    """Decode raw records into the pipeline's columns.

    Args:
        step_id: unique.
        up: batches of the raw topics.
        pipeline: whose columns are decoded.
        decoder: makes a decoder of one's own, for one worker; by default that of the pipeline's JSON records.

    Returns:
        The columns, and the records that can't be decoded.

    """
    return split(step("step", up, lambda: DecodeStep(pipeline, None if decoder is None else decoder())))


@operator
def map_columns(
    step_id: str,  # noqa: ARG001
    up: Stream[Round[list[DecodedBatches]]],
    pipeline: Pipeline,
    columns: Callable[[pl.DataFrame], pl.DataFrame],
) -> RowsAndErrors[list[DecodedBatches]]:
    """Compute columns by Polars expressions of one's own, before `row_features`.

    Args:
        step_id: unique.
        up: decoded rows.
        pipeline: whose columns they are.
        columns: from the columns of some rows to those columns with others in place: as many rows, in the same order.
            What it gives of a row must follow from that row alone, for batches are cut elsewhere after a crash.

    Returns:
        The rows with these columns, and those on which Polars failed.

    """
    return split(step("step", up, lambda: MapColumnsStep(pipeline, columns)))


@operator
def rule_counts(
    step_id: str,  # noqa: ARG001
    up: Stream[Round[list[DecodedBatches]]],
    pipeline: Pipeline,
) -> Stream[Round[Sequence[Output]]]:
    """Tell how many values the rules of columns changed.

    Args:
        step_id: unique.
        up: decoded rows.
        pipeline: whose columns have the rules.

    Returns:
        What to commit.

    """
    return step("step", up, lambda: RuleCountsStep(pipeline))


@operator
def duplicate_counts(
    step_id: str,  # noqa: ARG001
    up: Stream[Round[Windowed]],
    pipeline: Pipeline,
) -> Stream[Round[Sequence[Output]]]:
    """Tell how many rows were dropped as duplicates.

    Args:
        step_id: unique.
        up: rows of the stage where all of one first key meet.
        pipeline: whose rows they are.

    Returns:
        What to commit.

    """
    return step("step", up, lambda: DuplicateCountsStep(pipeline))


@operator
def row_features(
    step_id: str,  # noqa: ARG001
    up: Stream[Round[list[DecodedBatches]]],
    pipeline: Pipeline,
) -> RowsAndErrors[list[Arrival]]:
    """Clean rows and compute the features that a row tells by itself (the pipeline's `clean` and `features`).

    Args:
        step_id: unique.
        up: decoded rows.
        pipeline: whose features are computed.

    Returns:
        The rows, and those that can't be computed, are too large or have the wrong key.

    """
    return split(step("step", up, lambda: RowFeaturesStep(pipeline)))


@operator
def receive(
    step_id: str,  # noqa: ARG001
    up: Stream[Round[Received]],
    pipeline: Pipeline,
    key: str,
) -> RowsAndErrors[list[Arrival]]:
    """Rows that were handed on to the partitions of another key.

    Args:
        step_id: unique.
        up: batches of the key's hop topic.
        pipeline: whose rows they are.
        key: one of `pipeline.hops`.

    Returns:
        The rows, and the records that are no hops.

    """
    return split(step("step", up, lambda: _receive(pipeline, _hop(pipeline, key))))


@operator
def window_features(
    step_id: str,  # noqa: ARG001
    up: Stream[Round[list[Arrival]]],
    pipeline: Pipeline,
    hop: str | None = None,
) -> Stream[Round[Windowed]]:
    """Add the pipeline's windows over one key, and keep them for the partitions that the rows come from.

    Args:
        step_id: unique.
        up: rows.
        pipeline: whose windows they are.
        hop: key, of `pipeline.hops`, by which the rows were handed on; None: they come from the raw topics.

    Returns:
        The rows with the windows; of a tick, the partitions that have become idle.

    """
    return step("step", up, lambda: WindowFeaturesStep(pipeline, _stage(pipeline, hop)))


@operator
def repartition(
    step_id: str,  # noqa: ARG001
    up: Stream[Round[Windowed]],
    pipeline: Pipeline,
    key: str,
) -> Stream[Round[Sequence[Output]]]:
    """Hand rows on to the partitions that keep the windows over another key.

    Args:
        step_id: unique.
        up: rows.
        pipeline: whose rows they are.
        key: one of `pipeline.hops`.

    Returns:
        What to commit.

    """
    return step("step", up, lambda: RepartitionStep(pipeline, _hop(pipeline, key)))


@operator
def predict(
    step_id: str,  # noqa: ARG001
    up: Stream[Round[Windowed]],
    pipeline: Pipeline,
    models: ModelSource,
) -> Stream[Round[Predicted]]:
    """Score rows that have all their features.

    Args:
        step_id: unique.
        up: rows with the last key's windows.
        pipeline: whose rows they are.
        models: asked for the model in force once a round.

    Returns:
        The scored rows, for `propose`, and their predictions, for `commit`.

    """
    return step("step", up, lambda: PredictStep(pipeline, models, cleaned_schema(pipeline)))


@operator
def propose(
    step_id: str,  # noqa: ARG001
    up: Stream[Round[Predicted]],
    pipeline: Pipeline,
) -> Stream[Round[Sequence[Output]]]:
    """Propose rows to selection, and tell their features where the pipeline has `features_topic`.

    Args:
        step_id: unique.
        up: scored rows.
        pipeline: whose rows they are.

    Returns:
        What to commit.

    """
    return step("step", up, lambda: ProposeStep(pipeline, cleaned_schema(pipeline)))


@operator
def sample(
    step_id: str,  # noqa: ARG001
    up: Stream[Round[Predicted]],
    pipeline: Pipeline,
) -> Stream[Round[Sequence[Output]]]:
    """Draw the background sample.

    Args:
        step_id: unique.
        up: scored rows.
        pipeline: whose rows they are.

    Returns:
        What to commit.

    """
    return step("step", up, lambda: SampleStep(pipeline))


def _stage(pipeline: Pipeline, hop: str | None) -> Stage:
    topics = pipeline.raw_topics if hop is None else [pipeline.topics.hop(hop)]
    return next(stage for stage in stages(pipeline, cleaned_schema(pipeline)) if list(stage.topics) == topics)


def _hop(pipeline: Pipeline, key: str) -> Hop:
    arriving = _stage(pipeline, key).arriving
    assert arriving is not None  # noqa: S101 for the type checker: a hop's stage has one
    return arriving


def _receive(pipeline: Pipeline, hop: Hop) -> ReceiveStep:
    return ReceiveStep(pipeline, hop.topic, hop.layout)
