from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import number_pipeline, small_pipeline

from tidemark.errors import ConfigError, RecordError
from tidemark.pipeline import Pipeline
from tidemark.records import Champion, Decided, Decision, Label, LabelStatus, Metric, decode, encode
from tidemark.registry.codec import CHAMPION_KEY, signed
from tidemark.runtime.processor import Output
from tidemark.webhooks.events import ALARMS, Event, Letters, Received, Teller, event_of
from tidemark.webhooks.messages import TYPES, json_schema
from tidemark.webhooks.outbox import Delivery
from tidemark.webhooks.samples import sample
from tidemark.webhooks.under_way import UnderWay

NOW = 1_750_000_000.0
MICROS = int(NOW * 1_000_000)
RULES = "".join(f'[[decisions]]\nname = "{name}"\nthreshold = 0.5\n' for name in ("tell", "other"))


def pipeline_with(events: list[str], more: str = "") -> Pipeline:
    return small_pipeline(
        extra=f"""[[webhooks]]
name = "w"
url = "https://hooks.example.com/x"
secret_env = "SECRET"
events = {events}
{more}
"""
    )


def teller_of_numbers(*events: str, more: str = "") -> Teller:
    hook = f'name = "w"\nurl = "https://hooks.example.com/x"\nsecret_env = "SECRET"\nevents = {list(events)}\n'
    pipeline = number_pipeline(extra=f"[[webhooks]]\n{hook}{more}")
    return Teller(pipeline, pipeline.webhooks[0], None)


def teller(*events: str, more: str = "", secret: bytes | None = None) -> Teller:
    pipeline = pipeline_with(list(events), more)
    return Teller(pipeline, pipeline.webhooks[0], secret)


def label(status: LabelStatus = "answered", name: str | None = "yes", **more: Any) -> Label:  # noqa: ANN401
    return Label(
        event_id="p.raw-0-1-0a1b2c3d",
        business_id="B1",
        key="k",
        time=MICROS,
        status=status,
        label=name,
        annotator="ada",
        known_at=MICROS + 2_000_000,
        answered_at=MICROS + 1_000_000,
        reason="uncertain",
        inclusion_probability=None,
        tile=1,
        tile_count=10,
        policy="robust",
        features={"a": 1.0},
        probabilities=[0.5, 0.5],
        uncertainty=0.9,
        model="v000001-00000000",
        annotation_id="n1",
        comment="secret thought",
        **more,
    )


def at(topic: str, value: bytes | None, offset: int = 7, key: bytes | None = None, **more: Any) -> Received:  # noqa: ANN401
    return Received(topic, 0, offset, "0a1b2c3d", int(NOW * 1_000), key, value, **more)


def of_output(output: Output, offset: int = 7) -> Received:
    return at(output.topic, output.value, offset, output.key, headers=list(output.headers))


def told(event: Event | None) -> dict[str, Any]:
    assert event is not None
    body: dict[str, Any] = json.loads(event.body)
    msgspec.json.decode(event.body, type=msgspec.defstruct("Body", [("data", TYPES[event.type])]))
    return body


def test_a_label_is_told_with_who_gave_it_and_without_features_context_or_comment() -> None:
    body = told(teller("label.completed").event(at("p.labels", encode(label()))))
    assert body == {
        "type": "label.completed",
        "timestamp": "2025-06-15T15:06:41Z",
        "pipeline": "p",
        "test": False,
        "data": {
            "event_id": "p.raw-0-1-0a1b2c3d",
            "business_id": "B1",
            "key": "k",
            "event_time": "2025-06-15T15:06:40Z",
            "label": "yes",
            "annotator": "ada",
            "answered_at": "2025-06-15T15:06:41Z",
            "known_at": "2025-06-15T15:06:42Z",
            "reason": "uncertain",
            "model": "v000001-00000000",
            "annotation_id": "n1",
            "supersedes": None,
            "confidence": None,
            "answers": None,
            "annotators": None,
        },
    }


@pytest.mark.parametrize(
    "status", ["skipped", "expired", "withdrawn", "vote", "gold", "escalated", "commented", "requeued"]
)
def test_what_ends_no_case_with_a_label_is_not_told(status: LabelStatus) -> None:
    assert teller("label.completed", "label.retracted").event(at("p.labels", encode(label(status, None)))) is None


def test_an_outcome_that_is_learnt_from_is_told_to_nobody() -> None:
    said = msgspec.structs.replace(label(), annotator="outcome", reason="outcome", source="outcome")
    record = at("p.labels", encode(said))
    assert teller("label.completed").event(record) is None


