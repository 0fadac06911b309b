"""A model in use: probabilities for batches of rows, on the caller's thread, without LightGBM in the process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.forest.forest import Forest
from tidemark.errors import ModelError
from tidemark.registry.codec import Registry
from tidemark.registry.estimates import estimates_of
from tidemark.registry.scaling import Scaling
from tidemark.registry.schema import ModelSchema
from tidemark.registry.validate import CheckedModel, golden_difference, golden_rows, parse

_WARM_ROWS = 64


class ActiveModel:
    """A checked model, ready: its kernels are compiled. Use from several threads is safe.

    It may have been trained under an earlier pipeline file: it is given rows of the pipeline as it is now, and takes
    its own columns of them. A class that it has never seen has the probability 0.

    version: as predictions and labels name it.  schema_hash: of the pipeline it was trained for.
    classes: names of the columns of `probabilities`, the pipeline's.  class_counts: labels of each of them that it has
    learnt from, none where that is not known.  drawn_counts: of these, the labels of cases drawn at random.
    forest: for what else it can tell (virtual ensembles, contributions) of rows that `inputs` gives.
    scaling: what it does to rows of its own features before the forest sees them.

    Raises:
        ModelError: our own forest gives the golden rows other scores than LightGBM did.

    """

    def __init__(self, model: CheckedModel) -> None:
        self.manifest = model.manifest
        self.version = model.manifest.version
        self.schema_hash = model.manifest.schema_hash
        self.classes = model.classes
        self.forest = Forest(model.forest)
        self.class_counts = _counts(model, model.manifest.class_counts)
        self.drawn_counts = _counts(model, model.manifest.drawn_counts)
        self.scaling = Scaling.of_manifest(model.manifest)
        self._columns = np.array(model.columns, np.intp)
        self._places = np.array(model.places, np.intp)
        rows, expected = golden_rows(self.manifest)
        if why := golden_difference(self.forest.raw(rows).reshape(expected.shape), expected):
            raise ModelError(f"model {self.version}: our forest disagrees with LightGBM: {why}")
        self._bounds = model.bounds
        warm = np.repeat(rows[:1], _WARM_ROWS, axis=0)
        if self._bounds is None:
            self._probabilities(warm)
        else:
            self._estimates(warm, self._bounds)

    def own(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The model's own features, in its order, of rows (n, features of the pipeline)."""
        if len(self._columns) == rows.shape[1] and bool((np.diff(self._columns) == 1).all()):
            return rows
        return np.ascontiguousarray(rows[:, self._columns])

    def inputs(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the forest takes of rows (n, features of the pipeline): the model's own features, scaled."""
        return self.scaling(self.own(rows))

    def scaled(self, rows: NDArray[np.float64]) -> dict[str, int]:
        """How many values of rows (n, features of the pipeline) each scale changes, by feature and rule."""
        if not self.scaling.scales:
            return {}
        own = self.own(rows)[:, self.scaling.columns]
        counts = np.count_nonzero(~np.isnan(own), axis=0).tolist()
        named = self.scaling.scales.items()
        return {f"{name}.{scale.kind}": count for (name, scale), count in zip(named, counts, strict=True) if count}

    def probabilities(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (n, classes), each row sums to 1, of rows (n, features) float64; NaN is missing."""
        given = self._probabilities(self.inputs(rows))
        if given.shape[1] == len(self.classes):
            return given
        table = np.zeros((len(rows), len(self.classes)))
        table[:, self._places] = given
        return table

    def estimates(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Estimates (n, 3) of a number (`tidemark.registry.estimates`), of rows as `probabilities` has them.

        Raises:
            ModelError: the label is a class.

        """
        if self._bounds is None:
            raise ModelError(f"model {self.version} gives probabilities of classes, and no number")
        return self._estimates(self.inputs(rows), self._bounds)

    def says(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities, or estimates where the label is a number: what models are judged by."""
        return self.probabilities(rows) if self._bounds is None else self.estimates(rows)

    def contributions(self, row: NDArray[np.float64], positive: str) -> NDArray[np.float64] | None:
        """What each of the model's own features adds to a score, in its order, and last what the score begins with.

        Args:
            row: (1, features of the pipeline).
            positive: the class whose raw score is meant; where the label is a number, it is the number.

        Returns:
            (features + 1,); None where the class came after the model.

        """
        parts, classes = self.forest.contributions(self.inputs(row)[0]), self.manifest.classes
        if self._bounds is not None:
            return np.asarray(parts[0])
        if positive not in classes:
            return None
        place = classes.index(positive)
        # Where there are two classes, there is one score: the second one's.
        return np.asarray(parts[place] if parts.ndim == 2 else parts if place else -parts)

    def disagreement(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) what the stages of the forest disagree about, in nats, of rows (n, features): a virtual ensemble's."""
        return self.forest.virtual_ensemble(self.inputs(rows))[2]

    def _estimates(self, rows: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.float64]:
        return estimates_of(self.forest.raw(rows), bounds)

    def _probabilities(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        given = self.forest.probability(rows)
        if given.ndim == 1:
            return np.column_stack((1 - given, given))
        table: NDArray[np.float64] = given / given.sum(axis=1, keepdims=True)  # one-against-all does not sum to 1
        return table


def _counts(model: CheckedModel, counts: list[int]) -> list[int]:
    """Labels of each of the pipeline's classes."""
    known = dict(zip(model.manifest.classes, counts, strict=False))
    return [known.get(name, 0) for name in model.classes] if known else []


def active(registry: Registry, version: str, schema: ModelSchema) -> ActiveModel:
    """A model to look back with: parsed strictly and held against its golden rows; never one to serve with.

    Args:
        registry: what the models topic holds.
        version: of the model.
        schema: of the pipeline.

    Returns:
        The model.

    Raises:
        ModelError: its text is gone, it can't be read, or the pipeline no longer computes what it takes.

    """
    manifest = registry.manifests[version]
    text = registry.text(version)
    forest = parse(text, ModelSchema.of_manifest(manifest))
    return ActiveModel(
        CheckedModel(
            manifest, text, forest, schema.columns(manifest), schema.classes, schema.places(manifest), schema.bounds
        )
    )
