"""What came of a replay, for people and programs."""

from __future__ import annotations

import msgspec


class SpanPart(msgspec.Struct, frozen=True):
    """Raw records that were replayed: offsets `start` to before `end`."""

    topic: str
    partition: int
    start: int
    end: int


class DifferencePart(msgspec.Struct, frozen=True):
    """What differs: of how many events, by how much at most, and one of them.

    largest: None where it is no number, or one of the two is missing.  example: event id, of the largest difference.
    """

    what: str
    where: str
    events: int
    largest: float | None
    example: str
    derived: str | float | bool | None
    recorded: str | float | bool | None


class ReasonPart(msgspec.Struct, frozen=True):
    """Why something could not be compared, and of how many events."""

    reason: str
    events: int


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """A replay, and how it compares with what was recorded.

    Of the events that were predicted, `equal` are those of which all that was recorded comes out the same, `differing`
    those of which something does not, `not_comparable` the others. `missing`: events without a prediction, though
    later ones have one. `not_held`: events before and behind those whose predictions the topic holds. `unexpected`:
    predictions of records that are no events. `refused`: records that are no events, duplicates among them.

    topic: the shadow topic, None where none was written.  models: events that each version has scored.
    full_from: event time from which on all features are whole, µs.  incomplete: events with a feature that is not.
    """

    pipeline: str
    topic: str | None
    spans: list[SpanPart]
    events: int
    refused: int
    models: dict[str, int]
    equal: int
    differing: int
    not_comparable: int
    missing: int
    not_held: int
    unexpected: int
    compared: int
    incomplete: int
    full_from: int | None
    differences: list[DifferencePart]
    reasons: list[ReasonPart]
    notes: list[str]

    @property
    def agrees(self) -> bool:
        """Whether nothing differs and nothing is missing."""
        return not (self.differing or self.missing or self.unexpected)
