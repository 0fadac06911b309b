"""A dead letter is sent again whole, to where it came from, once: whoever is killed when, and however often."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from confluent_kafka import Message
from feeding import feeder
from offsets import read_settled

from tidemark.errors import BrokerError, TidemarkError
from tidemark.kafka import ensure_topics, topic_incarnation
from tidemark.records.dead_letter import dead_letter
from tidemark.records.topics import Topics, TopicSpec
from tidemark.replay import Chosen, Letter, Replay, State, letters, whole
from tidemark.runtime.processor import Batch, Headers, Partition
from tidemark.runtime.settings import Settings

OWN: Headers = [("trace", b"\xff\x00"), ("trace", None), ("reason", b"mine"), ("", b""), ("é", b"2")]


class Bench:
    """Topics of a pipeline, and dead letters of records in them."""

    def __init__(self, kafka: Settings, name: str) -> None:
        self.kafka, self.topics, self.raw = kafka, Topics(name), f"{name}.raw"
        named = (self.topics.deadletter, self.topics.proposals, self.topics.labels)
        kept = {"retention.ms": "-1"}  # the records are of 2020, and come back with their time
        ensure_topics(kafka, [TopicSpec(self.raw, 3, kept), *(TopicSpec(topic, 1, kept) for topic in named)])
        self.incarnation = topic_incarnation(kafka, self.raw)

    def fail(
        self,
        values: list[bytes | None],
        *,
        topic: str = "",
        partition: int = 2,
        headers: Headers | None = None,
        reason: str = "no number",
        first: int = 0,
        step: str = "decode",
    ) -> None:
        """Dead letters of records."""
        count = len(values)
        batch = Batch(
            Partition(topic or self.raw, partition, self.incarnation),
            np.arange(first, first + count),
            np.full(count, 1_600_000_000_000) + np.arange(count),
            [b"C1"] * count,
            values,
            [headers] * count,
        )
        producer = feeder(self.kafka)
        for row in range(count):
            output = dead_letter(self.topics.deadletter, batch, row, step, reason)
            producer.produce(output.topic, output.value, output.key, headers=list(output.headers))
        assert producer.flush(60) == 0

    def letters(self, chosen: Chosen | None = None) -> list[Letter]:
        """The dead letters."""
        return list(letters(self.kafka, self.topics.deadletter, chosen))

    def sent(self, topic: str = "") -> list[Message]:
        """What is in a topic."""
        return read_settled(self.kafka, topic or self.raw)


@pytest.fixture
def bench(kafka: Settings, unique: str) -> Bench:
    return Bench(kafka, unique)


def test_a_record_comes_back_whole_to_the_partition_that_it_came_from(bench: Bench) -> None:
    bench.fail([b'{"a": "x"}', None], headers=OWN)
    with Replay(bench.kafka, bench.topics, "ada") as replay:
        assert len(replay.send(bench.letters()).sent) == 2
    first, second = bench.sent()
    assert (first.value(), first.key(), first.partition()) == (b'{"a": "x"}', b"C1", 2)
    assert (second.value(), second.key(), second.partition()) == (None, b"C1", 2)
    assert first.timestamp()[1] == 1_600_000_000_000
    assert second.timestamp()[1] == 1_600_000_000_001
    assert first.headers() == [*OWN, ("replayed_from", b"0")]


def test_replaying_again_sends_nothing_again_and_what_came_meanwhile_once(bench: Bench) -> None:
    bench.fail([b"1", b"2"])
    with Replay(bench.kafka, bench.topics, "ada") as replay:
        replay.send(bench.letters())
        assert len(replay.send(bench.letters()).known) == 2
    bench.fail([b"3"], first=2)
    with Replay(bench.kafka, bench.topics, "bob") as replay:
        report = replay.send(bench.letters())
        assert [letter.value for letter in report.sent] == [b"3"]
        assert [(letter.value, mark.by) for letter, mark in report.known] == [(b"1", "ada"), (b"2", "ada")]
        assert report.known[0][1].to == f"{bench.raw}-2-0"
        assert {replay.marks.state(letter) for letter in bench.letters()} == {State.replayed}
    assert [message.value() for message in bench.sent()] == [b"1", b"2", b"3"]


class _KilledError(Exception):
    pass


@pytest.mark.parametrize("moment", ["produced", "marked", "committed"])
def test_a_replay_that_is_killed_at_any_moment_has_sent_all_or_nothing_and_the_next_goes_on(
    bench: Bench, moment: str
) -> None:
    """The first dies with its transaction open, as by SIGKILL: nothing aborts it but the next."""

    def die(now: str) -> None:
        if now == moment:
            raise _KilledError

    bench.fail([b"1", b"2"])
    killed = Replay(bench.kafka, bench.topics, "ada", hook=die)
    with pytest.raises(_KilledError):
        killed.send(bench.letters())
    with Replay(bench.kafka, bench.topics, "ada") as replay:
        report = replay.send(bench.letters())
    assert len(report.known) == (2 if moment == "committed" else 0)
    assert [message.value() for message in bench.sent()] == [b"1", b"2"]


def test_of_two_replays_at_once_the_earlier_is_refused_and_nothing_is_sent_twice(bench: Bench) -> None:
    bench.fail([b"1"])
    earlier = Replay(bench.kafka, bench.topics, "ada")
    with Replay(bench.kafka, bench.topics, "bob") as later:
        later.send(bench.letters())
        with pytest.raises(BrokerError, match="another replay"):
            earlier.send(bench.letters())
    assert [message.value() for message in bench.sent()] == [b"1"]


def test_two_flows_dead_letters_of_one_record_send_it_once(bench: Bench) -> None:
    """A label that neither `retrain` nor `monitor` can use."""
    for step in ("train", "monitor"):
        bench.fail([b"{"], topic=bench.topics.labels, partition=0, step=step)
    with Replay(bench.kafka, bench.topics, "ada") as replay:
        assert len(replay.send(bench.letters(Chosen(step="train"))).sent) == 1
        assert len(replay.send(bench.letters()).sent) == 1
    assert len(bench.sent(bench.topics.labels)) == 1


def test_a_repair_of_a_record_that_another_dead_letter_has_sent_again_is_not_told_as_sent(bench: Bench) -> None:
    """`train` and `monitor` each refused the label; one of the two was replayed as it was."""
    for step in ("train", "monitor"):
        bench.fail([b"{"], topic=bench.topics.labels, partition=0, step=step)
    with Replay(bench.kafka, bench.topics, "ada") as replay:
        replay.send(bench.letters(Chosen(step="train")))
        (other,) = bench.letters(Chosen(step="monitor"))
        report = replay.send([dataclasses.replace(other, value=b"{}")], edited=True)
        assert report.sent == []
        ((_, why),) = report.refused
        assert f"was sent once more already, to {bench.topics.labels}-0-0" in why
        assert replay.marks.state(other) is State.open
    assert [message.value() for message in bench.sent(bench.topics.labels)] == [b"{"]


def test_two_repairs_of_one_record_that_differ_are_not_both_told_as_sent(bench: Bench) -> None:
    for step in ("train", "monitor", "why"):
        bench.fail([b"{"], topic=bench.topics.labels, partition=0, step=step)
    first, second, third = bench.letters()
    repaired = [dataclasses.replace(first, value=b"{}"), dataclasses.replace(second, value=b"[]")]
    with Replay(bench.kafka, bench.topics, "ada") as replay:
        report = replay.send([*repaired, dataclasses.replace(third, value=b"{}")], edited=True)
        assert [letter.step for letter in report.sent] == ["train", "why"]
        assert [(letter.step, why) for letter, why in report.refused] == [
            ("monitor", "dead letter 0 is about the same record, and is repaired otherwise")
        ]
    assert [message.value() for message in bench.sent(bench.topics.labels)] == [b"{}"]


def test_a_label_comes_back_without_the_number_that_its_publisher_gave_it(bench: Bench) -> None:
    """Under that number a labeling service would take it for one of its own, or of a rival's."""
    headers: Headers = [("seq", b"7"), ("publisher", b"other"), ("trace", b"1")]
    bench.fail([b"{"], topic=bench.topics.labels, partition=0, headers=headers)
    bench.fail([b"{"], headers=headers)
    with Replay(bench.kafka, bench.topics, "ada") as replay:
        replay.send(bench.letters())
    label, raw = *bench.sent(bench.topics.labels), *bench.sent()
    assert [header[0] for header in label.headers() or []] == ["trace", "replayed_from"]
    assert [header[0] for header in raw.headers() or []] == ["seq", "publisher", "trace", "replayed_from"]


