"""Runs a webhook of a pipeline: `python -m dataflows.webhooks PIPELINE WEBHOOK`, as `tidemark webhook run` and `up` do.

No dataflow, for a receiver may take a day to answer. Each webhook is a process of its own, so that none holds up
another. The loop that reads, sends and commits is `dataflows.engine.webhook_task`.
"""

from __future__ import annotations

if __name__ == "__main__":  # before what takes a second to import
    from tidemark.runtime.signals import take_signals

    take_signals()

import logging
import sys

from dataflows.engine.config import EngineConfig
from dataflows.engine.environment import connected, pipeline_and_settings
from dataflows.engine.shutdown import Stop
from dataflows.engine.webhook_task import WebhookTask
from dataflows.run import exit_status
from tidemark.kafka import connect
from tidemark.pipeline.model import Pipeline
from tidemark.registry.signature import signing_key
from tidemark.runtime.logs import log_to_stderr
from tidemark.runtime.settings import Settings
from tidemark.webhooks.declared import requests_of, spec_of

_log = logging.getLogger(__name__)


def task_of(pipeline: Pipeline, settings: Settings, name: str, stop: Stop) -> WebhookTask:
    """The task of a webhook.

    Args:
        pipeline: that declares it.
        settings: that name the Kafka.
        name: of the webhook.
        stop: asks it to end.

    Returns:
        The task, not started.

    Raises:
        ConfigError: there is no such webhook, or its secret can't be had.

    """
    spec = spec_of(pipeline, name)
    requests = requests_of(pipeline, spec)
    stop.then(requests.cancel)
    return WebhookTask(
        EngineConfig(group=f"{pipeline.name}.webhook.{spec.name}", settings=settings),
        pipeline,
        spec,
        stop,
        requests,
        secret=signing_key(),
    )


def main(argv: list[str]) -> int:
    """Run a webhook until it is asked to stop; the exit status."""
    log_to_stderr()
    if len(argv) != 2:
        _log.error("usage: python -m dataflows.webhooks PIPELINE WEBHOOK")
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
    _log.info("webhook '%s' has stopped; %d deliveries wait", argv[1], len(task.outbox))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
