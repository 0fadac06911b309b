"""Helpers that any test may use: `from support import wait_until`."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], object],
    err_msg: str | Callable[[], str],
    timeout: float = 30.0,
    poll: float = 0.02,
) -> None:
    """Return as soon as `condition()` is true; fail with `err_msg` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            message = err_msg() if callable(err_msg) else err_msg
            raise AssertionError(f"{message} (waited {timeout:g} s)")
        time.sleep(poll)
