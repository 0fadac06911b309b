"""In what order exploration cases are asked: what is answered is at any moment a random sample of what was drawn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from desk import DAY, Desk
from labeling import CLASSES, MovedClock, candidate

from labeling_grpc.commands.labeling import Answer, SubmitAnswers
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.database import sqlite_store
from tidemark.records.topics import Topics

TILES, DRAWN = 12, 4
"""Tiles of a backlog, and exploration cases of each."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    clock = MovedClock(time=20_000 * DAY)
    store = sqlite_store(tmp_path / "q.db", Topics("pay"), QueueRules(classes=CLASSES), clock)
    yield Desk(store, clock)
    store.close()


def answered(desk: Desk, count: int) -> list[int]:
    """Answer as many as that; their numbers, in the order in which they were asked."""
    cases = desk.lease("ada", count)
    answers = tuple(Answer(case.event_id, case.token, "answered", "genuine") for case in cases)
    desk.store.transact([SubmitAnswers(answers)])
    return [int(case.event_id.split("-")[2]) for case in cases]


def backlog(desk: Desk, stream: int) -> list[int]:
    """Take in what was drawn of some tiles; the share of frauds grows from tile to tile, from none to all."""
    desk.take_in(
        *[
            candidate(number, topic=f"pay{stream}", explore=True, tile=number // DRAWN)
            for number in range(TILES * DRAWN)
        ]
    )
    return list(range(TILES * DRAWN))


def test_half_of_a_backlog_tells_the_share_of_all_of_it(desk: Desk) -> None:
    """Frauds grow from the first tile to the last: whoever asks in the order of arrival would see few of them."""
    estimates = []
    for stream in range(60):
        numbers = backlog(desk, stream)
        share = np.array([number / numbers[-1] for number in numbers])
        estimates.append(share[answered(desk, len(numbers) // 4)].mean())
        answered(desk, len(numbers))
    spread = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - 0.5) < 3 * spread
    assert spread < 0.02
    # As wide as that of a quarter drawn without replacement, and no narrower: no order of tiles is left in it.
    expected = np.sqrt(np.var(np.linspace(0, 1, TILES * DRAWN)) / (TILES * DRAWN / 4) * 0.75)
    assert 0.7 < np.std(estimates) / expected < 1.3


def test_what_comes_while_others_wait_takes_its_place_among_them(desk: Desk) -> None:
    desk.take_in(*[candidate(number, explore=True) for number in range(40)])
    asked = answered(desk, 10)
    assert sorted(asked) != list(range(10))
    desk.take_in(*[candidate(number, explore=True) for number in range(40, 80)])
    asked += answered(desk, 30)
    assert 14 <= sum(number < 40 for number in asked) <= 26, "of both halves about as many, though one came first"


def test_every_replica_and_replay_asks_in_the_same_order(tmp_path: Path) -> None:
    orders = []
    for turn, numbers in enumerate((range(30), reversed(range(30)))):
        store = sqlite_store(tmp_path / f"{turn}.db", Topics("pay"), QueueRules(classes=CLASSES), MovedClock())
        desk = Desk(store, MovedClock())
        desk.take_in(*[candidate(number, explore=True) for number in numbers])
        orders.append(answered(desk, 30))
        store.close()
    assert orders[0] == orders[1]


def test_a_case_that_was_given_back_keeps_its_place(desk: Desk) -> None:
    desk.take_in(*[candidate(number, explore=True) for number in range(20)])
    (first,) = desk.lease("ada")
    desk.clock.time += 10**16
    (again,) = desk.lease("ben")
    assert again.event_id == first.event_id
