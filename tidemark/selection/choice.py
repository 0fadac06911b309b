"""What is asked of a tile: the random draw first, then the policy's picks with what is left of the budget.

There is no carry-over: a tile spends at most `budget`, and what it leaves is not spent later. An empty night must not
flood the morning, and a tile's choice depends on nothing but the tile and what is left of `total`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kernels import hash64, unit
from tidemark.evaluation import focus
from tidemark.pipeline.model import Selection
from tidemark.records import Reason
from tidemark.selection.policy import pick
from tidemark.selection.proposals import explore_rows
from tidemark.selection.tiles import OpenTile, Proposal

EXPLORE_PRIORITY: Final = 1.0
"""Priority of every exploration case, above any active one (below 1): a draw that waits behind the hard cases is
answered late or never, and what is missing then is not missing at random."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A chosen event. inclusion_probability: of exploration picks only."""

    proposal: Proposal
    reason: Reason
    priority: float
    inclusion_probability: float | None


def choose(tile: OpenTile, selection: Selection, left: int | None) -> Iterator[Pick]:
    """Picks of a tile that closes, at most `selection.budget` and at most `left` of them, no event twice.

    Exploration: the k smallest coins of all the tile's events, k the reserved share; it depends on coins alone, so
    that each has the inclusion probability unit((k + 1)-th smallest coin), or 1 if there is none (Cohen, Kaplan 2007).
    Of the focused draw coins are stretched (`tidemark.evaluation.focus`).
    Active: the policy's picks among the rest of the best scores, first pick highest priority. An event that both ways
    would choose is an exploration case, and the policy's next one takes its place.
    left: what remains of `selection.total`; None if there is no such bound. Exploration goes first when it runs short.
    """
    budget = selection.budget if left is None else min(selection.budget, left)
    drawn = tile.smallest[: min(explore_rows(selection) - 1, budget, tile.drawable)]
    beyond = tile.smallest[len(drawn) : len(drawn) + 1]
    for proposal in drawn:
        yield Pick(proposal, "explore", EXPLORE_PRIORITY, _inclusion(proposal, beyond, selection))
    if selection.policy == "random":
        return
    slots = budget - len(drawn)
    taken = {proposal.event_id for proposal in drawn}
    pool = [proposal for proposal in tile.best if proposal.event_id not in taken]
    seed = hash64(f"{selection.version}/{tile.number}".encode())
    for rank, (proposal, reason) in enumerate(pick(selection.policy, pool, slots, seed)):
        yield Pick(proposal, reason, 1 - (rank + 1) / (slots + 1), None)


def _inclusion(drawn: Proposal, beyond: list[Proposal], selection: Selection) -> float:
    if not beyond:
        return 1.0
    first_left = beyond[0].coin
    return focus.inclusion(drawn.probabilities, first_left) if selection.focused else unit(first_left)
