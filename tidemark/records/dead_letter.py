"""Dead letters: a record that can't be processed, as it came, with where it was and why.

What a dead letter says of itself is in headers without a prefix: `source_topic`, `source_partition`, `source_offset`,
`source_incarnation`, `source_timestamp`, `step`, `reason`, `at`. The record's own headers follow under the prefix
`record.`, in their order, also those without a value and those that come more than once.
"""

from __future__ import annotations

import hashlib
import time
from typing import Final

from tidemark.runtime.processor import Batch, Headers, Output

MAX_VALUE: Final = 900_000
"""Bytes of a value that are kept: brokers refuse messages over 1 MiB by default."""
MAX_KEY: Final = 60_000
"""Bytes of a key that are kept."""
MAX_HEADERS: Final = 60_000
"""Bytes of the record's own headers that are kept."""
OWN_HEADER: Final = "record."
"""Prefix of the record's own headers, so that none of them is taken for one that the dead letter adds."""
_MAX_REASON: Final = 4_000
_TRUNCATED: Final = "truncated"
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


def shortened(letter: Output, most: int) -> Output:
    """A dead letter whose key and value are cut to `most` bytes together, for a topic that takes no more.

    Args:
        letter: a dead letter.
        most: bytes of key and value that are kept.

    Returns:
        The dead letter, with the headers `truncated`, `size` and `sha256`, `key_size` and `key_sha256` of what was cut.

    """
    value, key = letter.value, letter.key
    told = {name for name, _ in letter.headers}
    headers = list(letter.headers)
    if key is not None and len(key) > most // 4:
        headers += _measured("key_", key, told)
        key = key[: most // 4]
    left = max(most - len(key or b""), 0)
    if value is not None and len(value) > left:
        headers += _measured("", value, told)
        value = value[:left]
    if len(headers) > len(letter.headers) and _TRUNCATED not in told:
        headers.append((_TRUNCATED, b"true"))
    return letter._replace(value=value, key=key, headers=tuple(headers))


def _measured(prefix: str, content: bytes, told: set[str]) -> Headers:
    """Headers that say what a text was before it was cut, unless an earlier cut has said so."""
    if f"{prefix}size" in told:
        return []
    digest = hashlib.sha256(content).hexdigest()
    return [(f"{prefix}size", str(len(content)).encode()), (f"{prefix}sha256", digest.encode())]
