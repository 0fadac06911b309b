"""What the process that reads a Parquet file is asked, and how it answers. It starts for each file: few imports."""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from tidemark.formats.declared import Kind

FRAME: Final = struct.Struct("<cI")
"""Kind and length of what the child sends: S the schema, R rows, E an error, Z the end."""


class Asked(msgspec.Struct, frozen=True):
    """What the child is asked for."""

    begin: int
    kinds: dict[str, Kind]
    time: tuple[str, str] | None


class Schema(msgspec.Struct, frozen=True):
    """What the child found. columns: as the file has them, by their Polars types."""

    rows: int
    columns: dict[str, str]
