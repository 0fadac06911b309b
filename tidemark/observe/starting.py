"""Which of a pipeline's processes run on this machine, as its supervisor wrote in the log."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_TAIL: Final = 256 * 1024
_STARTED: Final = re.compile(r" supervisor +(\S+) started, process (\d+)$")
_ENDED: Final = re.compile(r" supervisor +(\S+) ended with ")


def running(log: Path) -> frozenset[str]:
    """Names of the processes that were started by `tidemark up` and are alive: `stream`, `stream-2`, `labeling`.

    Args:
        log: of the supervisor. Its last 256 KiB are read.

    Returns:
        None of them where there is no log.

    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return frozenset()
    alive: dict[str, int] = {}
    for line in lines:
        if found := _STARTED.search(line):
            alive[found[1]] = int(found[2])
        elif found := _ENDED.search(line):
            alive.pop(found[1], None)
    return frozenset(name for name, process in alive.items() if _lives(process))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
