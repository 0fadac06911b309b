"""The windows that the workers of this process keep, for who answers by them."""

from __future__ import annotations

from collections.abc import Sequence

from dataflows.engine.source import Sessions
from dataflows.engine.task import Session
from tidemark.asking import Standing
from tidemark.stream.steps import WindowFeaturesStep


class SessionWindows:
    """Those of the sessions of a process (`tidemark.asking.KeptWindows`). sessions: set when the flow is built."""

    def __init__(self) -> None:
        self.sessions: Sessions | None = None

    def steps(self) -> Sequence[WindowFeaturesStep]:
        """Those of all workers."""
        steps = (step for session in self._running for step in session.steps.values())
        return [step for step in steps if isinstance(step, WindowFeaturesStep)]

    def standing(self) -> Standing:
        """How the process stands now."""
        running = self._running
        if not running:
            return Standing()
        partitions = frozenset[tuple[str, int]]().union(*(session.partitions for session in running))
        return Standing(partitions, max(session.lag() for session in running))

    @property
    def _running(self) -> list[Session]:
        return [] if self.sessions is None else self.sessions.running
