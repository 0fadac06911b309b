"""What streams between operators carry: one envelope a round, possibly with nothing in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from dataflows.engine.work import Work
from tidemark.runtime.steps import RoundContext

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Round(Generic[T]):
    """A payload, and the round that it is of.

    Every stream carries each round once, in the order in which the worker read them. An operator that filtered rounds
    would hold up `commit` for ever: what it leaves out is left out of the payload.

    work: the task (one worker's reading and committing), its batches by partition, and their generations.
    """

    work: Work
    payload: T

    @property
    def context(self) -> RoundContext:
        """Whether the round is a replay or a tick, and when it was read."""
        return self.work.context
