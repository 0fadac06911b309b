"""Who said what of which case, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array1 = NDArray[np.float64]
Array2 = NDArray[np.float64]
Array3 = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Answers:
    """n answers: case `items[i]` was given class `labels[i]` by `annotators[i]`. All (n,) int64, indices from 0."""

    items: Indices
    annotators: Indices
    labels: Indices
    item_ids: tuple[str, ...]
    annotator_ids: tuple[str, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, answers: Iterable[tuple[str, str, str]], classes: Sequence[str]) -> Self:
        """From (case, annotator, class). Cases and annotators are numbered in the order in which they come.

        Raises:
            ValueError: a class is none of `classes`, or somebody answered a case twice.

        """
        items: dict[str, int] = {}
        annotators: dict[str, int] = {}
        numbers = {name: index for index, name in enumerate(classes)}
        rows: dict[tuple[int, int], int] = {}
        for item, annotator, label in answers:
            if label not in numbers:
                raise ValueError(f"{annotator!r} answered {item!r} with {label!r}, none of {', '.join(classes)}")
            key = items.setdefault(item, len(items)), annotators.setdefault(annotator, len(annotators))
            if key in rows:
                raise ValueError(f"{annotator!r} answered {item!r} twice: keep the later answer")
            rows[key] = numbers[label]
        pairs = np.array(list(rows), np.int64).reshape(-1, 2)
        labels = np.fromiter(rows.values(), np.int64, len(rows))
        return cls(pairs[:, 0], pairs[:, 1], labels, tuple(items), tuple(annotators), tuple(classes))

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> Array2:
        """How often each case was given each class, (cases, classes)."""
        shape = len(self.item_ids), len(self.classes)
        flat = np.bincount(self.items * shape[1] + self.labels, minlength=shape[0] * shape[1])
        return flat.reshape(shape).astype(np.float64)

    def by_item(self, values: Array2) -> Array2:
        """Sums over the answers to each case of `values`, (n, classes); (cases, classes)."""
        size = len(self.item_ids)
        return np.stack([np.bincount(self.items, column, size) for column in values.T], axis=1)
