"""What tests of kernels do less of when kernels run without the compiler, as `make coverage` has them do.

Coverage sees the lines of a kernel only uncompiled, where a loop takes a hundred times as long: smaller input runs the
same lines.
"""

from typing import Final

import numba
import pytest

_config: object = numba.config
UNCOMPILED: Final = bool(getattr(_config, "DISABLE_JIT", False))


def sized(compiled: int, uncompiled: int) -> int:
    """How many rows, trials or examples."""
    return uncompiled if UNCOMPILED else compiled


many_trials = pytest.mark.skipif(
    UNCOMPILED, reason="a statistic of many trials: compiled only; the lines it runs are run by smaller tests"
)

many_rows = pytest.mark.skipif(
    UNCOMPILED,
    reason="windows of thousands of rows: compiled only; a window just long enough for blocks runs them",
)
