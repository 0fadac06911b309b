"""Runs a source of a pipeline: `python -m dataflows.sources PIPELINE SOURCE`, as `tidemark run` and `up` do.

No dataflow: a source's records pass no operator on their way into the raw topic. The loop that reads, sends and commits
is `dataflows.engine.source_task`.
"""

from __future__ import annotations

if __name__ == "__main__":  # before what takes a second to import
    from tidemark.runtime import garbage_collection
    from tidemark.runtime.signals import take_signals

    take_signals()
    garbage_collection.after_imports()

import sys

from dataflows.engine.config import EngineConfig, commit_interval
from dataflows.engine.shutdown import Stop
from dataflows.engine.source_task import SourceTask
from dataflows.named_task import run_named
from tidemark.pipeline import Pipeline
from tidemark.pipeline.declared import declared
from tidemark.runtime.garbage_collection import from_now_on
from tidemark.runtime.settings import Settings


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
    spec = declared(pipeline, "source", pipeline.sources, name)
    config = EngineConfig(
        group=f"{pipeline.name}.source.{spec.name}", settings=settings, commit_interval=commit_interval()
    )
    return SourceTask(config, pipeline, spec, stop)


def main(argv: list[str]) -> int:
    """Run a source until it is asked to stop; the exit status."""
    return run_named("source", argv, task_of, lambda task: f"{task.counts.records} records are in Kafka")


if __name__ == "__main__":
    from_now_on()
    sys.exit(main(sys.argv[1:]))
