"""An old model in force, and a damaged successor that tries to replace it: row F3 and its smaller test."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from benchmarks.models.mutations import Mutant, Mutator
from tidemark.errors import ModelError
from tidemark.pipeline import Pipeline
from tidemark.records import ModelManifest
from tidemark.registry.champion import ChampionKeeper
from tidemark.registry.codec import publish
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.registry.validate import structure_sha256
from tidemark.runtime.processor import Output
from tidemark.training.dataset import Dataset
from tidemark.training.gate import Verdict
from tidemark.training.manifest import describe
from tidemark.training.trainer import TrainedModel, train

_LABELS: Final = 600
_PROBES: Final = 2_000

_STAGES: Final = (
    ("record of the manifest or champion", r"header 'digest'|is refused:|no version, chunk|is of model"),
    ("chunks, size, SHA-256", r"chunks|bytes of at most|SHA-256|manifest is not in the topic|not UTF-8"),
    ("manifest against schema", r"it takes|its classes|of the schema|golden rows with|other widths|golden scores have"),
    ("strict parse", r"model text, line|the objective is|has no trees"),
    ("sandbox died", r"LightGBM (died|did not answer)"),
    ("LightGBM's refusal", r"LightGBM refuses"),
    ("golden rows", r"golden row \d+ scores|gives golden rows"),
    ("structure's digest", r"structure_sha256"),
)


def model_of(schema: ModelSchema, version: str, seed: int) -> tuple[TrainedModel, ModelManifest]:
    """A model of made-up labels, as retraining would publish it."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(_LABELS, len(schema.features)))
    target = (features[:, :5].sum(axis=1) + rng.normal(size=_LABELS) > 0).astype(np.int64)
    features[rng.random(features.shape) < 0.05] = np.nan
    ids = tuple(f"raw-0-{index}-00000000" for index in range(_LABELS))
    rows = Dataset(features, target, ids, np.arange(_LABELS), 1)
    model = train(rows, schema)
    manifest = describe(
        model,
        rows,
        schema=schema,
        version=version,
        parent=None,
        created_at=1,
        trained_on=[],
        verdict=Verdict(passed=True, reason="first champion", metric="log_loss"),
    )
    return model, manifest


@dataclass
class Outcome:
    """What became of mutants.

    refused: by the check that noticed.  served: in force though it predicts otherwise than what was published.
    harmless: in force, and equal in every split, leaf and count: gains, parameters or comments were changed.
    by_damage: of the served and harmless ones.  broken: times the old model did not answer as before.
    """

    refused: Counter[str] = field(default_factory=Counter)
    served: int = 0
    harmless: int = 0
    by_damage: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    unnamed: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """Mutants in all."""
        return sum(self.refused.values()) + self.served + self.harmless


def stage(reason: str) -> str:
    """The check that gave this reason."""
    return next((name for name, pattern in _STAGES if re.search(pattern, reason)), "other")


class Trial:
    """An old model in force, and a successor whose mutants try to replace it."""

    def __init__(self, pipeline: Pipeline, sandbox: Sandbox, *, secret: bytes | None = None) -> None:
        schema = ModelSchema.of(pipeline)
        topic = pipeline.topics.models
        model, manifest = model_of(schema, "v000001-00000000", 1)
        successor, described = model_of(schema, "v000002-00000000", 2)
        described = msgspec.structs.replace(described, parent=manifest.version)
        self.mutator = Mutator(described, successor.text, model.text, topic)
        self.outcome = Outcome()
        self._old_records = publish(manifest, model.text, topic=topic, secret=secret)
        self._published = successor.structure_sha256
        self.width = len(schema.features)
        self._probe = np.random.default_rng(9).normal(size=(_PROBES, len(schema.features)))
        self._sandbox = sandbox
        self._reasons: list[str] = []
        self._keeper = ChampionKeeper(schema, secret, lambda _, reason: self._reasons.append(reason))
        self._feed(self._old_records)
        self._keeper.adopt(sandbox)
        if self._keeper.current is None:
            raise ModelError(f"the undamaged model is refused: {self._reasons}")
        self._old: ActiveModel = self._keeper.current
        self._before = self._old.probabilities(self._probe)
        accepted = self.attempt(publish(described, successor.text, topic=topic, secret=secret))
        if accepted is None:
            raise ModelError(f"the undamaged successor is refused: {self._reasons}")
        self._answers = accepted.probabilities(self._probe)

    def attempt(self, outputs: list[Output]) -> ActiveModel | None:
        """The model that a publication brings in force, None if it is refused. The old model is put back."""
        self._reasons.clear()
        self._keeper.start_over()
        self._feed(self._old_records)
        self._feed(outputs)
        self._keeper.adopt(self._sandbox)
        current = self._keeper.current
        self._keeper.current = self._old
        return None if current is self._old else current

    def run(self, mutant: Mutant) -> str:
        """Try one mutant; the check that refused it, `served` or `harmless`."""
        accepted = self.attempt(mutant.outputs)
        if accepted is None:
            reason = self._reasons[0] if self._reasons else "no reason"
            name = stage(reason)
            self.outcome.refused[name] += 1
            if name == "other":
                self.outcome.unnamed.append(f"{mutant.how}: {reason}")
            self._check_old()
            return name
        same = self._equal(accepted)
        self.outcome.by_damage[mutant.how] += 1
        if same:
            self.outcome.harmless += 1
        else:
            self.outcome.served += 1
        self._check_old()
        return "harmless" if same else "served"

    def _equal(self, model: ActiveModel) -> bool:
        same = structure_sha256(model.forest.model) == self._published
        return same and bool(np.array_equal(model.probabilities(self._probe), self._answers))

    def _check_old(self) -> None:
        if not np.array_equal(self._old.probabilities(self._probe), self._before):
            self.outcome.broken += 1

    def _feed(self, outputs: list[Output]) -> None:
        for output in outputs:
            self._keeper.take(output.key, output.value, output.headers, "record")
