"""Coins of events: by the raw record an event comes from, whatever its way here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels import coin, hash64
from tidemark.stream.rows import Rows


def coins_of(rows: Rows, policy: int) -> NDArray[np.uint64]:
    """The coin of each row.

    Args:
        rows: n rows.
        policy: hash of what the coin is tossed for. Coins of two policies are independent.

    Returns:
        (n,) uniform on 0 to 2**64 - 1.

    """
    found = np.empty(len(rows), np.uint64)
    for i, origin in enumerate(rows.origins):
        own = rows.origin == i
        stream = hash64(f"{origin.topic}@{origin.incarnation}".encode())
        found[own] = coin(stream, origin.index, rows.offsets[own], policy)
    return found
