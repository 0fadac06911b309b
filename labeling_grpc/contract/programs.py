"""Programs that answer cases: known by their name, in every record of what they said."""

from __future__ import annotations

from typing import Final

from tidemark.records import PROGRAM

PREFIX: Final = PROGRAM
"""What the name of an annotator that is a program begins with; nobody else has such a name."""


def is_program(annotator: str) -> bool:
    """Whether an annotator is a program that answers by itself."""
    return annotator.startswith(PREFIX)
