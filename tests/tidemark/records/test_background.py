"""Events of the background sample are a stranger's when they are read back."""

from __future__ import annotations

import math
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.errors import RecordError
from tidemark.records import SampledEvent, encode
from tidemark.records.background import DEFINITIONS, sampled

IDS = ["aaaaaaaa", "bbbbbbbb"]
HEADERS: list[tuple[str, bytes | None]] = [(DEFINITIONS, b'{"x":"aaaaaaaa","y":"bbbbbbbb"}')]


def event(**changed: object) -> bytes:
    given = SampledEvent(
        event_id="p.raw-0-7-0000aaaa",
        time=1_700_000_000_000_000,
        inclusion_probability=0.25,
        model="v000001-00000000",
        probabilities=[0.25, 0.75],
        features={"x": 1.5, "y": None},
    )
    return encode(msgspec.structs.replace(given, **changed))


def test_an_event_is_read_as_it_was_written() -> None:
    read = sampled(b"12", event(), HEADERS, IDS[::-1], 64)
    assert read is not None
    assert (read.place, read.chance, read.probabilities, read.values[1]) == (12, 0.25, [0.25, 0.75], 1.5)
    assert math.isnan(read.values[0])


def test_features_are_found_by_their_definition_whatever_they_are_called() -> None:
    renamed: list[tuple[str, bytes | None]] = [(DEFINITIONS, b'{"y":"aaaaaaaa","x":"bbbbbbbb"}')]
    read = sampled(b"12", event(), renamed, IDS, 64)
    assert read is not None
    assert read.values[1] == 1.5


def test_an_event_without_a_wanted_feature_or_beyond_the_size_is_passed_over() -> None:
    assert sampled(b"12", event(), HEADERS, [*IDS, "cccccccc"], 64) is None
    assert sampled(b"64", event(), HEADERS, IDS, 64) is None


@pytest.mark.parametrize(
    ("key", "value", "headers", "reason"),
    [
        (None, event(), HEADERS, "no place in a sample"),
        (b"-1", event(), HEADERS, "no place in a sample"),
        (b"9" * 5_000, event(), HEADERS, "no place in a sample"),
        ("²".encode(), event(), HEADERS, "no place in a sample"),
        (b"1", None, HEADERS, "empty value"),
        (b"1", event(event_id="x"), HEADERS, "is not TOPIC"),
        (b"1", event(time=2**62), HEADERS, "is no time"),
        (b"1", event(inclusion_probability=0.0), HEADERS, "is no chance"),
        (b"1", event(inclusion_probability=1.5), HEADERS, "is no chance"),
        (b"1", event(model="v" * 101), HEADERS, "a model's name of 101 letters"),
        (b"1", event(probabilities=[0.5]), HEADERS, "no probabilities"),
        (b"1", event(probabilities=[0.5, 0.9]), HEADERS, "no probabilities"),
        (b"1", event(), [], "no header 'definitions'"),
        (b"1", event(), [(DEFINITIONS, b"[1]")], "names no definitions"),
        (b"1", event(), [(DEFINITIONS, b"\xff")], "names no definitions"),
        (b"1", b"[" * 100_000, HEADERS, "not a SampledEvent record"),
    ],
)
def test_what_is_no_event_of_a_sample_is_refused_by_name(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]], reason: str
) -> None:
    with pytest.raises(RecordError, match=reason):
        sampled(key, value, headers, IDS, 64)


@given(
    st.one_of(st.none(), st.binary(max_size=8)),
    st.one_of(st.none(), st.binary(max_size=64), st.just(event())),
    st.lists(st.tuples(st.sampled_from([DEFINITIONS, "x"]), st.one_of(st.none(), st.binary(max_size=40))), max_size=3),
)
def test_whatever_a_stranger_writes_is_an_event_or_an_error_of_ours(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    with suppress(RecordError):
        read = sampled(key, value, headers, IDS, 64)
        assert read is None or len(read.values) == len(IDS)
