"""Python's cycle collector, set for a process through which rows stream.

Each row makes a handful of objects that live for a round and are part of no cycle. At the default thresholds the
collector walked all that was alive every few hundred rows, a third of the stream flow's time.
"""

from __future__ import annotations

import gc
from typing import Final

_YOUNG: Final = 200_000
"""Objects more than were freed, before the youngest are looked at: some rounds' rows."""


def seldom() -> None:
    """Leave what is there now alone for good, and look at what comes later only when much more has come than gone."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
