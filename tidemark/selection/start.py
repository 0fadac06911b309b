"""What is asked while there is no model: what an expert's rule names, then what is odd, and the rest by chance.

Odd events hold more of a rare class than chance does on most streams, and on some fewer. So a part is always drawn at
random, and the odd ones' share falls when labels say that chance finds as much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

import kernels
from tidemark.pipeline.model import Start
from tidemark.selection.tiles import Proposal
from tidemark.strategies import feature_table

AT_FIRST: Final = 0.75
"""Share of the active cases that the rule and oddness choose, until labels speak against it."""
LATER: Final = 0.25
_FEWEST: Final = 16
"""Rows among which one can be odd."""
_COMMON: Final = 0.2
"""Share of drawn labels from which on a class is not rare."""
_CONVINCING: Final = 2
"""Drawn labels of a class without which its share says little."""
_PER_POSITIVE: Final = 10
"""Labels in all, for each positive wanted, after which a model that does not find them goes on by its strategy."""


def positives(counts: Sequence[int], wanted: Sequence[int]) -> int:
    """Labels of the wanted classes."""
    return sum(counts[index] for index in wanted)


def wanted_classes(counts: Sequence[int], positive: int) -> list[int]:
    """The positive class; with more than two classes all but the commonest, so that none is waited for."""
    if len(counts) == 2:
        return [positive]
    common = max(range(len(counts)), key=lambda index: counts[index])
    return [index for index in range(len(counts)) if index != common]


def odd_share(start: Start, drawn: Sequence[int], chosen: Sequence[int], positive: int) -> float:
    """Share of the active cases that the rule and oddness choose while there is no model.

    Args:
        start: the pipeline's settings.
        drawn: labels by class of cases that were drawn at random.
        chosen: those of cases that were chosen without a model.
        positive: the class that is looked for.

    Returns:
        `AT_FIRST` until `start.anomalies` labels of chosen cases are there, and while they hold a larger share of
        positives than the drawn ones; else `LATER`.

    """
    wanted = wanted_classes([a + b for a, b in zip(drawn, chosen, strict=True)], positive)
    found, of = positives(chosen, wanted), sum(chosen)
    by_chance, draws = positives(drawn, wanted), sum(drawn)
    better = found * draws > by_chance * of if draws else found > 0
    return AT_FIRST if of < start.anomalies or better else LATER


def looks_for_positives(start: Start, known: Sequence[int], drawn: Sequence[int], positive: int) -> list[int] | None:
    """Classes that a model has learnt too little of to choose by uncertainty; None where it has learnt enough.

    Args:
        start: the pipeline's settings.
        known: labels by class that it has learnt from; none where that is not known.
        drawn: of these, the labels of cases drawn at random; none where that is not known.
        positive: the class that is looked for.

    Returns:
        The classes. None too where chance alone finds them, where every second label is of one of them already, and
        where so many labels were spent that looking further does not help.

    """
    if not known:
        return None
    wanted = wanted_classes(known, positive)
    found, of = positives(known, wanted), sum(known)
    by_chance = positives(drawn, wanted) if drawn else 0
    common = by_chance >= _CONVINCING and by_chance >= _COMMON * sum(drawn)
    enough = found >= start.positives or 2 * found >= of or of >= _PER_POSITIVE * start.positives
    return None if common or enough else wanted


def pick_cold(start: Start, pool: Sequence[Proposal], special: int, slots: int, seed: int) -> list[Proposal]:
    """Rows of the pool, none of which a model has scored, first to ask first.

    Args:
        start: the pipeline's settings.
        pool: in the order of `Proposal.by_score`: what the expert's rule names, then by their coins.
        special: how many are picked for what they are, at most: what the rule names, then the oddest.
        slots: how many are picked in all, at most; those after the special ones are unlike each other.
        seed: settles what is drawn.

    Returns:
        Different rows.

    """
    picks = [row for row in pool if not math.isnan(row.score)][:special]
    rest = [row for row in pool if math.isnan(row.score)]
    if start.anomalies and len(rest) >= _FEWEST and special > len(picks):
        depths = kernels.isolation(_features(rest), seed)
        odd = np.argsort(depths, kind="stable")[: special - len(picks)]
        picks += [rest[row] for row in odd.tolist()]
    taken = {row.event_id for row in picks}
    rest = [row for row in pool if row.event_id not in taken]
    if slots > len(picks) and rest:
        picks += [rest[row] for row in kernels.kmeans_pp(_scaled(rest), slots - len(picks), seed).tolist()]
    return picks


def _scaled(rows: Sequence[Proposal]) -> NDArray[np.float64]:
    """In units of their spread, missing ones told apart."""
    return kernels.robust_scale(feature_table([row.features for row in rows]))


def _features(rows: Sequence[Proposal]) -> NDArray[np.float64]:
    """As `_scaled`, but outliers as far out as they are: a cut that parts them from the others is likelier then."""
    return kernels.robust_scale(feature_table([row.features for row in rows]), clip=1e9)
