"""Quix Streams: state of each key, a repartition topic between two keys, exactly once."""

from __future__ import annotations

import os
from typing import Any

import lightgbm
import numpy as np
import payments
from quixstreams import Application, State, message_context

_BOOSTER = lightgbm.Booster(model_file=os.environ["PEER_MODEL"])


def by_customer(event: dict[str, Any], state: State) -> dict[str, Any]:
    """The windows over the customer."""
    time, own = payments.row(event["time"], event["amount"], event.get("channel"))
    history = [(at, amount) for at, amount in state.get("history", [])]
    windows = payments.customer(history, time)
    payments.remember(history, time, own[0])
    state.set("history", history)
    context = message_context()
    return {
        "event_id": f"{context.topic}-{context.partition}-{context.offset}",
        "business_id": event["transaction_id"],
        "customer": event["customer_id"],
        "terminal": event["terminal_id"],
        "time": time,
        "own": own,
        "windows": windows,
    }


def by_terminal(row: dict[str, Any], state: State) -> dict[str, Any]:
    """The windows over the terminal, and the prediction."""
    own, before = ([payments.NAN if value is None else value for value in row[name]] for name in ("own", "windows"))
    history = [(at, amount) for at, amount in state.get("history", [])]
    windows = payments.terminal(history, row["time"])
    payments.remember(history, row["time"], own[0])
    state.set("history", history)
    features = np.array([[*own, *before, *windows, *payments.derived(own, before, windows)]])
    probability = float(_BOOSTER.predict(features, num_threads=1)[0])
    return payments.prediction(row["event_id"], row["business_id"], row["customer"], row["time"], probability)


def main() -> None:
    """Run until the process is ended."""
    app = Application(
        broker_address=os.environ["PEER_BOOTSTRAP"],
        consumer_group=f"peer-{os.environ['PEER_SOURCE']}",
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=float(os.environ.get("PEER_COMMIT", "1.0")),
        state_dir=os.environ["PEER_STATE"],
        producer_extra_config={"compression.type": "lz4", "linger.ms": 5},
        loglevel="WARNING",
    )
    source = app.topic(os.environ["PEER_SOURCE"], key_deserializer="str", value_deserializer="json")
    target = app.topic(os.environ["PEER_TARGET"], key_serializer="str", value_serializer="json")
    rows = app.dataframe(source).apply(by_customer, stateful=True)
    rows = rows.group_by("terminal", key_deserializer="str", key_serializer="str").apply(by_terminal, stateful=True)
    rows.to_topic(target, key=lambda record: record["key"])
    app.run()


if __name__ == "__main__":
    main()
