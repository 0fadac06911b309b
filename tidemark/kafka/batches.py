"""Records of a partition as the steps of a flow take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from confluent_kafka import Message

from tidemark.kafka.content import as_bytes
from tidemark.kafka.headers import headers_of_each
from tidemark.runtime.processor import Batch, Partition


def batch_of(partition: Partition, messages: Sequence[Message]) -> Batch:
    """A batch of consumed records.

    Args:
        partition: that they are of.
        messages: in the order of their offsets.

    Returns:
        The batch.

    """
    return Batch(
        partition,
        np.array([-1 if (offset := message.offset()) is None else offset for message in messages], np.int64),
        np.array([message.timestamp()[1] for message in messages], np.int64),
        [as_bytes(message.key()) for message in messages],
        [as_bytes(message.value()) for message in messages],
        headers_of_each(messages),
    )
