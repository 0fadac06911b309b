"""Keys and values of consumed records."""

from __future__ import annotations


def as_bytes(content: str | bytes | None) -> bytes | None:
    """A key or value as bytes: the client's types allow a text, which no consumer of ours is set to give."""
    return content.encode() if isinstance(content, str) else content
