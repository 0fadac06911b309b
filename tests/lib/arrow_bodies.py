"""Arrow IPC streams, and the corpus of broken ones (tests/data/broken_batches.ndjson).

A line of the corpus has a name, the stream as parts (Base64, and how often each comes), and what its refusal says. Most
were written by Arrow's own C++ library, and then changed.
"""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import polars as pl

_CORPUS: Final = Path(__file__).parents[1] / "data" / "broken_batches.ndjson"
Compression = Literal["uncompressed", "lz4", "zstd"]


class BrokenBatch(msgspec.Struct, frozen=True):
    """A broken stream."""

    name: str
    value: list[tuple[str, int]]
    reason: str

    def bytes(self) -> bytes:
        """The stream."""
        return b"".join(base64.b64decode(part) * count for part, count in self.value)


@cache
def broken_batches() -> list[BrokenBatch]:
    """All broken streams."""
    return [msgspec.json.decode(line, type=BrokenBatch) for line in _CORPUS.read_bytes().splitlines()]


def stream(frame: pl.DataFrame, compression: Compression = "uncompressed") -> bytes:
    """A frame as an Arrow IPC stream that any Arrow library reads."""
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compression=compression, compat_level=pl.CompatLevel.oldest())
    return buffer.getvalue()


def batch(rows: list[dict[str, Any]]) -> bytes:
    """Rows as an Arrow IPC stream."""
    return stream(pl.DataFrame(rows))
