"""What the engine is told about a flow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tidemark.errors import ConfigError
from tidemark.kafka.clients import TRANSACTION_TIMEOUT_MS
from tidemark.pipeline import parse_duration
from tidemark.runtime.settings import Settings

ACCEPT_GAP: Final = "TIDEMARK_ACCEPT_GAP"
COMMIT_INTERVAL: Final = "TIDEMARK_COMMIT_INTERVAL"
_LONGEST_COMMIT: Final = 5.0
"""Seconds: half of what a transaction may take, for what is sent and committed behind it."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How one flow reads, commits and recovers. Times in seconds unless the name says otherwise.

    group: consumer group, `P.flow`; transactional ids are `GROUP.SLOT`.
    commit_interval: age at which the open transaction is committed: latency of readers of committed records against
        throughput. 0 commits after every batch, for steps so long that an open transaction would time out.
    commit_rows: rows after which the transaction is committed, whatever its age.
    quiet_interval: the same age while few rows wait, so that what comes is seen soon; None: as at any time. A worker
        that hands rows on to itself processes them first, and reads no others meanwhile: of a few rows all that they
        give is seen after one commit.
    behind_interval: the same age while a round or more waits, when nothing that is late is seen sooner by it; as many
        times the rows. None: as at any time.
    handed_over: topics whose records this worker need not read from Kafka where it has written them itself.
    batch_rows, batch_bytes: most rows and bytes of one batch; min_rows: fewest that alignment cuts a batch to.
    buffer_rows, buffer_bytes: of one partition; above, it is paused.
    align: most event time (µs) by which a partition may run ahead of the others of its alignment group; None: as it
        comes.
    align_groups: topic to name of its alignment group; a topic that is not named is a group of its own.
    last: topics, each an alignment group of its own, whose rows are handed on to no others: their partitions are never
        cut at one event time.
    idle_timeout: a partition without rows for so long holds nobody back.
    tick_interval: between two calls of the processor's `tick`.
    idle_wait: most time that a worker which has nothing to do waits within Kafka's client, where a record wakes it.
    poll_interval: between two looks otherwise: of one that waits for Kafka's answers, or for others' rows.
    fixed_partitions: topics whose number of partitions must be this: keys are spread over them by the flow itself.
    elect_by: topic of a single partition by which one process is elected that has all partitions of all topics, while
        others stand by; None: processes share the partitions.
    commit_timeout: of each call that ends a transaction; beyond a few seconds the broker aborts it anyway.
    blocking_timeout: of other calls to Kafka; recovery_timeout: until a Kafka that does not answer is an error.
    most_failures: transactions that may fail one after the other before the process ends with the last reason.
    topic_check_interval: between two looks at the topics' ids and partitions.
    unreadable_after: errors at one batch of a log must go on for so long before the batch is a dead letter.
    must_fit: a record that is too large for its topic ends the flow even if it comes from one row: it can't be missed.
    accept_gap: go on from the oldest record there is when retention has removed records that the state needs.
    deadletter: topic that is told of an accepted gap, of what can't be read, and of rows that give too large records.
    consumer, producer: more librdkafka properties of the clients, dots as underscores.
    """

    group: str
    settings: Settings
    commit_interval: float = 0.1
    commit_rows: int = 20_000
    quiet_interval: float | None = None
    behind_interval: float | None = None
    handed_over: tuple[str, ...] = ()
    batch_rows: int = 1_000
    batch_bytes: int = 4_000_000
    min_rows: int = 200
    buffer_rows: int = 20_000
    buffer_bytes: int = 32_000_000
    align: int | None = None
    align_groups: Mapping[str, str] = field(default_factory=dict)
    last: tuple[str, ...] = ()
    idle_timeout: float = 0.5
    tick_interval: float = 0.2
    idle_wait: float = 0.03
    poll_interval: float = 0.002
    fixed_partitions: Mapping[str, int] = field(default_factory=dict)
    elect_by: str | None = None
    max_poll_interval: float = 300.0
    commit_timeout: float = 3.0
    blocking_timeout: float = 15.0
    recovery_timeout: float = 120.0
    most_failures: int = 8
    topic_check_interval: float = 5.0
    unreadable_after: float = 10.0
    accept_gap: bool = False
    must_fit: bool = False
    deadletter: str | None = None
    consumer: Mapping[str, Any] = field(default_factory=dict)
    producer: Mapping[str, Any] = field(default_factory=dict)


def gap_accepted(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the operator has accepted that retention removed records which the state needs."""
    return (os.environ if environment is None else environment).get(ACCEPT_GAP, "") == "1"


def commit_interval_set(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the operator has set the age at which transactions are committed."""
    return bool((os.environ if environment is None else environment).get(COMMIT_INTERVAL, "").strip())


def commit_interval(default: float = 0.1, environment: Mapping[str, str] | None = None) -> float:
    """Age at which the open transaction is committed, as the operator set it.

    Args:
        default: the flow's own, seconds.
        environment: by default the process's.

    Returns:
        Seconds.

    Raises:
        ConfigError: what is set is no duration, or too long for a transaction.

    """
    text = (os.environ if environment is None else environment).get(COMMIT_INTERVAL, "").strip()
    if not text:
        return default
    try:
        seconds = parse_duration(text) / 1_000_000
    except ValueError as error:
        raise ConfigError(f"{COMMIT_INTERVAL}: {text!r} {error}") from error
    if seconds > _LONGEST_COMMIT:
        raise ConfigError(
            f"{COMMIT_INTERVAL}: {text!r} is too long: Kafka aborts a transaction after "
            f"{TRANSACTION_TIMEOUT_MS // 1_000} s; write at most {_LONGEST_COMMIT:g}s"
        )
    return seconds
