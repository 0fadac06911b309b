"""Scales of a model's features: learnt from events without labels, kept in its manifest, applied to what it is given.

The values that are stored, windowed, labeled and shown are never scaled: they would mean something else with every
model. A model scales the values that it takes, whether they come from the stream, a history or the record of an event.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.records import ModelManifest
from tidemark.records.messages import Scale

FEWEST: Final = 30
"""Values below which nothing is learnt of a feature: the model takes it as it is."""
_QUARTILES: Final = (25, 50, 75)


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """What is done to rows of features before a model sees them.

    scales: by the names of features.  columns, centers, spreads: the same as arrays, of the features that are scaled.
    """

    scales: Mapping[str, Scale] = field(default_factory=dict)
    columns: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    centers: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    spreads: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @classmethod
    def of(cls, scales: Mapping[str, Scale], features: Sequence[str]) -> Scaling:
        """The scaling of rows whose columns are these features."""
        kept = {name: scales[name] for name in features if name in scales}
        columns = np.array([list(features).index(name) for name in kept], np.intp)
        centers = np.array([each.center for each in kept.values()], np.float64)
        return cls(kept, columns, centers, np.array([each.spread for each in kept.values()], np.float64))

    @classmethod
    def of_manifest(cls, manifest: ModelManifest) -> Scaling:
        """The scaling of rows of a model's own features."""
        return cls.of(manifest.scales, manifest.features)

    @classmethod
    def learnt(cls, kinds: Mapping[str, str], features: Sequence[str], rows: NDArray[np.float64]) -> Scaling:
        """The scaling that rows tell.

        Args:
            kinds: rule of each feature that has one.
            features: names of the columns.
            rows: (n, d) of events without labels, NaN where missing. Their order does not matter.

        """
        found = {
            name: scale
            for at, name in enumerate(features)
            if name in kinds and (scale := _learnt(kinds[name], rows[:, at])) is not None
        }
        return cls.of(found, features)

    def __call__(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows (n, d), scaled; the very same where nothing is. What is missing stays so."""
        if not len(self.columns):
            return rows
        scaled = rows.copy()
        with np.errstate(over="ignore", invalid="ignore"):
            own = (rows[:, self.columns] - self.centers) / self.spreads
        # No finite value becomes infinite, which a model would take for another.
        largest = np.finfo(np.float64).max
        scaled[:, self.columns] = np.where(np.isnan(rows[:, self.columns]), np.nan, np.clip(own, -largest, largest))
        return scaled


def problem(manifest: ModelManifest) -> str | None:
    """What is wrong with the scales of a manifest; None if nothing is."""
    unknown = [name for name in manifest.scales if name not in manifest.features]
    if unknown:
        return f"it scales {unknown[0][:60]!r}, which is none of its features"
    for name, scale in manifest.scales.items():
        if not (math.isfinite(scale.center) and math.isfinite(scale.spread) and scale.spread > 0):
            return f"it scales '{name}' by {scale.spread!r} about {scale.center!r}"
    return None


def _learnt(kind: str, column: NDArray[np.float64]) -> Scale | None:
    values = np.sort(column[np.isfinite(column)])
    if len(values) < FEWEST:
        return None
    if values[0] == values[-1]:  # a mean of equal numbers may be another, and their deviation then not 0
        return Scale(kind=kind, center=float(values[0]), spread=1.0, n=len(values))
    with np.errstate(over="ignore", invalid="ignore"):
        if kind == "standard":
            center, spread = float(values.mean()), float(values.std())
        elif kind == "robust":
            low, center, high = map(float, np.percentile(values, _QUARTILES))
            spread = high - low
        else:
            center, spread = float(values[0]), float(values[-1] - values[0])
    if not (math.isfinite(center) and math.isfinite(spread)):
        return None  # numbers so large that their squares are none
    return Scale(kind=kind, center=center, spread=spread if spread > 0 else 1.0, n=len(values))
