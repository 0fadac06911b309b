"""The select flow reads back what it asked, so that a restart does not ask the same again."""

from __future__ import annotations

from confluent_kafka import Producer

from benchmarks.labels.proposal_streams import pipeline
from dataflows.select import asked
from tidemark.kafka import ensure_topics, producer_config
from tidemark.records import Candidate, encode
from tidemark.runtime.settings import Settings
from tidemark.selection.asked import remembered


def candidate(number: int) -> Candidate:
    return Candidate(
        event_id=f"p.raw-0-{number}-0badcafe",
        business_id=None,
        key=None,
        time=number,
        tile=number,
        tile_count=1,
        reason="uncertain",
        priority=0.5,
        inclusion_probability=None,
        policy="1",
        features={"x": float(number)},
        context={},
        probabilities=None,
        uncertainty=None,
        model="none",
    )


def test_the_newest_committed_candidates_come_back_in_their_order_and_strangers_are_passed_over(
    kafka: Settings, unique: str
) -> None:
    pipe = pipeline(budget=2, explore=1, memory=3).model_copy(update={"name": unique})
    specs = pipe.topics.specs(raw=[], hops=[], partitions=1, retention_ms=-1)
    topic = pipe.topics.candidates
    ensure_topics(kafka, [spec for spec in specs if spec.name == topic])
    producer = Producer(producer_config(kafka, transactional_id=unique))
    producer.init_transactions(60)
    for number in range(5):  # a commit for each, as where tiles close one at a time
        producer.begin_transaction()
        producer.produce(topic, encode(candidate(number)), b"k")
        producer.produce(topic, b"{" if number == 3 else b"\xff", b"k")
        producer.commit_transaction(60)
    producer.begin_transaction()
    producer.produce(topic, encode(candidate(99)), b"k")
    producer.flush()
    producer.abort_transaction(30)
    assert [each.tile for each in asked(pipe, kafka)] == [0, 1, 2, 3, 4]
    assert [each.tile for each in asked(pipe, kafka)][-remembered(pipe.selection) :] == [2, 3, 4]
