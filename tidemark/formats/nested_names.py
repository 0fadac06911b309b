"""Columns that JSON tells in objects within the record: `user.id` is the field `id` of the field `user`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tidemark.records.record_formats import Told
from tidemark.runtime.json_names import parted

_NULL: Final = b"null"
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def nested(columns: Sequence[Told]) -> dict[str, list[Told]]:
    """Of each field that may be an object, what is read of it.

    Args:
        columns: with the names under which records may tell them.

    Returns:
        By the field's name the columns under the names that they have within it. A field that is a column itself is
        none: it can't be both.

    """
    found: dict[str, list[Told]] = {}
    plain = {name for column in columns for name in column.names}
    for column in columns:
        for name in column.names:
            parts = parted(name)
            if parts is not None and parts[0] not in plain:
                outer, inner = parts
                found.setdefault(outer, []).append(Told(inner, column.kind, required=False, names=(inner,)))
    return found


def raw_of(fields: Mapping[str, msgspec.Raw], name: str) -> bytes | None:
    """What an object tells under a name, there or in an object within it; None where it tells nothing or null.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError: what is within it is no JSON.

    """
    own = bytes(fields.get(name, _NULL))
    if own != _NULL:
        return own
    parts = parted(name)
    if parts is None:
        return None
    within = bytes(fields.get(parts[0], _NULL))
    return raw_of(_fields(within), parts[1]) if within.startswith(b"{") else None
