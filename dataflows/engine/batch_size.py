"""How many rows are processed together: fewer when what is made of them is too large, more again when it fits."""

from __future__ import annotations

from typing import Final

MOST_PATIENCE: Final = 64
"""Commits in a row, at most, before more rows are tried."""


class BatchSize:
    """Rows of a batch, at most `most`: halved by `shrink`, doubled by `grow`.

    The first growth needs one commit. Each growth that turns out to be too much doubles the number of commits before
    the next one, so a stream whose records stay large loses one transaction of many. After many commits at full size
    the first growth is as quick as at the beginning.
    """

    def __init__(self, most: int) -> None:
        self.rows = most
        self._most = most
        self._patience = 1
        self._commits = 0
        self._has_grown = False

    def shrink(self) -> None:
        """A record was too large: half as many rows are tried."""
        self.rows = max(self.rows // 2, 1)
        self._commits = 0
        if self._has_grown:
            self._patience = min(self._patience * 2, MOST_PATIENCE)
        self._has_grown = False

    def grow(self) -> bool:
        """A transaction was committed.

        Returns:
            Whether more rows are processed together from now on.

        """
        self._commits += 1
        if self.rows == self._most:
            if self._commits >= MOST_PATIENCE:
                self._patience, self._has_grown = 1, False
            return False
        if self._commits < self._patience:
            return False
        self.rows = min(self.rows * 2, self._most)
        self._commits = 0
        self._has_grown = True
        return True
