"""The bridge as a part of a pipeline's status: what its ledger on this machine tells."""

from __future__ import annotations

from typing import Final

from labeling_grpc.label_studio.declared import ledger_path
from labeling_grpc.label_studio.ledger import look
from tidemark.errors import ConfigError
from tidemark.observe.status_record import LabelStudioStatus
from tidemark.pipeline import Pipeline
from tidemark.runtime.settings import Settings
from tidemark.runtime.web_addresses import web_address

SILENT: Final = 180.0
"""Seconds after which a bridge that has not looked is taken for one that does not run: it looks once a minute."""


def bridge_status(pipeline: Pipeline, settings: Settings, now: float) -> LabelStudioStatus | None:
    """How the bridge of a pipeline fares.

    Args:
        pipeline: that declares it.
        settings: that name the state's folder.
        now: seconds since 1970.

    Returns:
        What is known on this machine; None where the pipeline declares no bridge.

    """
    spec = pipeline.label_studio
    if spec is None or spec.project is None:
        return None
    address, path = web_address(spec.url).origin, ledger_path(settings, pipeline.name)
    if not path.exists():
        return LabelStudioStatus(address=address, project=spec.project, runs=False, most=spec.offered)
    try:
        seen = look(path, 0)
    except ConfigError as error:
        return LabelStudioStatus(
            address=address, project=spec.project, runs=False, most=spec.offered, problem=str(error)
        )
    return LabelStudioStatus(
        address=address,
        project=spec.project,
        runs=seen.runs and seen.at is not None and now - seen.at < SILENT,
        most=spec.offered,
        offered=seen.held,
        taken=seen.taken,
        refused=seen.refused,
        reached=seen.reached,
        failing_since=seen.failing_since,
        problem=seen.problem,
        at=seen.at,
    )
