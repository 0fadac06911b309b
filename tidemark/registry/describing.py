"""What a model is, and how two differ, for people. Texts of models are parsed here, and trusted nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

import msgspec
import numpy as np
import scipy  # its parts are imported on first use: a second, which lists of models do not wait for
from numpy.typing import NDArray

from kernels.forest.model_text import ForestModel
from tidemark.errors import ModelError
from tidemark.pipeline.model import NumberMetric
from tidemark.records import ModelManifest
from tidemark.registry.codec import Registry
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.validate import golden_rows, parse
from tidemark.runtime.figures import figure

_LEAST_ROWS: Final = 3
_FIGURES: Final = {
    "average_precision": "average precision",
    "log_loss": "log loss",
    "rmse": "RMSE",
    "mae": "mean absolute error",
}


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the registry.

    state: `champion`, or `earlier`; `removed` where its text is no longer in the topic.  created_at: µs since 1970.
    """

    version: str
    state: str
    pinned: bool
    created_at: int
    labels: int
    parent: str | None
    copy_of: str | None
    decision: str
    metrics: dict[str, float | None]


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """A model in full.

    splits: share of the trees' splits that each feature has, most first.  schema: hash of its features and classes.
    """

    listed: Listed
    features: list[str]
    classes: list[str]
    schema: str
    trees: int
    leaves: int
    splits: dict[str, float]


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How two models answer the same rows: the second's golden rows, some of those it was trained on.

    same_class: rows for which both hold the same class likeliest; None where the label is a number.
    rank_correlation: Spearman's, of numbers or of the raw scores of two classes; None for several classes, and where a
    model gives all rows one score.
    """

    rows: int
    same_class: int | None
    rank_correlation: float | None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How a model differs from another.

    labels: more labels than the first learnt from.  added, removed, redefined: features.
    splits: change of each feature's share of splits, the largest first.
    agreement: None where the first takes features that the second does not.
    """

    first: str
    second: str
    labels: int
    added: list[str]
    removed: list[str]
    redefined: list[str]
    trees: int
    splits: dict[str, float]
    agreement: Agreement | None


def listed(registry: Registry) -> list[Listed]:
    """Every model whose manifest the registry has, newest first."""
    newest_first = sorted(registry.manifests.values(), key=lambda each: (each.created_at, each.version), reverse=True)
    return [_listed(registry, manifest) for manifest in newest_first]


def described(registry: Registry, manifest: ModelManifest) -> Described:
    """A model in full.

    Args:
        registry: what the models topic holds.
        manifest: of the model.

    Returns:
        What it is.

    Raises:
        ModelError: its text is gone, or is not what LightGBM writes.

    """
    forest = _forest(registry, manifest)
    return Described(
        listed=_listed(registry, manifest),
        features=manifest.features,
        classes=manifest.classes,
        schema=manifest.schema_hash,
        trees=forest.trees,
        leaves=len(forest.leaf_value),
        splits=dict(sorted(_splits(forest).items(), key=lambda item: (-item[1], item[0]))),
    )


def difference(registry: Registry, first: ModelManifest, second: ModelManifest) -> Difference:
    """How the second model differs from the first.

    Args:
        registry: what the models topic holds.
        first: manifest of the model to compare with.
        second: manifest of the model that is compared.

    Returns:
        The differences.

    Raises:
        ModelError: a model's text is gone, or is not what LightGBM writes.

    """
    forests = _forest(registry, first), _forest(registry, second)
    shares = [_splits(forest) for forest in forests]
    changes = {name: shares[1].get(name, 0.0) - shares[0].get(name, 0.0) for name in {**shares[0], **shares[1]}}
    return Difference(
        first=first.version,
        second=second.version,
        labels=second.used - first.used,
        added=[name for name in second.features if name not in first.features],
        removed=[name for name in first.features if name not in second.features],
        redefined=[name for name in second.features if name in first.features and not _same(name, first, second)],
        trees=forests[1].trees - forests[0].trees,
        splits=dict(sorted(changes.items(), key=lambda item: (-abs(item[1]), item[0]))),
        agreement=_agreement(registry, first, second),
    )


