"""Positions of sources in the compacted topic `P.ingest`, beside the progress over files."""

from __future__ import annotations

from typing import Final

import msgspec

from tidemark.sources.progress import decoded

_PREFIX: Final = b"source/"


class SourcePosition(msgspec.Struct, frozen=True):
    """How far a source was read.

    topic, incarnation: the raw topic that has what was read.  source: its name.  key: what of it.  position: as the
    source wrote it.
    """

    topic: str
    incarnation: str
    source: str
    key: str
    position: str


def position_key(topic: str, source: str, key: str) -> bytes:
    """Key of the record of a position; no record of progress over a file has such a key."""
    return _PREFIX + f"{topic}/{source}/{key}".encode()


def is_position(key: bytes) -> bool:
    """Whether a record of this key is a source's position, not the progress over a file."""
    return key.startswith(_PREFIX)


def decode_position(value: bytes) -> SourcePosition:
    """A position as it was written.

    Raises:
        TopicError: it is none.

    """
    return decoded(value, SourcePosition, "position of a source")