def test_a_label_that_was_taken_back_is_told_where_that_is_asked_for() -> None:
    record = at("p.labels", encode(label("retracted", None, supersedes="n1")))
    assert teller("label.completed").event(record) is None
    body = told(teller("label.retracted").event(record))
    assert (body["type"], body["data"]["supersedes"]) == ("label.retracted", "n1")


@pytest.mark.parametrize("status", ["skipped", "expired", "withdrawn"])
def test_a_label_that_a_case_asked_again_ended_without_is_told_as_taken_back(status: LabelStatus) -> None:
    record = at("p.labels", encode(label(status, None, supersedes="n0")))
    assert teller("label.completed").event(record) is None
    body = told(teller("label.completed", "label.retracted").event(record))
    assert (body["type"], body["data"]["supersedes"]) == ("label.retracted", "n0")


def test_a_label_that_becomes_another_class_than_is_told_is_told_as_taken_back() -> None:
    """Else whoever was told of it would believe it for ever."""
    record = at("p.labels", encode(label(name="no", supersedes="n0")))
    one = teller("label.completed", "label.retracted", more='classes = ["yes"]')
    body = told(one.event(record))
    assert (body["type"], body["data"]["supersedes"]) == ("label.retracted", "n0")
    assert one.event(at("p.labels", encode(label(name="no")))) is None, "nobody was told of one before it"
    assert told(one.event(at("p.labels", encode(label(supersedes="n0")))))["type"] == "label.completed"
    assert told(teller("label.completed", "label.retracted").event(record))["type"] == "label.completed"


def test_labels_of_the_classes_that_are_named_are_told_alone() -> None:
    one = teller("label.completed", more='classes = ["yes"]')
    assert one.event(at("p.labels", encode(label(name="no")))) is None
    assert one.event(at("p.labels", encode(label(name="yes")))) is not None


def test_the_identity_is_that_of_the_record_whenever_it_is_told() -> None:
    record = at("p.labels", encode(label()))
    first, again = teller("label.completed").event(record), teller("label.completed").event(record)
    assert first is not None
    assert first == again
    others = [replace(record, offset=8), replace(record, partition=1), replace(record, incarnation="11111111")]
    found = [teller("label.completed").event(other) for other in others]
    assert len({first.identity, *(event.identity for event in found if event is not None)}) == 4
    assert len(first.identity) <= 64


def alarm(name: str = "quality_fell") -> Metric:
    return Metric(
        name=name,
        value=412.0,
        low=None,
        high=None,
        n=412,
        at=MICROS,
        model="v000001-00000000",
        source="labels",
        detail={"since": MICROS - 3_600_000_000, "moved_1": "amount", "how_1": "higher", "moved_2": "hour"},
    )


def test_an_alarm_of_drift_is_told_with_what_moved() -> None:
    record = at("p.metrics", encode(alarm()), key=b"quality_fell")
    body = told(teller("drift.detected").event(record))
    assert body["data"] == {
        "alarm": "quality_fell",
        "at": "2025-06-15T15:06:40Z",
        "since": "2025-06-15T14:06:40Z",
        "rows": 412,
        "model": "v000001-00000000",
        "moved": [{"name": "amount", "how": "higher"}, {"name": "hour", "how": ""}],
    }
    assert teller("drift.detected", more='alarms = ["inputs_changed"]').event(record) is None
    assert teller("drift.detected").event(at("p.metrics", b"no JSON", key=b"source_records/x")) is None


def champion(version: str, secret: bytes | None = None, offset: int = 7) -> Received:
    pointer = Champion(version=version, since=MICROS, parent=None)
    return of_output(signed("p.models", CHAMPION_KEY, encode(pointer), secret), offset)


def test_another_champion_is_told_once_and_an_earlier_one_written_again_is_not() -> None:
    one = teller("model.champion_changed")
    assert told(one.event(champion("v000002-00000000")))["data"]["version"] == "v000002-00000000"
    assert one.event(champion("v000002-00000000", offset=9)) is None
    assert one.event(champion("v000001-00000000", offset=10)) is None
    assert one.champion == "v000002-00000000"
    assert one.event(champion("v000003-00000000", offset=11)) is not None


def test_a_champion_that_nobody_signed_is_not_told_where_records_are_signed() -> None:
    key = b"0123456789abcdef"
    with pytest.raises(RecordError, match="is not signed"):
        teller("model.champion_changed", secret=key).event(champion("v000002-00000000"))
    assert teller("model.champion_changed", secret=key).event(champion("v000002-00000000", key)) is not None


