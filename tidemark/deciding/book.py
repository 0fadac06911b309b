"""What a rule has decided so far: when each key was told of, and what is left of the day's budget."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from tidemark.records import Decided

_DAY: Final = 86_400_000_000
_HOUR: Final = 3_600_000_000
_BINS: Final = 4_096
"""Parts of [0, 1] in which probabilities are counted: those of one part are taken for equal."""
_HOURS: Final = 24
_MOST_HOURS: Final = 8 * _HOURS
"""Hours of which probabilities are kept, 16 kB each: late rows, and clocks that are fast, have hours of their own."""
_DAYS: Final = 4_000
"""Days of which alerts are counted; one before them all has nothing left."""
_TIDY_EVERY: Final = 10_000
_TIMES: Final = 8
"""Of a key, so many are kept, for rows may come late."""
Times = dict[str, deque[int]]
Counts = np.ndarray[tuple[int], np.dtype[np.int32]]


@dataclass(slots=True)
class Day:
    """How often a rule has decided what on a day."""

    alert: int = 0
    abstain: int = 0
    suppressed: int = 0
    over_budget: int = 0

    def add(self, decided: Decided) -> None:
        """Count a decision."""
        setattr(self, decided, getattr(self, decided) + 1)


class Recent:
    """Probabilities of events that could have been alerts, by hour of event time, to the nearest bin."""

    def __init__(self) -> None:
        self._hours: OrderedDict[int, Counts] = OrderedDict()

    def add(self, time: int, probability: float) -> None:
        """Count one. Hours in which nothing has come for longest are forgotten. time: µs."""
        hour = time // _HOUR
        if hour not in self._hours:
            self._hours[hour] = np.zeros(_BINS, np.int32)
            if len(self._hours) > _MOST_HOURS:
                self._hours.popitem(last=False)
        self._hours.move_to_end(hour)
        self._hours[hour][_bin(probability)] += 1

    def above(self, time: int, probability: float) -> int:
        """How many of the 24 hours up to that of a time were higher, by a bin at least. time: µs.

        What lies ahead of the time is not counted: of a clock that is fast, it would displace all that came before.
        """
        hour, first = time // _HOUR, _bin(probability) + 1
        held = (self._hours.get(each) for each in range(hour - _HOURS + 1, hour + 1))
        return sum(int(counts[first:].sum()) for counts in held if counts is not None)


def _bin(probability: float) -> int:
    return min(int(probability * _BINS), _BINS - 1)


@dataclass(slots=True)
class Book:
    """The decisions of one rule, in the order in which they were made.

    suppress: µs after an alert, or before it, in which another event of its key is none; 0: each is one.  per_day: most
    alerts of a day.  zone: whose days these are.  ahead: µs by which a clock may be fast.
    """

    suppress: int = 0
    per_day: int | None = None
    zone: ZoneInfo | None = None
    ahead: int = 0
    days: dict[str, Day] = field(default_factory=dict)
    latest: int = -(2**63)
    _told: Times = field(default_factory=dict)
    _asked: Times = field(default_factory=dict)
    _counted: Times = field(default_factory=dict)
    _recent: Recent = field(default_factory=Recent)
    _since_tidy: int = 0

    def alert(self, key: str | None, time: int, probability: float) -> Decided:
        """What becomes of an event that could be an alert; it is taken down.

        Args:
            key: of the event; None: it has none, and is like no other.
            time: µs since 1970.
            probability: of the class.

        Returns:
            `suppressed` where its key was told of within `suppress`. `over_budget` where the day's alerts are spent,
            or so many of the last 24 hours were likelier that the day's would be: so what is left goes to those that
            deserve it most. `alert` otherwise.

        """
        if self._near(self._told, key, time):
            return self.take(key, time, probability, "suppressed")
        if self.per_day is not None:
            spent = self.days.get(self.day(time), Day()).alert
            if spent >= self.per_day or self._recent.above(time, probability) >= self.per_day or self._forgotten(time):
                return self.take(key, time, probability, "over_budget")
        return self.take(key, time, probability, "alert")

    def abstain(self, key: str | None, time: int, probability: float) -> Decided:
        """What becomes of an event that a person should decide: not twice of a key within `suppress`.

        Nor where the key was alerted of. An alert is more than this, and comes all the same after it.
        """
        near = self._near(self._told, key, time) or self._near(self._asked, key, time)
        return self.take(key, time, probability, "suppressed" if near else "abstain")

    def take(self, key: str | None, time: int, probability: float, decided: Decided) -> Decided:
        """Take down what was decided, now or by an earlier process."""
        self.latest = max(self.latest, time)
        self.days.setdefault(self.day(time), Day()).add(decided)
        if decided in ("alert", "abstain") and key is not None and self.suppress:
            times = self._told if decided == "alert" else self._asked
            times.setdefault(key, deque(maxlen=_TIMES)).append(time)
        if decided in ("alert", "over_budget") and self.per_day is not None:
            if not self._near(self._counted, key, time):
                self._recent.add(time, probability)
            if key is not None and self.suppress:
                self._counted.setdefault(key, deque(maxlen=_TIMES)).append(time)
        self._since_tidy += 1
        if self._since_tidy >= _TIDY_EVERY:
            self._tidy()
        return decided

    def day(self, time: int) -> str:
        """The day of an event time, as `2026-11-30`."""
        seconds = min(max(time // 1_000_000, -62_135_000_000), 253_402_000_000)
        return datetime.fromtimestamp(seconds, self.zone or UTC).date().isoformat()

    def _near(self, times: Times, key: str | None, time: int) -> bool:
        return key is not None and any(abs(time - known) < self.suppress for known in times.get(key, ()))

    def _forgotten(self, time: int) -> bool:
        return len(self.days) >= _DAYS and self.day(time) < min(self.days)

    def _tidy(self) -> None:
        """Forget what no event can be near any more, by the latest: one that is later still is told of once more."""
        self._since_tidy = 0
        oldest = self.latest - self.ahead - 2 * self.suppress - _DAY
        for times in (self._told, self._asked, self._counted):
            for key in [key for key, known in times.items() if max(known) < oldest]:
                del times[key]
        for day in sorted(self.days)[:-_DAYS]:
            del self.days[day]
