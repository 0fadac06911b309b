# ruff: noqa: ANN401  (numba has no types of its own to say)
"""a * b + c rounded once, which halves the operations of a polynomial and gives the same bits on every machine."""

from collections.abc import Callable
from typing import Any, cast

import numba
from numba.extending import intrinsic

_config: Any = numba.config


@intrinsic
def _fused(_context: Any, a: Any, b: Any, c: Any) -> Any:
    return a(a, b, c), lambda _context, builder, _signature, args: builder.fma(*args)


def _twice_rounded(a: Any, b: Any, c: Any) -> Any:
    """In place of it where kernels run uncompiled."""
    return a * b + c


fused: Callable[[Any, Any, Any], Any] = _twice_rounded if _config.DISABLE_JIT else cast("Any", _fused)
