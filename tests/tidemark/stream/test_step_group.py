"""Steps of a user's own keep their state across crashes, whatever the product's own windows rewind to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest

from tidemark.errors import ConfigError, TopicError
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import RoundContext
from tidemark.stream.checkpoint import Position, unpack
from tidemark.stream.step_group import StepGroup
from tidemark.stream.steps import ByTopicStep, Received

PLACE = Partition("t", 0, "0000aaaa")
NOW = 1_000


@dataclass
class Sum:
    """A user's step: the sum of all offsets seen, of each partition."""

    sums: dict[Partition, int] = field(default_factory=dict)
    size: int = 0

    def open(self, partition: Partition, snapshot: bytes | None) -> None:
        self.sums[partition] = int(snapshot or b"0")

    def close(self, partition: Partition) -> None:
        del self.sums[partition]

    def snapshot(self, partition: Partition) -> bytes:
        return b"%d" % self.sums[partition] + b" " * self.size

    def process(self, received: Received, context: RoundContext) -> Received:
        del context
        for batch in received.batches:
            self.sums[batch.partition] += int(batch.offsets.sum())
        return received


class Windows:
    """Stands in for windows that need the last `reach` rows, and has the watermark that was committed."""

    def __init__(self, reach: int) -> None:
        self.keeps = frozenset(["t"])
        self.reach = reach
        self.last = -1

    def open(self, partition: Partition, position: Position) -> int | None:
        del partition
        return position.rewind

    def close(self, partition: Partition) -> None:
        del partition

    def latest(self, partition: Partition) -> int | None:
        del partition
        return self.last

    def fields(self, partition: Partition) -> dict[str, int | None]:
        del partition
        return {"rewind": max(self.last + 1 - self.reach, 0) if self.reach else None}


class Worker:
    """A process: the steps, over a log of one partition."""

    def __init__(self, reach: int, metadata: str = "", committed: int = 0, log: int = 0) -> None:
        self.source, self.windows, self.sum = ByTopicStep(["t"]), Windows(reach), Sum()
        self.group = StepGroup({"source": self.source, "windows": self.windows, "sum": self.sum})
        rewind = self.group.open(PLACE, metadata)
        self.replayed = 0
        if rewind is not None:
            self.replayed = committed - max(rewind, 0)
            for begin in range(max(rewind, 0), committed, 20):
                self.process(range(begin, min(begin + 20, committed)), replay=True)
        assert log >= committed

    def process(self, offsets: range, *, replay: bool = False) -> None:
        n = len(offsets)
        batch = Batch(PLACE, np.array(offsets, np.int64), np.zeros(n, np.int64), [None] * n, [b""] * n, [], replay)
        context = RoundContext(NOW, [PLACE], replay)
        self.sum.process(self.source.process([batch], context), context)
        self.windows.last = offsets[-1]


@pytest.mark.parametrize("reach", [0, 1, 7, 50, 10_000])
@pytest.mark.parametrize("seed", range(5))
def test_a_users_state_is_the_same_after_any_crash(reach: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    worker, metadata, committed = Worker(reach), "", 0
    for _ in range(300):
        count = int(generator.integers(1, 20))
        worker.process(range(committed, committed + count))
        if generator.random() < 0.2:  # a crash before the commit
            worker = Worker(reach, metadata, committed, committed)
            assert worker.sum.sums[PLACE] == committed * (committed - 1) // 2
            continue
        committed += count
        metadata = worker.group.metadata(PLACE)
        position = unpack(PLACE, metadata)
        assert (position.rewind is None) == (reach == 0)
        assert position.rewind is None or position.rewind <= max(committed - reach, 0)
        assert position.rewind is None or position.rewind >= committed - reach * 1.1 - 60, "not much more is replayed"
    rewound = Worker(reach, metadata, committed, committed)
    assert rewound.sum.sums[PLACE] == committed * (committed - 1) // 2


def test_what_was_committed_is_committed_again_while_it_is_replayed() -> None:
    worker = Worker(5)
    worker.process(range(10))
    metadata = worker.group.metadata(PLACE)
    again = Worker(5, metadata, 10, 10)
    assert again.group.metadata(PLACE) == metadata


def test_a_position_without_steps_of_a_user_has_no_trace_of_them() -> None:
    source = ByTopicStep(["t"])
    group = StepGroup({"source": source, "windows": Windows(3)})
    group.open(PLACE, "")
    batch = Batch(PLACE, np.arange(4), np.zeros(4, np.int64), [None] * 4, [b""] * 4)
    source.process([batch], RoundContext(NOW, [PLACE]))
    assert json.loads(group.metadata(PLACE)) == {"rewind": 0, "clock": NOW}


def test_state_that_kafka_does_not_keep_is_an_error_that_names_the_step() -> None:
    worker = Worker(5)
    worker.sum.size = 4_000
    worker.process(range(10))
    worker.group.metadata(PLACE)  # that of the beginning is committed, for all is read again
    worker.process(range(10, 30))
    with pytest.raises(ConfigError, match=r"step 'sum': its state of t\[0\] makes 5,\d\d\d bytes"):
        worker.group.metadata(PLACE)


def test_state_that_somebody_else_has_written_is_an_error() -> None:
    with pytest.raises(TopicError, match="state of a step that can't be read"):
        Worker(5, '{"rewind":3,"steps":{"sum":"?"}}')


def test_all_is_new_to_a_users_step_where_a_reset_asks_for_it() -> None:
    class Anew(Windows):
        def open(self, partition: Partition, position: Position) -> int | None:
            del partition
            return -1 if position.rebuild else position.rewind

    step = Sum()
    group = StepGroup({"source": ByTopicStep(["t"]), "windows": Anew(3), "sum": step})
    assert group.open(PLACE, '{"rewind":3,"rebuild":true,"steps":{"sum":"NQ=="}}') == -1
    assert step.sums[PLACE] == 0
