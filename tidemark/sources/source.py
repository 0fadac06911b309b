"""What a source owes the task that runs it, and what it is given.

A source reads somewhere and knows nothing of Kafka's transactions. The task (`dataflows.engine.source_task`) asks it
for records, sends them, and commits them together with the source's positions. Then it says so, and the source may
acknowledge them to where they came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol, runtime_checkable

from tidemark.formats.declared import Declared
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import SourceSpec
from tidemark.records.source_kinds import SourceOptions

LARGEST: Final = 900_000
"""Bytes of a record's body and key. Kafka takes a million with headers; what is larger is a dead letter."""
LONGEST_POSITION: Final = 1_000
"""Characters of a position that are told in a record's header."""


class SourceRecord(NamedTuple):
    """A record as it came.

    Attributes:
        value: its body: a record of the raw topic's format, or a text of which columns are made.
        position: where it stood, as a person would look for it.
        attributes: what the source tells of it, by the names that the kind lists.
        is_row: its body is a JSON object of columns, whatever the raw topic's format: a row of a file or of a batch.

    """

    value: bytes
    position: str
    attributes: Mapping[str, str] = {}
    is_row: bool = False


class Positions(NamedTuple):
    """How far something was read, as it is kept in the compacted topic `P.ingest`.

    Attributes:
        own: position by a name that the source chooses; None removes one.
        files: further records of `P.ingest`, as `tidemark.sources.progress` has them, by their keys.

    """

    own: Mapping[str, str | None] = {}
    files: Mapping[bytes, bytes] = {}


class Source(Protocol):
    """Where records come from. One thread calls it."""

    def open(self, known: Positions) -> None:
        """Begin, or begin again after a failure: what was read and not committed comes once more.

        Args:
            known: positions that are committed, and nothing else.

        Raises:
            ConfigError: it can't be read, and a person must mend something.

        """
        ...

    def read(self, most: int, seconds: float) -> Sequence[SourceRecord]:
        """The next records.

        Args:
            most: as many as are wanted; a few more are no harm.
            seconds: to wait for the first.

        Returns:
            Records in their order, none if none came.

        """
        ...

    def positions(self) -> Positions:
        """What to commit with all records that were read. Only what changed since the last commit is needed."""
        ...

    def committed(self) -> None:
        """All records that were read are in Kafka: acknowledge them."""
        ...

    def close(self) -> None:
        """Let go of everything. What is not committed is not acknowledged."""
        ...


@runtime_checkable
class Draining(Protocol):
    """A source whose senders wait for no acknowledgement: when it ends, what came already is read first."""

    def drain(self) -> None:
        """Take no more from senders; what came already can be read still."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """What a source is made with.

    Attributes:
        name: of the source in the pipeline file.
        options: as the kind declares them, checked.
        pipeline: whose records these are.
        spec: its table of the pipeline file.
        topic: raw topic that the records are for.
        incarnation: of that topic, once it is known.

    """

    name: str
    options: SourceOptions
    pipeline: Pipeline
    spec: SourceSpec
    topic: str
    incarnation: Callable[[], str] = field(default=lambda: "")

    def path(self, named: str) -> Path:
        """A path that an option names: a relative one begins at the pipeline file's folder."""
        return self.pipeline.folder / Path(named).expanduser()

    def file(self, named: str | None) -> str | None:
        """The path of an option that may be left out."""
        return None if named is None else str(self.path(named))

    @property
    def declared(self) -> Declared:
        """Columns of the pipeline's records."""
        return Declared.of(self.pipeline)
