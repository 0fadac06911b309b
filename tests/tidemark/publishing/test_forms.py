"""Predictions and candidates as JSON, Avro and Arrow say what the pipeline's own records say."""

from __future__ import annotations

import io
import json
from typing import Any, Final

import fastavro
import msgspec
import numpy as np
import polars as pl
import pytest
from fastavro.schema import to_parsing_canonical_form
from hypothesis import given
from hypothesis import strategies as st
from models import pipeline_text, small_pipeline

from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline, parse
from tidemark.publishing import WRITTEN_BY
from tidemark.publishing.avro_schema import schema_of
from tidemark.publishing.forms import LARGEST
from tidemark.publishing.step import PublishStep
from tidemark.records import Candidate, Prediction, Record, encode
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.runtime.steps import Outcome, RoundContext

SHOWN: Final = 'context = ["key", "a"]'
INTEGERS: Final = st.integers(-(2**63), 2**63 - 1)
MOMENTS: Final = st.integers(0, 4_000_000_000_000_000)
FINITE: Final = st.floats(allow_nan=False, allow_infinity=False)
PLAIN: Final = Prediction(
    event_id="e", business_id=None, key=None, time=1, probabilities=None, uncertainty=None, model="m"
)
PREDICTIONS: Final = st.builds(
    Prediction,
    event_id=st.text(min_size=1, max_size=20),
    business_id=st.none() | st.text(max_size=9),
    key=st.none() | st.text(max_size=9),
    time=MOMENTS,
    probabilities=st.none() | st.lists(FINITE, min_size=2, max_size=2),
    uncertainty=st.none() | FINITE,
    model=st.text(max_size=9),
    late=st.booleans(),
)


def pipeline_with(*outputs: str, of: str = "predictions") -> Pipeline:
    """A small pipeline with outputs of some formats, in topics of these names."""
    extra = "".join(f'[[outputs]]\ntopic = "{each}"\nof = "{of}"\nformat = "{each}"\n' for each in outputs)
    return small_pipeline(extra=extra, label=SHOWN)


def candidates(pipeline: Pipeline) -> st.SearchStrategy[Candidate]:
    """Candidates of a pipeline, as it writes them."""
    return st.builds(
        Candidate,
        event_id=st.text(min_size=1, max_size=9),
        business_id=st.none() | st.text(max_size=9),
        key=st.none(),
        time=MOMENTS,
        tile=INTEGERS,
        tile_count=INTEGERS,
        reason=st.sampled_from(["explore", "uncertain"]),
        priority=FINITE,
        inclusion_probability=st.none() | FINITE,
        policy=st.just("margin"),
        features=st.fixed_dictionaries(dict.fromkeys(pipeline.feature_names, st.none() | FINITE)),
        context=st.fixed_dictionaries({"key": st.none() | st.text(max_size=9), "a": st.none() | FINITE}),
        probabilities=st.none() | st.lists(FINITE, min_size=2, max_size=2),
        uncertainty=st.none() | FINITE,
        model=st.just("m"),
        expires_at=st.none() | MOMENTS,
        definitions=st.none() | st.fixed_dictionaries(dict.fromkeys(pipeline.feature_names, st.text(max_size=5))),
    )


def batch_of(topic: str, values: list[bytes | None]) -> Batch:
    n = len(values)
    place = Partition(topic, 3, "0a1b2c3d")
    return Batch(place, np.arange(n), np.zeros(n, np.int64), [b"k"] * n, values, [None] * n)


def published(pipeline: Pipeline, topic: str, values: list[bytes | None]) -> Outcome[list[Output]]:
    return PublishStep(pipeline).process(Received([batch_of(topic, values)], [0]), RoundContext(0))


def crc64(data: bytes) -> int:
    """CRC-64-AVRO, bit by bit, as the Avro specification has it."""
    found = 0xC15D213AA4D7A795
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = (found >> 1) ^ (0xC15D213AA4D7A795 if found & 1 else 0)
    return found


def test_the_fingerprint_is_that_of_the_specification() -> None:
    assert crc64(b'"int"') == 0x7275D51A3F395C8F


def avro(value: bytes, kind: type[Record]) -> dict[str, Any]:
    """A datum behind its fingerprint, as fastavro reads it; moments as µs."""
    assert value[:2] == b"\xc3\x01"
    assert int.from_bytes(value[2:10], "little") == crc64(to_parsing_canonical_form(schema_of(kind)).encode())
    moment = '{"type": "long", "logicalType": "timestamp-micros"}'
    plain = json.loads(json.dumps(schema_of(kind)).replace(moment, '"long"'))
    read: Any = fastavro.schemaless_reader(io.BytesIO(value[10:]), plain, None)
    return dict(read)


def arrow(outputs: list[Output]) -> list[dict[str, Any]]:
    """The rows of batches; moments as µs."""
    frame = pl.concat(pl.read_ipc_stream(output.value or b"") for output in outputs)
    return frame.with_columns(pl.col(pl.Datetime).dt.epoch("us")).to_dicts()


