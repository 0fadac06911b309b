"""Which dead letters a command means, and where they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidemark.cli.pipeline_file import load
from tidemark.cli.started import started
from tidemark.errors import ConfigError, TidemarkError, TopicError
from tidemark.kafka import read_record, topic_incarnation
from tidemark.pipeline import Pipeline, parse_duration
from tidemark.runtime.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from tidemark.replay import Chosen, Letter, Marks
    from tidemark.runtime.processor import Batch, Output

_MOST: Final = 100_000
"""Dead letters that one call deals with: they are held in memory."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pipeline's dead letters are."""

    pipeline: Pipeline
    settings: Settings

    @classmethod
    def of(cls, file: Path) -> Place:
        """That of a pipeline's file, on the Kafka that runs."""
        pipeline = load(file)
        return cls(pipeline, started(pipeline, file, pipeline.topics.deadletter))

    @property
    def topic(self) -> str:
        """Name of the dead-letter topic."""
        return self.pipeline.topics.deadletter

    def marks(self) -> Marks:
        """What became of each."""
        from tidemark.replay import Marks

        incarnation = topic_incarnation(self.settings, self.topic)
        try:
            return Marks.read(self.settings, self.pipeline.topics.deadletter_marks, incarnation)
        except TopicError:  # nothing was ever marked
            return Marks(incarnation)

    def letter(self, partition: int, offset: int) -> Letter:
        """One dead letter."""
        from tidemark.replay import Letter

        message = read_record(self.settings, self.topic, partition, offset)
        if message is None:
            raise TidemarkError(
                f"{self.topic} has no dead letter at offset {offset}; `tidemark deadletter list` shows which it has"
            )
        return Letter.of(message)

    def chosen(self, offsets: list[int] | None, partition: int, chosen: Chosen) -> list[Letter]:
        """The dead letters that are meant."""
        from tidemark.replay import letters

        if offsets:
            found = [self.letter(partition, number) for number in dict.fromkeys(offsets)]
            return [letter for letter in found if letter in chosen]
        found = []
        for letter in letters(self.settings, self.topic, chosen):
            found.append(letter)
            if len(found) > _MOST:
                raise TidemarkError(f"more than {_MOST:,} dead letters are meant: choose fewer, by --since and --until")
        return found

    @property
    def again(self) -> Callable[[Letter], list[Output]]:
        """Makes the records of what a source refused."""
        from tidemark.sources.resending import Resending

        return Resending(self.pipeline)

    def types(self) -> dict[str, pl.DataType]:
        """Types of the columns of raw records, for fields that are null."""
        import polars as pl

        kinds: dict[str, pl.DataType] = {
            "string": pl.String(),
            "int": pl.Int64(),
            "float": pl.Float64(),
            "bool": pl.Boolean(),
        }
        return {name: kinds[column.type] for name, column in self.pipeline.columns.items()}

    def in_format(self, before: Letter, after: Letter) -> Letter:
        """A repaired dead letter of a raw topic in the topic's format, where the repair made it a JSON object."""
        from tidemark.formats.decoder import writer
        from tidemark.records.record_formats import as_record

        write = writer(self.pipeline)
        raw = after.source is not None and after.source.topic in self.pipeline.raw_topics
        if write is None or not raw or after.value == before.value or not (after.value or b"").startswith(b"{"):
            return after
        return replace(after, value=as_record(write, after.value or b""))

    def still_wrong(self, repaired: list[Letter]) -> list[tuple[Letter, str]]:
        """Those of a raw topic that could not be decoded either, and why."""
        from tidemark.formats.decoder import Decoder

        decoder, again, found = Decoder(self.pipeline), self.again, []
        for letter in (each for each in repaired if each.sender):
            topic = letter.sender.topic if letter.sender else ""
            try:
                bad = decoder.decode(_batch(topic, again(letter))).bad[:1]
            except ValueError as error:
                found.append((letter, str(error)))
            else:
                found += [(letter, f"row {first.row + 1}: {first.reason}") for first in bad]
        raw = [each for each in repaired if each.source and each.source.topic in self.pipeline.raw_topics]
        if raw:
            times = [each.source.timestamp if each.source else None for each in raw]
            batch = _batch(raw[0].source.topic if raw[0].source else "", raw, times)
            found += [(raw[bad.row], bad.reason) for bad in decoder.decode(batch).bad]
        return found


def _batch(topic: str, records: Sequence[Letter | Output], times: Sequence[int | None] = ()) -> Batch:
    """Records as a decoder takes them. times: their timestamps, ms; now where there is none."""
    import numpy as np

    from tidemark.runtime.processor import Batch
    from tidemark.runtime.processor import Partition as Whence

    now = time.time_ns() // 1_000_000
    return Batch(
        Whence(topic, 0, ""),
        np.arange(len(records)),
        np.array([each or now for each in times or [now] * len(records)], np.int64),
        [each.key for each in records],
        [each.value for each in records],
        [list(each.headers) for each in records],
    )


def meant(*selection: object, every: bool) -> None:
    """Refuse a command that does not say which dead letters are meant."""
    if every == any(selection):
        raise TidemarkError(
            "say which dead letters are meant: --offset N (again and again), --reason, --step, --topic, --since, "
            "--until, or --all"
        )


def choice(offsets: list[int] | None, reason: str, step: str, topic: str, since: str, until: str) -> Chosen:
    """Which dead letters the options mean."""
    from tidemark.replay import Chosen

    return Chosen(
        None if offsets is None else frozenset(offsets),
        reason,
        step,
        topic,
        _moment("--since", since),
        _moment("--until", until),
    )


def _moment(option: str, text: str) -> int | None:
    """µs since 1970 of a time, or of so long ago."""
    from tidemark.times.iso8601 import UNREADABLE, iso_times

    if not text:
        return None
    if "T" not in text and not text[:1].isdigit():
        raise ConfigError(f"{option} {text!r}: write a time as 2026-01-31T08:00:00Z, or how long ago, as 2h")
    found = int(iso_times([text])[0])
    if found != UNREADABLE:
        return found
    try:
        return time.time_ns() // 1_000 - parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}: write a time as 2026-01-31T08:00:00Z, or how long ago, as 2h") from error
