"""Text that comes from outside: what is read on a screen must be what is stored."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

from tidemark.runtime.safe_text import safe

RESERVED: Final = frozenset({"consensus"})
"""Names that nobody may have: verdicts on several answers are given under them."""

MAX_EVENT_ID: Final = 512
MAX_LOOKUP: Final = 2_000
"""Bytes of a text in an index: one of PostgreSQL's has room for 2,700."""

# Controls but tab and newline, direction overrides, zero-width characters.
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_JOINERS: Final = "\u200c\u200d"
"""Part of the spelling of Persian, of the languages of India and of emoji, after a letter, a mark or a picture."""

_CUT: Final = " … "


def hidden(text: str) -> str | None:
    """The first character that can't be seen, as U+XXXX; None if there is none."""
    for match in _HIDDEN.finditer(text):
        if match.group() not in _JOINERS or not _spelled(text[match.start() - 1 : match.start()], match.group()):
            return f"U+{ord(match.group()):04X}"
    return None


def _spelled(before: str, joiner: str) -> bool:
    """Whether a joiner belongs to what comes before it, by the rule that it is shown by: between two such it is kept.

    Where a word ends with one it does too.
    """
    return bool(before) and joiner in safe(before + joiner + before)


def is_name(text: str, longest: int) -> bool:
    """Whether `text` has 1 to `longest` characters, all of which can be seen."""
    return 0 < len(text) <= longest and text.isprintable() and _HIDDEN.search(text) is None


def is_reserved(name: str) -> bool:
    """Whether a name is, or reads as, one that nobody may have.

    Args:
        name: Of an annotator.

    Returns:
        True for a reserved name, in whatever case, width or spacing it is written.

    """
    return "".join(unicodedata.normalize("NFKC", name).casefold().split()) in RESERVED


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