@given(st.lists(PREDICTIONS, min_size=1, max_size=5))
def test_a_prediction_says_the_same_in_every_form(records: list[Prediction]) -> None:
    pipeline = pipeline_with("json", "avro", "arrow")
    found = published(pipeline, "p.predictions", [encode(record) for record in records])
    assert not found.errs
    by_topic = {topic: [each for each in found.oks if each.topic == topic] for topic in ("json", "avro", "arrow")}
    wanted = [msgspec.to_builtins(record) for record in records]
    assert [msgspec.json.decode(each.value or b"") for each in by_topic["json"]] == wanted
    assert [avro(each.value or b"", Prediction) for each in by_topic["avro"]] == wanted
    assert arrow(by_topic["arrow"]) == wanted
    assert {each.key for each in by_topic["avro"]} == {b"k"}
    assert {each.key for each in by_topic["arrow"]} == {b"3"}
    assert {each.headers for each in found.oks} == {((WRITTEN_BY, b"p"),)}


@given(st.data())
def test_a_candidate_says_the_same_in_every_form(data: st.DataObject) -> None:
    pipeline = pipeline_with("avro", "arrow", of="candidates")
    records = data.draw(st.lists(candidates(pipeline), min_size=1, max_size=3))
    found = published(pipeline, "p.candidates", [encode(record) for record in records])
    assert not found.errs
    wanted = [msgspec.to_builtins(record) for record in records]
    assert [avro(each.value or b"", Candidate) for each in found.oks if each.topic == "avro"] == wanted
    told = arrow([each for each in found.oks if each.topic == "arrow"])
    assert told == wanted


def test_what_is_no_record_of_ours_is_refused_by_its_row_and_the_others_are_written() -> None:
    good = encode(PLAIN)
    far = good.replace(b'"time":1', b'"time":9223372036854775807')
    for form in ("json", "avro", "arrow"):
        found = published(pipeline_with(form), "p.predictions", [good, b"{", None, b"[]", far, good])
        assert [each.row for each in found.errs][:3] == [1, 2, 3]
        rows = arrow(found.oks) if form == "arrow" else found.oks
        assert len(rows) + len(found.errs) == 6


def test_a_context_that_is_not_of_its_columns_type_has_no_place_in_arrow_and_is_never_changed() -> None:
    pipeline = pipeline_with("arrow", of="candidates")
    known = dict.fromkeys(pipeline.feature_names, 0.5)
    right = {
        "event_id": "e", "business_id": None, "key": None, "time": 1, "tile": 1, "tile_count": 1, "reason": "explore",
        "priority": 0.5, "inclusion_probability": None, "policy": "x", "features": known, "probabilities": None,
        "uncertainty": None, "model": "m", "context": {"key": "k", "a": 0.5},
    }  # fmt: skip
    wrong = right | {"context": {"key": "k", "a": "much"}}
    values = [json.dumps(each).encode() for each in (right, wrong, right)]
    found = published(pipeline, "p.candidates", list(values))
    assert [each.row for each in found.errs] == [1]
    assert "has no place in the output's form" in found.errs[0].reason
    assert [each["context"] for each in arrow(found.oks)] == [right["context"]] * 2


def test_a_pipeline_that_shows_nothing_of_a_case_has_candidates_in_every_form() -> None:
    pipeline = small_pipeline(extra='[[outputs]]\ntopic = "x"\nof = "candidates"\nformat = "arrow"\n')
    value = b"""{"event_id": "e", "business_id": null, "key": null, "time": 1, "tile": 1, "tile_count": 1,
        "reason": "cold", "priority": 0.5, "inclusion_probability": null, "policy": "x", "features": {"a": 1.5, "z": 2},
        "probabilities": null, "uncertainty": null, "model": "m", "context": {"key": "k"}}"""
    (row,) = arrow(published(pipeline, "p.candidates", [value]).oks)
    assert row["features"] == {"a": 1.5, "b": None, "c": None}, "those of the present pipeline file"


def test_batches_of_arrow_are_cut_to_what_a_record_may_hold() -> None:
    record = Prediction(
        event_id="e" * 1_000, business_id="b" * 1_000, key=None, time=1, probabilities=None, uncertainty=None, model="m"
    )
    found = published(pipeline_with("arrow"), "p.predictions", [encode(record)] * 1_500)
    assert len(found.oks) > 1
    assert max(len(each.value or b"") for each in found.oks) <= LARGEST
    assert len(arrow(found.oks)) == 1_500


def test_a_schemas_number_stands_before_each_datum_where_there_is_a_registry() -> None:
    pipeline = pipeline_with("avro")
    value = encode(
        Prediction(event_id="e", business_id=None, key=None, time=1, probabilities=None, uncertainty=None, model="m")
    )
    batch = Received([batch_of("p.predictions", [value])], [0])
    (output,) = PublishStep(pipeline, lambda: {0: 258}).process(batch, RoundContext(0)).oks
    assert (output.value or b"")[:5] == b"\x00\x00\x00\x01\x02"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('topic = "p.labels"', "has another use in this pipeline already"),
        ('topic = "p.raw"', "has another use in this pipeline already"),
        ('topic = "a b"', "is no topic name"),
        ('topic = "x"\nregistry = "http://r"', "is no setting of the format 'json'"),
    ],
)
def test_an_output_that_can_not_be_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(pipeline_text("p", extra=f'[[outputs]]\n{text}\nof = "predictions"\nformat = "json"\n'), "p.toml")
    assert says in str(refused.value)
    twice = '[[outputs]]\ntopic = "x"\nof = "predictions"\nformat = "json"\n' * 2
    with pytest.raises(ConfigError, match="has another use"):
        parse(pipeline_text("p", extra=twice), "p.toml")
