"""What every kernel checks once, at its edge: dtype, byte order, dimensions and length.

Arrays come back C-contiguous and read-only: a view where the input allows it, else a copy. Read-only for a
reason: numba compiles a second version of a kernel for read-only input (as Polars hands out), and one is
enough.
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def describe(value: object) -> str:
    """Name the type, shape and dtype of what was given, for error messages."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype.str}"
    return f"{type(value).__name__}"


def array(
    name: str, value: object, dtypes: DTypeLike | tuple[DTypeLike, ...], shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """Check one input array and return it C-contiguous and read-only.

    dtypes: the dtypes accepted, in native byte order.  shape: expected length of each axis, None for any.
    Raises ValueError that names the argument, what was expected and what was given.
    """
    accepted = tuple(np.dtype(d) for d in (dtypes if isinstance(dtypes, tuple) else (dtypes,)))
    fits = (
        isinstance(value, np.ndarray)
        and value.dtype in accepted
        and value.dtype.isnative
        and value.ndim == len(shape)
        and all(want is None or want == got for want, got in zip(shape, value.shape, strict=True))
    )
    if not fits:
        wanted = " or ".join(d.name for d in accepted)
        axes = ", ".join("n" if want is None else str(want) for want in shape)
        trailing = "," if len(shape) == 1 else ""
        raise ValueError(
            f"{name}: expected a native-endian {wanted} array of shape ({axes}{trailing}), got {describe(value)}"
        )
    view: NDArray[Any] = np.ascontiguousarray(value).view()
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
