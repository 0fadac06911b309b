"""Python's cycle collector, set for a process through which rows, or calls, stream.

Each makes a handful of objects that live for a moment and are part of no cycle. At the default thresholds the
collector walked all that was alive every few hundred rows, a third of the stream flow's time.
"""

from __future__ import annotations

import gc
from typing import Final

_YOUNG: Final = 200_000
"""Objects more than were freed, before the youngest are looked at: the rows of some rounds."""


def after_imports() -> None:
    """Put it off until `from_now_on`.

    What a process imports lives to its end, and to look through it again and again takes a tenth of the start.
    """
    gc.disable()


def from_now_on() -> None:
    """Leave what was imported alone for good, and collect what comes later as ever."""
    gc.freeze()
    gc.enable()


def seldom() -> None:
    """Leave what is there now alone for good, and look at what comes later only when much more has come than gone."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
