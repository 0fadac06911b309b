"""Dead letters as lines of JSON that a person edits and gives back to `tidemark deadletter edit --corrections`."""

from __future__ import annotations

from typing import Any

import msgspec

from tidemark.replay.letters import Letter


def line(letter: Letter) -> bytes:
    """A dead letter as one line.

    Args:
        letter: Of any content.

    Returns:
        A JSON object without a line end: where it is, why it is there, and what of its record can be edited. Given back
        unchanged it corrects nothing. A key or value that is no UTF-8, or of which only the beginning is there, is
        left out, and so stays as it is.

    """
    fields: dict[str, Any] = {
        "offset": letter.offset,
        "partition": letter.partition,
        "source": letter.origin,
        "step": letter.step,
        "reason": letter.reason,
    }
    key, value = _text(letter.key), _text(letter.value)
    if key is not None or letter.key is None:
        fields["key"] = key
    if not letter.truncated and (value is not None or letter.value is None):
        fields["value"] = value if value is None else _editable(value)
    return msgspec.json.encode(fields)


def _text(content: bytes | None) -> str | None:
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        return None


def _editable(text: str) -> str | msgspec.Raw:
    """A JSON object of one line as it is, byte for byte; anything else as a text."""
    if text[:1] != "{" or "\n" in text or "\r" in text:
        return text
    try:
        msgspec.json.decode(text.encode(), type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return text
    return msgspec.Raw(text.encode())
