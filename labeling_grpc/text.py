"""Text that comes from outside: what is read on a screen must be what is stored."""

from __future__ import annotations

import hashlib
import re
from typing import Final

MAX_EVENT_ID: Final = 512
MAX_LOOKUP: Final = 2_000
"""Bytes of a text in an index: one of PostgreSQL's has room for 2,700."""

# Controls but tab and newline, direction overrides, zero-width characters.
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)

_CUT: Final = " … "


def hidden(text: str) -> str | None:
    """The first character that can't be seen, as U+XXXX; None if there is none."""
    found = _HIDDEN.search(text)
    return None if found is None else f"U+{ord(found.group()):04X}"


def is_name(text: str, longest: int) -> bool:
    """Whether `text` has 1 to `longest` characters, all of which can be seen."""
    return 0 < len(text) <= longest and text.isprintable() and _HIDDEN.search(text) is None


def shortened(text: str, most: int) -> str:
    """`text` if it has at most `most` bytes in UTF-8, else its beginning and its end."""
    raw = text.encode()
    if len(raw) <= most:
        return text
    half = (most - len(_CUT.encode())) // 2
    return raw[:half].decode(errors="ignore") + _CUT + raw[-half:].decode(errors="ignore")


def storable(text: str, most: int) -> str:
    """Text as every database takes it: PostgreSQL takes no NUL.

    Args:
        text: Any.
        most: Bytes in UTF-8 that are kept.

    Returns:
        The text, a NUL replaced; its beginning and its end where it is longer.

    """
    return shortened(text.replace("\0", "\N{REPLACEMENT CHARACTER}"), most)


def lookup(text: str) -> str:
    """What a column holds by which a text is found again: equal for equal texts alone.

    Args:
        text: Any, however long.

    Returns:
        The text, or its digest where a database could not hold it, or an index of PostgreSQL's not its bytes.

    """
    raw = text.encode()
    return text if b"\0" not in raw and len(raw) <= MAX_LOOKUP else "sha256:" + hashlib.sha256(raw).hexdigest()
