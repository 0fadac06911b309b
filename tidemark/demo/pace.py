"""How fast the demo may feed: as the loop keeps up, not as Kafka takes it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Pace:
    """The feed goes on while every flow keeps up: stream, selection, annotators, training.

    Without this the whole stream would be in Kafka before the second model, and all cases asked by a model that had
    seen next to nothing. A real stream has its own pace. How old the model is that asks is thereby bounded in labels,
    however fast or slow the machine is.

    max_lag: events sent and not yet processed.
    max_unselected: records of proposals that the select flow has not merged.
    max_unlearnt: cases that wait for an answer or for their way to the labels, and labels that the retrain flow has
        not looked at; it does not look while it trains.
    """

    max_lag: int = 2_000
    max_unselected: int = 10
    max_unlearnt: int = 25
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _allowed: int = 0

    def saw(self, *, lag: int, unselected: int, waiting: int, untrained: int) -> None:
        """Take in a look at the loop."""
        with self._lock:
            keeps_up = unselected <= self.max_unselected and waiting + untrained <= self.max_unlearnt
            self._allowed = max(self.max_lag - lag, 0) if keeps_up else 0

    def take(self, rows: int) -> bool:
        """Whether `rows` more may be sent now; what was allowed is used up until the next look."""
        with self._lock:
            if self._allowed < rows:
                return False
            self._allowed -= rows
            return True
