"""What people do to models, from the command line and in the console: put one in force again, pin a champion."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tidemark.errors import ModelError
from tidemark.pipeline import Pipeline
from tidemark.records import ModelManifest
from tidemark.registry.codec import Registry
from tidemark.registry.promotion import in_force, pinned, promoted
from tidemark.registry.reading import read_registry
from tidemark.registry.signature import signing_key
from tidemark.registry.writing import checked, write_models
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings

T = TypeVar("T")


def registry_of(settings: Settings, pipeline: Pipeline) -> Registry:
    """What a pipeline's models topic holds, by all that is committed now."""
    return read_registry(settings, pipeline.topics.models, secret=signing_key(), settled=True)


def promote(
    settings: Settings,
    pipeline: Pipeline,
    choose: Callable[[Registry], ModelManifest],
    *,
    by: str,
    pin: bool = False,
    dry_run: bool = False,
) -> ModelManifest:
    """Put a model in force again.

    Args:
        settings: that name the Kafka.
        pipeline: whose model it is.
        choose: gives its manifest, of what the topic holds when it is written.
        by: who wants it: it stands in the copy's decision.
        pin: let no later model replace it.
        dry_run: write nothing.

    Returns:
        The manifest of the copy that is champion now.

    Raises:
        ModelError: it can't be, and why.

    """

    def compose(registry: Registry) -> tuple[list[Output], ModelManifest]:
        copy, outputs = promoted(registry, choose(registry), by=by, at=_now(), topic=pipeline.topics.models)
        checked(pipeline, outputs, copy.version, registry.secret)
        return [*outputs, *([_pin(pipeline, copy.version, by)] if pin else [])], copy

    return _write(settings, pipeline, compose, dry_run=dry_run)


def pin_champion(settings: Settings, pipeline: Pipeline, *, by: str, dry_run: bool = False) -> str:
    """Keep the champion in force.

    Args:
        settings: that name the Kafka.
        pipeline: whose champion it is.
        by: who wants it.
        dry_run: write nothing.

    Returns:
        Its version.

    Raises:
        ModelError: there is none, or it is pinned already.

    """

    def compose(registry: Registry) -> tuple[list[Output], str]:
        champion = in_force(registry).version
        if registry.pinned is not None:
            raise ModelError(f"{champion} is pinned already, by {registry.pinned.by}")
        return [_pin(pipeline, champion, by)], champion

    return _write(settings, pipeline, compose, dry_run=dry_run)


def unpin_champion(settings: Settings, pipeline: Pipeline, *, by: str, dry_run: bool = False) -> None:
    """Let a later model replace the champion again.

    Args:
        settings: that name the Kafka.
        pipeline: whose champion it is.
        by: who wants it.
        dry_run: write nothing.

    Raises:
        ModelError: no champion is pinned.

    """

    def compose(registry: Registry) -> tuple[list[Output], None]:
        if registry.pinned is None:
            raise ModelError("no champion is pinned")
        return [_pin(pipeline, None, by)], None

    _write(settings, pipeline, compose, dry_run=dry_run)


def _write(
    settings: Settings, pipeline: Pipeline, compose: Callable[[Registry], tuple[list[Output], T]], *, dry_run: bool
) -> T:
    if dry_run:
        return compose(registry_of(settings, pipeline))[1]
    return write_models(settings, pipeline, compose, secret=signing_key())


def _pin(pipeline: Pipeline, version: str | None, by: str) -> Output:
    return pinned(version, by=by, at=_now(), topic=pipeline.topics.models, secret=signing_key())


def _now() -> int:
    return time.time_ns() // 1_000
