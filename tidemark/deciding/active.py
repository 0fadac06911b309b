"""A rule at work: its bounds, and its book of what it has decided."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from tidemark.deciding.book import Book
from tidemark.deciding.rule import Bounds
from tidemark.deciding.subject import Subject, subject_of
from tidemark.pipeline.model import DecisionRule, LabelSpec
from tidemark.records import Decided


@dataclass(slots=True)
class ActiveRule:
    """A rule at work. subject: what it goes by, whose strengths have the bounds."""

    rule: DecisionRule
    subject: Subject
    bounds: Bounds
    book: Book

    def follow(self, threshold: float | None) -> None:
        """Take up the threshold that `[alerts]` knows to find enough, where the rule goes by it."""
        if self.rule.threshold == "recall":
            self.bounds = Bounds(threshold, self.rule.abstain_from)

    def concerns(self, strength: float) -> bool:
        """Whether anything is decided."""
        lowest = self.bounds.lowest
        return lowest is not None and strength >= lowest

    def decide(self, key: str | None, time: int, strength: float) -> Decided:
        """What becomes of an event that concerns the rule; it is taken down.

        Args:
            key: of the event.
            time: µs since 1970.
            strength: of its prediction.

        Returns:
            As its book says.

        """
        share = self.subject.share(strength)
        if self.bounds.alert is not None and strength >= self.bounds.alert:
            return self.book.alert(key, time, share)
        return self.book.abstain(key, time, share)


def begun(rule: DecisionRule, label: LabelSpec, ahead: int = 0) -> ActiveRule:
    """A rule that has decided nothing yet.

    Args:
        rule: of the pipeline file.
        label: that predictions are of, and whose zone's days have its budget.
        ahead: µs by which a clock may be fast.

    Returns:
        It; without a threshold where it follows one.

    """
    zone = None if label.zone is None else ZoneInfo(label.zone)
    book = Book(rule.suppress or 0, rule.per_day, zone, ahead)
    subject = subject_of(rule, label)
    return ActiveRule(rule, subject, subject.bounds, book)
