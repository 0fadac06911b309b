"""Pathway (at least once by its free licence): a reducer keeps each key's events, an as-of-now join reads them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import lightgbm
import numpy as np
import pathway as pw
import payments

_BOOSTER = lightgbm.Booster(model_file=os.environ["PEER_MODEL"])
_COMMIT_MS = 100


class Payment(pw.Schema):
    """A raw record."""

    transaction_id: str
    time: str
    customer_id: str
    terminal_id: str
    amount: float
    channel: str


@pw.udf(deterministic=True)
def own(time: str, amount: float, channel: str) -> tuple[int, list[float]]:
    """What a payment tells by itself."""
    return payments.row(time, amount, channel)


@pw.reducers.stateful_many
def history(state: tuple[payments.Pair, ...] | None, rows: Any) -> tuple[payments.Pair, ...]:  # noqa: ANN401 Pathway's own
    """The events of a key."""
    kept = [(at, amount) for at, amount in state or ()]
    for (time, amount), _ in rows:
        payments.remember(kept, time, amount)
    return tuple(kept)


def _before(kept: Sequence[payments.Pair] | None, time: int) -> list[payments.Pair]:
    return [(at, amount) for at, amount in kept or () if at < time]


@pw.udf(deterministic=True)
def by_customer(kept: list[tuple[int, float]], time: int) -> list[float]:
    """The windows over the customer."""
    return payments.customer(_before(kept, time), time)


@pw.udf(deterministic=True)
def by_terminal(kept: list[tuple[int, float]], time: int) -> list[float]:
    """The windows over the terminal."""
    return payments.terminal(_before(kept, time), time)


@pw.udf(deterministic=True, max_batch_size=1_000)
def predicted(rows: list[list[float]], customers: list[list[float]], terminals: list[list[float]]) -> list[float]:
    """The predictions of some payments."""
    triples = zip(rows, customers, terminals, strict=True)
    features = np.array([[*row, *one, *other, *payments.derived(row, one, other)] for row, one, other in triples])
    return np.asarray(_BOOSTER.predict(features, num_threads=1)).tolist()


def main() -> None:
    """Run until the process is ended."""
    reading = {
        "bootstrap.servers": os.environ["PEER_BOOTSTRAP"],
        "group.id": f"peer-{os.environ['PEER_SOURCE']}",
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "session.timeout.ms": "30000",
        "enable.auto.commit": "false",
    }
    raw = pw.io.kafka.read(
        reading, topic=os.environ["PEER_SOURCE"], schema=Payment, format="json", autocommit_duration_ms=_COMMIT_MS
    )
    named = raw.select(
        raw.transaction_id, raw.customer_id, raw.terminal_id, raw.amount, row=own(raw.time, raw.amount, raw.channel)
    )
    rows = named.select(
        named.transaction_id, named.customer_id, named.terminal_id, named.amount, time=named.row[0], own=named.row[1]
    )
    customers = rows.groupby(rows.customer_id).reduce(rows.customer_id, kept=history(rows.time, rows.amount))
    seen = rows.asof_now_join(customers, rows.customer_id == customers.customer_id).select(
        rows.transaction_id,
        rows.customer_id,
        rows.terminal_id,
        rows.time,
        rows.own,
        customer=by_customer(customers.kept, rows.time),
    )
    terminals = rows.groupby(rows.terminal_id).reduce(rows.terminal_id, kept=history(rows.time, rows.amount))
    scored = seen.asof_now_join(terminals, seen.terminal_id == terminals.terminal_id).select(
        seen.transaction_id,
        seen.customer_id,
        seen.time,
        p=predicted(seen.own, seen.customer, by_terminal(terminals.kept, seen.time)),
    )
    out = scored.select(
        event_id=scored.transaction_id,
        business_id=scored.transaction_id,
        key=scored.customer_id,
        event_time=scored.time,
        probabilities=pw.make_tuple(1.0 - scored.p, scored.p),
        uncertainty=1.0 - pw.if_else(scored.p > 0.5, 2.0 * scored.p - 1.0, 1.0 - 2.0 * scored.p),
        model=os.environ["PEER_VERSION"],
        late=False,
    )
    writing = {"bootstrap.servers": os.environ["PEER_BOOTSTRAP"], "compression.type": "lz4", "linger.ms": "5"}
    pw.io.kafka.write(out, writing, os.environ["PEER_TARGET"], format="json")
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


if __name__ == "__main__":
    main()
