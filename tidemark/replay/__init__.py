"""Dead letters read back: which there are, which of them were dealt with, sent again exactly once, repaired."""

from tidemark.replay.grouping import Group, Kinds, grouped
from tidemark.replay.letters import Chosen, Letter, Source, State, letters
from tidemark.replay.marks import Mark, Marks
from tidemark.replay.sending import Replay, Report, whole

__all__ = [
    "Chosen",
    "Group",
    "Kinds",
    "Letter",
    "Mark",
    "Marks",
    "Replay",
    "Report",
    "Source",
    "State",
    "grouped",
    "letters",
    "whole",
]
