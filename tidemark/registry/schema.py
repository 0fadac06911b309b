"""What a model of a pipeline must take and give."""

from __future__ import annotations

from dataclasses import dataclass

from tidemark.pipeline import Pipeline, schema_hash


@dataclass(frozen=True, slots=True)
class ModelSchema:
    """What a model of a pipeline takes and gives.

    features: columns in order.  classes: in order; a binary model gives the probability of the second.
    hash: of everything that decides what a feature means; another hash is another pipeline.
    """

    features: tuple[str, ...]
    classes: tuple[str, ...]
    hash: str

    @classmethod
    def of(cls, pipeline: Pipeline) -> ModelSchema:
        """Schema of a pipeline's models."""
        return cls(tuple(pipeline.feature_names), tuple(pipeline.label.classes), schema_hash(pipeline))

    @property
    def objectives(self) -> tuple[str, ...]:
        """LightGBM objectives that give probabilities of these classes."""
        return ("binary",) if len(self.classes) == 2 else ("multiclass", "multiclassova")
