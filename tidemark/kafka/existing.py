"""Topics that exist: what they are like, compared with what a pipeline needs of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource, ResourceType

from tidemark.errors import BrokerError
from tidemark.kafka.clients import connect, unreachable
from tidemark.kafka.passing import PASSING, asked_until
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings

_GRACE_SECONDS: Final = 5.0  # librdkafka's own time-out comes first, and says why
_MOST_NAMED: Final = 5
_HOUR: Final = 3_600_000
_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Existing:
    """A topic as it is: its number of partitions, and the settings in force, the broker's defaults among them."""

    partitions: int
    config: Mapping[str, str]


def existing_topics(settings: Settings, names: Iterable[str], *, timeout: float = 10.0) -> dict[str, Existing]:
    """Those of the named topics that exist.

    Args:
        settings: that name the Kafka.
        names: of topics.
        timeout: seconds for each question.

    Returns:
        Each by its name.

    Raises:
        BrokerError: Kafka does not answer, or does not let us read the settings of topics.

    """
    client = connect(settings, timeout=timeout)
    try:
        listed = client.list_topics(timeout=timeout).topics
        found = {name: listed[name] for name in names if name in listed and listed[name].error is None}
        if not found:
            return {}
        asked = [ConfigResource(ResourceType.TOPIC, name) for name in found]
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from error

    refused: dict[str, KafkaException] = {}

    def ask() -> dict[str, dict[str, str]]:
        told: dict[str, dict[str, str]] = {}
        refused.clear()
        futures: dict[ConfigResource, Future[Any]] = client.describe_configs(asked, request_timeout=timeout)
        for resource, future in futures.items():
            try:
                told[resource.name] = _answer(future, timeout)
            except KafkaException as error:
                refused[resource.name] = error
        if refused:  # what passes by itself is asked again, whatever else is refused
            raise min(refused.values(), key=lambda error: error.args[0].code() not in PASSING)
        return told

    try:
        told = asked_until(time.monotonic() + timeout, ask)
    except KafkaException as error:
        names = sorted(refused) or sorted(found)
        more = len(names) - _MOST_NAMED
        named = ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        raise BrokerError(
            f"Kafka does not tell the settings of {'topic' if len(names) == 1 else 'topics'} {named}: "
            f"{error.args[0].str()}; the right to DescribeConfigs on it is needed"
        ) from error
    return {name: Existing(len(topic.partitions), told[name]) for name, topic in found.items()}


def _answer(future: Future[Any], timeout: float) -> dict[str, str]:
    entries = future.result(timeout + _GRACE_SECONDS)
    return {key: entry.value for key, entry in entries.items() if entry.value is not None}


def shortcomings(specs: Iterable[TopicSpec], existing: Mapping[str, Existing]) -> Iterator[str]:
    """What topics that exist lack, a sentence each with the command that mends it.

    Args:
        specs: what each topic must at least be like: partitions exactly; `retention.ms`, `retention.bytes` and
            `max.message.bytes` at least so much (-1: without a bound); `cleanup.policy` exactly.
        existing: the topics that exist; of others nothing is said.

    Yields:
        A sentence for each topic that is short of something.

    """
    for spec in specs:
        found = existing.get(spec.name)
        if found is None:
            continue
        if found.partitions != spec.partitions:
            yield (
                f"topic {spec.name} has {found.partitions} partitions where {spec.partitions} are needed: set "
                "`partitions` of the pipeline file to those of its raw topics, or use another pipeline name"
            )
        lacks = {name: _lack(name, wanted, found.config) for name, wanted in spec.config.items()}
        wrong = {name: lack for name, lack in lacks.items() if lack is not None}
        if wrong:
            mended = " ".join(f"{name}={spec.config[name]}" for name in wrong)
            told = "; ".join(wrong.values())
            yield f"topic {spec.name}: {told}. To mend it: tidemark topic set {spec.name} {mended}"


def _lack(name: str, wanted: str, config: Mapping[str, str]) -> str | None:
    """What one setting lacks; None if nothing, or if it says nothing under the topic's other settings."""
    is_ = config.get(name)
    if is_ is None or is_ == wanted:
        return None
    if name == "cleanup.policy":
        return f"cleanup.policy is {is_} where {wanted} is needed: {_LOSSES[wanted]}"
    if name == "retention.ms":
        if "delete" in config.get("cleanup.policy", "delete") and _bound(is_) < _bound(wanted):
            return f"retention.ms keeps records for {_days(is_)}, needed: {_days(wanted)}"
    elif name == "retention.bytes":
        if "delete" in config.get("cleanup.policy", "delete") and _bound(is_) < _bound(wanted):
            return f"retention.bytes = {is_} may remove records before their time"
    elif name == "max.message.bytes" and _bound(is_) < _bound(wanted):
        return f"records of up to {wanted} bytes are written where max.message.bytes = {is_}"
    return None


_LOSSES: Final = {
    "delete": "compaction removes records that have the key of a later one",
    "compact": "the last record of each key must stay",
}


def _bound(value: str) -> int:
    number = int(value)
    return _LARGEST if number < 0 else number


def _days(milliseconds: str) -> str:
    number = int(milliseconds)
    if number < 0:
        return "ever"
    hours = number / _HOUR
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.3g} hours"
