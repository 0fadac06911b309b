from __future__ import annotations

import hashlib

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import INCARNATION, label_of, small_pipeline

from tidemark.errors import RecordError
from tidemark.records import ENDING, Label, LabelStatus, encode
from tidemark.registry.schema import ModelSchema
from tidemark.training.dataset import LabelLog, check, dataset

PIPELINE = small_pipeline()
SCHEMA = ModelSchema.of(PIPELINE)


def test_a_label_as_it_should_be_is_accepted() -> None:
    label = label_of(3, [1.0, float("nan"), 3.0], "yes")
    assert check(encode(label), SCHEMA, PIPELINE.raw_topics) == label


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "empty value"),
        (b"", "empty value"),
        (b"{", "not a Label record"),
        (b"[]", "not a Label record"),
        (b"\xff\xfe", "not a Label record"),
        (encode(label_of(1, [1, 2, 3], "maybe")), r"unknown class 'maybe'; the classes are \['no', 'yes'\]"),
        (encode(label_of(1, [1, 2, 3], None)), "unknown class None"),
        (
            encode(label_of(1, [1, 2, 3], "yes", topic="other.raw")),
            r"'other.raw'; the raw topics are \['p.raw'\]",
        ),
        (
            encode(msgspec.structs.replace(label_of(1, [1, 2, 3], "yes"), event_id="nonsense")),
            "is not TOPIC-PARTITION-OFFSET-INCARNATION",
        ),
    ],
)
def test_what_can_not_be_learnt_from_is_refused_with_the_reason(value: bytes | None, why: str) -> None:
    with pytest.raises(RecordError, match=why):
        check(value, SCHEMA, PIPELINE.raw_topics)


@pytest.mark.parametrize("offset", ["9" * 5_000, "9" * 19, "-1", "\u0661", "1e3", ""])
def test_an_event_id_whose_offset_is_no_number_of_kafkas_is_refused_in_a_short_sentence(offset: str) -> None:
    label = msgspec.structs.replace(label_of(1, [1, 2, 3], "yes"), event_id=f"p.raw-0-{offset}-{INCARNATION}")
    with pytest.raises(RecordError, match=r"is not TOPIC-PARTITION-OFFSET-INCARNATION|is of topic") as told:
        check(encode(label), SCHEMA, PIPELINE.raw_topics)
    assert len(told.value.reason) < 300


@pytest.mark.parametrize("name", ["time", "known_at", "answered_at"])
@pytest.mark.parametrize("number", [2**62, -(2**62), 10**30])
@pytest.mark.parametrize("status", ["answered", "skipped"])
def test_a_time_that_no_clock_shows_is_refused(name: str, number: int, status: LabelStatus) -> None:
    label = label_of(1, [1, 2, 3], "yes" if status == "answered" else None, status=status)
    with pytest.raises(RecordError, match=f"{name} is no time in µs since 1970"):
        check(encode(msgspec.structs.replace(label, **{name: number})), SCHEMA, PIPELINE.raw_topics)


def test_a_skip_needs_no_class() -> None:
    assert check(encode(label_of(1, [1, 2, 3], None, status="skipped")), SCHEMA, PIPELINE.raw_topics).label is None


def test_the_rows_are_the_verdicts_in_the_order_of_the_first_annotation() -> None:
    labels = [
        label_of(5, [1, 2, 3], "yes", annotator="ann", annotation_id="x"),
        label_of(6, [4, 5, float("nan")], "no"),
        label_of(7, [7, 8, 9], None, status="skipped"),
        label_of(5, [1, 2, 3], "no", annotator="bob", annotation_id="y", supersedes="x"),
    ]
    made = dataset(enumerate(labels), SCHEMA)
    assert made.event_ids == (f"p.raw-0-5-{INCARNATION}", f"p.raw-0-6-{INCARNATION}")
    np.testing.assert_array_equal(made.features, [[1, 2, 3], [4, 5, np.nan]])
    np.testing.assert_array_equal(made.target, [0, 0])
    np.testing.assert_array_equal(made.first_seen, [0, 1])


