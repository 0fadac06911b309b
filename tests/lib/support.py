"""Helpers that any test may use: `from support import wait_until`."""

from __future__ import annotations

import time
from collections.abc import Callable

_MOST_CHECKING = 0.5
"""Longest pause for the sake of what is waited for, seconds."""


def wait_until(
    condition: Callable[[], object],
    err_msg: str | Callable[[], str],
    timeout: float = 30.0,
    poll: float = 0.02,
) -> None:
    """Return as soon as `condition()` is true; fail with `err_msg` after `timeout` seconds.

    A condition that asks Kafka uses the processor that the processes under test need: it is given half of the time at
    most.
    """
    deadline = time.monotonic() + timeout
    while True:
        begun = time.process_time()
        if condition():
            return
        if time.monotonic() > deadline:
            message = err_msg() if callable(err_msg) else err_msg
            raise AssertionError(f"{message} (waited {timeout:g} s)")
        time.sleep(max(poll, min(time.process_time() - begun, _MOST_CHECKING)))
