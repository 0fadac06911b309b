"""Runs what a pipeline declares by name, and is no dataflow: a source, a webhook. Each is a process of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

from dataflows.engine.environment import connected, pipeline_and_settings
from dataflows.engine.shutdown import Stop
from dataflows.run import exit_status
from tidemark.kafka import connect
from tidemark.pipeline import Pipeline
from tidemark.runtime.logs import log_to_stderr
from tidemark.runtime.settings import Settings

_log = logging.getLogger(__name__)


class Task(Protocol):
    """What runs until it is asked to stop."""

    def run(self) -> None:
        """Run it."""


_Task = TypeVar("_Task", bound=Task)


def run_named(
    kind: str,
    argv: list[str],
    task_of: Callable[[Pipeline, Settings, str, Stop], _Task],
    done: Callable[[_Task], str],
) -> int:
    """Run it until it is asked to stop.

    Args:
        kind: what it is: `source`. `dataflows.sources` is its program.
        argv: of the program: the pipeline file, and the name.
        task_of: makes the task.
        done: what is said of a task that has stopped.

    Returns:
        The exit status.

    """
    log_to_stderr()
    if len(argv) != 2:
        _log.error("usage: python -m dataflows.%ss PIPELINE %s", kind, kind.upper())
        return 2
    stop = Stop().on_signals()
    try:
        pipeline, settings = pipeline_and_settings(argv[0])
        task = task_of(pipeline, settings, argv[1], stop)
        connect(connected(settings))
        task.run()
    except Exception as error:
        status = exit_status(error)
        if status is None:
            raise
        return status
    _log.info("%s '%s' has stopped; %s", kind, argv[1], done(task))
    return 0
