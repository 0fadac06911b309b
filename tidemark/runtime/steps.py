"""Steps: what a flow is made of. Each takes the payload of a round and gives the next step's.

A round is what a worker processes together: micro-batches of some partitions, or a tick, which time brings and no
rows. Every step sees every round, also one that has nothing for it: so whoever commits knows when all steps have
handled it. A step knows neither Kafka nor Bytewax. It belongs to one worker and is called by one thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from tidemark.errors import ConfigError
from tidemark.runtime.processor import Batch, Output, Partition, Processor, RoundProcessor

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


@dataclass(frozen=True, slots=True)
class RoundContext:
    """What every step is told of a round beside its payload.

    now: this machine's clock when the rows had been read, µs since 1970: none of them came later.
    partitions: those that the round has rows of, whether or not they come by this step.
    replay: the rows lie below the committed offset: they rebuild state, and what they give is discarded.
    tick: wall time, s since 1970, of a round without rows; None: a round of rows.
    """

    now: int
    partitions: Sequence[Partition] = ()
    replay: bool = False
    tick: float | None = None


class Refused(NamedTuple):
    """A row that can't be processed: the batch and its number there, the step that refused it, and why."""

    batch: Batch
    row: int
    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Out_co]):
    """Payload of the rows that go on, and the rows that can't."""

    oks: Out_co
    errs: Sequence[Refused] = ()


class Step(Protocol[In_contra, Out_co]):
    """One step of a flow, for one worker."""

    def process(self, payload: In_contra, context: RoundContext, /) -> Out_co:
        """The payload for the next step. Of a round that has nothing for this step: an empty one."""
        ...


@runtime_checkable
class StatefulStep(Protocol):
    """A step that keeps state of each partition, and has it back after a crash, exactly as it was.

    What `snapshot` gives is committed in the transaction of the outputs. After a crash, or when another worker takes
    the partition over, `open` gets it back. The rows that came behind it are replayed: `process` sees them with
    `context.replay`.
    """

    def open(self, partition: Partition, snapshot: bytes | None) -> None:
        """Begin with a partition. snapshot: the state to begin with; None: rows were never processed, or all anew."""
        ...

    def close(self, partition: Partition) -> None:
        """Drop the state of a partition."""
        ...

    def snapshot(self, partition: Partition) -> bytes:
        """The state of a partition after the rows processed so far: a few hundred bytes, for Kafka keeps 4,000."""
        ...


S = TypeVar("S")


def step_of(steps: Mapping[str, object], kind: type[S]) -> S:
    """The one step of a kind that a flow has.

    Args:
        steps: of the flow, by name.
        kind: class of the step.

    Returns:
        The step.

    Raises:
        ConfigError: the flow has none, or several.

    """
    found = [step for step in steps.values() if isinstance(step, kind)]
    if len(found) != 1:
        raise ConfigError(f"the flow has {len(found)} steps of the kind {kind.__name__}; its state needs exactly one")
    return found[0]


class ProcessorStep:
    """A processor in one piece as a step."""

    def __init__(self, processor: Processor) -> None:
        self.processor = processor
        self._together = processor if isinstance(processor, RoundProcessor) else None

    def process(self, batches: Sequence[Batch], context: RoundContext) -> Sequence[Output]:
        """What the processor gives of the batches, or of a tick."""
        if context.tick is not None:
            return self.processor.tick(context.tick)
        if self._together is not None:
            return self._together.process_round(batches) if batches else []
        return [output for batch in batches for output in self.processor.process(batch)]
