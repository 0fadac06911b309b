"""What a model must pass before it is served, in this order; the first failure is the reason it is refused.

1. digest of the manifest's record, size, chunks, SHA-256 of the text (`tidemark.registry.codec`)
2. the manifest: the pipeline computes its features by their definitions and has its classes; golden rows fit
3. a strict parse: whatever passes can't crash LightGBM (`kernels.forest.model_text`)
4. LightGBM loads it in a process of its own and gives the golden rows their scores (`tidemark.registry.sandbox`)
5. every split and leaf is what it was when the model was made

Against a forger who recomputes every digest, only a key helps (`tidemark.registry.signature`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.forest.model_text import ForestModel, ModelTextError, parse_model
from tidemark.errors import ModelError
from tidemark.records import ModelManifest
from tidemark.registry import scaling
from tidemark.registry.codec import MAX_TEXT, Registry
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.processor import Output

MAX_GOLDEN_ROWS: Final = 256
TOLERANCE: Final = 1e-9
"""Relative difference of a raw score from its golden value: another machine may round the last bit otherwise."""


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """A model that passed every check.

    columns: for each of its features, the pipeline's feature that it is.  classes: the pipeline's.  places: for each of
    its classes, the pipeline's class that it is.  bounds: of the pipeline's label where it is a number.
    """

    manifest: ModelManifest
    text: str
    forest: ForestModel
    columns: tuple[int, ...]
    classes: tuple[str, ...]
    places: tuple[int, ...]
    bounds: tuple[float, float] | None = None


def structure_sha256(model: ForestModel) -> str:
    """SHA-256 of all that decides a prediction or explains it: objective, splits, leaves, weights, counts.

    Not of gains, parameters and comments. Numbers are hashed as they were read, little-endian, so it says that a reader
    read what the writer wrote.
    """
    head = f"{model.objective} {model.sigmoid!r} {model.sqrt} {model.outputs} {model.classes} {model.average_output}"
    sha = hashlib.sha256(head.encode())
    for array in (
        model.split_feature, model.threshold, model.decision_type, model.left, model.right, model.node_count,
        model.node_start, model.leaf_value, model.leaf_weight, model.leaf_count, model.leaf_start,
        model.set_first, model.set_start, model.words,
    ):  # fmt: skip
        sha.update(len(array).to_bytes(8, "little") + array.astype(array.dtype.newbyteorder("<")).tobytes())
    return sha.hexdigest()


def parse(text: str, schema: ModelSchema) -> ForestModel:
    """Strict parse of a model text that must fit the schema.

    Raises:
        ModelError: it is not what LightGBM writes, or its features, classes or objective are others.

    """
    try:
        model = parse_model(text, max_bytes=MAX_TEXT, expect_features=schema.features, expect_classes=schema.width)
    except ModelTextError as error:
        raise ModelError(str(error)) from error
    if model.objective not in schema.objectives:
        gives = "is a number's" if schema.is_number else "gives probabilities"
        raise ModelError(f"the objective is {model.objective!r}; {' or '.join(schema.objectives)} {gives}")
    if model.trees == 0:
        raise ModelError("the model has no trees")
    return model


class Validator:
    """Decides whether a model of the registry may be served.

    schema: the pipeline's.  sandbox: where models are loaded; the caller's to close.
    """

    def __init__(self, schema: ModelSchema, sandbox: Sandbox) -> None:
        self.schema = schema
        self.sandbox = sandbox

    def check(self, registry: Registry, version: str) -> CheckedModel:
        """Model `version` of the registry, if it passes every check.

        Raises:
            ModelError: the first check that failed, and why.

        """
        text = registry.text(version)
        manifest = registry.manifests[version]
        try:
            columns, places = self.schema.columns(manifest), self.schema.places(manifest)
            forest, schema = self._check(manifest, text), self.schema
            return CheckedModel(manifest, text, forest, columns, schema.classes, places, schema.bounds)
        except ModelError as error:
            raise ModelError(f"model {version}: {error}") from error

    def check_outputs(self, outputs: Iterable[Output], version: str, secret: bytes | None) -> CheckedModel:
        """A model as its readers will find it, before it is published.

        Args:
            outputs: the records that will publish it.
            version: of the model.
            secret: the key with which they are signed, if they are.

        Returns:
            The model.

        Raises:
            ModelError: its readers would refuse it, and why.

        """
        trial = Registry(secret)
        trial.feed_outputs(outputs)
        return self.check(trial, version)

    def _check(self, manifest: ModelManifest, text: str) -> ForestModel:
        self._check_manifest(manifest)
        rows, expected = golden_rows(manifest)
        forest = parse(text, ModelSchema.of_manifest(manifest))
        if expected.shape[1] != forest.outputs:
            raise ModelError(f"golden scores have {expected.shape[1]} columns, the model {forest.outputs}")
        scores = self.sandbox.raw_scores(text, rows)
        if scores.shape != expected.shape:
            raise ModelError(f"LightGBM gives golden rows scores of shape {scores.shape}, not {expected.shape}")
        if why := golden_difference(scores, expected):
            raise ModelError(why)
        if structure_sha256(forest) != manifest.structure_sha256:
            raise ModelError("its splits or leaves are not those it was published with (structure_sha256)")
        return forest

    def _check_manifest(self, manifest: ModelManifest) -> None:
        count = len(manifest.golden)
        if not 0 < count <= MAX_GOLDEN_ROWS or len(manifest.golden_raw) != count:
            raise ModelError(
                f"{count} golden rows with {len(manifest.golden_raw)} scores; expected 1 to {MAX_GOLDEN_ROWS} of each"
            )
        width = len(manifest.golden_raw[0])
        if any(len(row) != len(manifest.features) for row in manifest.golden) or any(
            len(row) != width for row in manifest.golden_raw
        ):
            raise ModelError("golden rows of other widths than its features")
        if why := scaling.problem(manifest):
            raise ModelError(why)


def golden_rows(manifest: ModelManifest) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Golden rows (g, features), NaN is missing, and their raw scores (g, outputs)."""
    rows = np.array([[np.nan if value is None else value for value in row] for row in manifest.golden], np.float64)
    return rows, np.array(manifest.golden_raw, np.float64)


def golden_difference(scores: NDArray[np.float64], expected: NDArray[np.float64]) -> str | None:
    """Where raw scores (g, outputs) differ from what they were by more than rounding; None if nowhere."""
    with np.errstate(over="ignore", invalid="ignore"):
        off = ~(np.abs(scores - expected) <= TOLERANCE * (1 + np.abs(expected)))
    if not off.any():
        return None
    row, column = (int(index) for index in np.argwhere(off)[0])
    return f"golden row {row} scores {scores[row, column]:.17g}, where it scored {expected[row, column]:.17g}"
