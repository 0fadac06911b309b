from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import pipeline_text

from tidemark.monitoring.decoding import hashes
from tidemark.monitoring.joined import BY_BUSINESS, BY_EVENT
from tidemark.monitoring.outcomes import FIELDS, OutcomeReader
from tidemark.pipeline import Pipeline, parse
from tidemark.runtime.processor import Batch, Partition


def pipeline(kind: Literal["int", "string"] = "int", classes: tuple[str, str] = ("no", "yes")) -> Pipeline:
    text = pipeline_text(classes=classes, label='business_id = "tx"')
    return parse(text.replace("[columns]", f'[columns]\ntx = {{ type = "{kind}" }}'), "p.toml")


def read(reader: OutcomeReader, *records: dict[str, Any] | bytes, timestamp: int = 0) -> tuple[list[Any], list[str]]:
    values = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    count = len(values)
    batch = Batch(
        partition=Partition("p.outcomes", 0, "0badcafe"),
        offsets=np.arange(count),
        timestamps=np.full(count, timestamp, np.int64),
        keys=[None] * count,
        values=list(values),
        headers=[None] * count,
        replay=False,
    )
    rows, _, bad = reader.read(batch)
    return rows.tolist(), [error.reason for _, error in bad]


def ids(rows: list[Any]) -> list[tuple[int, int]]:
    """What each outcome names its event by, and the hash of the name."""
    return [(row[3], row[2]) for row in rows]


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_business_id_of_an_int_column_may_be_a_number_or_its_text(number: int) -> None:
    rows, bad = read(
        OutcomeReader(pipeline()),
        *({"business_id": each, "label": "yes", "known_at": 1} for each in (number, str(number))),
    )
    assert bad == []
    assert ids(rows) == [(BY_BUSINESS, int(hashes([str(number)])[0]))] * 2


@pytest.mark.parametrize(("value", "same"), [(17.0, "17"), ("007", "7"), ("-0", "0")])
def test_an_id_that_is_a_whole_number_in_another_writing_names_the_same_event(value: float | str, same: str) -> None:
    rows, bad = read(OutcomeReader(pipeline()), {"business_id": value, "label": "yes", "known_at": 1})
    assert bad == []
    assert ids(rows) == [(BY_BUSINESS, int(hashes([same])[0]))]


def test_a_text_column_keeps_its_zeros_and_an_event_id_goes_first() -> None:
    reader = OutcomeReader(pipeline("string"))
    rows, bad = read(
        reader,
        {"business_id": "007", "label": "yes", "known_at": 1},
        {"business_id": "007", "event_id": "e1", "label": "yes", "known_at": 1},
    )
    assert bad == []
    assert ids(rows) == [(BY_BUSINESS, int(hashes(["007"])[0])), (BY_EVENT, int(hashes(["e1"])[0]))]


@pytest.mark.parametrize("classes", [("1", "0"), ("0", "1")])
@pytest.mark.parametrize("write", [int, float, bool, str])
def test_an_outcome_of_classes_that_are_numbers_is_never_inverted(
    classes: tuple[str, str], write: type[int | float | bool | str]
) -> None:
    reader = OutcomeReader(pipeline(classes=classes))
    rows, bad = read(reader, *({"event_id": "e", "label": write(number), "known_at": 1} for number in (1, 0)))
    if write is bool and classes == ("1", "0"):  # "0" is positive: true could mean either
        assert rows == []
        assert all("are numbers with '0' positive" in reason for reason in bad)
    else:
        assert bad == []
        assert [classes[row[4]] for row in rows] == ["1", "0"]


