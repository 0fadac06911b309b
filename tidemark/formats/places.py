"""Where a pass over records puts the values of columns that are declared."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TEXT, WHOLE, FLOAT, BOOL = range(4)
"""What a column is."""


class Places(NamedTuple):
    """Where values of n records go.

    whole: (columns, n) whole numbers, 1 of true, and where texts begin in their records.  numbers: (columns, n) floats.
    lengths: (columns, n) of texts; -1 of a value that is absent or null.
    """

    whole: NDArray[np.int64]
    numbers: NDArray[np.float64]
    lengths: NDArray[np.int64]
