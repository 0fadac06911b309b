"""What a selection strategy is: how it ranks the events of a batch, and which of a tile's best it asks about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

import kernels
from tidemark.records import Reason

Floats = NDArray[np.float64]
Option = float | int | str | bool


class Settings(Protocol):
    """What a strategy needs of `[selection]`."""

    @property
    def policy(self) -> str:
        """Its name, as the pipeline file has it."""
        ...

    @property
    def options(self) -> Mapping[str, Option] | None:
        """Settings of its own."""
        ...


class Row(Protocol):
    """What a pool needs of a proposed event."""

    @property
    def score(self) -> float:
        """What the strategy ranked it by."""
        ...

    @property
    def draw(self) -> int:
        """A coin of the event's own."""
        ...

    @property
    def probabilities(self) -> list[float] | None:
        """Of each class; None without a model."""
        ...

    @property
    def features(self) -> dict[str, float | None]:
        """By name; None is missing."""
        ...


@dataclass(frozen=True, slots=True)
class Scored:
    """n events that a model has scored, as the stream ranks them.

    probabilities: (n, c).  features: (n, d), NaN is missing, in the pipeline's order.  draws: (n,) a coin of each.
    positive: the class that is looked for.  model: what scored them, for what else it can tell.
    """

    probabilities: Floats
    features: Floats
    draws: NDArray[np.uint64]
    positive: int
    model: object


@dataclass(frozen=True)
class Pool:
    """Events of a tile that a strategy chooses from, best score first; equal ones by their coins.

    events: all events of the tile, of which these are the best.
    """

    rows: Sequence[Row]
    events: int

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @cached_property
    def scores(self) -> Floats:
        """(n,) as the strategy ranked them."""
        return np.array([row.score for row in self.rows], np.float64)

    @cached_property
    def draws(self) -> NDArray[np.uint64]:
        """(n,) a coin of each event, independent of all that is known of it."""
        return np.array([row.draw for row in self.rows], np.uint64)

    @cached_property
    def probabilities(self) -> Floats:
        """(n, c), of the model that scored each."""
        return np.array([row.probabilities for row in self.rows], np.float64)

    @cached_property
    def margins(self) -> Floats:
        """(n,) from 0, sure, to 1, a tie."""
        return np.asarray(kernels.margin(self.probabilities), np.float64)

    @cached_property
    def features(self) -> Floats:
        """(n, d) in units of their spread, missing ones told apart."""
        return kernels.robust_scale(feature_table([row.features for row in self.rows]))

    def first(self, count: int) -> Pool:
        """The best so many."""
        return Pool(self.rows[:count], self.events)


def feature_table(rows: Sequence[Mapping[str, float | None]], only: int | None = None) -> Floats:
    """Features of events as a table. Events may be of before and after a change of features.

    Args:
        rows: features of n events, by name.
        only: the first so many name the columns; None: all.

    Returns:
        (n, d), columns by name; what an event lacks is NaN.

    """
    names = sorted({name for features in rows[:only] for name in features})
    table = np.array([[features.get(name) for name in names] for features in rows], np.float64)
    return table.reshape(len(rows), len(names))


class Strategy:
    """A way to choose what people are asked about. To add one, subclass this in a file of its own.

    A strategy is a function of its arguments alone: no clock, no chance but coins and the seed, no state from one call
    to the next. A replay then makes the same choices; `tests/tidemark/strategies/test_strategies.py` checks that.
    """

    name: ClassVar[str]
    """As in `[selection] policy`."""
    source: ClassVar[str]
    """Who described it."""
    fails: ClassVar[str]
    """Where it does badly."""
    reason: ClassVar[Reason] = "uncertain"
    """What candidates say: `uncertain`, or `diverse` where picks also depend on each other."""
    options: ClassVar[Mapping[str, Option]] = {}
    """Settings of `[selection.options]`, and their defaults."""
    narrows: ClassVar[bool] = False
    """Whether it chooses among the most uncertain alone, so that the rest of the tile's best are kept from it."""
    draws: ClassVar[bool] = False
    """Whether `random_share` may be above 0."""
    ranks: ClassVar[bool] = True
    """Whether it chooses at all, beside what is drawn."""
    of_classes: ClassVar[str] = ""
    """Why it means nothing where the label is a number, whose probabilities are those of `tidemark.selection.doubt`; ""
    where it does."""

    def __init__(self, settings: Settings, classes: Sequence[str] = ()) -> None:
        self.settings = settings
        self.classes = classes

    def option(self, name: str) -> Option:
        """A setting, or its default."""
        return (self.settings.options or {}).get(name, self.options[name])

    def number(self, name: str) -> float:
        """A setting that is a number."""
        return float(self.option(name))

    @classmethod
    def problems(cls, settings: Settings, classes: Sequence[str]) -> Iterator[str]:  # noqa: ARG003 - for subclasses
        """What is wrong with `[selection.options]`."""
        for name, value in (settings.options or {}).items():
            if name not in cls.options:
                known = f"it has {', '.join(cls.options)}" if cls.options else "it has none"
                yield f"'{name}' is no option of {cls.name}; {known}"
                continue
            wanted = cls.options[name]
            if isinstance(wanted, float):
                if isinstance(value, (bool, str)) or not value > 0:
                    yield f"'{name}' = {value!r} is no number above 0"
            elif type(value) is not type(wanted):
                yield f"'{name}' = {value!r} is no {type(wanted).__name__}"

    def uncertainty(self, probabilities: Floats) -> Floats:
        """(n,) what predictions say of how unsure the model is of each row (n, c)."""
        return np.asarray(kernels.margin(probabilities), np.float64)

    def score(self, rows: Scored) -> Floats:
        """(n,) what each is worth asking about, by itself: the best of a tile make the pool. By default uncertainty."""
        return self.uncertainty(rows.probabilities)

    def random_share(self, uncertainty: float) -> float:  # noqa: ARG002 - for subclasses
        """Share of the budget that is drawn at random at least.

        uncertainty: mean of 1 - margin over all events of the tile, 0 to 1.
        """
        return 0.0

    def pick(self, pool: Pool, slots: int, seed: int) -> NDArray[np.int64]:  # noqa: ARG002 - for subclasses
        """Positions of at most `slots` different rows of the pool, first to ask first. By default the best."""
        return np.arange(min(slots, len(pool)))


def left_to_chance(uncertainty: float) -> float:
    """Share of the budget that choosing by uncertainty should leave to chance.

    A chosen event is at most 1 / uncertainty times as uncertain as an average one. Nobody knows how much of that is
    noise, which no label takes away: if it is half, choosing gains nothing from an uncertainty of 1/2 on, and bends the
    sample all the same.

    Args:
        uncertainty: mean of 1 - margin over all events of the tile, 0 to 1.

    Returns:
        Twice the uncertainty, at most 1.

    """
    return min(1.0, 2 * uncertainty)


def narrowed(pool: Pool, slots: int, candidates_per_pick: int) -> Pool:
    """The rows of a pool that are uncertain for their tile.

    No more than a tenth of the tile's events, or a strategy that spreads its picks has nearly the whole tile to choose
    from, and uncertainty hardly counts; no fewer than two for each pick, or there is nothing to choose.
    """
    most = min(candidates_per_pick * slots, -(-pool.events // 10))
    return pool.first(max(most, 2 * slots))
