"""Scored rows to proposals: what selection chooses from."""

from __future__ import annotations

from tidemark.pipeline import Pipeline
from tidemark.pipeline.expressions import Schema
from tidemark.runtime.processor import Output
from tidemark.runtime.steps import RoundContext
from tidemark.stream.outputs import Offers
from tidemark.stream.steps.predict import Predicted


class ProposeStep:
    """Gives the proposals of each partition of a round and, if the pipeline wants them, its features.

    cleaned: columns of the rows after cleaning.
    """

    def __init__(self, pipeline: Pipeline, cleaned: Schema) -> None:
        self._offers = Offers(pipeline, cleaned)
        self._tells_features = pipeline.features_topic

    def process(self, predicted: Predicted, context: RoundContext) -> list[Output]:  # noqa: ARG002 replays give no rows
        """Proposals of the scored rows, and of each partition that has just become idle a record that says so."""
        outputs: list[Output] = []
        for portion in predicted.portions:
            scored = portion.scored
            proposals = self._offers.proposals(scored, portion.tiles, portion.metas)
            for (begin, end, meta), records in zip(portion.metas, proposals, strict=True):
                outputs += records
                if self._tells_features:
                    outputs += self._offers.features(scored, slice(begin, end), meta.partition.index)
        outputs += [self._offers.idle(meta, predicted.model) for meta in predicted.idle]
        return outputs
