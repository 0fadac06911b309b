"""Coins of events: by the raw record an event comes from, whatever its way here."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kernels import coin, hash64
from tidemark.stream.rows import Rows


def coins_of(rows: Rows, policy: int, only: NDArray[np.int64] | None = None) -> NDArray[np.uint64]:
    """The coin of each row.

    Args:
        rows: n rows.
        policy: hash of what the coin is tossed for. Coins of two policies are independent.
        only: (m,) numbers of the rows whose coins are tossed; None: of all.

    Returns:
        (n,) or (m,) uniform on 0 to 2**64 - 1.

    """
    origins, offsets = (rows.origin, rows.offsets) if only is None else (rows.origin[only], rows.offsets[only])
    found = np.empty(len(offsets), np.uint64)
    for i, origin in enumerate(rows.origins):
        own = origins == i
        if own.any():
            found[own] = coin(_stream(origin.topic, origin.incarnation), origin.index, offsets[own], policy)
    return found


@lru_cache(maxsize=1_000)
def _stream(topic: str, incarnation: str) -> int:
    return hash64(f"{topic}@{incarnation}".encode())
