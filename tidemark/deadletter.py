"""Dead letters: a record that can't be processed, as it came, with where it was and why."""

from __future__ import annotations

import hashlib
import time

from tidemark.processor import Batch, Output

MAX_VALUE = 900_000
"""Bytes of a value that are kept: brokers refuse messages over 1 MiB by default."""


def dead_letter(topic: str, batch: Batch, row: int, step: str, reason: str) -> Output:
    """Output for `P.deadletter` (`topic`): row `row` of the batch, with headers that say where and why.

    A value above `MAX_VALUE` is cut to its beginning and gets the headers `truncated`, `size` and `sha256`.
    """
    value, key = batch.values[row], batch.keys[row]
    headers = [
        ("source_topic", batch.partition.topic.encode()),
        ("source_partition", str(batch.partition.index).encode()),
        ("source_offset", str(int(batch.offsets[row])).encode()),
        ("source_incarnation", batch.partition.incarnation.encode()),
        ("source_timestamp", str(int(batch.timestamps[row])).encode()),
        ("step", step.encode()),
        ("reason", reason[:4_000].encode()),
        ("at", str(time.time_ns() // 1_000).encode()),
    ]
    if value is not None and len(value) > MAX_VALUE:
        headers += [
            ("truncated", b"true"),
            ("size", str(len(value)).encode()),
            ("sha256", hashlib.sha256(value).hexdigest().encode()),
        ]
        value = value[:MAX_VALUE]
    return Output(topic=topic, value=value, key=key, headers=tuple(headers))
