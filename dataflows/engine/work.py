"""Rounds on their way through a flow: from the source, through the steps, to the sink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dataflows.engine.partition_buffer import Lane
from tidemark.runtime.processor import Batch, Output
from tidemark.runtime.steps import RoundContext


class Handler(Protocol):
    """Whose round it is: one worker's task."""

    def run_step(self, name: str, payload: Any, context: RoundContext) -> Any:  # noqa: ANN401 each step has its own types
        """Let a step of the worker process the payload of a round."""
        ...

    def handle(self, items: Sequence[Done]) -> None:
        """Produce what was processed, and commit when it is time."""
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """A batch of a lane on its way, and the lane's generation when it was taken."""

    lane: Lane
    generation: int
    batch: Batch

    @property
    def is_stale(self) -> bool:
        """Whether the lane was opened anew or taken away meanwhile."""
        return self.lane.generation != self.generation


@dataclass(frozen=True, slots=True)
class Work:
    """A round on its way from the source: batches to process together, all to replay or none; or none for a tick.

    A round that has neither lets the sink commit.
    delivered: what the branches of the flow have given so far, by the step that gathers it.
    """

    session: Handler
    items: Sequence[Item] = ()
    context: RoundContext = field(default_factory=lambda: RoundContext(0))
    delivered: dict[str, dict[int, Any]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def batches(self) -> list[Batch]:
        """The batches whose partitions are still what they were."""
        return [item.batch for item in self.items if not item.is_stale]


@dataclass(frozen=True, slots=True)
class Done:
    """To the sink: what to produce, and the round that is handled with it."""

    work: Work
    outputs: Sequence[Output] = ()

    @property
    def session(self) -> Handler:
        """Whose round it was."""
        return self.work.session

    @property
    def items(self) -> Sequence[Item]:
        """The batches that were processed; none where it was a tick."""
        return self.work.items

    @property
    def rows(self) -> int:
        """Rows that were processed."""
        return sum(len(item.batch) for item in self.items)
