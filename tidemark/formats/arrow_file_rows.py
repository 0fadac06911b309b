"""Arrow files (Feather 2): read as Parquet is, by a process of its own, for the same reasons."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from tidemark.errors import ConfigError
from tidemark.formats.parquet_rows import ParquetRows

_MAGIC: Final = b"ARROW1"
_TAIL: Final = 4 + len(_MAGIC)


class ArrowFileRows(ParquetRows):
    """Rows of an Arrow file, its declared columns alone."""

    kind = "arrow"

    @staticmethod
    def _check(path: Path) -> None:
        from tidemark.formats.arrow_rows import MARK  # noqa: PLC0415 - Polars, which a command's help needs not

        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(len(_MAGIC))
            file.seek(max(size - _TAIL, 0))
            last = file.read(_TAIL)
        if first.startswith(MARK):
            raise ConfigError(f"{path} can't be read: it is an Arrow stream; write it as an Arrow file (Feather 2)")
        if first != _MAGIC or last[4:] != _MAGIC or size < 2 * _TAIL:
            raise ConfigError(f"{path} can't be read: it is no Arrow file, or it was not written to its end")
        (footer,) = struct.unpack("<i", last[:4])
        if not 0 < footer <= size - 2 * _TAIL:
            raise ConfigError(f"{path} can't be read: its footer says that it has {footer:,} bytes; it is damaged")
