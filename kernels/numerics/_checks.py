"""What every kernel checks once, at its edge: dtype, byte order, dimensions and length.

Arrays come back C-contiguous and read-only: a view where the input allows it, else a copy. Read-only for a
reason: numba compiles a second version of a kernel for read-only input (as Polars hands out), and one is
enough.
"""

from collections.abc import Hashable
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray


def describe(value: object) -> str:
    """Name the type, shape and dtype of what was given, for error messages."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype.str}"
    return f"{type(value).__name__}"


@cache
def _dtypes(dtypes: Any) -> tuple[np.dtype[Any], ...]:  # noqa: ANN401  (dtypes, which are hashable)
    return tuple(np.dtype(d) for d in (dtypes if isinstance(dtypes, tuple) else (dtypes,)))


def _as_wanted(want: int | None, got: int) -> bool:
    return want is None or want == got


def array(
    name: str, value: object, dtypes: DTypeLike | tuple[DTypeLike, ...], shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """Check one input array and return it C-contiguous and read-only.

    dtypes: the dtypes accepted, in native byte order.  shape: expected length of each axis, None for any.
    Raises ValueError that names the argument, what was expected and what was given.
    """
    accepted = _dtypes(cast("Hashable", dtypes))
    fits = (
        isinstance(value, np.ndarray)
        and value.dtype in accepted
        and value.dtype.isnative
        and len(value.shape) == len(shape)
        and (value.shape == shape or all(map(_as_wanted, shape, value.shape)))
    )
    if not fits:
        wanted = " or ".join(d.name for d in accepted)
        axes = ", ".join("n" if want is None else str(want) for want in shape)
        trailing = "," if len(shape) == 1 else ""
        raise ValueError(
            f"{name}: expected a native-endian {wanted} array of shape ({axes}{trailing}), got {describe(value)}"
        )
    given = cast("NDArray[Any]", value)
    view = (given if given.flags.c_contiguous else np.ascontiguousarray(given)).view()
    view.flags.writeable = False
    return view


def integer(name: str, value: object, low: int, high: int) -> int:
    """Check one integer argument against its closed range; raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= int(value) <= high:
        raise ValueError(f"{name}: expected an integer from {low} to {high}, got {value!r}")
    return int(value)


def number(name: str, value: object, low: float, high: float) -> float:
    """Check one real argument against its closed range; raises ValueError, for NaN too."""
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    result = float(value) if is_number else np.nan  # type: ignore[arg-type]
    if not low <= result <= high:
        raise ValueError(f"{name}: expected a number from {low} to {high}, got {value!r}")
    return result


def nonnegative(name: str, value: NDArray[Any] | None, n: int, dtype: DTypeLike) -> NDArray[Any]:
    """Check weights (n,) of one dtype, finite and not below 0, and copy them; all 1 for None. Raises ValueError."""
    if value is None:
        return np.ones(n, dtype)
    checked = array(name, value, dtype, (n,)).copy()
    if not bool(np.all((checked >= 0) & (checked < np.inf))):
        raise ValueError(f"{name}: expected finite numbers that are not below 0")
    return checked
