"""The one way in which this project compiles: cached, without the GIL, IEEE floating point, one thread.

``parallel=True`` aborts the process under two threads of numba's workqueue layer and ``fastmath=True`` deletes NaN
checks, so neither can be asked for here. The machine code is kept on disk: `kernels.numerics._machine_code`.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from kernels.numerics._machine_code import MachineCode

F = TypeVar("F", bound=Callable[..., Any])
_config: Any = numba.config
_njit: Any = numba.njit


def kernel(function: F) -> F:
    """Compile a function with numba on its first call, and keep the machine code on disk where that is possible."""
    return _compiled(function, _nrt=True)


def lean(function: F) -> F:
    """As ``kernel``, for a function that makes no array: numba then counts no references to those it is given.

    It counts them at each call of one kernel in another, an atomic step for each array and a barrier to inlining, which
    made loops that call others up to three times as slow.
    """
    return _compiled(function, _nrt=False)


def _compiled(function: F, **options: bool) -> F:
    # Division as IEEE has it: a check for 0 that raises keeps a loop from being vectorised.
    compiled = _njit(nogil=True, error_model="numpy", **options)(function)
    if not _config.DISABLE_JIT:  # not where kernels run uncompiled
        compiled._cache = MachineCode(function)  # noqa: SLF001 - `cache=True` would set numba's own here
    return cast("F", compiled)
