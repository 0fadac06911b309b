"""Bytewax source over a session: a `DynamicSource`, so that rows stay on the worker that read them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bytewax.inputs import DynamicSource, StatelessSourcePartition

from dataflows.config import EngineConfig
from dataflows.session import Session, Work
from dataflows.stop import Stop
from tidemark.collector import seldom
from tidemark.processor import Processor


class Sessions:
    """The sessions of one process, one a worker, shared by its source and its sink.

    close: called once, when the last of them has ended.
    """

    def __init__(
        self,
        config: EngineConfig,
        processor: Callable[[], Processor],
        stop: Stop,
        *,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.config = config
        self._close = close
        self._processor = processor
        self._stop = stop
        self._sessions: dict[int, Session] = {}

    def start(self, worker: int) -> Session:
        """The session of a worker, in its group.

        Raises:
            TopicError, BrokerError: it can't begin; says what to do.

        """
        seldom()
        session = Session(self.config, self._processor(), self._stop, worker=worker)
        session.start()
        self._sessions[worker] = session
        return session

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
        close, self._close = self._close, None
        if self._sessions:
            self._close = close
        elif close is not None:
            close()


class KafkaSource(DynamicSource[Work]):
    """Reads the topics of the sessions' processor as a member of its group."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Reader:  # noqa: ARG002 Bytewax's signature
        """Begin the worker's session."""
        return _Reader(self._sessions.start(worker_index), self._sessions.config.poll_interval)


class _Reader(StatelessSourcePartition[Work]):
    def __init__(self, session: Session, poll_interval: float) -> None:
        self._session = session
        self._pause = timedelta(seconds=poll_interval)
        self._idle = False

    def next_batch(self) -> list[Work]:
        if self._session.stopping:
            raise StopIteration
        work = self._session.poll()
        self._idle = not work
        return work

    def next_awake(self) -> datetime | None:
        return datetime.now(UTC) + self._pause if self._idle else None
