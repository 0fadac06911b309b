"""Topics that exist, compared with what is needed of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidemark.kafka.existing import Existing, shortcomings
from tidemark.records.topics import TopicSpec

BROKER = {
    "cleanup.policy": "delete",
    "retention.ms": "604800000",
    "retention.bytes": "-1",
    "max.message.bytes": "1048588",
}


def told(wanted: dict[str, str], partitions: int = 1, **config: str) -> list[str]:
    existing = Existing(1, BROKER | {name.replace("_", "."): value for name, value in config.items()})
    return list(shortcomings([TopicSpec("shop.raw", partitions, wanted)], {"shop.raw": existing}, "kafka:9092"))


@given(kept=st.integers(-1, 10**12), needed=st.integers(-1, 10**12))
def test_a_topic_is_short_just_where_it_keeps_records_for_less_than_is_needed(kept: int, needed: int) -> None:
    lines = told({"retention.ms": str(needed)}, retention_ms=str(kept))
    short = kept >= 0 and (needed < 0 or kept < needed)
    assert bool(lines) is short
    if short:
        assert lines[0].endswith(
            "kafka-configs.sh --bootstrap-server kafka:9092 --alter --entity-type topics --entity-name shop.raw "
            f"--add-config retention.ms={needed}"
        )


def test_all_that_a_topic_lacks_is_one_line_with_one_command() -> None:
    wanted = {"cleanup.policy": "delete", "retention.ms": "864000000", "retention.bytes": "-1"}
    (line,) = told(wanted, cleanup_policy="compact,delete", retention_ms="3600000", retention_bytes="1000")
    assert "retention.ms keeps records for 1 hours, needed: 10.0 days" in line
    assert line.endswith("--add-config cleanup.policy=delete,retention.ms=864000000,retention.bytes=-1")


def test_retention_of_a_topic_that_is_only_compacted_says_nothing() -> None:
    assert told({"retention.ms": "-1"}, cleanup_policy="compact") == []


def test_too_small_records_and_another_number_of_partitions_are_told() -> None:
    count, size = told({"max.message.bytes": "1000000"}, partitions=3, max_message_bytes="50000")
    assert "has 1 partitions where 3 are needed" in count
    assert size.endswith("--add-config max.message.bytes=1000000")


def test_topics_that_do_not_exist_are_passed_over() -> None:
    assert list(shortcomings([TopicSpec("other", 1, {"retention.ms": "-1"})], {}, "kafka:9092")) == []