def test_what_else_the_registrys_topic_holds_is_passed_over() -> None:
    one = teller("model.champion_changed")
    for key in (b"v000001-00000000/0000", b"pipeline/alarm", b"pipeline/pin", b"x", b"", None, b"\xff"):
        assert one.event(at("p.models", b"anything", key=key)) is None
    assert one.event(at("p.models", None, key=CHAMPION_KEY)) is None


@pytest.mark.parametrize("topic", ["p.labels", "p.models", "p.metrics"])
@given(value=st.binary(max_size=100), key=st.sampled_from([b"champion", b"v000001-00000000", b"quality_fell", None]))
def test_whatever_a_stranger_writes_is_an_event_or_an_error_of_ours(
    topic: str, value: bytes, key: bytes | None
) -> None:
    one = teller("label.completed", "model.champion_changed", "drift.detected")
    try:
        one.event(at(topic, value, key=key))
    except RecordError as error:
        assert error.reason  # noqa: PT017 either is right


def test_an_event_that_is_too_large_is_refused() -> None:
    big = encode(label(annotators=["x" * 300_000]))
    with pytest.raises(RecordError, match="at most 200,000 are sent"):
        teller("label.completed").event(at("p.labels", big))


def letter(offset: int, step: str = "decode", reason: str = "is no JSON", topic: str = "p.raw") -> Received:
    headers = [("step", step.encode()), ("reason", reason.encode()), ("source_topic", topic.encode())]
    return at("p.deadletter", b"x", offset, headers=headers)


def test_dead_letters_of_a_minute_are_one_event_with_the_commonest_kinds() -> None:
    letters = Letters("p", "webhook w")
    letters.add(letter(3), NOW)
    assert letters.event(NOW + 4.9) is None
    for offset in range(4, 10):
        letters.add(letter(offset, "clean", "amount is missing"), NOW + 1)
    body = told(letters.event(NOW + 5))
    assert body["data"] == {
        "count": 7,
        "topic": "p.deadletter",
        "first": 3,
        "last": 9,
        "kinds": [
            {"step": "clean", "source_topic": "p.raw", "reason": "amount is missing", "count": 6},
            {"step": "decode", "source_topic": "p.raw", "reason": "is no JSON", "count": 1},
        ],
    }
    letters.add(letter(10), NOW + 6)
    assert letters.event(NOW + 64) is None, "a minute after the last"
    assert told(letters.event(NOW + 65))["data"]["count"] == 1
    assert letters.event(NOW + 1_000) is None


def test_what_is_not_told_is_read_again_from_the_first_of_each_partition() -> None:
    letters = Letters("p", "webhook w")
    for offset, partition in ((7, 0), (2, 1), (8, 0), (3, 1)):
        letters.add(replace(letter(offset), partition=partition), NOW)
    assert [(each.partition, each.offset) for each in letters.untold] == [(0, 7), (1, 2)]
    assert told(letters.event(NOW + 5))["data"]["count"] == 4
    assert letters.untold == []


def test_a_clock_that_is_set_back_holds_no_dead_letters_up() -> None:
    letters = Letters("p", "webhook w")
    letters.add(letter(3), NOW + 86_400)
    assert told(letters.event(NOW + 86_405))["data"]["count"] == 1
    letters.add(letter(4), NOW)
    assert told(letters.event(NOW + 5))["data"]["count"] == 1


def test_reasons_which_may_quote_a_record_are_left_out_where_that_is_asked_for() -> None:
    letters = Letters("p", "webhook w", quotes=False)
    letters.add(letter(3, reason="malformed JSON: {card: 4111"), NOW)
    assert [kind["reason"] for kind in told(letters.event(NOW + 5))["data"]["kinds"]] == [""]


def test_a_pipeline_that_hides_a_column_tells_no_reasons() -> None:
    table = '[[webhooks]]\nname = "w"\nurl = "https://x.example/"\nsecret_env = "S"\nevents = ["deadletter.added"]\n'
    for hidden, reason in (("", "is no JSON"), ('[labeling]\nhidden = { a = ["viewer"] }\n', "")):
        pipeline = small_pipeline(extra=hidden + table, label='context = ["a"]')
        under_way = UnderWay(pipeline, pipeline.webhooks[0], None)
        under_way.take(letter(3), NOW)
        under_way.tell_letters(NOW + 5)
        (output,) = under_way.outputs()
        delivery = decode(Delivery, output.value)
        assert json.loads(delivery.body)["data"]["kinds"][0]["reason"] == reason


