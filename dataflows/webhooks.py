"""Runs a webhook of a pipeline: `python -m dataflows.webhooks PIPELINE WEBHOOK`, as `tidemark webhook run` and `up` do.

No dataflow, for a receiver may take a day to answer. Each webhook is a process of its own, so that none holds up
another. The loop that reads, sends and commits is `dataflows.engine.webhook_task`.
"""

from __future__ import annotations

if __name__ == "__main__":  # before what takes a second to import
    from tidemark.runtime import garbage_collection
    from tidemark.runtime.signals import take_signals

    take_signals()
    garbage_collection.after_imports()

import sys

from dataflows.engine.config import EngineConfig
from dataflows.engine.shutdown import Stop
from dataflows.engine.webhook_task import WebhookTask
from dataflows.named_task import run_named
from tidemark.pipeline.model import Pipeline
from tidemark.registry.signature import signing_key
from tidemark.runtime.garbage_collection import from_now_on
from tidemark.runtime.settings import Settings
from tidemark.webhooks.declared import requests_of, spec_of


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
    return run_named("webhook", argv, task_of, lambda task: f"{len(task.outbox)} deliveries wait")


if __name__ == "__main__":
    from_now_on()
    sys.exit(main(sys.argv[1:]))
