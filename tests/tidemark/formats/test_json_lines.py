from __future__ import annotations

import json
import math

import polars as pl

from tidemark.formats.json_lines import json_lines


def test_each_row_is_an_object_and_what_json_has_no_number_for_is_null() -> None:
    frame = pl.DataFrame({"a": [1.5, math.nan, math.inf], "b": ['"\n', "ä", None], "c": [[0.1, 0.9], [], None]})
    assert [json.loads(line) for line in json_lines(frame)] == [
        {"a": 1.5, "b": '"\n', "c": [0.1, 0.9]},
        {"a": None, "b": "ä", "c": []},
        {"a": None, "b": None, "c": None},
    ]


def test_a_frame_without_rows_has_no_lines() -> None:
    assert json_lines(pl.DataFrame({"a": []})) == []
