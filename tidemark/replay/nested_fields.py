"""Fields of a JSON object by the names of columns: `user.id` may be its own, or the field `id` of its field `user`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from tidemark.runtime.json_names import given_again, parted

_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_DEEPEST: Final = 64


def flattened(fields: Mapping[str, msgspec.Raw], levels: int = _DEEPEST) -> tuple[dict[str, msgspec.Raw], set[str]]:
    """All fields of an object, those of objects within it by their dotted names.

    Args:
        fields: of the object.
        levels: so deep.

    Returns:
        The fields; and the names of those that an object within gives twice, or that are told in two ways.

    """
    found, twice = dict(fields), set[str]()
    for outer, raw in fields.items():
        inside = None if "." in outer or not outer or not levels else _object(raw)
        if inside is None:
            continue
        own, again = flattened(inside, levels - 1)
        again |= set(given_again(bytes(raw)))
        for inner, value in own.items():
            name = f"{outer}.{inner}"
            if name in found or inner in again:
                twice.add(name)
            found.setdefault(name, value)
    return found, twice


def changed(fields: Mapping[str, msgspec.Raw], made: Mapping[str, bytes], drop: Collection[str]) -> bytes:
    """An object with other fields, each where it was told; what is not named keeps its bytes.

    Args:
        fields: of the object.
        made: fields that become others, or are new.
        drop: fields to take out; one that is made all the same stays.

    Returns:
        The object as JSON. A new field with a dotted name goes into the object that the name begins with, where there
        is one.

    Raises:
        ValueError: an object that changes gives another name twice, of which one would be lost.

    """
    kept = {name: bytes(raw) for name, raw in fields.items()}
    for name in drop:
        _put(kept, name, None)
    for name, raw in made.items():
        _put(kept, name, raw)
    return _written(kept)


def _put(fields: dict[str, bytes], name: str, raw: bytes | None) -> None:
    parts = parted(name)
    inside = None if name in fields or parts is None else _object(fields.get(parts[0]))
    if inside is None or parts is None:
        if raw is not None:
            fields[name] = raw
        else:
            fields.pop(name, None)
        return
    outer, inner = parts
    for again in given_again(fields[outer]):
        if again != inner:
            raise ValueError(f"{outer}.{again} is given twice, and only one of the two would be sent")
    own = {each: bytes(value) for each, value in inside.items()}
    before = dict(own)
    _put(own, inner, raw)
    if own != before or given_again(fields[outer]):
        fields[outer] = _written(own)


def _written(fields: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + raw for name, raw in fields.items()) + b"}"


def _object(raw: msgspec.Raw | bytes | None) -> dict[str, msgspec.Raw] | None:
    """The fields of a value that is an object."""
    text = b"" if raw is None else bytes(raw)
    try:
        return _fields(text) if text.startswith(b"{") else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
