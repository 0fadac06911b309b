"""How many rows are read ahead and processed together: fewer when what is made of them is too large."""

from __future__ import annotations

from typing import Final

MOST_PATIENCE: Final = 64
"""Commits in a row, at most, before more rows are tried."""
_ROUNDS_HELD: Final = 4


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


def records_to_read(held: int, batch_rows: int, *, hidden: bool = False) -> int:
    """How many records to ask for when so many rows wait: those of a few rounds wait at most, as a rule.

    hidden: a partition has no rows, and the client may have some of it behind those of others.

    What is not asked for stays with Kafka's client, which fetches no more than it may hold. Pausing a partition that
    has too many rows makes the client forget what it has fetched, and fetch it again: half of the flow's pace when it
    was the rule. A few are always asked for: those of a partition that others wait for may lie behind theirs.
    """
    return max(_ROUNDS_HELD * batch_rows - held, batch_rows if hidden else batch_rows // 4, 1)
