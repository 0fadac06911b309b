"""The models that a prediction may name, parsed once; and which of them learned from a label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidemark.errors import ModelError
from tidemark.lineage.story import ContributionPart, ModelPart
from tidemark.pipeline import Pipeline
from tidemark.records import Label, ModelManifest
from tidemark.registry.codec import Registry
from tidemark.registry.reading import read_registry
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel, active
from tidemark.registry.signature import signing_key
from tidemark.runtime.settings import Settings


class Models:
    """Models of one pipeline, as its topic has them."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._schema = ModelSchema.of(pipeline)
        self._registry: Registry | None = None
        self._made: dict[str, ActiveModel] = {}

    def refresh(self) -> None:
        """Look at the topic anew.

        Raises:
            TopicError: there is no such topic.
            BrokerError: Kafka does not answer.

        """
        self._registry = read_registry(self._settings, self._pipeline.topics.models, secret=signing_key())

    def named(self, version: str) -> ActiveModel:
        """The model of a version.

        Raises:
            ModelError: its text is gone, it can't be read, or the pipeline no longer computes what it takes.

        """
        if version not in self._made:
            if self._registry is None or not self._registry.has_text(version):
                self.refresh()
            self._made[version] = self._parsed(version)
        return self._made[version]

    def learned(self, label: Label, offset: int, incarnation: str) -> list[ModelPart]:
        """Models that learned from a label.

        Args:
            label: of `P.labels`.
            offset: of its record.
            incarnation: of the topic.

        Returns:
            They, oldest first.

        """
        if self._registry is None:
            self.refresh()
        manifests = [] if self._registry is None else list(self._registry.manifests.values())
        found = [
            manifest
            for manifest in manifests
            if label.known_at <= manifest.known_until
            and ModelSchema.of_manifest(manifest).answer(label.label or "") is not None
            and any(
                part.topic == self._pipeline.topics.labels
                and part.start <= offset < part.end
                and part.incarnation in {"", incarnation}
                for part in manifest.trained_on
            )
        ]
        found.sort(key=lambda manifest: (manifest.created_at, manifest.version))
        return [_part(manifest) for manifest in found]

    def contributions(self, version: str, features: NDArray[np.float64]) -> tuple[float, list[ContributionPart]]:
        """What each feature adds to the number, or to the positive class's raw score, largest first, and its beginning.

        Args:
            version: of the model.
            features: (1, features of the pipeline).

        Returns:
            Both.

        Raises:
            ModelError: as `named`.

        """
        model = self.named(version)
        row, names = model.own(features)[0], model.manifest.features
        parts = model.contributions(features, self._pipeline.label.positive)
        if parts is None:
            return 0.0, []
        order = np.argsort(-np.abs(parts[:-1]), kind="stable").tolist()
        return float(parts[-1]), [
            ContributionPart(
                name=names[at], value=float(row[at]) if np.isfinite(row[at]) else None, contribution=float(parts[at])
            )
            for at in order
        ]

    def _parsed(self, version: str) -> ActiveModel:
        registry = self._registry
        if registry is None or version not in registry.manifests:
            raise ModelError(f"the model {version} is no longer in {self._pipeline.topics.models}")
        return active(registry, version, self._schema)


def _part(manifest: ModelManifest) -> ModelPart:
    return ModelPart(
        version=manifest.version, made=manifest.created_at, promoted=manifest.promoted, labels=manifest.used
    )
