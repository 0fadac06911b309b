"""Expiry goes by one clock: Kafka's, when cases were asked. Event times and devices' clocks play no part."""

from __future__ import annotations

from dataclasses import replace

import pytest
from desk import Open
from labeling import CLASSES, SOURCE, arrivals, candidate

from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.commands.rules import QueueRules

HOUR = 3_600_000_000
ASKED = 1_735_689_600_000_000


@pytest.mark.parametrize(
    "event_time",
    [ASKED, ASKED + 2 * HOUR, ASKED - 365 * 24 * HOUR, 253_339_228_800_000_000],
    ids=["as now", "two hours ahead", "a year ago", "the year 9998"],
)
def test_a_case_expires_so_long_after_it_was_asked_whatever_its_events_clock_says(
    event_time: int, opened: Open
) -> None:
    store = opened(QueueRules(classes=CLASSES)).store
    cases = [candidate(i, time=event_time + i, expires_at=ASKED + i + HOUR) for i in range(3)]
    asked = [replace(one, at=ASKED + i) for i, one in enumerate(arrivals(cases, 0))]
    store.transact([TakeIn(SOURCE, None, 3, tuple(asked))])
    assert (store.counts.waiting, store.counts.expired) == (3, 0), "none expires at intake"
    (last,) = arrivals([candidate(9, time=event_time)], 3)
    store.transact([TakeIn(SOURCE, 3, 4, (replace(last, at=ASKED + HOUR + 1),))])
    assert (store.counts.waiting, store.counts.expired) == (2, 2), "two were asked an hour ago, one was not yet"
