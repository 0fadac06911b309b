"""Runs rounds through a dataflow without Kafka: the workers' steps are kept from run to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink
from bytewax.testing import TestingSink, TestingSource, run_main

import dataflows.operators as tm
from dataflows.engine.partition_buffer import Lane
from dataflows.engine.task import Session
from dataflows.engine.work import Done, Item, Work
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.runtime.steps import RoundContext


class FlowProcessor:
    """A flow in the place of a processor. clock: µs since 1970."""

    def __init__(
        self, build: Callable[[Source[Work], Sink[Done]], Dataflow], clock: Callable[[], int] = lambda: 0
    ) -> None:
        self._build = build
        self._clock = clock
        self.steps, self._state = tm.task_of(build(TestingSource([]), TestingSink([])))
        self.topics, self.metadata, self.close = self._state.topics, self._state.metadata, self._state.close
        self.open, self.event_time = self._state.open, self._state.event_time
        self.abandoned = False

    def run_step(self, name: str, payload: Any, context: RoundContext) -> Any:  # noqa: ANN401 as the session's
        return self.steps[name].process(payload, context)

    def process_rounds(self, rounds: Sequence[Sequence[Batch]]) -> list[Done]:
        """Rounds that are under way together; those of a batch that is a replay are all replays."""
        now = self._clock()
        return self._run(
            [
                Work(
                    cast("Session", self),
                    [Item(Lane(b.partition.topic, b.partition.index), 0, b) for b in batches],
                    RoundContext(now, [b.partition for b in batches], batches[0].replay),
                )
                for batches in rounds
            ]
        )

    def process_round(self, batches: Sequence[Batch]) -> list[Output]:
        return [output for done in self.process_rounds([batches]) for output in done.outputs]

    def process(self, batch: Batch) -> list[Output]:
        return self.process_round([batch])

    def tick(self, now: float) -> list[Output]:
        (done,) = self._run([Work(cast("Session", self), (), RoundContext(self._clock(), tick=now))])
        return list(done.outputs)

    def event_times(self, batch: Batch) -> list[int]:
        return cast("Any", self._state).event_times(batch)  # type: ignore[no-any-return]

    def _run(self, works: list[Work]) -> list[Done]:
        done: list[Done] = []
        run_main(self._build(TestingSource(works, batch_size=10), TestingSink(done)))
        assert [one.work for one in done] == works, "each round is committed once, in its order"
        return done


def opened(processor: FlowProcessor, *partitions: Partition) -> FlowProcessor:
    """The processor with new partitions."""
    for partition in partitions:
        assert processor.open(partition, "") is None
    return processor
