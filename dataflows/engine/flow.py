"""A flow over Kafka."""

from __future__ import annotations

from collections.abc import Callable

from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from dataflows.engine.shutdown import Stop
from dataflows.engine.sink import KafkaSink
from dataflows.engine.source import KafkaSource, Running, Sessions
from dataflows.engine.work import Done, Work


def over_kafka(
    build: Callable[[Source[Work], Sink[Done]], Dataflow], prepare: Callable[[], Running], stop: Stop
) -> tuple[Dataflow, Sessions]:
    """A flow over Kafka.

    Args:
        build: the flow between a source and a sink.
        prepare: connects, warms and configures; called when the flow runs, not when it is built.
        stop: asks it to end.

    Returns:
        The flow, and the sessions that it will have.

    """
    sessions = Sessions(prepare, stop)
    return build(KafkaSource(sessions), KafkaSink(sessions)), sessions