@pytest.mark.parametrize(
    ("kind", "record", "why"),
    [
        ("int", {"business_id": 1.5}, "business_id is 1.5, and 'tx' is an int"),
        ("int", {"business_id": "a17"}, "business_id is 'a17', and 'tx' is an int"),
        ("int", {"business_id": 2**63}, "is an int of 64 bits"),
        ("int", {"business_id": "9" * 5_000}, "is an int of 64 bits"),
        ("string", {"business_id": 17}, "business_id is the number 17, and 'tx' is a text: write it in quotes"),
        ("int", {"business_id": True}, FIELDS),
        ("int", {"business_id": 9007199254740993.0}, "by which several whole numbers may be meant"),
        ("int", {"business_id": -1e300}, "by which several whole numbers may be meant"),
        ("int", {"business_id": ""}, "business_id is an empty text, which is of every event without one"),
        ("string", {"business_id": ""}, "business_id is an empty text, which is of every event without one"),
        ("int", {}, FIELDS),
        ("int", {"event_id": "e", "label": None}, FIELDS),
        ("int", {"event_id": "e", "known_at": "2025-01-01"}, FIELDS),
        ("int", {"event_id": "e", "label": 2}, "unknown class 2; expected ['no', 'yes'], or their numbers 0 to 1"),
        ("int", {"event_id": "e", "label": "1"}, "unknown class '1'; the classes are no, yes"),
    ],
)
def test_an_outcome_that_can_not_be_used_says_what_one_is(
    kind: Literal["int", "string"], record: dict[str, Any], why: str
) -> None:
    rows, bad = read(OutcomeReader(pipeline(kind)), {"label": "yes", "known_at": 1} | record)
    assert rows == []
    assert why in bad[0]


@pytest.mark.parametrize(("ahead", "taken"), [(-(10**9), True), (86_400_000_000, True), (86_400_000_001, False)])
def test_a_truth_that_is_known_too_far_ahead_of_its_record_is_refused(ahead: int, taken: bool) -> None:
    now = 1_750_000_000_000
    outcome = {"event_id": "e", "label": "yes", "known_at": now * 1_000 + ahead}
    rows, bad = read(OutcomeReader(pipeline()), outcome, timestamp=now)
    assert (len(rows) == 1) == taken
    assert taken or "is more than time.max_ahead after the record's own time" in bad[0]


def test_a_truth_in_nanoseconds_is_refused() -> None:
    outcome = {"event_id": "e", "label": "yes", "known_at": 1_750_000_000_000_000_000}
    rows, bad = read(OutcomeReader(pipeline()), outcome, timestamp=1_750_000_000_000)
    assert rows == []
    assert "µs since 1970" in bad[0]


def test_a_record_nested_beyond_reason_is_refused_as_any_other() -> None:
    rows, bad = read(OutcomeReader(pipeline()), b'{"label":1,"x":' + b"[" * 100_000)
    assert rows == []
    assert "nested too deeply" in bad[0]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (b'{"business_id":"1","label":"yes","known_at":1,"label":"no"}', "label: given more than once"),
        (b'{"business_id":"1","label":"yes","known_at":1,"l\\u0061bel":"no"}', "label: given more than once"),
        (b'{"business_id":"1","business_id":"2","label":"yes","known_at":1}', "business_id: given more than once"),
        (b'{"business_id":"1","label":"yes","known_at":1,"note":"label","more":{"label":"no"},"note":2}', None),
    ],
)
def test_a_truth_that_is_given_twice_is_refused_whichever_a_parser_would_take(record: bytes, told: str | None) -> None:
    rows, bad = read(OutcomeReader(pipeline()), record)
    assert (len(rows), bad) == ((1, []) if told is None else (0, [f"{told}; write it once"]))


@pytest.mark.parametrize("depth", [100, 500, 900, 5_000, 100_000])
def test_an_outcome_of_any_depth_ends_nothing(depth: int) -> None:
    record = b'{"business_id":"1","label":"y\\u0065s","known_at":1,"x":' + b"[" * depth + b"]" * depth + b"}"
    rows, bad = read(OutcomeReader(pipeline()), record)
    assert len(rows) + len(bad) == 1
