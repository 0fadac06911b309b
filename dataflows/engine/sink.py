"""Bytewax sink over a session: produces what was processed, and commits."""

from __future__ import annotations

from bytewax.outputs import DynamicSink, StatelessSinkPartition

from dataflows.engine.source import Sessions
from dataflows.engine.work import Done


class KafkaSink(DynamicSink[Done]):
    """Produces and commits in the session that read the rows."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Writer:  # noqa: ARG002 Bytewax's signature
        """The writing end of the worker's session."""
        return _Writer(self._sessions, worker_index)


class _Writer(StatelessSinkPartition[Done]):
    def __init__(self, sessions: Sessions, worker: int) -> None:
        self._sessions = sessions
        self._worker = worker

    def write_batch(self, items: list[Done]) -> None:
        items[0].session.handle(items)

    def close(self) -> None:
        self._sessions.finish(self._worker)
