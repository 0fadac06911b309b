"""Bytewax source over a session: a `DynamicSource`, so that rows stay on the worker that read them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bytewax.inputs import DynamicSource, StatelessSourcePartition

from dataflows.engine.config import EngineConfig
from dataflows.engine.shutdown import Stop
from dataflows.engine.task import Session
from dataflows.engine.work import Work
from tidemark.runtime.garbage_collection import seldom
from tidemark.runtime.processor import TaskState
from tidemark.runtime.steps import ProcessorStep
from tidemark.stream.step_group import StepGroup


@dataclass(frozen=True, slots=True)
class Running:
    """What the sessions of one process share once the flow runs.

    close: called once, when the last session has ended.
    """

    config: EngineConfig
    close: Callable[[], None] | None = None


MakeTask = Callable[[], tuple[Mapping[str, Any], TaskState]]
"""Makes the steps of one worker, by name, and what they keep of its partitions."""


def _no_steps() -> tuple[Mapping[str, Any], TaskState]:
    return {}, StepGroup({})


def state_of(steps: Mapping[str, Any]) -> TaskState:
    """What the steps of a worker keep of its partitions: a processor in one piece, or all steps together."""
    whole = [step.processor for step in steps.values() if isinstance(step, ProcessorStep)]
    return whole[0] if whole else StepGroup(steps)


class Sessions:
    """The sessions of one process, one a worker, shared by its source and its sink.

    prepare: called once, when the first worker begins. Only then does a flow connect to Kafka, start threads and
        compile kernels: whoever builds a flow to look at it needs none of them.
    make_task: makes the steps of one worker, by name, and what they keep together; set when the flow is built.
    """

    def __init__(self, prepare: Callable[[], Running], stop: Stop) -> None:
        self.make_task: MakeTask = _no_steps
        self._prepare = prepare
        self._preparing = threading.Lock()
        self._running: Running | None = None
        self._stop = stop
        self._sessions: dict[int, Session] = {}
        self._closed = False

    def start(self, worker: int) -> Session:
        """The session of a worker, in its group.

        Raises:
            TidemarkError: it can't begin; says what to do.

        """
        seldom()
        with self._preparing:
            if self._running is None:
                self._running = self._prepare()
            running = self._running
        steps, state = self.make_task()
        session = Session(running.config, state, self._stop, steps=steps, worker=worker)
        session.start()
        self._sessions[worker] = session
        return session

    @property
    def running(self) -> list[Session]:
        """The sessions that have begun and not ended. Any thread may ask."""
        return list(self._sessions.values())

    def finish(self, worker: int) -> None:
        """End a worker's session in order, if it has begun."""
        session = self._sessions.pop(worker, None)
        if session is not None:
            session.finish()
        self._close_after_last()

    def abandon(self) -> None:
        """End whatever is left, after an error: leave the group at once instead of timing out."""
        while self._sessions:
            self._sessions.popitem()[1].abandon()
        self._close_after_last()

    def _close_after_last(self) -> None:
        if self._sessions or self._closed or self._running is None:
            return
        self._closed = True
        if self._running.close is not None:
            self._running.close()


class KafkaSource(DynamicSource[Work]):
    """Reads the topics of the flow's steps as a member of its group."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def attach(self, make_task: MakeTask) -> None:
        """Tell how the steps of a worker are made, by the flow that reads from this source."""
        self._sessions.make_task = make_task

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Reader:  # noqa: ARG002 Bytewax's signature
        """Begin the worker's session."""
        return _Reader(self._sessions.start(worker_index))


class _Reader(StatelessSourcePartition[Work]):
    def __init__(self, session: Session) -> None:
        self._session = session
        self._pause = timedelta(seconds=session.poll_interval)
        self._idle = False
        self._asked = datetime.now(UTC)

    def next_batch(self) -> list[Work]:
        if self._session.stopping:
            raise StopIteration
        self._asked = datetime.now(UTC)
        work = self._session.poll(wait=True)
        self._idle = not work
        return work

    def next_awake(self) -> datetime | None:
        return self._asked + self._pause if self._idle else None  # Bytewax counts from then, too
