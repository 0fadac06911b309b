"""Which events a rule had decided on before this process began: offsets may be set back, decisions are made once."""

from __future__ import annotations

from array import array

import numpy as np

from tidemark.monitoring.decoding import hashes

_TOGETHER = 10_000


class Known:
    """Rules and events, by 64-bit hash: 8 bytes each. All are added before the first is asked for."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._found = array("Q")
        self._sorted: np.ndarray[tuple[int], np.dtype[np.uint64]] | None = None

    def add(self, rule: str, event_id: str) -> None:
        """Add an event that a rule has decided on."""
        self._waiting.append(f"{rule} {event_id}")
        if len(self._waiting) >= _TOGETHER:
            self._hash()

    def has(self, rule: str, event_id: str) -> bool:
        """Whether a rule has decided on an event."""
        if self._sorted is None:
            self._hash()
            self._sorted = np.sort(np.frombuffer(self._found, np.uint64)) if self._found else np.zeros(0, np.uint64)
        if not len(self._sorted):
            return False
        wanted = hashes([f"{rule} {event_id}"])[0]
        place = int(np.searchsorted(self._sorted, wanted))
        return place < len(self._sorted) and self._sorted[place] == wanted

    def _hash(self) -> None:
        if self._waiting:
            self._found.frombytes(hashes(self._waiting).tobytes())
            self._waiting = []
