"""Bytewax as it comes: its Kafka connector, state of each key by `stateful_batch`, predictions by the batch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bytewax.operators as op
import lightgbm
import msgspec
import numpy as np
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSourceMessage
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from confluent_kafka import OFFSET_BEGINNING

sys.path.insert(0, str(Path(__file__).parent))
import payments

Row = dict[str, Any]
_BOOSTER = lightgbm.Booster(model_file=os.environ["PEER_MODEL"])
_DECODER = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()
_ROWS = 1_000


class History(StatefulBatchLogic[Row, Row, list[payments.Pair]]):
    """Earlier events of a key, and its windows as of each event."""

    def __init__(self, windows: Callable[[list[payments.Pair], int], list[float]], kept: list[payments.Pair] | None):
        self._windows = windows
        self._history = kept or []

    def on_batch(self, values: list[Row]) -> tuple[list[Row], bool]:
        """The rows, each with its windows."""
        for row in values:
            row["windows"].append(self._windows(self._history, row["time"]))
            payments.remember(self._history, row["time"], row["own"][0])
        return values, StatefulBatchLogic.RETAIN

    def snapshot(self) -> list[payments.Pair]:
        """What is kept for a new start."""
        return list(self._history)


def parsed(message: KafkaSourceMessage[Any, Any]) -> tuple[str, Row]:
    """A payment by its customer."""
    event = _DECODER.decode(message.value)
    time, own = payments.row(event["time"], event["amount"], event.get("channel"))
    return event["customer_id"], {
        "event_id": f"{message.topic}-{message.partition}-{message.offset}",
        "business_id": event["transaction_id"],
        "customer": event["customer_id"],
        "terminal": event["terminal_id"],
        "time": time,
        "own": own,
        "windows": [],
    }


def predicted(items: list[tuple[str, Row]]) -> list[KafkaSinkMessage[bytes, bytes]]:
    """The predictions of some payments."""
    if not items:
        return []
    rows = [row for _, row in items]
    features = [
        [*r["own"], *r["windows"][0], *r["windows"][1], *payments.derived(r["own"], *r["windows"])] for r in rows
    ]
    given = np.asarray(_BOOSTER.predict(np.array(features), num_threads=1)).tolist()
    return [
        KafkaSinkMessage(
            row["customer"].encode(),
            _ENCODER.encode(
                payments.prediction(row["event_id"], row["business_id"], row["customer"], row["time"], probability)
            ),
        )
        for row, probability in zip(rows, given, strict=True)
    ]


flow = Dataflow("peer")
_BROKERS = [os.environ["PEER_BOOTSTRAP"]]
_read = kafka.input(
    "read",
    flow,
    brokers=_BROKERS,
    topics=[os.environ["PEER_SOURCE"]],
    starting_offset=OFFSET_BEGINNING,
    add_config={"isolation.level": "read_committed"},
    batch_size=_ROWS,
)
_customers = op.stateful_batch(
    "customers", op.map("parse", _read.oks, parsed), lambda kept: History(payments.customer, kept)
)
_terminals = op.stateful_batch(
    "terminals",
    op.map("by_terminal", _customers, lambda item: (item[1]["terminal"], item[1])),
    lambda kept: History(payments.terminal, kept),
)
kafka.output(
    "write",
    op.flat_map_batch("predict", _terminals, predicted),
    brokers=_BROKERS,
    topic=os.environ["PEER_TARGET"],
    add_config={"compression.type": "lz4", "linger.ms": "5"},
)
