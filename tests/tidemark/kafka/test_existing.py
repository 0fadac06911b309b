"""Topics that exist, compared with what is needed of them."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given
from hypothesis import strategies as st

from tidemark.errors import BrokerError
from tidemark.kafka import existing as module
from tidemark.kafka.existing import Existing, existing_topics, shortcomings
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings

BROKER = {
    "cleanup.policy": "delete",
    "retention.ms": "604800000",
    "retention.bytes": "-1",
    "max.message.bytes": "1048588",
}


def told(wanted: dict[str, str], partitions: int = 1, **config: str) -> list[str]:
    existing = Existing(1, BROKER | {name.replace("_", "."): value for name, value in config.items()})
    return list(shortcomings([TopicSpec("shop.raw", partitions, wanted)], {"shop.raw": existing}))


@given(kept=st.integers(-1, 10**12), needed=st.integers(-1, 10**12))
def test_a_topic_is_short_just_where_it_keeps_records_for_less_than_is_needed(kept: int, needed: int) -> None:
    lines = told({"retention.ms": str(needed)}, retention_ms=str(kept))
    short = kept >= 0 and (needed < 0 or kept < needed)
    assert bool(lines) is short
    if short:
        assert lines[0].endswith(f"To mend it: tidemark topic set shop.raw retention.ms={needed}")


def test_all_that_a_topic_lacks_is_one_line_with_one_command() -> None:
    wanted = {"cleanup.policy": "delete", "retention.ms": "864000000", "retention.bytes": "-1"}
    (line,) = told(wanted, cleanup_policy="compact,delete", retention_ms="3600000", retention_bytes="1000")
    assert "retention.ms keeps records for 1 hours, needed: 10.0 days" in line
    assert line.endswith("topic set shop.raw cleanup.policy=delete retention.ms=864000000 retention.bytes=-1")


def test_retention_of_a_topic_that_is_only_compacted_says_nothing() -> None:
    assert told({"retention.ms": "-1"}, cleanup_policy="compact") == []


def test_too_small_records_and_another_number_of_partitions_are_told() -> None:
    count, size = told({"max.message.bytes": "1000000"}, partitions=3, max_message_bytes="50000")
    assert "has 1 partitions where 3 are needed" in count
    assert size.endswith("topic set shop.raw max.message.bytes=1000000")


def test_topics_that_do_not_exist_are_passed_over() -> None:
    assert list(shortcomings([TopicSpec("other", 1, {"retention.ms": "-1"})], {})) == []


class _Client:
    """Tells of every topic, and refuses to tell the settings of some; of others only when it is asked again."""

    def __init__(self, refused: set[str], moving: set[str]) -> None:
        self._refused, self._moving = refused, moving
        self._asked = 0

    def list_topics(self, timeout: float) -> Any:  # noqa: ANN401, ARG002 the client's
        topic = SimpleNamespace(error=None, partitions={0: None})
        return SimpleNamespace(topics=dict.fromkeys(["a", "b", "c"], topic))

    def describe_configs(self, asked: list[Any], request_timeout: float) -> dict[Any, Future[Any]]:  # noqa: ARG002
        self._asked += 1
        told: dict[Any, Future[Any]] = {}
        for resource in asked:
            told[resource] = Future()
            if resource.name in self._refused:
                told[resource].set_exception(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
            elif resource.name in self._moving and self._asked == 1:
                told[resource].set_exception(KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)))
            else:
                told[resource].set_result({})
        return told


def test_topics_whose_settings_are_not_told_are_named_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    client = _Client(refused={"b"}, moving={"c"})
    monkeypatch.setattr(module, "connect", lambda *_, **__: client)
    with pytest.raises(BrokerError, match=r"does not tell the settings of topic b: .*DescribeConfigs on it"):
        existing_topics(Settings.from_environment({}), ["a", "b", "c"])
    monkeypatch.setattr(module, "connect", lambda *_, **__: _Client(refused=set(), moving={"c"}))
    assert set(existing_topics(Settings.from_environment({}), ["a", "b", "c"])) == {"a", "b", "c"}
