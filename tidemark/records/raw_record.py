"""What is produced to a raw topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SOURCE_HEADER: Final = "tidemark-source"
"""Header of a raw record that names its source."""
POSITION_HEADER: Final = "tidemark-position"
"""Header of a raw record that tells where it stood there."""
TOLD_HEADER: Final = "tidemark-told"
"""Header of what a source refused: the attributes that columns are made of, as a JSON object of texts."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """Key and value to produce."""

    key: bytes | None
    value: bytes
