"""Runs a flow in this process, as `tidemark run FLOW` and the supervisor do."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable
from typing import Final, Literal

from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

from dataflows.source import Sessions
from tidemark.errors import ConfigError, TidemarkError, TopicError

FlowName = Literal["stream", "select", "retrain", "monitor"]
FLOWS: Final[tuple[FlowName, ...]] = ("stream", "select", "retrain", "monitor")
PIPELINE: Final = "TIDEMARK_PIPELINE"
NEEDS_A_PERSON: Final = 78
"""Exit status (EX_CONFIG of sysexits.h): starting again won't help before someone has mended what the message says."""

_log = logging.getLogger(__name__)


def run(flow: Dataflow, sessions: Sessions) -> int:
    """Run a flow until it is asked to stop; the exit status of the process.

    An expected error is told in its one sentence. A bug is left to raise. Either way the group is left at once.
    """
    try:
        run_main(flow)
    except Exception as error:
        cause = expected_cause(error)
        if cause is None:
            raise
        _log.error("%s", cause)  # noqa: TRY400 the sentence is for a person; the traceback would hide it
        return NEEDS_A_PERSON if isinstance(cause, ConfigError | TopicError) else 1
    finally:
        sessions.abandon()
    return 0


def expected_cause(error: BaseException | None) -> TidemarkError | None:
    """The product's own error that Bytewax has wrapped, None if there is none."""
    while error is not None:
        if isinstance(error, TidemarkError):
            return error
        error = error.__cause__ or error.__context__
    return None
