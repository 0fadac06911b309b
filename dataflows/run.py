"""Runs a flow in this process: `python -m dataflows.run FLOW PIPELINE`, as `tidemark run` and the supervisor do."""

from __future__ import annotations

import logging

import bytewax.run
from bytewax.dataflow import Dataflow

from dataflows.source import Sessions
from tidemark.errors import ConfigError, TidemarkError, TopicError
from tidemark.supervisor import NEEDS_A_PERSON

_log = logging.getLogger(__name__)


def run(flow: Dataflow, sessions: Sessions) -> int:
    """Run a flow until it is asked to stop; the exit status of the process.

    An expected error is told in its one sentence. A bug is left to raise. Either way the group is left at once.
    """
    try:
        bytewax.run.cli_main(flow)
    except Exception as error:
        cause = expected_cause(error)
        if cause is None:
            raise
        _log.error("%s", cause)
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
