"""Which events a rule has decided on: offsets may be set back, predictions written again, decisions are made once."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.monitoring.decoding import hashes

_TOGETHER: Final = 10_000
Hashes = NDArray[np.uint64]


class Known:
    """Rules and events, by 64-bit hash: 8 bytes each."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._parts: list[Hashes] = []
        self._sorted: Hashes = np.zeros(0, np.uint64)
        self._lately: set[int] = set()

    def add(self, rule: str, event_id: str) -> None:
        """Add an event that a rule had decided on. All of these are added before the first is asked for."""
        self._waiting.append(_name(rule, event_id))
        if len(self._waiting) >= _TOGETHER:
            self._hash()

    def has(self, rule: str, event_id: str) -> bool:
        """Whether a rule has decided on an event."""
        self._settle()
        wanted = _hash_of(rule, event_id)
        if wanted in self._lately:
            return True
        place = int(np.searchsorted(self._sorted, np.uint64(wanted)))
        return place < len(self._sorted) and int(self._sorted[place]) == wanted

    def decide(self, rule: str, event_id: str) -> None:
        """Take down that a rule decides on an event now: its prediction may come once more at any time."""
        self._settle()
        self._lately.add(_hash_of(rule, event_id))
        if len(self._lately) >= _TOGETHER:
            lately = np.fromiter(self._lately, np.uint64, len(self._lately))
            self._sorted, self._lately = np.union1d(self._sorted, lately), set()

    def _settle(self) -> None:
        self._hash()
        if self._parts:
            self._sorted, self._parts = np.unique(np.concatenate([self._sorted, *self._parts])), []

    def _hash(self) -> None:
        if self._waiting:
            self._parts.append(hashes(self._waiting))
            self._waiting = []


def _name(rule: str, event_id: str) -> str:
    return f"{rule} {event_id}"


def _hash_of(rule: str, event_id: str) -> int:
    return int(hashes([_name(rule, event_id)])[0])
