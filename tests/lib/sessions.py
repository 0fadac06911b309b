"""Drives sessions of the engine by hand, in the test's own thread, so that every step is the test's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from dataflows.engine.task import Session


def step(session: Session) -> int:
    """One round: read, process, handle. Rows processed."""
    done = [session.process(work) for work in session.poll()]
    if done:
        session.handle(done)
    return sum(item.rows for item in done)


def pump(
    sessions: Session | Sequence[Session],
    until: Callable[[], object],
    err_msg: str | Callable[[], str],
    timeout: float = 30.0,
) -> None:
    """Step all sessions in turn until the condition holds; fail with `err_msg` after `timeout` seconds.

    A condition that asks Kafka is asked for half of the time at most; one that costs nothing is asked after each step.
    """
    turn = [sessions] if isinstance(sessions, Session) else sessions
    asked, took = time.monotonic(), 0.0
    deadline = asked + timeout
    while True:
        begun = time.monotonic()
        if begun - asked >= took:
            if until():
                return
            asked = time.monotonic()
            took = asked - begun
            if asked > deadline:
                raise AssertionError(f"{err_msg() if callable(err_msg) else err_msg} (waited {timeout:g} s)")
        if not sum(step(session) for session in turn):
            time.sleep(0.002)
