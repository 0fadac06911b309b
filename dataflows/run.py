"""Runs a flow in this process: `python -m dataflows.run FLOW PIPELINE`, as `tidemark run` and the supervisor do."""

from __future__ import annotations

if __name__ == "__main__":  # before what takes a second to import
    import os

    from tidemark.runtime import garbage_collection
    from tidemark.runtime.signals import take_signals

    take_signals()
    garbage_collection.after_imports()
    # Matrices are small: more threads than one cost up to half of the processor's time of a training, and save none.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import logging
import pkgutil
import sys

import bytewax.run
from bytewax.dataflow import Dataflow

from dataflows.engine.environment import connected, pipeline_and_settings
from dataflows.engine.shutdown import Stop
from dataflows.engine.source import Sessions
from tidemark.errors import ConfigError, TidemarkError, TopicError
from tidemark.flows import FLOWS, FlowSpec
from tidemark.kafka import connect
from tidemark.pipeline import Pipeline
from tidemark.runtime.garbage_collection import from_now_on
from tidemark.runtime.logs import log_to_stderr
from tidemark.runtime.settings import Settings
from tidemark.supervisor import NEEDS_A_PERSON

_log = logging.getLogger(__name__)


def run(flow: Dataflow, sessions: Sessions) -> int:
    """Run a flow until it is asked to stop; the exit status of the process.

    An expected error is told in its one sentence. A bug is left to raise. Either way the group is left at once.
    """
    try:
        bytewax.run.cli_main(flow)
    except Exception as error:
        status = exit_status(error)
        if status is None:
            raise
        return status
    finally:
        sessions.abandon()
    return 0


def built(spec: FlowSpec, pipeline: Pipeline, settings: Settings, stop: Stop) -> tuple[Dataflow, Sessions]:
    """A flow of the registry over a pipeline.

    Args:
        spec: of the flow.
        pipeline: whose topics it reads.
        settings: that name the Kafka.
        stop: asks it to end.

    Returns:
        The flow, and the sessions that it will have.

    Raises:
        ConfigError: the function that the spec names is not there, or gives something else.

    """
    try:
        over = pkgutil.resolve_name(spec.over)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"flow '{spec.name}': {spec.over} can't be imported ({error}); mend its FlowSpec") from error
    match over(pipeline, settings, stop):
        case (Dataflow() as flow, Sessions() as sessions):
            return flow, sessions
    raise ConfigError(f"flow '{spec.name}': {spec.over} must return (Dataflow, Sessions), as dataflows.stream:over")


def exit_status(error: BaseException) -> int | None:
    """Tell an expected error in its one sentence: the exit status of the process. None for a bug, which is not told."""
    cause = expected_cause(error)
    if cause is None:
        return None
    _log.error("%s", cause)
    return NEEDS_A_PERSON if isinstance(cause, ConfigError | TopicError) else 1


def expected_cause(error: BaseException | None) -> TidemarkError | None:
    """The product's own error that Bytewax has wrapped, None if there is none."""
    while error is not None:
        if isinstance(error, TidemarkError):
            return error
        error = error.__cause__ or error.__context__
    return None


def main(argv: list[str]) -> int:
    """Run the flow named first over the pipeline whose file is named second; the exit status."""
    log_to_stderr()
    if len(argv) != 2 or argv[0] not in FLOWS.names():
        _log.error("usage: python -m dataflows.run %s PIPELINE", "|".join(FLOWS.names()))
        return 2
    stop = Stop().on_signals()
    try:
        spec = FLOWS.get(argv[0])
        pipeline, settings = pipeline_and_settings(argv[1])
        flow, sessions = built(spec, pipeline, settings, stop)
        from_now_on()
        connect(connected(settings))  # here: what fails in Bytewax is told with a Rust panic before its sentence
    except Exception as error:
        status = exit_status(error)
        if status is None:
            raise
        return status
    return run(flow, sessions)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
