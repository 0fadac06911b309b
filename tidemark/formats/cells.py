"""Cells of a CSV, which are texts, as the JSON values that their columns declare."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from tidemark.formats.declared import Kind

_NUMBER: Final = re.compile(r"([+-]?)([0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_TRUTH: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def _number(cell: str) -> object:
    """The number with all its digits, in JSON's grammar; the text where it is none."""
    found = _NUMBER.fullmatch(cell)
    if found is None:
        return cell
    sign, whole, fraction, exponent = found.groups()
    digits = (fraction or "").removeprefix(".")
    if not whole and not digits:
        return cell
    text = f"{'-' if sign == '-' else ''}{whole.lstrip('0') or '0'}{'.' + digits if digits else ''}{exponent or ''}"
    return msgspec.Raw(text.encode())


def _float(cell: str) -> object:
    return None if cell.lower() == "nan" else _number(cell)


def _truth(cell: str) -> object:
    return _TRUTH.get(cell, cell)


def _text(cell: str) -> object:
    return cell


CASTS: Final[Mapping[Kind, Callable[[str], object]]] = {
    "string": _text,
    "int": _number,
    "float": _float,
    "bool": _truth,
    "class": _text,
    "numbers": _text,
}
"""A cell with its column's type; a cell that is not of it stays the text that it is. No cell of another type than
`string` is empty: an empty one is missing."""
