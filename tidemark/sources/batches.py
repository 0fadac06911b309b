"""Bodies of many rows, as records of one row each: whatever is told of a body holds for each of its rows."""

from __future__ import annotations

from collections.abc import Iterator

from tidemark.formats.arrow_rows import ArrowRows
from tidemark.formats.declared import Declared
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import SourceSpec
from tidemark.sources.source import SourceRecord


class Batches:
    """Takes the bodies of a source apart.

    A row is an event with an offset, an id, a key and a fate of its own: so a batch ends here, before it is a record of
    the raw topic, and a row that is bad takes no other with it.
    """

    def __init__(self, pipeline: Pipeline, spec: SourceSpec) -> None:
        """Prepare.

        Args:
            pipeline: whose records these are.
            spec: of the source.

        """
        self._rows = ArrowRows(Declared.of(pipeline), spec.columns)

    def rows(self, record: SourceRecord) -> Iterator[list[SourceRecord]]:
        """The rows of a body, some at a time.

        Args:
            record: whose body is an Arrow IPC stream.

        Returns:
            Records of a row each, in their order.

        Raises:
            NoRowsError: its rows can't be read; none was.

        """
        return self._records(record, self._rows.read(record.value))

    @staticmethod
    def _records(record: SourceRecord, pieces: Iterator[list[bytes]]) -> Iterator[list[SourceRecord]]:
        number = 0
        for piece in pieces:
            yield [
                SourceRecord(value, f"{record.position} row {i}", record.attributes, is_row=True)
                for i, value in enumerate(piece, number + 1)
            ]
            number += len(piece)