def test_ones_own_dead_letters_are_not_told() -> None:
    letters = Letters("p", "webhook w")
    letters.add(letter(3, "webhook w"), NOW)
    assert letters.untold == []
    letters.add(letter(4, "webhook other"), NOW)
    assert [each.offset for each in letters.untold] == [4]


def test_ten_thousand_kinds_of_dead_letters_are_counted_within_bounds() -> None:
    letters = Letters("p", "webhook w")
    for offset in range(10_000):
        letters.add(letter(offset, f"step {offset}", "x" * 5_000), NOW)
    event = letters.event(NOW + 5)
    body = told(event)
    assert body["data"]["count"] == 10_000
    assert len(body["data"]["kinds"]) == 10
    assert event is not None
    assert len(event.body) < 10_000


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_each_type_has_a_schema_that_its_sample_fits(kind: str) -> None:
    pipeline = pipeline_with([kind], RULES)
    event = event_of(kind, None, "p", sample(kind, pipeline, NOW), "test")
    assert told(event)["type"] == kind
    schema = json_schema(kind)
    data = schema["$defs"][TYPES[kind].__name__]
    sent = set(json.loads(event.body)["data"])
    assert set(data["required"]) <= sent <= set(data["properties"])
    assert set(data["properties"]) - sent <= {"value", "low", "high", "by", "unit"}  # of a label that is a number
    assert data["description"]


def test_alarms_are_those_that_the_pipeline_file_may_name() -> None:
    pipeline = pipeline_with(["drift.detected"], f"alarms = {list(ALARMS)}")
    assert pipeline.webhooks[0].alarms == list(ALARMS)


def test_alerts_and_what_is_left_to_a_person_are_told_of_the_rules_that_are_named() -> None:
    decision = Decision(
        event_id="e",
        business_id="B1",
        key="k",
        time=1_750_000_000_000_000,
        rule="tell",
        decided="alert",
        of="yes",
        probability=0.75,
        threshold=0.5,
        model="m",
    )
    one = teller("decision.made", more=f'rules = ["tell"]\n{RULES}')
    body = told(one.event(at("p.decisions", encode(decision))))
    assert body["data"] == {
        "event_id": "e",
        "business_id": "B1",
        "key": "k",
        "event_time": "2025-06-15T15:06:40Z",
        "rule": "tell",
        "decided": "alert",
        "of": "yes",
        "probability": 0.75,
        "threshold": 0.5,
        "model": "m",
    }
    said: tuple[Decided, ...] = get_args(Decided)
    kept = [
        each for each in said if one.event(at("p.decisions", encode(msgspec.structs.replace(decision, decided=each))))
    ]
    assert kept == ["alert", "abstain"]
    assert one.event(at("p.decisions", encode(msgspec.structs.replace(decision, rule="other")))) is None


def test_decisions_and_labels_of_a_number_tell_it_with_its_unit_and_interval() -> None:
    rule = '[[decisions]]\nname = "soon"\nat_most = 2\nby = "low"\n'
    one = teller_of_numbers("decision.made", "label.completed", more=rule)
    decision = Decision(
        event_id="p.raw-0-1-0a1b2c3d",
        business_id="B1",
        key="k",
        time=MICROS,
        rule="soon",
        decided="alert",
        of=None,
        probability=None,
        threshold=2.0,
        model="v000001-00000000",
        value=3.0,
        low=1.0,
        high=5.0,
        by="low",
    )
    data = told(one.event(at("p.decisions", encode(decision))))["data"]
    assert (data["of"], data["probability"], data["threshold"], data["by"]) == (None, None, 2.0, "low")
    assert (data["low"], data["value"], data["high"], data["unit"]) == (1.0, 3.0, 5.0, "h")
    answered = told(one.event(at("p.labels", encode(label(name="2.5")))))["data"]
    assert (answered["label"], answered["unit"]) == ("2.5", "h")
    pipeline = number_pipeline(extra=rule)
    for kind in ("decision.made", "label.completed"):
        made = msgspec.to_builtins(sample(kind, pipeline, NOW))
        assert set(made) == set(data if kind == "decision.made" else answered)
        assert made["unit"] == "h"
    with pytest.raises(ConfigError, match="the label is a number; remove it, and all labels are told"):
        teller_of_numbers("label.completed", more="classes = ['yes']\n")
