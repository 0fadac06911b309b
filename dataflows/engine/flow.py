"""The one shape all flows over a processor have: polled → processed → committed."""

from __future__ import annotations

from collections.abc import Callable

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from dataflows.engine.shutdown import Stop
from dataflows.engine.sink import KafkaSink
from dataflows.engine.source import KafkaSource, Running, Sessions
from dataflows.engine.task import Done, Work, process


def build(name: str, source: Source[Work], sink: Sink[Done]) -> Dataflow:
    """The flow called `name` between a source and a sink."""
    flow = Dataflow(name)
    polled = op.input("polled", flow, source)
    processed = op.map("processed", polled, process)
    op.output("committed", processed, sink)
    return flow


def over_kafka(name: str, prepare: Callable[[], Running], stop: Stop) -> tuple[Dataflow, Sessions]:
    """The flow over Kafka.

    Args:
        name: of the flow.
        prepare: connects, warms and configures; called when the flow runs, not when it is built.
        stop: asks it to end.

    Returns:
        The flow, and the sessions that it will have.

    """
    sessions = Sessions(prepare, stop)
    return build(name, KafkaSource(sessions), KafkaSink(sessions)), sessions
