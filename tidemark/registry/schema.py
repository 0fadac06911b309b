"""What a model of a pipeline must take and give, and whether a model of an earlier pipeline file still does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tidemark.errors import ModelError
from tidemark.pipeline import Pipeline, schema_hash
from tidemark.pipeline.definitions import feature_ids
from tidemark.pipeline.numbers import number_within
from tidemark.records import ModelManifest

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class ModelSchema:
    """What a model of a pipeline takes and gives.

    features: columns in order.  classes: in order; a binary model gives the probability of the second.
    hash: of the pipeline file's features and classes as they are written.
    definitions: id of what each feature means (`tidemark.pipeline.definitions`), in the order of `features`.
    bounds: where the label is a number, the least and the greatest that can be right. A model of a number has no
    classes; it gives the number and half the width of its interval.
    """

    features: tuple[str, ...]
    classes: tuple[str, ...]
    hash: str
    definitions: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None

    @classmethod
    def of(cls, pipeline: Pipeline) -> ModelSchema:
        """Schema of a pipeline's models."""
        ids = feature_ids(pipeline)
        label = pipeline.label
        bounds = (float(label.min or 0), float(label.max or 0)) if label.is_number else None
        return cls(tuple(ids), tuple(label.classes), schema_hash(pipeline), tuple(ids.values()), bounds)

    @classmethod
    def of_manifest(cls, manifest: ModelManifest) -> ModelSchema:
        """Schema that a model was trained for."""
        ids = tuple(manifest.definitions.get(name, "") for name in manifest.features)
        bounds = None if manifest.classes else (-math.inf, math.inf)
        return cls(tuple(manifest.features), tuple(manifest.classes), manifest.schema_hash, ids, bounds)

    @property
    def is_number(self) -> bool:
        """Whether the label is a number."""
        return self.bounds is not None

    @property
    def width(self) -> int:
        """What a model says of a row: a probability of each class, or two scores of a number."""
        return 2 if self.is_number else len(self.classes)

    @property
    def objectives(self) -> tuple[str, ...]:
        """LightGBM objectives that give probabilities of these classes, or scores as they are."""
        if self.is_number:
            return ("custom",)
        return ("binary",) if len(self.classes) == 2 else ("multiclass", "multiclassova")

    def answer(self, text: str) -> float | None:
        """What the text of an answer means: the index of a class, or a number within the bounds; None: neither."""
        if self.bounds is None:
            return self.classes.index(text) if text in self.classes else None
        try:
            return number_within(text, *self.bounds)
        except ValueError:
            return None

    @property
    def ids(self) -> dict[str, str]:
        """Id of each feature's definition, by the feature's name."""
        return dict(zip(self.features, self.definitions, strict=False))

    def sources(self, known: Mapping[str, str]) -> list[str | None]:
        """Where each feature stands among values that were computed under other definitions.

        Args:
            known: id of each value's definition, by the value's name.

        Returns:
            For each feature the name of a value of the same definition, its own name first; None where there is none.

        """
        by_id = {identity: name for name, identity in known.items() if identity}
        return [
            name if known.get(name) == identity else by_id.get(identity)
            for name, identity in zip(self.features, self.definitions, strict=True)
        ]

    def columns(self, manifest: ModelManifest) -> tuple[int, ...]:
        """Which of this schema's features a model takes, in the model's order.

        Raises:
            ModelError: a feature is computed no more, or by another definition; the reason names it.

        """
        if not manifest.definitions:
            self._check_undefined(manifest)
            return tuple(range(len(self.features)))
        ids = self.ids
        by_id = {identity: index for index, identity in enumerate(self.definitions)}
        own = {name: index for index, name in enumerate(self.features)}
        columns: list[int] = []
        changed: list[str] = []
        gone: list[str] = []
        for name in manifest.features:
            identity = manifest.definitions.get(name, "")
            if identity and ids.get(name) == identity:
                columns.append(own[name])
            elif identity in by_id:
                columns.append(by_id[identity])
            else:
                (changed if name in own else gone).append(name)
        if changed or gone:
            raise ModelError(f"{_lost(changed, gone)}; a new champion is trained of the labels there are")
        return tuple(columns)

    def places(self, manifest: ModelManifest) -> tuple[int, ...]:
        """Which of this schema's classes a model knows, in the model's order.

        Raises:
            ModelError: it has a class that is none of these, or in another order.

        """
        if self.is_number and not manifest.classes:
            return ()
        places = [self.classes.index(name) for name in manifest.classes if name in self.classes]
        if len(places) != len(manifest.classes) or places != sorted(set(places)) or len(places) < 2:
            if self.is_number or not manifest.classes:
                raise ModelError(f"it is a model of {_kind(manifest.classes)}, and the label is {_kind(self.classes)}")
            raise ModelError(f"its classes are {manifest.classes}, the pipeline's {list(self.classes)}")
        return tuple(places)

    def _check_undefined(self, manifest: ModelManifest) -> None:
        """A manifest that does not say what its features mean is of this very file or of none."""
        if tuple(manifest.features) != self.features:
            raise ModelError(f"it takes {_differ(manifest.features, self.features)}")
        if manifest.schema_hash != self.hash:
            raise ModelError(
                f"it was trained on features of the schema {manifest.schema_hash}, the pipeline's is {self.hash}: "
                "a definition changed; train a new champion"
            )


def _kind(classes: Sequence[str]) -> str:
    return "classes" if classes else "a number"


def _lost(changed: list[str], gone: list[str]) -> str:
    parts = []
    if gone:
        parts.append(f"{_named(gone)} computed no more")
    if changed:
        parts.append(f"{_named(changed)} computed by another definition")
    return f"it takes features that the pipeline has changed: {' and '.join(parts)}"


def _named(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return f"{', '.join(names[:_SHOWN])}{f' and {rest} more' if rest > 0 else ''} {'is' if len(names) == 1 else 'are'}"


def _differ(given: list[str], wanted: tuple[str, ...]) -> str:
    missing = [name for name in wanted if name not in given]
    unknown = [name for name in given if name not in wanted]
    if missing or unknown:
        return f"other features: missing {missing[:_SHOWN]}, unknown {unknown[:_SHOWN]}"
    return "the pipeline's features in another order"
