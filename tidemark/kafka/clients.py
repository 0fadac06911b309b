"""Configuration of librdkafka's clients. The values that differ from its defaults have their reason here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tidemark.errors import BrokerError, ConfigError
from tidemark.runtime.settings import Settings

_Client = TypeVar("_Client")
TRANSACTION_TIMEOUT_MS: Final = 10_000
"""A dead process's transaction is aborted by the broker after this time at the latest."""

SESSION_TIMEOUT_MS: Final = 6_000
"""A dead member's partitions are given to others after this time (the least a default broker allows)."""

_COMMON: Final[dict[str, Any]] = {
    "client.id": "tidemark",
    # A restarted broker is found again within a second; librdkafka's default backs off to ten.
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1_000,
}

DOWN: Final = 2.0
"""Seconds after which a command gives up a Kafka whose every server refuses the connection."""
_TRY_SECONDS: Final = 0.5


def consumer_config(settings: Settings, *, group: str, **over: Any) -> dict[str, Any]:  # noqa: ANN401 librdkafka's values have no common type
    """Configuration of a consumer in `group` that reads committed records and never commits by itself.

    over: more librdkafka properties, dots as underscores (`max_poll_interval_ms=60_000`); the settings go before them.

    Raises:
        BrokerError: no Kafka is named by the settings.

    """
    tuned: dict[str, Any] = {
        "session.timeout.ms": SESSION_TIMEOUT_MS,
        "heartbeat.interval.ms": _heartbeat(settings),
        # With a full queue librdkafka waits a whole second before it fetches again.
        "fetch.queue.backoff.ms": 20,
        **_dotted(over),
    }
    fixed: dict[str, Any] = {
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # A position that retention has removed must be an error: a silent jump loses records.
        "auto.offset.reset": "error",
        "partition.assignment.strategy": "cooperative-sticky",
    }
    # What the operator set goes before what is tuned here; what exactly-once fixes they can't set (settings.FIXED).
    return fixed | tuned | _base(settings)


def producer_config(settings: Settings, *, transactional_id: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ANN401 as above
    """Configuration of an idempotent producer; a transactional one with `transactional_id`.

    over: more librdkafka properties, dots as underscores (`linger_ms=0`); the settings go before them.

    Raises:
        BrokerError: no Kafka is named by the settings.

    """
    tuned: dict[str, Any] = {
        # Back-to-back transactions: 15-28 ms each instead of 104 ms. For producers alone: a look-up of a coordinator
        # that is retried twice so quickly fails while a broker starts, and librdkafka 2.16 then waits for ever.
        "retry.backoff.ms": 5,
        "compression.type": "lz4",
        "linger.ms": 5,
        "queue.buffering.max.messages": 500_000,
        **_dotted(over),
    }
    fixed: dict[str, Any] = {
        "enable.idempotence": True,
        "acks": "all",
        # The Java clients' partitioner, so that a key is in the same partition whoever wrote it.
        "partitioner": "murmur2_random",
    }
    if transactional_id is not None:
        fixed |= {"transactional.id": transactional_id, "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS}
    # As for consumers.
    return fixed | tuned | _base(settings)


def consumer(settings: Settings, *, group: str, **over: Any) -> Consumer:  # noqa: ANN401 as above
    """A consumer of `consumer_config`, whose arguments and errors it has.

    Raises:
        ConfigError: librdkafka refuses a property.

    """
    return _made(settings, Consumer, consumer_config(settings, group=group, **over))


def producer(settings: Settings, *, transactional_id: str | None = None, **over: Any) -> Producer:  # noqa: ANN401 as above
    """A producer of `producer_config`, whose arguments and errors it has.

    Raises:
        ConfigError: librdkafka refuses a property.

    """
    return _made(settings, Producer, producer_config(settings, transactional_id=transactional_id, **over))


def admin(settings: Settings, **over: Any) -> AdminClient:  # noqa: ANN401 as above
    """Administration client. It connects when it is first used; `connect` also checks that Kafka answers.

    Raises:
        BrokerError: no Kafka is named by the settings.
        ConfigError: librdkafka refuses a property.

    """
    return _made(settings, AdminClient, _dotted(over) | _base(settings))


def _made(settings: Settings, client: Callable[[dict[str, Any]], _Client], config: dict[str, Any]) -> _Client:
    try:
        return client(config)
    except KafkaException as error:
        given = ", ".join(settings.masked()) or "none"
        raise ConfigError(
            f"librdkafka refuses the client settings: {error.args[0].str()}; correct the TIDEMARK_KAFKA_* "
            f"variables (set: {given})"
        ) from error


def connect(settings: Settings, *, timeout: float = 10.0, down: float | None = None) -> AdminClient:
    """Administration client of a Kafka that has just answered.

    Args:
        settings: that name it.
        timeout: seconds in which it must answer.
        down: seconds after which it is given up where every server refuses the connection, or can't be found: commands
            of a person do not wait for what is not there. None: only the timeout counts.

    Returns:
        The client.

    Raises:
        BrokerError: Kafka does not answer in time; says where it was looked for, what went wrong, what to do.

    """
    begun = time.monotonic()
    client = admin(settings, log_level=0)
    try:
        client.list_topics(timeout=min(_TRY_SECONDS, timeout / 2))
    except KafkaException:
        pass  # slow, or not there: the trial waits, and hears why
    else:
        return client
    errors: list[KafkaError] = []

    # A client that lives on must not have a callback: its thread may call it when the interpreter is ending, wait for
    # the interpreter's lock for ever, and then so does the interpreter, which waits for that thread.
    trial = admin(settings, error_cb=errors.append, log_level=0)
    while True:
        passed = time.monotonic() - begun
        last = down is None or passed >= down  # and waits for all that is left: its answer may be a long one
        try:
            trial.list_topics(timeout=max(timeout - passed, 0.1) if last else min(_TRY_SECONDS, timeout))
        except KafkaException as error:
            trial.poll(0)
            refused = any(each.code() == KafkaError._ALL_BROKERS_DOWN for each in errors)  # noqa: SLF001 not public
            if last or (refused and down is not None and time.monotonic() - begun >= down):
                raise unreachable(settings, errors[0].str() if errors else error.args[0].str()) from error
        else:
            return admin(settings, log_level=0)


def unreachable(settings: Settings, why: str) -> BrokerError:
    """The error for a Kafka that does not answer."""
    return BrokerError(
        f"Kafka at {settings.bootstrap_servers} does not answer ({why}); start the embedded one with "
        "`tidemark broker up`, or correct TIDEMARK_BOOTSTRAP_SERVERS and the TIDEMARK_KAFKA_* variables"
    )


def _heartbeat(settings: Settings) -> int:
    """Milliseconds between two: several in the session's time-out, whatever the operator made of that."""
    session = settings.kafka.get("session.timeout.ms", "")
    return max(min(1_000, int(session) // 3), 1) if session.isdecimal() and len(session) < 10 else 1_000


def _base(settings: Settings) -> dict[str, Any]:
    if settings.bootstrap_servers is None:
        raise BrokerError(
            "no Kafka is named: start the embedded one with `tidemark broker up`, or set TIDEMARK_BOOTSTRAP_SERVERS"
        )
    return {**_COMMON, **settings.kafka, "bootstrap.servers": settings.bootstrap_servers}


def _dotted(over: dict[str, Any]) -> dict[str, Any]:
    kept = {"log_level", "error_cb", "stats_cb", "throttle_cb", "oauth_cb", "on_delivery", "logger"}
    return {name if name in kept else name.replace("_", "."): value for name, value in over.items()}
