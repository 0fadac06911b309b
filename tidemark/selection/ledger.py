"""What may still be spent: in all, in an hour, in a day. Nothing is asked beyond it, whatever dies.

Hours and days are those of Kafka's clock (UTC): of the record that closes a tile. That clock is in the log, so a run
that takes up again spends what one without a crash would have spent. It never goes back: a record whose timestamp does
counts in the hour that was reached before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tidemark.pipeline.model import Selection

_HOUR: Final = 3_600_000_000
_DAY: Final = 24 * _HOUR


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was spent: cases, or their cost in the pipeline's unit.

    hour, day: number since 1970 of the one that was reached; in_hour, in_day: spent in it.  alarm: time (µs) of the
    alarm of drift that is followed or was last; 0: none.  extra: cases asked beyond the usual ones since.
    """

    in_all: int = 0
    hour: int = 0
    in_hour: int = 0
    day: int = 0
    in_day: int = 0
    alarm: int = 0
    extra: int = 0

    @property
    def windows(self) -> tuple[int, int, int, int]:
        """What is kept of hours and days."""
        return self.hour, self.in_hour, self.day, self.in_day

    def at(self, time: int) -> Ledger:
        """The ledger at a time (µs since 1970): a new hour or day begins with nothing spent."""
        hour, day = max(time // _HOUR, self.hour), max(time // _DAY, self.day)
        in_hour, in_day = self.in_hour if hour == self.hour else 0, self.in_day if day == self.day else 0
        return replace(self, hour=hour, in_hour=in_hour, day=day, in_day=in_day)

    def alarmed(self, alarm: int) -> Ledger:
        """The ledger once an alarm (its time, µs) is followed."""
        return replace(self, alarm=alarm, extra=0)

    def spent(self, cost: int, extra: int = 0) -> Ledger:
        """The ledger after spending. extra: cases that were asked beyond the usual ones."""
        in_all, in_hour, in_day = self.in_all + cost, self.in_hour + cost, self.in_day + cost
        return replace(self, in_all=in_all, in_hour=in_hour, in_day=in_day, extra=self.extra + extra)

    def left(self, selection: Selection) -> int | None:
        """What may be spent now; None where nothing bounds it."""
        bounds = (
            (selection.total, self.in_all),
            (selection.per_hour, self.in_hour),
            (selection.per_day, self.in_day),
        )
        return min((max(bound - spent, 0) for bound, spent in bounds if bound is not None), default=None)

    def allowance(self, selection: Selection) -> int:
        """Cases that a tile may ask: all of `budget`, and fewer and fewer once only the saved part of `total` is left.

        A tile asks budget * left / saved then, at least one case: half of the saved part lasts for as many tiles as
        the other half of it, and so on. Most is spent while labels teach most, and something is there when the stream
        changes.
        """
        if selection.total is None or selection.saved is None:
            return selection.budget
        left, saved = max(selection.total - self.in_all, 0), selection.saved * selection.total
        if left >= saved:
            return selection.budget
        return max(1, int(selection.budget * left / saved))
