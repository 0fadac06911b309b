"""The end of a process that outlives its Kafka.

A client of librdkafka's whose Kafka has gone may take a minute to be let go: it waits for answers that do not come.
What the process had to do is done by then, and nobody is to wait for that.
"""

from __future__ import annotations

import os
import sys
from typing import Final

_ended: Final[list[bool]] = []


def kafka_has_ended() -> None:
    """Note that this process has stopped the Kafka that it used."""
    _ended.append(True)


def leave(status: str | int | None) -> None:
    """End the process as `sys.exit` does, but at once where it has outlived its Kafka.

    Args:
        status: as of a SystemExit.

    Raises:
        SystemExit: the process has stopped no Kafka.

    """
    if not _ended or isinstance(status, str):
        raise SystemExit(status)
    import logging  # noqa: PLC0415 - `tidemark --help` has no use for it

    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status or 0)
