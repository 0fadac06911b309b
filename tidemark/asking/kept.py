"""Which of the stream's windows this process keeps, and how far behind the stream they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tidemark.runtime.processor import Partition
from tidemark.stream.steps import WindowFeaturesStep


@dataclass(frozen=True, slots=True)
class Standing:
    """How a process stands in the stream flow's group.

    partitions: topic and number of every partition of the flow, empty until that is known.
    lag: seconds by which the rows that were read last are behind; infinite while that is not known.
    """

    partitions: frozenset[tuple[str, int]] = frozenset()
    lag: float = math.inf


class KeptWindows(Protocol):
    """The windows that the workers of a process keep. Any thread may ask."""

    def steps(self) -> Sequence[WindowFeaturesStep]:
        """Those of all workers."""
        ...

    def standing(self) -> Standing:
        """How the process stands now."""
        ...


@dataclass(frozen=True, slots=True)
class Places:
    """Where each partition is kept, at a moment.

    held: step and partition by topic and number.  counts: partitions of each topic.
    """

    held: dict[tuple[str, int], tuple[WindowFeaturesStep, Partition]]
    counts: dict[str, int]
    lag: float
    missing: int

    @classmethod
    def of(cls, kept: KeptWindows) -> Places:
        """Where they are kept now."""
        standing = kept.standing()
        held = {
            (partition.topic, partition.index): (step, partition) for step in kept.steps() for partition in step.kept()
        }
        counts: dict[str, int] = {}
        for topic, _ in standing.partitions:
            counts[topic] = counts.get(topic, 0) + 1
        return cls(held, counts, standing.lag, len(standing.partitions - held.keys()))

    def refusal(self, max_lag: float) -> str | None:
        """Why nobody can be answered now; None if they can. max_lag: seconds."""
        total = sum(self.counts.values())
        if not total:
            return "the stream process is starting; ask again in a moment"
        if self.missing:
            return (
                f"of {total} partitions this process has the windows of {total - self.missing}: the others are being "
                "rebuilt, or another stream process keeps them, and part of the windows is no answer. Ask again in a "
                "moment; where it stays so, run one stream process"
            )
        if self.lag > max_lag:
            behind = "not at the end of the stream yet" if math.isinf(self.lag) else f"{self.lag:.1f} s behind"
            return f"the windows are {behind}, and ask.max_lag is {max_lag:g} s; ask again when they have caught up"
        return None
