"""Numbers of JSON as their column's type, exactly or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

_POINTED: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MOST_DIGITS: Final = 19
"""Digits of the largest whole number of 64 bits."""
_LONGEST: Final = 400


def whole_number(raw: bytes) -> int | None:
    """The whole number of 64 bits that a JSON number is (`7`, `7.0`, `7e2`, `70e-1`); None if it is none."""
    if len(raw) > _LONGEST or not _POINTED.fullmatch(raw):
        return None
    try:
        number = Decimal(raw.decode())
    except InvalidOperation:  # its exponent has more digits than Decimal takes
        return None
    if not number:
        return 0
    if not 0 <= number.adjusted() < _MOST_DIGITS:
        return None
    whole = int(number)
    return whole if whole == number and -(2**63) <= whole < 2**63 else None


def with_whole_numbers(fields: Mapping[str, msgspec.Raw], names: list[str]) -> bytes | None:
    """A record whose numbers of these columns are written without point and exponent; None if nothing changes."""
    written = {}
    for name in names:
        raw = bytes(fields.get(name, b""))
        if any(mark in raw for mark in b".eE") and (whole := whole_number(raw)) is not None:
            written[name] = msgspec.Raw(str(whole).encode())
    return msgspec.json.encode({**fields, **written}) if written else None


def is_rounded(raw: bytes, number: float) -> bool:
    """Whether a JSON number without point and exponent is another than the float64 that it was read as."""
    return not any(mark in raw for mark in b".eE") and int(number) != int(raw)