def test_proposals_come_back_with_what_their_headers_say(bench: Bench) -> None:
    bench.fail([b"arrow"], topic=bench.topics.proposals, partition=0, headers=[("meta", b'{"topic": "x"}')])
    with Replay(bench.kafka, bench.topics, "ada") as replay:
        replay.send(bench.letters())
    (message,) = bench.sent(bench.topics.proposals)
    assert dict(message.headers() or [])["meta"] == b'{"topic": "x"}'


def test_a_record_that_was_cut_is_read_again_where_it_came_from(bench: Bench) -> None:
    value = bytes(range(256)) * 3_800
    producer = feeder(bench.kafka)
    producer.produce(bench.raw, value, b"C1", partition=2, headers=list(OWN))
    assert producer.flush(60) == 0
    bench.fail([value])
    (cut,) = bench.letters()
    assert cut.truncated
    full = whole(bench.kafka, cut)
    assert (full.truncated, full.value, full.headers) == (False, value, tuple(OWN))
    with Replay(bench.kafka, bench.topics, "ada") as replay:
        assert replay.send([cut]).refused[0][0] == cut
        assert replay.send([full]).sent == [full]
    assert [message.value() for message in bench.sent()] == [value, value]


@pytest.mark.parametrize("other", [b"y" * 950_000, None])
def test_a_record_that_was_cut_and_is_another_now_or_gone_stays_a_part(bench: Bench, other: bytes | None) -> None:
    if other is not None:
        producer = feeder(bench.kafka)
        producer.produce(bench.raw, other, partition=2)
        assert producer.flush(60) == 0
    bench.fail([b"x" * 950_000])
    (cut,) = bench.letters()
    assert whole(bench.kafka, cut).truncated


