"""Names in JSON objects: those with a dot, and those that an object gives twice, which parsers read in two ways."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any


def parted(name: str) -> tuple[str, str] | None:
    """The field that a name begins with, and the name within it; None where it is no name of a nested field."""
    outer, dot, inner = name.partition(".")
    return (outer, inner) if dot and outer and inner else None


def given_again(value: bytes, among: Collection[str] | None = None) -> list[str]:
    """The names that the outermost object gives more than once.

    Args:
        value: a JSON object, which was found to be one.
        among: names that matter; None: all.

    Returns:
        Names, in the order in which they come again.

    Raises:
        RecursionError: the object is nested too deeply.

    """
    decoder = json.JSONDecoder(object_pairs_hook=list, parse_int=str, strict=False)  # numbers of any length
    pairs: list[tuple[str, Any]] = decoder.decode(value.decode(errors="replace"))
    seen: set[str] = set()
    again: dict[str, None] = {}
    for name, _ in pairs:
        if name in seen and (among is None or name in among):
            again[name] = None
        seen.add(name)
    return list(again)
