"""What a stranger's record says, short enough for the reason of a dead letter."""

from __future__ import annotations

from typing import Final

_SHOWN: Final = 60


def short(value: bytes) -> str:
    """The beginning of a text; what is no UTF-8 as escapes."""
    text = value[: _SHOWN * 4].decode(errors="backslashreplace")
    return text if len(text) <= _SHOWN and len(value) <= _SHOWN * 4 else f"{text[:_SHOWN]}…"