def test_what_names_no_record_or_no_place_any_more_is_refused_and_the_rest_is_sent(bench: Bench) -> None:
    producer = feeder(bench.kafka)
    producer.produce(bench.topics.deadletter, b"foreign")
    producer.produce(
        bench.topics.deadletter, None, headers=[("step", b"resume"), ("source_topic", b"x"), ("at", b"-1")]
    )
    huge: list[tuple[str, str | bytes | None]] = [
        ("source_topic", b"x"),
        ("source_partition", b"9" * 5_000),
        ("source_offset", b"1"),
    ]
    producer.produce(bench.topics.deadletter, None, headers=huge)
    assert producer.flush(60) == 0
    bench.fail([b"1"], topic="no.such.topic")
    bench.fail([b"2"], partition=9)
    bench.fail([b"3"])
    with Replay(bench.kafka, bench.topics, "ada") as replay:
        report = replay.send(bench.letters())
    assert [letter.value for letter in report.sent] == [b"3"]
    assert [why.split(":")[0] for _, why in report.refused] == [
        *["it names no record that could be sent again"] * 3,
        "there is no topic 'no.such.topic' any more",
        f"topic '{bench.raw}' has no partition 9 any more",
    ]


def test_what_is_resolved_is_not_sent(bench: Bench) -> None:
    bench.fail([b"1", b"2"])
    with Replay(bench.kafka, bench.topics, "ada") as replay:
        replay.resolve(bench.letters(Chosen(offsets=frozenset({0}))), "a test of ours")
        report = replay.send(bench.letters())
    assert [letter.value for letter in report.sent] == [b"2"]
    assert (report.known[0][1].state, report.known[0][1].note) == ("resolved", "a test of ours")


def test_a_mark_that_cannot_be_read_stops_the_replay_before_anything_is_sent(bench: Bench) -> None:
    bench.fail([b"1"])
    with Replay(bench.kafka, bench.topics, "ada") as replay:
        key = replay.marks.key(bench.letters()[0])
    producer = feeder(bench.kafka)
    producer.produce(bench.topics.deadletter_marks, b"{", key)
    assert producer.flush(60) == 0
    with pytest.raises(TidemarkError, match="no mark of a dead letter"):
        Replay(bench.kafka, bench.topics, "ada")
    producer.produce(bench.topics.deadletter_marks, None, key)
    assert producer.flush(60) == 0
    with Replay(bench.kafka, bench.topics, "ada") as replay:
        assert len(replay.send(bench.letters()).sent) == 1


def test_dead_letters_are_chosen_by_reason_step_topic_and_time(bench: Bench) -> None:
    bench.fail([b"1"], reason="no number", step="decode")
    bench.fail([b"2"], reason="no time", step="features")
    (first, second) = bench.letters()
    assert first.at is not None
    assert second.at is not None
    for chosen, wanted in [
        (Chosen(reason="time"), [second]),
        (Chosen(step="decode"), [first]),
        (Chosen(topic="other"), []),
        (Chosen(topic=bench.raw), [first, second]),
        (Chosen(since=second.at), [second]),
        (Chosen(until=second.at), [first]),
        (Chosen(offsets=frozenset({1})), [second]),
    ]:
        assert bench.letters(chosen) == wanted
