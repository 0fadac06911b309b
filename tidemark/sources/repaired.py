"""Repaired dead letters before they are sent again: in their topic's format, and whether they would come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tidemark.pipeline import Pipeline
from tidemark.replay import Letter
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.sources.resending import Resending

if TYPE_CHECKING:
    import polars as pl


def column_types(pipeline: Pipeline) -> dict[str, pl.DataType]:
    """Types of the columns of raw records, for a repair's fields that are null."""
    import polars as pl  # noqa: PLC0415 a second, which commands that repair nothing do not wait for

    kinds: dict[str, pl.DataType] = {
        "string": pl.String(),
        "int": pl.Int64(),
        "float": pl.Float64(),
        "bool": pl.Boolean(),
    }
    return {name: kinds[column.type] for name, column in pipeline.columns.items()}


def in_format(pipeline: Pipeline) -> Callable[[Letter, Letter], Letter]:
    """What puts a repaired dead letter of a raw topic into the topic's format, where the repair made it a JSON object.

    Args:
        pipeline: whose dead letters they are.

    Returns:
        Takes a dead letter as it came and as it was repaired; gives what is to be sent.

    """
    from tidemark.formats.decoder import writer  # noqa: PLC0415 as above
    from tidemark.records.record_formats import as_record  # noqa: PLC0415 as above

    write = writer(pipeline)

    def written(before: Letter, after: Letter) -> Letter:
        raw = after.source is not None and after.source.topic in pipeline.raw_topics
        if write is None or not raw or after.value == before.value or not (after.value or b"").startswith(b"{"):
            return after
        return replace(after, value=as_record(write, after.value or b""))

    return written


def still_wrong(pipeline: Pipeline, repaired: Sequence[Letter]) -> list[tuple[Letter, str]]:
    """Those of a raw topic that could not be decoded either, and why.

    Args:
        pipeline: whose dead letters they are.
        repaired: as they would be sent.

    Returns:
        Dead letters that would come back, each with the reason.

    """
    from tidemark.formats.decoder import Decoder  # noqa: PLC0415 as above

    decoder, again, found = Decoder(pipeline), Resending(pipeline), []
    for letter in (each for each in repaired if each.sender):
        topic = letter.sender.topic if letter.sender else ""
        try:
            bad = decoder.decode(_batch(topic, again(letter))).bad[:1]
        except ValueError as error:
            found.append((letter, str(error)))
        else:
            found += [(letter, f"row {first.row + 1}: {first.reason}") for first in bad]
    raw = [each for each in repaired if each.source and each.source.topic in pipeline.raw_topics]
    if raw:
        times = [each.source.timestamp if each.source else None for each in raw]
        batch = _batch(raw[0].source.topic if raw[0].source else "", raw, times)
        found += [(raw[bad.row], bad.reason) for bad in decoder.decode(batch).bad]
    return found


def _batch(topic: str, records: Sequence[Letter | Output], times: Sequence[int | None] = ()) -> Batch:
    """Records as a decoder takes them. times: their timestamps, ms; now where there is none."""
    import numpy as np  # noqa: PLC0415 as above

    now = time.time_ns() // 1_000_000
    return Batch(
        Partition(topic, 0, ""),
        np.arange(len(records)),
        np.array([each or now for each in times or [now] * len(records)], np.int64),
        [each.key for each in records],
        [each.value for each in records],
        [list(each.headers) for each in records],
    )
