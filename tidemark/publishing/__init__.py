"""Predictions and candidates in other forms than JSON, for whoever reads them outside of Tidemark."""

from typing import Final

WRITTEN_BY: Final = "tidemark-pipeline"
"""Header of every record: the pipeline's name, by which its own records are known in a topic that others write too."""
