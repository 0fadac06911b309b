"""What is asked while there is no model: what an expert's rule names, then what is odd, and the rest by chance.

Odd events, and those that a young model thinks positive, hold more of a rare class than chance does on most streams,
and fewer on some. Where a class is common nothing is gained by looking for it. So a part is always drawn at random, and
what is looked for has as large a share as labels say that the class is rare and that looking finds it
(`tidemark.selection.evidence`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

import kernels
from tidemark.pipeline.model import Start
from tidemark.selection.evidence import pays, rare
from tidemark.selection.tiles import Proposal
from tidemark.strategies import feature_table

LATER: Final = 0.25
"""Most that the rule and oddness choose once `start.anomalies` labels of them hold no more positives than chance."""
_FEWEST: Final = 16
"""Rows among which one can be odd."""
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


def rarity(drawn: Sequence[int], wanted: Sequence[int]) -> tuple[float, list[int]]:
    """How far chance leaves the wanted classes unseen, each of them counting alike.

    Args:
        drawn: labels by class of cases that were drawn at random.
        wanted: the classes.

    Returns:
        The mean probability that one of them is rare, and those that are rare more likely than not.

    """
    of = sum(drawn)
    chances = {index: rare(drawn[index], of) for index in wanted}
    return sum(chances.values()) / len(chances), [index for index, chance in chances.items() if chance > 1 / 2]


def share_of_odd(start: Start, drawn: Sequence[int], chosen: Sequence[int], positive: int) -> float:
    """Share of the active cases that the rule and oddness choose while there is no model.

    Args:
        start: the pipeline's settings.
        drawn: labels by class of cases that were drawn at random.
        chosen: those of cases that were chosen without a model.
        positive: the class that is looked for.

    Returns:
        The probability that what is looked for is rare, times that chosen cases hold more of it than drawn ones; at
        most `LATER` once `start.anomalies` labels of chosen cases are there and hold no larger share.

    """
    wanted = wanted_classes([a + b for a, b in zip(drawn, chosen, strict=True)], positive)
    scarce, sought = rarity(drawn, wanted)
    sought = sought or wanted
    found, of = positives(chosen, sought), sum(chosen)
    by_chance, draws = positives(drawn, sought), sum(drawn)
    share = round(scarce * pays(by_chance, draws, found, of), 3)
    better = found * draws > by_chance * of if draws else found > 0
    return share if of < start.anomalies or better else min(share, LATER)


AT_FIRST: Final = share_of_odd(Start(), [0, 0], [0, 0], 1)
"""What `share_of_odd` gives before the first label."""


@dataclass(frozen=True, slots=True)
class Sought:
    """classes: those that a model has learnt too little of to choose by uncertainty.  share: of the active cases."""

    classes: list[int]
    share: float


def looks_for_positives(start: Start, known: Sequence[int], drawn: Sequence[int], positive: int) -> Sought | None:
    """What is looked for by the probabilities of a model that has learnt too little of it.

    Args:
        start: the pipeline's settings.
        known: labels by class that it has learnt from; none where that is not known.
        drawn: of these, the labels of cases drawn at random; none where that is not known.
        positive: the class that is looked for.

    Returns:
        The classes, and the share of the active cases that are asked for them: the probability that choosing finds more
        of them than chance. None where the model has learnt enough, where the class is common, where every second label
        is of one of them already, and where so many labels were spent that looking further does not help.

    """
    if not known:
        return None
    sought, draws = wanted_classes(known, positive), sum(drawn)
    if draws:
        _, sought = rarity(drawn, sought)
    found, of = positives(known, sought), sum(known)
    enough = found >= start.positives or 2 * found >= of or of >= _PER_POSITIVE * start.positives
    if enough or not sought:
        return None
    if not draws:  # a history or imported labels: nobody knows how they were chosen
        return Sought(sought, round(pays(0, 0, 0, 0), 3))
    by_chance = positives(drawn, sought)
    return Sought(sought, round(pays(by_chance, draws, found - by_chance, of - draws), 3))


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
