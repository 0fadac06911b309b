"""Runs a source of a pipeline: `python -m dataflows.sources PIPELINE SOURCE`, as `tidemark run` and `up` do.

No dataflow: a source's records pass no operator on their way into the raw topic. The loop that reads, sends and commits
is `dataflows.engine.source_task`.
"""

from __future__ import annotations

if __name__ == "__main__":  # before what takes a second to import
    from tidemark.runtime.signals import take_signals

    take_signals()

import logging
import sys

from dataflows.engine.config import EngineConfig, commit_interval
from dataflows.engine.environment import connected, pipeline_and_settings
from dataflows.engine.shutdown import Stop
from dataflows.engine.source_task import SourceTask
from dataflows.run import exit_status
from tidemark.errors import ConfigError
from tidemark.kafka import connect
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import SourceSpec
from tidemark.runtime.logs import log_to_stderr
from tidemark.runtime.settings import Settings
from tidemark.runtime.suggestions import did_you_mean

_log = logging.getLogger(__name__)


def spec_of(pipeline: Pipeline, name: str) -> SourceSpec:
    """A source of a pipeline.

    Args:
        pipeline: whose sources are looked through.
        name: of the source.

    Returns:
        Its table of the file.

    Raises:
        ConfigError: there is none of this name.

    """
    found = [source for source in pipeline.sources if source.name == name]
    if not found:
        names = [source.name for source in pipeline.sources]
        remedy = did_you_mean(name, names) if names else "declare it in [[sources]]"
        raise ConfigError(f"pipeline '{pipeline.name}' has no source '{name[:60]}'; {remedy}")
    return found[0]


def task_of(pipeline: Pipeline, settings: Settings, name: str, stop: Stop) -> SourceTask:
    """The task of a source.

    Args:
        pipeline: that declares it.
        settings: that name the Kafka.
        name: of the source.
        stop: asks it to end.

    Returns:
        The task, not started.

    Raises:
        ConfigError: there is no such source, or it can't be made.

    """
    spec = spec_of(pipeline, name)
    config = EngineConfig(
        group=f"{pipeline.name}.source.{spec.name}", settings=settings, commit_interval=commit_interval()
    )
    return SourceTask(config, pipeline, spec, stop)


def main(argv: list[str]) -> int:
    """Run a source until it is asked to stop; the exit status."""
    log_to_stderr()
    if len(argv) != 2:
        _log.error("usage: python -m dataflows.sources PIPELINE SOURCE")
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
    _log.info("source '%s' has stopped; %d records are in Kafka", argv[1], task.counts.records)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
