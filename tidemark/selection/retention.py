"""How long selection needs what it reads again."""

from __future__ import annotations

from typing import Final

from tidemark.pipeline.model import Pipeline

_LEAST: Final = 6 * 3_600_000_000


def proposals_retention(pipeline: Pipeline) -> int:
    """µs for which `P.proposals` must be kept: a tile, the next one open beside it, and an outage as long."""
    return max(_LEAST, 3 * pipeline.selection.tile)