def test_a_retracted_event_is_not_learnt_from() -> None:
    labels = [label_of(5, [1, 2, 3], "yes"), label_of(5, [1, 2, 3], None, status="retracted")]
    assert len(dataset(enumerate(labels), SCHEMA)) == 0
    assert dataset([], SCHEMA).features.shape == (0, 3)


def test_the_digest_is_of_the_sorted_event_ids_one_a_line() -> None:
    made = dataset(enumerate([label_of(2, [1, 2, 3], "yes"), label_of(1, [1, 2, 3], "no")]), SCHEMA)
    lines = f"p.raw-0-1-{INCARNATION}\np.raw-0-2-{INCARNATION}\n"
    assert made.event_ids_sha256 == hashlib.sha256(lines.encode()).hexdigest()


def test_a_label_counts_from_the_time_it_is_known() -> None:
    log = LabelLog(SCHEMA)
    early, late = label_of(1, [1, 2, 3], "yes", known_at=100), label_of(2, [1, 2, 3], "no", known_at=200)
    log.add(0, late)
    log.add(1, early)
    log.advance(150)
    assert (log.ever, log.counts) == (1, [0, 1])
    assert log.dataset().event_ids == (early.event_id,)
    assert log.dataset().known_until == 100
    log.advance(100)
    assert log.now == 150
    log.advance(200)
    assert (log.ever, log.counts) == (2, [1, 1])
    assert log.dataset().event_ids == (late.event_id, early.event_id)


STATUSES: list[LabelStatus] = ["answered", "answered", "answered", "skipped", "retracted", "withdrawn", "vote", "gold"]


@st.composite
def histories(draw: st.DrawFn) -> list[Label]:
    made: list[Label] = []
    for number in range(draw(st.integers(1, 25))):
        status: LabelStatus = draw(st.sampled_from(STATUSES))
        event = draw(st.integers(0, 5))
        earlier = [each.annotation_id for each in made if each.event_id.split("-")[2] == str(event)]
        made.append(
            label_of(
                event,
                [1, 2, 3],
                draw(st.sampled_from(["no", "yes"])) if status in {"answered", "vote", "gold"} else None,
                status=status,
                annotator=draw(st.sampled_from(["ann", "bob"])),
                known_at=draw(st.integers(1, 100)),
                annotation_id=str(number),
                supersedes=draw(st.sampled_from([None, *earlier])),
            )
        )
    return made


@given(histories(), st.lists(st.integers(0, 100), max_size=5))
def test_the_counts_are_those_of_the_dataset_at_any_time(labels: list[Label], times: list[int]) -> None:
    log = LabelLog(SCHEMA)
    for offset, label in enumerate(labels):
        log.add(offset, label)
        if offset < len(times):
            log.advance(times[offset])
        made = log.dataset()
        assert log.counts == np.bincount(made.target, minlength=2).tolist()
        assert log.ever >= len(made)
    known = [(offset, label) for offset, label in enumerate(labels) if label.known_at <= log.now]
    assert log.dataset().content_sha256 == dataset(known, SCHEMA).content_sha256


@given(histories())
def test_what_is_said_on_the_way_to_a_label_changes_no_dataset(labels: list[Label]) -> None:
    told = [label for label in labels if label.status in ENDING]
    log, without = LabelLog(SCHEMA), LabelLog(SCHEMA)
    for offset, label in enumerate(labels):
        log.add(offset, label)
        log.advance(50)
    for offset, label in enumerate(told):
        without.add(offset, label)
        without.advance(50)
    assert (len(log), log.ever, log.counts) == (len(told), without.ever, without.counts)
    assert log.dataset().content_sha256 == without.dataset().content_sha256
    assert log.dataset().known_until == without.dataset().known_until
    made, plain = dataset(enumerate(labels), SCHEMA), dataset(enumerate(told), SCHEMA)
    assert (made.event_ids, made.target.tolist()) == (plain.event_ids, plain.target.tolist())
    assert made.known_until == plain.known_until
