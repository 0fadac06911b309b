"""The edge of every kernel that takes class probabilities: shapes, and refusals that name the rows.

The kernels report one bit, gathered in the pass that computes (a second pass over a million rows would halve their
speed); only when it is set are the rows looked for, so that the message can name them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._checks import array, describe

FLOATS = (np.float32, np.float64)
TOLERANCE = 1e-3
"""How far a row's sum may be from 1: a softmax over thousands of classes in float32 stays within a tenth of it."""

_NAMED = 10


def probabilities(name: str, value: object) -> tuple[NDArray[Any], int]:
    """Check probabilities and return them flat with the number of columns; 1 means the binary column P(class 1).

    value: (n, c) with c >= 2, or a binary column (n,) or (n, 1); float32 or float64.
    Raises ValueError for any other shape or dtype; what the numbers are is the kernels' to report.
    """
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return array(name, value, FLOATS, (None,)), 1
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.shape[1] == 0:
        raise ValueError(
            f"{name}: expected probabilities of shape (n, c), or (n,) for two classes, got {describe(value)}"
        )
    checked = array(name, value, FLOATS, (None, None))
    return checked.reshape(-1), checked.shape[1]


def output(out: NDArray[Any] | None, n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the array to write to: the caller's, if it fits exactly, or a new one. Raises ValueError."""
    if out is None:
        return np.empty(n, dtype)
    if not (
        out.shape == (n,)
        and out.dtype == dtype
        and out.dtype.isnative
        and out.flags.c_contiguous
        and out.flags.writeable
    ):
        raise ValueError(
            f"out: expected a writeable contiguous {dtype.name} array of shape ({n},), got {describe(out)}"
        )
    return out


def listed(rows: NDArray[Any]) -> str:
    """Name up to ten row indices."""
    named = ", ".join(str(int(row)) for row in rows[:_NAMED])
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return f"row{'s' if len(rows) > 1 else ''} {named}{more}"


def refusal(name: str, flat: NDArray[Any], columns: int) -> ValueError:
    """Say which rows are no probabilities, and why: NaN first, then range, then sum."""
    rows = flat.reshape(-1, columns)
    missing = np.flatnonzero(np.isnan(rows).any(axis=1))
    if len(missing):
        return ValueError(f"{name}: NaN in {listed(missing)} of {len(rows)}; drop or impute them first")
    outside = np.flatnonzero(((rows < 0) | (rows > 1 + TOLERANCE)).any(axis=1))
    if len(outside):
        return ValueError(f"{name}: {listed(outside)} of {len(rows)} hold numbers outside 0 to 1")
    sums = rows.sum(axis=1, dtype=np.float64)
    wrong = np.flatnonzero(np.abs(sums - 1) > TOLERANCE)
    first = f" ({sums[wrong[0]]:.6g})" if len(wrong) else ""
    return ValueError(f"{name}: {listed(wrong)} of {len(rows)} do not sum to 1{first}; normalise them first")


def gradient_errors(name: str, flat: NDArray[Any], c: int) -> NDArray[Any]:
    """The errors p - e_ŷ of what ``probabilities`` returned, transposed: (c, n), (2, n) of the binary column.

    Raises ValueError for rows that are no probabilities.
    """
    p = flat.reshape(-1, c)
    sums = p.sum(axis=1) if c > 1 else np.ones(len(p))
    if not bool(np.all((p >= 0) & (p <= 1 + TOLERANCE)) and np.all(np.abs(sums - 1) <= TOLERANCE)):
        raise refusal(name, flat, c)
    errors = np.stack([1 - p[:, 0], p[:, 0]]) if c == 1 else np.array(p.T, order="C")
    errors[errors.argmax(axis=0), np.arange(errors.shape[1])] -= 1
    return errors