def agreement_words(found: Agreement | None) -> str:
    """How two models answer the same rows, for people."""
    if found is None:
        return "cannot be compared: the first takes features or classes that the second does not"
    parts = (
        [] if found.same_class is None else [f"the same likeliest class for {found.same_class} of {found.rows} rows"]
    )
    if found.rank_correlation is not None:
        of_rows = f" of {found.rows} rows" if found.same_class is None else ""
        parts.append(f"rank correlation {found.rank_correlation:.2f}{of_rows}")
    return ", ".join(parts) or "cannot be compared: one of them says the same of all rows"


def figure_words(model: Listed) -> str:
    """The figure that a model was judged by, for people; "" where there is none."""
    for metric, words in _FIGURES.items():
        for name in (f"{metric}_challenger", f"holdout_{metric}"):
            value = model.metrics.get(name)
            if value is not None:
                return f"{words} {figure(value, 4)}" if metric in get_args(NumberMetric) else f"{words} {value:.3f}"
    return ""


def _listed(registry: Registry, manifest: ModelManifest) -> Listed:
    champion, pin = registry.champion, registry.pinned
    is_champion = champion is not None and champion.version == manifest.version
    state = "champion" if is_champion else "earlier" if registry.has_text(manifest.version) else "removed"
    return Listed(
        version=manifest.version,
        state=state,
        pinned=is_champion and pin is not None,
        created_at=manifest.created_at,
        labels=manifest.used,
        parent=manifest.parent,
        copy_of=manifest.copy_of,
        decision=manifest.decision,
        metrics=manifest.metrics,
    )


def _forest(registry: Registry, manifest: ModelManifest) -> ForestModel:
    try:
        return parse(registry.text(manifest.version), ModelSchema.of_manifest(manifest))
    except ModelError as error:
        if manifest.version in str(error):
            raise
        raise ModelError(f"model {manifest.version}: {error}") from error


def _splits(forest: ForestModel) -> Mapping[str, float]:
    counts = np.bincount(forest.split_feature, minlength=len(forest.feature_names))
    total = max(int(counts.sum()), 1)
    return {name: int(count) / total for name, count in zip(forest.feature_names, counts, strict=True)}


def _same(feature: str, first: ModelManifest, second: ModelManifest) -> bool:
    return first.definitions.get(feature) == second.definitions.get(feature)


def _agreement(registry: Registry, first: ModelManifest, second: ModelManifest) -> Agreement | None:
    if first.classes != second.classes:
        return None
    try:
        columns = ModelSchema.of_manifest(second).columns(first)
    except ModelError:
        return None
    rows, _ = golden_rows(second)
    with Sandbox() as sandbox:
        theirs = sandbox.raw_scores(registry.text(first.version), np.ascontiguousarray(rows[:, columns]))
        ours = sandbox.raw_scores(registry.text(second.version), rows)
    return Agreement(
        rows=len(rows),
        same_class=int((_likeliest(theirs) == _likeliest(ours)).sum()) if second.classes else None,
        rank_correlation=_rank_correlation(theirs, ours) if len(second.classes) in (0, 2) else None,
    )


def _likeliest(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Class of each row, of raw scores (n, 1) of two classes or (n, classes)."""
    return (scores[:, 0] > 0).astype(np.int64) if scores.shape[1] == 1 else scores.argmax(axis=1)


def _rank_correlation(theirs: NDArray[np.float64], ours: NDArray[np.float64]) -> float | None:
    if len(ours) < _LEAST_ROWS or np.ptp(theirs) == 0 or np.ptp(ours) == 0:
        return None
    return float(scipy.stats.spearmanr(theirs[:, 0], ours[:, 0]).statistic)
