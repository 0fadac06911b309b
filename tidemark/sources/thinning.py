"""At most so many rows of a history that is read in portions: those of some of its keys, whose windows stay whole."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from tidemark.features.windows import key_hashes

_FEWEST: Final = 4
"""Where a half of the keys leaves less than this part of what may be kept, a few keys have most rows."""
_TOP: Final = 2**64 - 1


class Thinning:
    """Keeps rows, and tells what was cut.

    Half of the keys are dropped whenever there are too many rows; which ones follows from the keys alone, so that the
    same file gives the same rows. Where a few keys have most rows, the latest rows are kept instead.

    share: of the keys that are kept, 1 if all.  latest: whether rows were dropped for being old.  read: rows so far.

    Args:
        key: column of the key.
        time: column of the event time.
        most: rows that are kept, at least 1. Twice as many are held meanwhile.

    """

    def __init__(self, key: str, time: str, most: int) -> None:
        self._key, self._time, self.most = key, time, most
        self._frames: list[pl.DataFrame] = []
        self._halvings = 0
        self.latest = False
        self.read = 0

    @property
    def share(self) -> float:
        """Share of the keys whose rows are kept."""
        return float(2.0**-self._halvings)

    def add(self, portion: pl.DataFrame) -> None:
        """Take in the next rows."""
        self.read += len(portion)
        self._frames.append(self._of_keys(portion, self._halvings))
        if sum(map(len, self._frames)) > 2 * self.most:
            self._frames = [self._thinner(pl.concat(self._frames))]

    def frame(self) -> pl.DataFrame:
        """What is kept, in the order of the file."""
        frame = pl.concat(self._frames)
        while len(frame) > self.most:
            frame = self._thinner(frame)
        self._frames = [frame]
        return frame

    def _thinner(self, frame: pl.DataFrame) -> pl.DataFrame:
        if not self.latest:
            half = self._of_keys(frame, self._halvings + 1)
            if len(half) < len(frame) and len(half) * _FEWEST >= self.most:
                self._halvings += 1
                return half
            self.latest = True
        newest = np.argsort(frame[self._time].to_physical().to_numpy(), kind="stable")[-self.most :]
        return frame[np.sort(newest)]

    def _of_keys(self, frame: pl.DataFrame, halvings: int) -> pl.DataFrame:
        if halvings == 0:
            return frame
        hashes = key_hashes(frame[self._key].cast(pl.String).fill_null(""))
        return frame.filter(pl.Series(hashes <= np.uint64(_TOP >> halvings)))
