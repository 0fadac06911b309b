"""How long work takes, for benchmarks that compare."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds of the process, over `repeats` calls after one that compiles.

    CPU time, of all of the process's threads: what else the machine does must not count, and a peer's threads must.
    """
    work()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)
