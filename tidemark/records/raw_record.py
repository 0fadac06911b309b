"""What is produced to a raw topic."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RawRecord:
    """Key and value to produce."""

    key: bytes | None
    value: bytes
