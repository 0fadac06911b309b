"""Bytewax source and sink over files: the first worker reads them, produces and commits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from dataflows.engine.file_task import Ingest, Rows
from tidemark.runtime.processor import Output

Made = tuple[Rows, Sequence[Output]]
"""Rows and their records."""


class FileSource(DynamicSource[Rows]):
    """Reads the files, on the first worker."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Reader:  # noqa: ARG002 Bytewax's signature
        """Begin, if this is the first worker."""
        if worker_index == 0:
            self._ingest.start()
        return _Reader(self._ingest if worker_index == 0 else None)


class _Reader(StatelessSourcePartition[Rows]):
    def __init__(self, ingest: Ingest | None) -> None:
        self._ingest = ingest
        self._waits = False

    def next_batch(self) -> list[Rows]:
        if self._ingest is None:
            raise StopIteration
        rows = self._ingest.read()
        self._waits = rows is None
        return [] if rows is None else [rows]

    def next_awake(self) -> datetime | None:
        return datetime.now(UTC) + timedelta(milliseconds=5) if self._waits else None


class RawSink(DynamicSink[Made]):
    """Produces the rows and commits the progress."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Writer:  # noqa: ARG002 Bytewax's signature
        """The writing end."""
        return _Writer(self._ingest if worker_index == 0 else None)


class _Writer(StatelessSinkPartition[Made]):
    def __init__(self, ingest: Ingest | None) -> None:
        self._ingest = ingest

    def write_batch(self, items: list[Made]) -> None:
        if self._ingest is not None:
            for rows, outputs in items:
                self._ingest.write(rows, outputs)

    def close(self) -> None:
        if self._ingest is not None:
            self._ingest.finish()
