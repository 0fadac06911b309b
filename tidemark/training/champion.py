"""The champion of a pipeline file: what `P.models` holds, and what is about to be published in an open transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from tidemark.errors import ModelError
from tidemark.pipeline import Pipeline
from tidemark.records import NO_MODEL, Metric, ModelManifest
from tidemark.registry.codec import Registry, publish
from tidemark.registry.news import model_metric
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.registry.validate import Validator
from tidemark.runtime.processor import Output, Partition

_log = logging.getLogger(__name__)
FLOW: Final = "retrain"
KEPT_MODELS: Final = 50
"""Models whose text stays in the topic."""


class ChampionPublisher:
    """Knows the champion in force, and publishes the next.

    read_registry: what `P.models` holds (committed records).  secret: key that models are signed with.  sandbox: where
    models are checked, the caller's to close; by default a helper is started for each check.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        schema: ModelSchema,
        *,
        read_registry: Callable[[], Registry],
        secret: bytes | None,
        sandbox: Sandbox | None,
    ) -> None:
        self._topic = pipeline.topics.models
        self._schema = schema
        self._read_registry = read_registry
        self._secret = secret
        self._sandbox = sandbox
        self.registry = Registry(secret)
        self.champion: ActiveModel | None = None
        self._pending: list[tuple[str, list[Output]]] = []
        self._before: tuple[str, ActiveModel | None] | None = None
        self._news: list[Metric] = []
        self._told: list[tuple[str, str | None]] = []

    @property
    def version(self) -> str | None:
        """The champion's version; None: there is none."""
        return self.champion.manifest.version if self.champion else None

    def open(self) -> None:
        """Begin anew with what the topic holds."""
        self._pending, self._news, self._told = [], [], []
        self.refresh(0)

    def refresh(self, now: int) -> None:
        """What the topic holds now, and after it what we are about to publish. now: the log's time, µs."""
        registry = self._read_registry()
        self._pending = [each for each in self._pending if each[0] not in registry.manifests]
        for _, outputs in self._pending:
            registry.feed_outputs(outputs)
        self.registry = registry
        if registry.champion is None or registry.champion.version != self.version:
            self.champion = self._checked(now)
            self._note(now)

    def publish(self, manifest: ModelManifest, text: str) -> list[Output]:
        """Make a model the champion.

        Args:
            manifest: of the model.
            text: the model's.

        Returns:
            Its records, and those that retire old models.

        Raises:
            ModelError: it does not pass the checks that all who serve it make.

        """
        outputs = publish(manifest, text, topic=self._topic, secret=self._secret)
        with self._checking() as sandbox:
            checked = Validator(self._schema, sandbox).check_outputs(outputs, manifest.version, self._secret)
        champion = ActiveModel(checked)
        if self.champion is not None and self.champion.version == manifest.parent:
            self._before = self.champion.version, self.champion
        self.champion = champion
        self.registry.feed_outputs(outputs)
        self._pending.append((manifest.version, outputs))
        return [*outputs, *self.registry.retire(self._topic, KEPT_MODELS)]

    @property
    def replaced(self) -> ActiveModel | None:
        """The model that the champion replaced, if it still serves this pipeline file and its text is kept."""
        version = None if self.champion is None else self.champion.manifest.parent
        if version is None or version not in self.registry.manifests:
            return None
        if self._before is None or self._before[0] != version:
            try:
                with self._checking() as sandbox:
                    checked = Validator(self._schema, sandbox).check(self.registry, version)
                self._before = version, ActiveModel(checked)
            except ModelError as error:
                _log.info("model %s is not compared with the one before it: %s", self.version, error)
                self._before = version, None
        return self._before[1]

    def learnt_until(self, partition: Partition) -> int:
        """Offset up to which models have learnt, for a group that has lost its commits: history isn't retrained."""
        return max(
            (
                each.end
                for manifest in self.registry.manifests.values()
                for each in manifest.trained_on
                if each.topic == partition.topic and each.incarnation == partition.incarnation
            ),
            default=0,
        )

    def news(self) -> list[Metric]:
        """What people have not been told yet: which champion counts here, or what is refused."""
        news, self._news = self._news, []
        return news

    def _checked(self, now: int) -> ActiveModel | None:
        """Newest champion that passes every check."""
        with self._checking() as sandbox:
            validator = Validator(self._schema, sandbox)
            for version in self.registry.candidates():
                try:
                    return ActiveModel(validator.check(self.registry, version))
                except ModelError as error:
                    if self._note(now, refused=version, reason=str(error)):
                        _log.error("a champion is refused: %s", error)
        return None

    def _note(self, now: int, refused: str | None = None, reason: str = "") -> bool:
        """Tell people with the next outputs which champion counts here, or what is refused; False if that is told."""
        version = self.version or NO_MODEL
        news = version, refused
        if news in self._told or (refused is None and version == NO_MODEL):
            return False
        self._told = [each for each in self._told if each[0] == version] + [news]
        self._news.append(model_metric(FLOW, version, refused=refused, reason=reason, at=now))
        return True

    def _checking(self) -> AbstractContextManager[Sandbox]:
        return Sandbox() if self._sandbox is None else nullcontext(self._sandbox)
