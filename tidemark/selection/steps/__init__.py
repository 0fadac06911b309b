"""The steps of the select flow: proposals decoded, merged into tiles, chosen from, and told."""

from tidemark.selection.steps.choose import Choice, ChooseStep
from tidemark.selection.steps.close_tiles import ClosedTile, CloseTilesStep
from tidemark.selection.steps.decode_proposals import DecodedProposals, DecodeProposalsStep
from tidemark.selection.steps.outputs import BudgetMetricsStep, CandidatesStep

__all__ = [
    "BudgetMetricsStep",
    "CandidatesStep",
    "Choice",
    "ChooseStep",
    "CloseTilesStep",
    "ClosedTile",
    "DecodeProposalsStep",
    "DecodedProposals",
]
