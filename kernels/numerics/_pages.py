"""Memory of the system in small pages: a large page is cleared whole when its first byte is written.

Whoever writes all over a large array meets hundreds of them at once, each a third of a millisecond.
"""

import mmap
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SMALL: Final = getattr(mmap, "MADV_NOHUGEPAGE", None)
_LARGE: Final = getattr(mmap, "MADV_HUGEPAGE", None)
"""Advice that Linux takes; elsewhere there is none."""


class Pages:
    """Zeros, whose pages are small until it is said that they need not be."""

    def __init__(self, rows: int, columns: int) -> None:
        """Ask for memory, of which none is written.

        Raises MemoryError where the system does not give so much.
        """
        try:
            self._memory = mmap.mmap(-1, rows * columns * 8, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError(f"{rows * columns * 8:,} bytes") from error
        self._advise(_SMALL)
        self.numbers: NDArray[np.int64] = np.frombuffer(self._memory, np.int64).reshape(rows, columns)

    def may_be_large(self) -> None:
        """Let the system put small pages together, in its own time: large ones are found faster."""
        self._advise(_LARGE)

    def _advise(self, advice: int | None) -> None:
        if advice is not None:
            self._memory.madvise(advice)
