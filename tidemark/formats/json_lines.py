"""Rows of a frame as JSON, an object each."""

from __future__ import annotations

import io

import polars as pl


def json_lines(frame: pl.DataFrame) -> list[bytes]:
    """The objects of a frame's rows.

    JSON has neither NaN nor infinity: Polars writes null for both.

    Args:
        frame: of n rows.

    Returns:
        n JSON objects in UTF-8, whose names are the frame's columns.

    """
    buffer = io.BytesIO()
    frame.write_ndjson(buffer)  # without a buffer Polars gives a text: it would be decoded and encoded in vain
    lines = buffer.getvalue().split(b"\n")
    lines.pop()
    return lines
