"""Rows on their way to the windows over another key."""

from __future__ import annotations

import numpy as np

from tidemark.features.windows import partitions_of
from tidemark.pipeline import Pipeline
from tidemark.runtime.processor import Output
from tidemark.runtime.steps import RoundContext
from tidemark.stream.hops import encode_hops
from tidemark.stream.rows import Rows
from tidemark.stream.stages import Hop
from tidemark.stream.steps.window_features import Windowed


class RepartitionStep:
    """Hands rows on to the partitions that keep the windows over their next key."""

    def __init__(self, pipeline: Pipeline, hop: Hop) -> None:
        self._partitions = pipeline.partitions
        self._hop = hop

    def process(self, windowed: Windowed, context: RoundContext) -> list[Output]:  # noqa: ARG002 replays give no rows
        """Records of the hop topic."""
        return [output for portion in windowed.portions for output in self._records(portion.rows)]

    def _records(self, rows: Rows) -> list[Output]:
        """Records for each target partition: hash64 of the next key's text modulo the number of partitions.

        In the order of event times, so that rows from one partition do not come late behind those from another.
        """
        hop = self._hop
        target = partitions_of(rows.keys[hop.key], self._partitions)
        order = np.lexsort((rows.times, target))
        frame = hop.layout.pack(rows)[order]
        partitions, begins = np.unique(target[order], return_index=True)
        ends = [*begins[1:].tolist(), len(order)]
        outputs = []
        for partition, begin, end in zip(partitions.tolist(), begins.tolist(), ends, strict=True):
            for value, headers in encode_hops(rows.origins, frame[begin:end]):
                told = (*headers, hop.layout.fitting.header)
                outputs.append(Output(hop.topic, value, partition=partition, headers=told))
        return outputs
