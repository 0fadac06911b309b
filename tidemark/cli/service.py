"""The labeling service that runs here: a command says at once where there is none, in place of trying again."""

from __future__ import annotations

from typing import Final

from tidemark.errors import LabelingError
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings

PATIENCE: Final = 3.0
"""Seconds for which a command that asks once tries to reach a service that has told its address."""


def runs_here(pipeline: str, file: str) -> None:
    """Refuse where no labeling service of a pipeline has told its address on this machine.

    Args:
        pipeline: its name.
        file: its file, for the error; its name where only that is known.

    Raises:
        LabelingError: none has.

    """
    from labeling_grpc.options import find

    try:
        find(Settings.from_environment(), pipeline)
    except LabelingError as error:
        raise LabelingError(
            f"pipeline '{safe(pipeline)}' is not started yet: no labeling service of it runs here; "
            f"`tidemark up {safe(file)}` starts it, or name another machine's with --address"
        ) from error
