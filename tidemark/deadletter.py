"""Dead letters: a record that can't be processed, as it came, with where it was and why.

What a dead letter says of itself is in headers without a prefix: `source_topic`, `source_partition`, `source_offset`,
`source_incarnation`, `source_timestamp`, `step`, `reason`, `at`. The record's own headers follow under the prefix
`record.`, in their order, also those without a value and those that come more than once.
"""

from __future__ import annotations

import hashlib
import time
from typing import Final

from tidemark.processor import Batch, Headers, Output

MAX_VALUE: Final = 900_000
"""Bytes of a value that are kept: brokers refuse messages over 1 MiB by default."""
MAX_KEY: Final = 60_000
"""Bytes of a key that are kept."""
MAX_HEADERS: Final = 60_000
"""Bytes of the record's own headers that are kept."""
OWN_HEADER: Final = "record."
"""Prefix of the record's own headers, so that none of them is taken for one that the dead letter adds."""
_MAX_REASON: Final = 4_000
_HEADER_OVERHEAD: Final = 10
"""Bytes of a header beside its name and value: their lengths."""


def dead_letter(topic: str, batch: Batch, row: int, step: str, reason: str) -> Output:
    """Output for `P.deadletter`: a row of a batch as it came, with headers that say where it was and why it is here.

    A value above `MAX_VALUE` is cut to its beginning and gets the headers `size` and `sha256`, a key above `MAX_KEY`
    `key_size` and `key_sha256`; of the record's own headers those that fit are kept, and `headers_left_out` counts the
    others. Whatever was cut, the dead letter has the header `truncated`.

    Args:
        topic: name of the pipeline's dead-letter topic.
        batch: where the row is.
        row: its number in the batch.
        step: what refused it.
        reason: why, for a person.

    Returns:
        The record to produce.

    """
    value, key = batch.values[row], batch.keys[row]
    headers: Headers = [
        ("source_topic", batch.partition.topic.encode()),
        ("source_partition", str(batch.partition.index).encode()),
        ("source_offset", str(int(batch.offsets[row])).encode()),
        ("source_incarnation", batch.partition.incarnation.encode()),
        ("source_timestamp", str(int(batch.timestamps[row])).encode()),
        ("step", step.encode()),
        ("reason", reason[:_MAX_REASON].encode(errors="backslashreplace")),
        ("at", str(time.time_ns() // 1_000).encode()),
    ]
    own, left_out = _fitting(batch.headers[row] if batch.headers else None)
    cut: Headers = []
    if value is not None and len(value) > MAX_VALUE:
        cut += [("size", str(len(value)).encode()), ("sha256", hashlib.sha256(value).hexdigest().encode())]
        value = value[:MAX_VALUE]
    if key is not None and len(key) > MAX_KEY:
        cut += [("key_size", str(len(key)).encode()), ("key_sha256", hashlib.sha256(key).hexdigest().encode())]
        key = key[:MAX_KEY]
    if left_out:
        cut.append(("headers_left_out", str(left_out).encode()))
    if cut:
        headers += [("truncated", b"true"), *cut]
    return Output(topic=topic, value=value, key=key, headers=(*headers, *own))


def _fitting(headers: Headers | None) -> tuple[Headers, int]:
    """The record's own headers under their prefix, as far as they fit; how many did not."""
    kept: Headers = []
    room = MAX_HEADERS
    for name, value in headers or ():
        room -= len(OWN_HEADER) + len(name.encode()) + len(value or b"") + _HEADER_OVERHEAD
        if room < 0:
            return kept, len(headers or ()) - len(kept)
        kept.append((OWN_HEADER + name, value))
    return kept, 0
