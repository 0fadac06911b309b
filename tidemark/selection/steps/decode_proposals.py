"""Records of `P.proposals` to rows and counts, each with the number of the partition that it is of."""

from __future__ import annotations

from dataclasses import dataclass, field

from tidemark.errors import RecordError
from tidemark.pipeline.model import Pipeline
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Batch
from tidemark.runtime.steps import Outcome, Refused, RoundContext
from tidemark.selection.proposals import Proposals, decode_proposals
from tidemark.selection.reading import Lanes


@dataclass(frozen=True, slots=True)
class DecodedRecord:
    """A good record: its row in the batch, and the number of its partition among those of the last stage."""

    row: int
    lane: int
    proposals: Proposals


@dataclass(frozen=True, slots=True)
class DecodedProposals:
    """The good records of a batch."""

    batch: Batch
    records: list[DecodedRecord] = field(default_factory=list)


class DecodeProposalsStep:
    """Decodes proposals."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._lanes = Lanes(pipeline)

    def process(self, received: Received, context: RoundContext) -> Outcome[list[DecodedProposals]]:  # noqa: ARG002
        """Each batch with its good records, and the records that are no proposals of this pipeline."""
        batches, refused = [], []
        for batch in received.batches:
            decoded = DecodedProposals(batch)
            for row in range(len(batch)):
                try:
                    record = decode_proposals(batch.values[row], batch.headers[row])
                    lane = self._lanes.number(record.meta.topic, record.meta.partition)
                except RecordError as error:
                    refused.append(Refused(batch, row, error.step, error.reason))
                else:
                    decoded.records.append(DecodedRecord(row, lane, record))
            batches.append(decoded)
        return Outcome(batches, refused)
