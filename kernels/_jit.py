"""The one way in which this package compiles: cached, without the GIL, IEEE floating point, one thread.

``parallel=True`` aborts the process under two threads of numba's workqueue layer and ``fastmath=True``
deletes NaN checks, so neither can be asked for here.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a function with numba on its first call, and keep the machine code on disk."""
    return cast("F", njit(cache=True, nogil=True)(function))
