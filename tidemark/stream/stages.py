"""Stages: one for each key of a pipeline, kept by the partitions of one topic.

The raw topics' partitions keep the first key's windows, a hop's those of each other key. Where raw records are keyed by
something else, a stage without windows comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tidemark.features.rows import Cleaner
from tidemark.features.windows import KeyWindows
from tidemark.pipeline import Pipeline
from tidemark.pipeline.expressions import Schema
from tidemark.stream.rows import Layout

_NO_KEY: Final = ""
"""In place of a key: rows that are keyed by something else have no windows before they were repartitioned."""


@dataclass(frozen=True, slots=True)
class Hop:
    """The way to the next stage, whose windows are kept by the pipeline's key number `key`."""

    topic: str
    key: int
    layout: Layout


@dataclass(frozen=True, slots=True)
class Stage:
    """Windows over one key. `arriving` is None where raw records arrive, `leaving` where rows are predicted.

    topics: whose partitions keep the windows.  key: number of the pipeline's key.
    drops_duplicates: whether all rows of one first key meet here, for the first time.
    """

    topics: Sequence[str]
    key: int
    windows: KeyWindows
    arriving: Hop | None
    leaving: Hop | None
    drops_duplicates: bool


def cleaned_schema(pipeline: Pipeline) -> Schema:
    """Columns of a pipeline's rows after cleaning, and their types."""
    return Cleaner(pipeline).schema


def stages(pipeline: Pipeline, cleaned: Schema) -> list[Stage]:
    """The stages of a pipeline, in the order in which rows pass them.

    Args:
        pipeline: whose windows they are.
        cleaned: columns after cleaning.

    Returns:
        One or more: the last predicts.

    """
    keys = [_NO_KEY, *pipeline.keys] if pipeline.repartitions else pipeline.keys
    windows = [KeyWindows(pipeline, key) for key in keys]
    numbers = [max(i - pipeline.repartitions, 0) for i in range(len(keys))]
    known = [feature.name for feature in pipeline.features]
    hops: list[Hop | None] = [None]
    for topic, before, key in zip(pipeline.hop_topics, windows, numbers[1:], strict=False):
        known += before.names
        hops.append(Hop(topic, key, Layout(pipeline, cleaned, known)))
    return [
        Stage(
            pipeline.raw_topics if arriving is None else [arriving.topic],
            number,
            own,
            arriving,
            leaving,
            drops_duplicates=pipeline.deduplicate is not None and position == pipeline.repartitions,
        )
        for position, (number, own, arriving, leaving) in enumerate(
            zip(numbers, windows, hops, [*hops[1:], None], strict=True)
        )
    ]
