"""The log of a process: lines for people, in which a stranger's text can't pass for anything else."""

from __future__ import annotations

import logging
from typing import Final

from tidemark.runtime.safe_text import indented

PLAIN: Final = "%(levelname)s %(name)s: %(message)s"
"""For processes whose lines the supervisor gives a time."""
TIMED: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class SafeFormatter(logging.Formatter):
    """Escapes what a terminal would obey or hide, and indents every further line of an entry."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry's text."""
        return indented(super().format(record))


def log_to_stderr(layout: str = PLAIN) -> None:
    """Have this process's log on its standard error from INFO on.

    Args:
        layout: `PLAIN` or `TIMED`.

    """
    handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter(layout))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
