"""Which dead letters a command means, and where they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidemark.cli.pipeline_file import load
from tidemark.cli.started import started
from tidemark.errors import ConfigError, TidemarkError
from tidemark.kafka import read_record
from tidemark.pipeline import Pipeline, parse_duration
from tidemark.runtime.settings import Settings

if TYPE_CHECKING:
    from tidemark.replay import Chosen, Letter, Marks
    from tidemark.runtime.processor import Output

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

        return Marks.now(self.settings, self.pipeline.topics)

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
