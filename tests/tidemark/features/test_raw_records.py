from __future__ import annotations

import json

import pytest
from models import pipeline_text
from schemas import batch_of

from tidemark.features.raw_records import Records
from tidemark.formats.decoder import Decoder
from tidemark.pipeline import parse

RULED = [
    ('type = "string", vocabulary = ["x", "y"]', ["x", "z", "y"]),
    ('type = "int", range = [0, 9], outside = "clip"', [3, 12, -4]),
    ('type = "int", missing = [-1], default = 7', [3, -1, None]),
]


@pytest.mark.parametrize(("column", "keys"), RULED)
def test_a_record_is_keyed_by_what_the_rules_of_its_column_make_of_its_key(column: str, keys: list[object]) -> None:
    pipeline = parse(pipeline_text("p").replace('key = { type = "string" }', f"key = {{ {column} }}"), "p.toml")
    rest = {"time": "2025-01-01T00:00:01Z", "a": 1, "b": 2, "c": 3}
    sent = Records(pipeline).records([json.dumps({"key": key, **rest}).encode() for key in keys])
    decoded = Decoder(pipeline).decode(batch_of([each.value for each in sent]))
    keyed = [sent[row].key for row in decoded.rows.tolist()]
    assert len(keyed) >= 2
    assert keyed == [str(key).encode() for key in decoded.frame["key"].to_list()]
