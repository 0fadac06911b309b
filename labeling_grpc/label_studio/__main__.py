"""`python -m labeling_grpc.label_studio PIPELINE`: the bridge of a pipeline to Label Studio, until it is stopped."""

from __future__ import annotations

if __name__ == "__main__":  # before what takes a second to import
    from tidemark.runtime.signals import take_signals

    take_signals()

import logging
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final

from labeling_grpc.client import UnreachableError
from labeling_grpc.label_studio.api import AwayError, DeniedError, LabelStudioApi
from labeling_grpc.label_studio.bridge import Bridge, Pace
from labeling_grpc.label_studio.declared import (
    Clients,
    api_of,
    check_project,
    ledger_path,
    names_of,
    project_of,
    register_webhook,
    secret_of,
    spec_of,
)
from labeling_grpc.label_studio.hints import Hints, listening
from labeling_grpc.label_studio.ledger import Ledger
from labeling_grpc.label_studio.offering import Offering, Terms
from labeling_grpc.label_studio.settling import Settler
from labeling_grpc.label_studio.tasks import TaskMaker
from labeling_grpc.security.masks import masks
from labeling_grpc.security.roles import Role
from tidemark.errors import ConfigError, TidemarkError
from tidemark.pipeline import Pipeline, load
from tidemark.pipeline.checked import CheckedTexts
from tidemark.pipeline.loading import in_folder
from tidemark.pipeline.model import LabelStudioSpec
from tidemark.runtime.listen_addresses import parted
from tidemark.runtime.logs import log_to_stderr
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings
from tidemark.runtime.signals import take_signals

log = logging.getLogger(__name__)

_AGAIN: Final = 5.0
"""Seconds after which it is tried again to begin, while one of the two services is away."""


class Asked:
    """Whether it was asked to stop."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints
        self.api: LabelStudioApi | None = None
        self.to_stop = False

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """End what waits, or is asked of Label Studio."""
        self.to_stop = True
        self._hints.wake()
        if self.api is not None:
            self.api.cancel()


def bridge_of(
    pipeline: Pipeline, spec: LabelStudioSpec, api: LabelStudioApi, clients: Clients, ledger: Ledger, hints: Hints
) -> Bridge:
    """The bridge, put together.

    Args:
        pipeline: whose cases it offers.
        spec: how.
        api: of Label Studio.
        clients: of the labeling service, identified.
        ledger: what it remembers.
        hints: of webhooks.

    Returns:
        It, which has asked nothing yet.

    """
    names, lease = names_of(pipeline, spec), spec.lease / 1e6
    settler = Settler(pipeline.name, names, api, clients, ledger)
    make = TaskMaker(pipeline, names, masks(pipeline).get(Role.ANNOTATOR))
    project = project_of(spec)
    offering = Offering(Terms(project, spec.offered, lease), api, clients.queue, ledger, make, settler.settle)
    pace = Pace(poll=spec.poll / 1e6, renew=min(lease / 4, 60.0), lease=lease)
    return Bridge(project, pace, api, ledger, settler, offering, hints)


def run(pipeline: Pipeline, settings: Settings) -> None:
    """Run the bridge of a pipeline until SIGTERM or SIGINT.

    Args:
        pipeline: that declares it.
        settings: that name the state's folder.

    Raises:
        ConfigError: it is declared wrongly, or the project is not as it must be.

    """
    spec, hints = spec_of(pipeline), Hints()
    project = project_of(spec)
    asked = Asked(hints)
    take_signals(asked.stop)
    with ExitStack() as stack:
        api = asked.api = api_of(pipeline, spec)
        clients = Clients(pipeline.name, settings)
        stack.callback(clients.close)
        ledger = stack.enter_context(Ledger(ledger_path(settings, pipeline.name), f"{api.origin} {spec.url} {project}"))
        stack.callback(ledger.stopped)
        _listen(stack, pipeline, spec, hints)
        while not asked.to_stop and not _begun(pipeline, spec, api, clients, ledger):
            hints.wait(_AGAIN)
        if asked.to_stop:
            return
        log.info("cases of %s are offered in project %d of %s", pipeline.name, project, api.origin)
        bridge_of(pipeline, spec, api, clients, ledger, hints).run(lambda: asked.to_stop)


def _listen(stack: ExitStack, pipeline: Pipeline, spec: LabelStudioSpec, hints: Hints) -> None:
    if spec.listen is None:
        return
    try:
        port = stack.enter_context(listening(parted(spec.listen), secret_of(pipeline, spec), hints))
    except OSError as error:
        raise ConfigError(f"[label_studio]: can't listen on {spec.listen}: {error.strerror or error}") from error
    log.info("webhooks of Label Studio arrive at port %d", port)


def _begun(pipeline: Pipeline, spec: LabelStudioSpec, api: LabelStudioApi, clients: Clients, ledger: Ledger) -> bool:
    """Whether both services answer, and all is as it must be; what is not stands in the ledger."""
    try:
        project = project_of(spec)
        clients.identify()
        check_project(api.project(project), names_of(pipeline, spec))
        if spec.webhook_url is not None:
            register_webhook(api, project, spec.webhook_url, secret_of(pipeline, spec)().strip())
    except DeniedError as error:
        ledger.fared(time.time(), safe(str(error)))
        raise ConfigError(safe(str(error))) from error
    except ConfigError as error:
        ledger.fared(time.time(), safe(str(error)))
        raise
    except (AwayError, UnreachableError) as error:
        ledger.fared(time.time(), safe(str(error)))
        log.warning("%s; it is tried again", safe(str(error)))
        return False
    return True


def main(path: str) -> int:
    """Run the bridge of the pipeline in a file; the exit status."""
    log_to_stderr()
    try:
        settings = Settings.from_environment()
        pipeline = load(path, CheckedTexts.of(settings.cache_dir))
        folder = os.environ.get("TIDEMARK_PIPELINE_FOLDER")
        run(in_folder(pipeline, Path(folder)) if folder else pipeline, settings)
    except TidemarkError as error:
        log.error("%s", safe(str(error), lines=True))  # noqa: TRY400 - for the person who started it
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m labeling_grpc.label_studio PIPELINE.toml")
    sys.exit(main(sys.argv[1]))
