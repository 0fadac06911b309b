"""Batches of our own records, as a task hands them to a processor."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from tidemark.records import Record, encode
from tidemark.runtime.processor import Batch, Partition


def batch(
    partition: Partition, values: Sequence[Record | bytes | dict[str, object]], start: int = 0, *, replay: bool = False
) -> Batch:
    """Records of a partition from an offset on; bytes as they are, dictionaries as JSON."""
    count = len(values)
    return Batch(
        partition=partition,
        offsets=np.arange(start, start + count),
        timestamps=np.full(count, 9_000),
        keys=[None] * count,
        values=[_written(value) for value in values],
        headers=[None] * count,
        replay=replay,
    )


def _written(value: Record | bytes | dict[str, object]) -> bytes:
    if isinstance(value, bytes):
        return value
    return encode(value) if isinstance(value, Record) else json.dumps(value).encode()
