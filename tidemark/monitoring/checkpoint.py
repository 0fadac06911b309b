"""What the monitor flow commits with the offset of a partition."""

from __future__ import annotations

from typing import Final

import msgspec

from tidemark.errors import TopicError
from tidemark.monitoring.joined import NEVER
from tidemark.runtime.processor import Partition

PREFIX: Final = "monitor1:"


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """Metadata of a partition.

    rewind: offset to read again from; None if nothing before the committed offset is needed.  last: offset of the last
    row processed.  clock: latest event time.  given_up: outcomes without a prediction that wait until this time have
    been given up, where their offset is at most `decided`.  reached: latest event time of this partition.  saved: of
    the sample, whether its topic held at that time what was watched in it.  told: whether all outcomes that had met
    their events by then had become labels, where the pipeline learns from them.
    """

    rewind: int | None
    last: int
    clock: int
    given_up: int
    decided: int
    reached: int = NEVER
    saved: bool = False
    told: bool = False

    def encode(self) -> str:
        """ASCII text, to commit."""
        return PREFIX + msgspec.json.encode(self).decode("ascii")


def decode_mark(partition: Partition, metadata: str) -> Mark:
    """The mark in committed metadata.

    Raises:
        TopicError: the metadata is another program's.

    """
    try:
        return msgspec.json.decode(metadata.removeprefix(PREFIX), type=Mark)
    except msgspec.DecodeError as error:
        raise TopicError(
            f"the state committed for the monitor flow at {partition.topic!r} partition {partition.index}, "
            f"{metadata[:40]!r}, is not one it wrote; to begin anew, run `tidemark reset FILE monitor --to earliest "
            "--publish-again`"
        ) from error
