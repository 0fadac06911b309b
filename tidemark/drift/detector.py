"""Whether rows are still what earlier rows were: their columns, and how these go together.

A row's number in a column is its rank among all earlier rows of the same time of day, equal ones by a coin. While rows
are exchangeable these numbers are independent and uniform, whatever the columns hold ("conformal test martingales",
Vovk, Nouretdinov and Gammerman 2003), and `bets` tells when they are not. What is kept are counts of bins, which the
first rows decide, so memory does not grow with the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemark.drift.bets import Bets
from tidemark.drift.bins import KINDS, MISSING, Bins, Floats, learnt

PHASES: Final = 24
"""Parts of a season, each compared with its own past."""
_YEAR: Final = 365.25 * 86_400e6
_LONGEST: Final = 1 / 365.25
"""Years that may pass at once: a gap in the stream is no evidence."""
_REFERENCE: Final = 20
"""Earlier rows that a row needs to be told from them."""
_ALONE: Final = 0.75
"""Weight of the columns themselves; of the rest, pairs have three fifths."""
_PAIRS: Final = 0.15
_NAMED: Final = 5
_MOVED: Final = 0.08
"""How far the middle of the last rows lies from that of all, in ranks, where a column is said to be higher or lower."""
_TELLS: Final = 0.02
"""Share of rows, or of what raises an alarm, from which on something is told."""
_FORGET: Final = 1 / 100
_BELOW: Final = np.tri(KINDS, k=-1)
"""Of each bin, which bins are below it."""
_ALL: Final = 2**64 - 1
_GOLDEN, _FIRST_MIX, _SECOND_MIX = (
    np.uint64(each) for each in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
_Kind = TypeVar("_Kind", np.float64, np.uint32)


@dataclass(frozen=True, slots=True)
class Moved:
    """A column that has changed. how: in words; evidence: in relation to what raises an alarm."""

    name: str
    how: str
    evidence: float


@dataclass(frozen=True, slots=True)
class Change:
    """An alarm. rows: that came since the reference began.  since: when that was.  at: event time, both µs."""

    moved: list[Moved]
    rows: int
    since: int
    at: int


_Number = Annotated[int, msgspec.Meta(ge=-(2**62), lt=2**62)]


class State(msgspec.Struct, frozen=True):
    """What a detector keeps. began: -1 before the first row.  first: the rows that decide the bins, float64."""

    rows: Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
    began: _Number
    clock: _Number
    first: bytes
    counts: bytes = b""
    lately: bytes = b""
    evidence: bytes = b""
    seen: bytes = b""


class Detector:
    """Watches columns for change.

    Attributes:
        columns: their names.
        rows: since the reference began.
        began: event time of the first of them, µs; None before it.

    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        alarms: float,
        season: int = 0,
        first: int = 256,
        bins: Bins | None = None,
        upward: bool = False,
    ) -> None:
        """Begin without rows.

        Args:
            columns: their names.
            alarms: false alarms a year of event time, at most and on average.
            season: µs after which the stream repeats itself, each of its 24 parts compared with its own past; 0: none.
            first: rows that decide the bins.
            bins: known beforehand; no rows are needed then.
            upward: look for larger values alone.

        """
        self.columns = list(columns)
        self._threshold = 1 / alarms
        self._season, self._first, self._fixed, self._upward = season, first, bins, upward
        self.reset()

    def reset(self) -> None:
        """Forget all rows: what comes now is how things are."""
        self.rows = 0
        self.began: int | None = None
        self._clock = 0
        self._waiting: list[Floats] = []
        self._bins: Bins | None = None
        self._evidence: Floats = np.zeros(0)
        if self._fixed is not None:
            self._begin(self._fixed)

    def _begin(self, bins: Bins) -> None:
        self._bins = bins
        self._weights = _weights(bins)
        columns = len(bins.cuts)
        self._counts = np.zeros((PHASES if self._season else 1, columns, KINDS))
        self._own = np.arange(columns)
        self._lately = np.zeros((columns, KINDS))
        self._bets = Bets(columns, upward=self._upward)
        self._evidence = np.zeros(columns)

    @property
    def level(self) -> float:
        """Evidence of a change in relation to what raises an alarm."""
        return 0.0 if self._bins is None else float(self._weights @ self._evidence) / self._threshold

    @property
    def watches(self) -> bool:
        """Whether some part of the season has come again, so that a change would be noticed."""
        return self._bins is not None and bool((self._counts[:, 0].sum(axis=1) > _REFERENCE).any())

    def take(self, row: Floats, time: int, toss: int) -> Change | None:
        """Take in a row.

        Args:
            row: (columns,) values, NaN where missing.
            time: of its event, µs.
            toss: its coin, 64 bits: settles equal ranks.

        Returns:
            An alarm, after which all begins anew.

        """
        passed = min(max(time - self._clock, 0) / _YEAR, _LONGEST) if self.began is not None else 0.0
        self._clock = max(self._clock, time)
        if self.began is None:
            self.began = self._clock = time
        self.rows += 1
        if self._bins is None:
            self._waiting.append(row)
            if len(self._waiting) >= self._first:
                self._begin(learnt(np.array(self._waiting), together=not self._upward))
            return None
        placed = self._bins.of(row)
        counts = self._counts[0 if not self._season else time % self._season * PHASES // self._season]
        own = self._own
        known = float(counts[0].sum())
        if known >= _REFERENCE:
            below = np.einsum("ij,ij->i", counts, _BELOW[placed])
            numbers = (below + _coins(toss, own) * (counts[own, placed] + 1.0)) / (known + 1.0)
            self._evidence = self._bets.take(numbers, passed)
        counts[own, placed] += 1.0
        self._lately *= 1 - _FORGET
        self._lately[own, placed] += 1.0
        return self._alarm() if self.level >= 1 else None

    def state(self) -> State:
        """All that is kept, to go on from."""
        rows = np.array(self._waiting, np.float64).reshape(len(self._waiting), len(self.columns))
        head = State(self.rows, -1 if self.began is None else self.began, self._clock, rows.tobytes())
        if self._bins is None:
            return head
        return msgspec.structs.replace(
            head,
            counts=self._counts.astype(np.uint32).tobytes(),
            lately=self._lately.tobytes(),
            evidence=self._bets.evidence.tobytes(),
            seen=self._bets.seen.tobytes(),
        )

    def restore(self, state: State) -> None:
        """Go on from a state.

        Args:
            state: what `state` gave, to a detector of the same columns.

        Raises:
            ValueError: it is no state of such a detector.

        """
        self.reset()
        width = 8 * max(1, len(self.columns))
        if len(state.first) % width or len(state.first) > width * self._first * bool(self.columns):
            raise ValueError("its first rows are of other columns")
        rows = np.frombuffer(state.first).reshape(len(state.first) // width, len(self.columns))
        if np.isinf(rows).any():
            raise ValueError("its first rows are infinite")
        self._waiting = [row.copy() for row in rows]
        if self._bins is None and len(rows) >= self._first:
            self._begin(learnt(rows, together=not self._upward))
        if self._bins is not None:
            self._counts = _array(state.counts, self._counts.astype(np.uint32)).astype(np.float64)
            self._lately = _array(state.lately, self._lately)
            self._bets.evidence = _array(state.evidence, self._bets.evidence)
            self._bets.seen = _array(state.seen, self._bets.seen)
            self._evidence = self._bets.evidence.mean(axis=1)
        self.rows, self._clock = state.rows, state.clock
        self.began = None if state.began < 0 else state.began

    def strongest(self, most: int = _NAMED) -> list[Moved]:
        """The columns with the most evidence, first the strongest."""
        if self._bins is None:
            return []
        order = np.argsort(-self._evidence, kind="stable")[:most]
        return [self._moved(self._bins, int(at)) for at in order]

    def _alarm(self) -> Change:
        strongest = self.strongest()
        moved = [strongest[0], *(each for each in strongest[1:] if each.evidence >= _TELLS)]
        change = Change(moved, self.rows, self.began or 0, self._clock)
        self.reset()
        return change

    def _moved(self, bins: Bins, at: int) -> Moved:
        evidence = float(self._evidence[at]) / self._threshold
        n = len(bins.scores)
        if at >= n:
            pair = at - n
            if pair == len(bins.pairs):
                return Moved("all together", "go together differently", evidence)
            one, other = (self.columns[each] for each in bins.pairs[pair])
            return Moved(f"{one} with {other}", "go together differently", evidence)
        return Moved(self.columns[at], self._how(bins, at), evidence)

    def _how(self, bins: Bins, at: int) -> str:
        """In words how the last hundred rows, or so, differ in a column."""
        earlier = self._counts[:, at].sum(axis=0) / max(1, int(self._counts[:, at].sum()))
        lately = self._lately[at] / max(1e-9, float(self._lately[at].sum()))
        missing = lately[MISSING] - earlier[MISSING]
        if abs(missing) > _TELLS:
            often = "more" if missing > 0 else "less"
            return f"missing {often} often, {earlier[MISSING]:.0%} to {lately[MISSING]:.0%}"
        if bins.exact[at]:
            last = int(np.isfinite(bins.cuts[at]).sum())
            unseen = lately[0] + lately[last]
            return f"values never seen before, {unseen:.0%}" if unseen > _TELLS else "other values are common"
        middle = float(lately[:MISSING] @ (np.cumsum(earlier) - earlier / 2)[:MISSING])
        middle /= max(1e-9, float((1 - lately[MISSING]) * (1 - earlier[MISSING])))
        if abs(middle - 0.5) < _MOVED:
            return "spread differently"
        return "higher" if middle > 0.5 else "lower"


def _coins(toss: int, columns: NDArray[np.int64]) -> Floats:
    """A number from 0 to 1 for each column, by a row's coin: splitmix64, which any machine computes alike."""
    mixed = np.uint64(toss & _ALL) + (columns.astype(np.uint64) + np.uint64(1)) * _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST_MIX
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND_MIX
    mixed ^= mixed >> np.uint64(31)
    found: Floats = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return found


def _array(given: bytes, like: NDArray[_Kind]) -> NDArray[_Kind]:
    """An array as large as another.

    Raises:
        ValueError: it is not, or holds what none of ours does.

    """
    if len(given) != like.nbytes:
        raise ValueError(f"{len(given)} bytes where {like.nbytes} were expected")
    found = np.frombuffer(given, like.dtype).reshape(like.shape).copy()
    if not np.isfinite(found).all() or (found < 0).any():
        raise ValueError("a number that is negative or infinite")
    return found


def _weights(bins: Bins) -> Floats:
    """What the evidence of each column counts."""
    n, pairs = len(bins.scores), len(bins.pairs)
    if bins.whitened is None:
        return np.full(n, 1 / n)
    joint = 1 - _ALONE - _PAIRS if pairs else 1 - _ALONE
    return np.concatenate([np.full(n, _ALONE / n), np.full(pairs, _PAIRS / max(pairs, 1)), [joint]])
