from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sourcing import pipeline_of

from tidemark.formats.decoder import Decoded, Decoder
from tidemark.pipeline import Pipeline
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.sources.keying import Keyed
from tidemark.sources.source import SourceRecord

COLUMNS = {"key": "topic.1", "a": "property.a"}
PIPELINE = pipeline_of("mqtt", {"broker": "b:1", "topics": ["t"]}, columns=COLUMNS)
KEYED = Keyed(PIPELINE, PIPELINE.sources[0], "p.raw")
ROW = {"time": "2025-01-01T00:00:00Z", "b": 2, "c": 3}


def output(value: bytes, **attributes: str) -> Output:
    (made,) = KEYED.outputs([SourceRecord(value, "here", {"topic.1": "k7", "property.a": "1.50", **attributes})])
    return made


def decoded(made: Output, pipeline: Pipeline = PIPELINE) -> Decoded:
    partition = Partition("p.raw", 0, "0a1b2c3d")
    batch = Batch(partition, np.arange(1), np.full(1, 1_750_000_000_000), [made.key], [made.value], [None])
    return Decoder(pipeline).decode(batch)


def test_what_the_source_tells_is_written_into_the_record_and_keys_it() -> None:
    made = output(json.dumps(ROW).encode())
    assert made.key == b"k7"
    assert decoded(made).frame.select("key", "a", "b").to_dicts() == [{"key": "k7", "a": 1.5, "b": 2.0}]


@pytest.mark.parametrize(
    "body",
    [
        {**ROW, "key": "another's"},
        {"key": "another's", **ROW},
        {**ROW, "a": 9},
    ],
)
def test_a_sender_does_not_pass_off_its_own_value_as_what_the_source_tells(body: dict[str, object]) -> None:
    found = decoded(output(json.dumps(body).encode()))
    (bad,) = found.bad
    assert bad.reason.startswith(f"{'a' if 'a' in body else 'key'}: given more than once")


@pytest.mark.parametrize("value", [b"", b"[]", b"{", b"7", b'{"b": 2', b"\xff", b"{}x", b"null"])
def test_what_is_no_object_stays_as_it_is(value: bytes) -> None:
    assert output(value).value == value


@given(st.binary(max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_no_record_and_no_attribute_is_a_surprise(value: bytes, first: str, second: str) -> None:
    """Whatever is sent, a raw record is made of it, and what the source tells can't break out of its text."""
    made = output(value, **{"topic.1": first, "property.a": second})
    assert made.value is not None
    row = output(b'{"b": 2}', **{"topic.1": first, "property.a": second})
    told = json.loads(row.value or b"")
    assert (told["b"], told["key"]) == (2, first or None)


@pytest.mark.parametrize(
    "body",
    [
        {**ROW, "key": "another's"},
        {**ROW, "a": 9},
        ROW,
    ],
)
def test_what_the_source_does_not_tell_is_not_told_by_the_sender(body: dict[str, object]) -> None:
    (made,) = KEYED.outputs([SourceRecord(json.dumps(body).encode(), "here", {})])
    assert not decoded(made).frame.height


@pytest.mark.parametrize("raw", ["json", "csv"])
@pytest.mark.parametrize("broken", [b"", b"\xff"])
def test_a_text_that_tells_nothing_is_never_read_as_a_record(raw: str, broken: bytes) -> None:
    plain = pipeline_of("syslog", {}, columns={"key": "host", "time": "time"})
    names = ["key", "time", "a", "b", "c"]
    section = plain.raw[0].model_copy(update={"format": raw, "header": names} if raw == "csv" else {})
    pipeline = plain.model_copy(update={"raw": (section,)})
    forged = json.dumps({"key": "another's", **ROW, "more": ""}).encode()[:-2] + broken + b'"}'
    keyed = Keyed(pipeline, pipeline.sources[0], "p.raw")
    (made,) = keyed.outputs([record := SourceRecord(forged, "here", {})])
    assert (made.key, type(json.loads(made.value or b""))) == (None, str)
    assert (keyed.refusal(record) or "").startswith("tells none of the source's columns")
    assert keyed.refusal(SourceRecord(b"x", "here", {"host": "h"})) is None


@pytest.mark.parametrize("told", [{}, {"topic.1": "k7", "property.a": ""}, {"topic.1": "k7", "property.a": "1"}])
def test_a_sender_does_not_tell_a_column_by_another_of_its_names(told: dict[str, str]) -> None:
    named = {
        name: column.model_copy(update={"names": [f"{name}{name}"]} if name in COLUMNS else {})
        for name, column in PIPELINE.columns.items()
    }
    pipeline = PIPELINE.model_copy(update={"columns": named})
    keyed = Keyed(pipeline, pipeline.sources[0], "p.raw")
    for forged in ({"keykey": "another's"}, {"aa": 9}):
        (made,) = keyed.outputs([SourceRecord(json.dumps({**ROW, **forged}).encode(), "here", told)])
        assert not decoded(made, pipeline).frame.height
    (made,) = keyed.outputs([SourceRecord(json.dumps(ROW).encode(), "here", {"topic.1": "k7", **told})])
    (row,) = decoded(made, pipeline).frame.select("key", "a").to_dicts() or [{"key": "k7", "a": None}]
    assert row == {"key": "k7", "a": 1.0 if told.get("property.a") else None}
