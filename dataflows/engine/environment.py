"""What a flow's process is told by its environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bytewax.dataflow import Dataflow

from dataflows.engine.shutdown import Stop
from tidemark.broker import resolve_bootstrap
from tidemark.errors import ConfigError, TidemarkError
from tidemark.pipeline import Pipeline, load
from tidemark.pipeline.checked import CheckedTexts
from tidemark.pipeline.loading import in_folder
from tidemark.runtime.settings import Settings

PIPELINE: Final = "TIDEMARK_PIPELINE"
FOLDER: Final = "TIDEMARK_PIPELINE_FOLDER"


def connected(settings: Settings) -> Settings:
    """Settings that name the Kafka: the one that they name already, else the embedded one that runs.

    Raises:
        BrokerError: no Kafka runs.

    """
    return settings.at(resolve_bootstrap(settings))


def pipeline_and_settings(path: str | None = None) -> tuple[Pipeline, Settings]:
    """The pipeline in a file, by default the one that `TIDEMARK_PIPELINE` names, and the settings of the environment.

    Nothing is asked of Kafka, which need not run.

    Raises:
        ConfigError: the variable is not set, or the file is wrong.

    """
    path = path or os.environ.get(PIPELINE)
    if not path:
        raise ConfigError(f"{PIPELINE} is not set: name the pipeline's file, {PIPELINE}=pipelines/fraud.toml")
    settings = Settings.from_environment()
    pipeline = load(path, CheckedTexts.of(settings.cache_dir))
    folder = os.environ.get(FOLDER)
    return (in_folder(pipeline, Path(folder)) if folder else pipeline), settings


def of_environment(over: Callable[[Pipeline, Settings, Stop], tuple[Dataflow, object]]) -> Dataflow:
    """The flow of `TIDEMARK_PIPELINE`, as Bytewax's own commands (`bytewax.run`, `bytewax.visualize`) ask for it.

    Args:
        over: makes the flow over a pipeline.

    Returns:
        The flow.

    Raises:
        SystemExit: there is no such pipeline; says what to do, where Bytewax would show a traceback.

    """
    try:
        pipeline, settings = pipeline_and_settings()
        return over(pipeline, settings, Stop().on_signals())[0]
    except TidemarkError as error:
        raise SystemExit(str(error)) from None
