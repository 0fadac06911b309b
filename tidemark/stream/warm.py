"""Everything that a first batch would wait for, done before the process joins its group."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.pipeline import Pipeline
from tidemark.processor import Batch, Headers, Partition
from tidemark.stream.processor import StreamProcessor

_INCARNATION: Final = "00000000"
_SECONDS: Final = 1_735_689_600
_TIMES: Final[dict[str, object]] = {
    "iso8601": "2025-01-01T00:00:00.000000Z",
    "epoch_s": _SECONDS,
    "epoch_ms": _SECONDS * 1_000,
    "epoch_us": _SECONDS * 1_000_000,
}
_EXAMPLES: Final[dict[str, object]] = {"string": "example", "int": 1, "float": 1.5, "bool": True}


def warm(pipeline: Pipeline) -> None:
    """Compile, or load from the cache, the kernels that a pipeline uses: a made-up record goes through every stage.

    Nothing is kept of it. Takes seconds with a cold cache, a fraction of one with a warm one.
    """
    processor = StreamProcessor(pipeline, _Undecided(len(pipeline.label.classes)))
    record = {name: _EXAMPLES[column.type] for name, column in pipeline.columns.items()}
    record[pipeline.time.column] = _TIMES[pipeline.time.format]
    partition = Partition(pipeline.raw_topics[0], 0, _INCARNATION)
    records: list[tuple[bytes, Headers]] = [(json.dumps(record).encode(), [])] * 2
    for topic in [*pipeline.hop_topics, None]:
        processor.open(partition, "")
        outputs = processor.process(_batch(partition, records))
        records = [(output.value or b"", list(output.headers)) for output in outputs if output.topic == topic]
        partition = Partition(topic or "", 0, _INCARNATION)


def _batch(partition: Partition, records: list[tuple[bytes, Headers]]) -> Batch:
    n = len(records)
    return Batch(
        partition,
        np.arange(n, dtype=np.int64),
        np.full(n, _SECONDS * 1_000, np.int64),
        [b"example"] * n,
        [value for value, _ in records],
        [headers for _, headers in records],
    )


@dataclass(frozen=True, slots=True)
class _Undecided:
    """A source of, and itself, a model that finds all classes equally likely."""

    classes: int
    version: str = "warm"

    def current(self) -> _Undecided:
        """Itself."""
        return self

    def probabilities(self, rows: NDArray[np.float64], /) -> NDArray[np.float64]:
        """(n, classes), all the same."""
        return np.full((len(rows), self.classes), 1 / self.classes)
