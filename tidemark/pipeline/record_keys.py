"""How the key of a raw record tells the pipeline's first key, by which the windows are kept.

A window is right where all rows of one entity are in one partition, and a producer chooses the partition by the bytes
of the record's key. So the key must be a function of the column, and the same one in every record: `007` beside `7`, or
`"7"` beside `7`, are two keys of one entity. Each form below has exactly one key for a value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

KeyForm = Literal["text", "json", "int32", "int64", "other"]
"""`text`: UTF-8 of the value, numbers in digits.  `json`: the value as JSON, so texts in quotes.  `int32`, `int64`: big
endian, as Java's serializers write them.  `other`: anything else, none included; rows are repartitioned by a hop."""


def _integer(size: int) -> Callable[[str], bytes | None]:
    def encode(text: str) -> bytes | None:
        try:
            return int(text).to_bytes(size, "big", signed=True)
        except (ValueError, OverflowError):
            return None

    return encode


_ENCODERS: Final[dict[KeyForm, Callable[[str], bytes | None]]] = {
    "text": str.encode,
    "int64": _integer(8),
    "int32": _integer(4),
}


def record_keys(form: KeyForm, texts: Sequence[str], *, numbers: bool) -> list[bytes | None]:
    """The keys that records must have.

    Args:
        form: a form other than `other`.
        texts: values of the pipeline's first key, as text.
        numbers: whether the column holds numbers, which JSON writes without quotes.

    Returns:
        For each value its key; None where the form has none for it.

    """
    if form == "json":
        return [text.encode() if numbers else json.dumps(text, ensure_ascii=False).encode() for text in texts]
    return list(map(_ENCODERS[form], texts))


def form_of(records: Iterable[tuple[bytes | None, str]], *, numbers: bool) -> KeyForm:
    """The form that the keys of some records have.

    Args:
        records: of each, its key and the text of the pipeline's first key.
        numbers: as in `record_keys`.

    Returns:
        The first form that fits all of them; `other` if none does.

    """
    pairs = list(records)
    if any(key is None for key, _ in pairs):
        return "other"
    texts = [text for _, text in pairs]
    keys = [key for key, _ in pairs]
    forms: tuple[KeyForm, ...] = ("text", "json", "int64", "int32")
    return next((form for form in forms if record_keys(form, texts, numbers=numbers) == keys), "other")


def mismatch(form: KeyForm, column: str, key: bytes | None, text: str, *, numbers: bool) -> str:
    """Why a record whose key does not tell the column's value is not processed, and what to do."""
    found = form_of([(key, text)], numbers=numbers)
    own = "no key" if key is None else f"key {_shown(key)}"
    return (
        f"the record has {own}, and '{column}' is {_shown(text.encode())}: with raw.key = \"{form}\" it would be "
        f"counted in the windows of another partition; key the records by '{column}', or write "
        f'key = "{found}" at [[raw]]'
    )


def _shown(text: bytes) -> str:
    shown = repr(text[:40].decode(errors="backslashreplace"))
    return shown if len(text) <= 40 else f"{shown}…"
