"""How finely the beginning of a replay is kept."""

from typing import Final

SEGMENTS: Final = 32
"""The reach has about so many segments at least, however few rows there are: a replay begins no earlier than by one
segment more than it must, and retention need not reach further."""
