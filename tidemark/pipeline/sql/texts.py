"""Functions of texts. Positions and lengths are in characters, and whole numbers of 64 bits."""

from __future__ import annotations

import re
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from tidemark.pipeline.sql.values import Kind, Value, literal

LONGEST: Final = 2**31
"""Bound of the length of a text."""


def text(value: Value, function: str) -> pl.Expr:
    """The value's column.

    Raises:
        ValueError: it is no text.

    """
    if value.kind is Kind.NULL:
        return literal(None, Kind.TEXT).expr
    if value.kind is not Kind.TEXT:
        raise ValueError(f"{function} is of text, and got {value.kind.value}; CAST it to VARCHAR")
    return value.expr


def position(haystack: pl.Expr, needle: pl.Expr) -> Value:
    """Place of the first occurrence, from 1; 0 where there is none. `Expr.str.find` counts bytes, and reads regexes."""
    before = haystack.str.splitn(needle, 2).struct[0].str.len_chars().cast(pl.Int64)
    there = haystack.str.contains(needle, literal=True)
    found = pl.when(needle.str.len_bytes() == 0).then(1).when(there).then(before + 1).otherwise(0)
    return Value(pl.when(there.is_not_null()).then(found).cast(pl.Int64), Kind.WHOLE, 0, LONGEST)


def part(whole: pl.Expr, start: pl.Expr, length: pl.Expr | None) -> Value:
    """SUBSTR: from the character `start`, counted from 1; what lies before the text is empty."""
    first = start.clip(-LONGEST, LONGEST) - 1
    begin = first.clip(0)
    if length is None:
        return Value(pl.when(start.is_not_null()).then(whole.str.slice(begin)), Kind.TEXT)
    characters = (first + length.clip(0, LONGEST)).clip(0) - begin
    present = start.is_not_null() & length.is_not_null()
    return Value(pl.when(present).then(whole.str.slice(begin, characters.clip(0))), Kind.TEXT)


def like(value: pl.Expr, pattern: object, escape: object, *, fold: bool) -> Value:
    """LIKE, and ILIKE with `fold`: `%` is any text, `_` any character.

    Raises:
        ValueError: the pattern is no literal.

    """
    if not isinstance(pattern, str) or not (escape is None or (isinstance(escape, str) and len(escape) == 1)):
        raise ValueError("LIKE needs its pattern in quotes, and ESCAPE one character")
    written, escaped = [], False
    for character in pattern:
        if not escaped and character == escape:
            escaped = True
            continue
        wild = {"%": ".*", "_": "."}.get(character) if not escaped else None
        written.append(wild or re.escape(character))
        escaped = False
    flags = "(?is)" if fold else "(?s)"
    return Value(value.str.contains(f"{flags}^{''.join(written)}$"), Kind.TRUTH)


def matches(value: pl.Expr, pattern: object) -> Value:
    """Whether a regular expression is found in the text.

    Raises:
        ValueError: the pattern is no literal, or no regular expression.

    """
    if not isinstance(pattern, str):
        raise ValueError("a regular expression is written in quotes")  # noqa: TRY004 - a setting
    try:
        pl.Series([""]).str.contains(pattern)
    except PolarsError as error:
        raise ValueError(f"'{pattern}' is no regular expression: {' '.join(str(error).split())[:120]}") from error
    return Value(value.str.contains(pattern), Kind.TRUTH)


def split_part(whole: pl.Expr, separator: object, number: object) -> Value:
    """SPLIT_PART: the part of a number, from 1 or from the end; empty where there is none.

    Raises:
        ValueError: separator or number are no literals.

    """
    if not isinstance(separator, str) or not separator or not isinstance(number, int) or number == 0:
        raise ValueError("SPLIT_PART needs a separator in quotes and a number that is not 0")
    index = number - 1 if number > 0 else number
    found = whole.str.split(separator).list.get(index, null_on_oob=True).fill_null("")
    return Value(pl.when(whole.is_not_null()).then(found), Kind.TEXT)


def trim(value: pl.Expr, characters: object, side: str) -> Value:
    """TRIM, LTRIM, RTRIM: without the characters (by default white space) at both sides, or at one.

    Raises:
        ValueError: the characters are no literal.

    """
    if not (characters is None or isinstance(characters, str)):
        raise ValueError("TRIM needs its characters in quotes")
    if characters == "":
        return Value(value, Kind.TEXT)
    trimmed = {
        "BOTH": value.str.strip_chars(characters),
        "LEADING": value.str.strip_chars_start(characters),
        "TRAILING": value.str.strip_chars_end(characters),
    }[side]
    return Value(trimmed, Kind.TEXT)
