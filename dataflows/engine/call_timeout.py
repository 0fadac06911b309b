"""Calls that may never come back, made on a thread that can be left behind.

`send_offsets_to_transaction` can block past its time-out (librdkafka issue 5456; seen at most restarts of a broker: a
look-up of the group's coordinator whose two retries failed is never taken up again). Nothing can interrupt it, but it
need not take the process with it: its producer is thrown away, and the next one under its transactional id fences
whatever it may still do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Hung(Exception):  # noqa: N818 an outcome that its caller handles
    """The call has not come back. It goes on by itself, on a thread that ends with it or with the process."""


def bounded(what: str, seconds: float, call: Callable[[], None]) -> None:
    """Make the call; its exception is raised here.

    Raises:
        Hung: it has not come back within `seconds`.

    """
    raised: list[BaseException] = []
    ended = threading.Event()

    def work() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 raised below, on the caller's thread
            raised.append(error)
        finally:
            ended.set()

    threading.Thread(target=work, daemon=True, name=what).start()
    if not ended.wait(seconds):
        raise Hung(f"{what} has not come back for {seconds:g} s (librdkafka issue 5456)")
    if raised:
        raise raised[0]
