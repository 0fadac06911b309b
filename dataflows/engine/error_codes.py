"""Error codes of Kafka's client, grouped by what the engine does about them."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError

END_OF_PARTITION: Final[int] = KafkaError._PARTITION_EOF  # noqa: SLF001 librdkafka's own codes have no public names
OUT_OF_RANGE: Final = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001 as above
        KafkaError.OFFSET_OUT_OF_RANGE,
    }
)
"""The position is no more: retention removed it, or the topic is another one."""

TOPIC_SUSPECT: Final = frozenset(
    {
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 as above
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 as above
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.INCONSISTENT_TOPIC_ID,
    }
)
"""A topic may have been deleted or re-created: look."""

REFUSED: Final = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001 as above
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError.UNSUPPORTED_ASSIGNOR,
    }
)
"""Trying again will not help."""

UNREADABLE: Final = frozenset(
    {
        KafkaError._BAD_COMPRESSION,  # noqa: SLF001 as above
        KafkaError._BAD_MSG,  # noqa: SLF001 as above
        KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001 as above: a format of messages that the client does not know
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
    }
)
"""A batch of the log can't be read, and the client asks for it again for ever."""

PURGED: Final[int] = KafkaError._PURGE_QUEUE  # noqa: SLF001 as above

FATAL: Final[int] = KafkaError._FATAL  # noqa: SLF001 as above
"""The client has failed for good, at an earlier call."""
