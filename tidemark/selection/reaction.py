"""What select does about an alarm of drift: for a time tiles ask more, and draw more at random, within a bound."""

from __future__ import annotations

from typing import Final

from tidemark.pipeline.model import Pipeline, Reaction, Selection
from tidemark.selection.ledger import Ledger

_MOST: Final = 1_000_000_000
"""Of a tile's budget, as the pipeline file bounds it: products of more would not fit 64 bits."""


def raised(selection: Selection, reaction: Reaction) -> Selection:
    """The settings while a reaction lasts.

    Args:
        selection: the pipeline's.
        reaction: what follows from an alarm.

    Returns:
        The same with a larger budget of a tile, and more of it drawn at random.

    """
    budget = max(selection.budget, min(round(selection.budget * reaction.budget), _MOST))
    explore = min(budget, max(selection.explore, round(selection.explore * reaction.explore)))
    return selection.model_copy(update={"budget": budget, "explore": explore})


def widest(pipeline: Pipeline) -> Selection:
    """The settings by which rows are proposed and kept: an alarm may come before their tile closes."""
    reaction = pipeline.drift.reaction
    return pipeline.selection if reaction is None else raised(pipeline.selection, reaction)


def in_force(ledger: Ledger, reaction: Reaction, now: int) -> bool:
    """Whether an alarm is followed at a time (µs)."""
    return 0 < ledger.alarm <= now < ledger.alarm + reaction.lasts


def noticed(ledger: Ledger, reaction: Reaction, alarm: int | None, now: int) -> Ledger:
    """The ledger once an alarm is known of.

    One that comes while another is followed begins nothing: a change raises several, and each would ask as much again.

    Args:
        ledger: of the cases asked.
        reaction: what follows from an alarm.
        alarm: the newest one's time, µs; None where there is none.
        now: the time, µs.

    Returns:
        The ledger, from whose alarm on extra cases count.

    """
    if alarm is None or not ledger.alarm < alarm <= now or in_force(ledger, reaction, alarm):
        return ledger
    return ledger.alarmed(alarm)


def most_asked(ledger: Ledger, selection: Selection, reaction: Reaction) -> int:
    """Cases that a tile may ask while a reaction lasts: those of any time, and what is left of the extra ones."""
    usual = ledger.allowance(selection)
    return min(raised(selection, reaction).budget, usual + max(reaction.most - ledger.extra, 0))
