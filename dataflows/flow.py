"""The one shape all flows over a processor have: polled → processed → committed."""

from __future__ import annotations

from collections.abc import Callable

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from dataflows.config import EngineConfig
from dataflows.session import Done, Work, process
from dataflows.sink import KafkaSink
from dataflows.source import KafkaSource, Sessions
from dataflows.stop import Stop
from tidemark.processor import Processor


def build(name: str, source: Source[Work], sink: Sink[Done]) -> Dataflow:
    """The flow called `name` between a source and a sink."""
    flow = Dataflow(name)
    polled = op.input("polled", flow, source)
    processed = op.map("processed", polled, process)
    op.output("committed", processed, sink)
    return flow


def over_kafka(
    name: str,
    config: EngineConfig,
    processor: Callable[[], Processor],
    stop: Stop,
    *,
    close: Callable[[], None] | None = None,
) -> tuple[Dataflow, Sessions]:
    """The flow over Kafka. `processor` makes one for each worker; `close` is called when the last worker has ended."""
    sessions = Sessions(config, processor, stop, close=close)
    return build(name, KafkaSource(sessions), KafkaSink(sessions)), sessions
