"""Whose labels count less, and how many labels are worth a second look, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tidemark.records import Metric

_MOST: Final = 3
_SHOWN: Final = 60
_DOUBTFUL: Final = 0.02
"""Share of doubtful labels from which on it is worth to say so."""


def label_notes(metrics: Mapping[str, Metric], file: str) -> Iterator[str]:
    """Sentences on labels that may be wrong.

    Args:
        metrics: the latest by name.
        file: of the pipeline, for commands that are told.

    Yields:
        Who is distrusted, and how often they were right; then what to look at again.

    """
    told = metrics.get("distrusted_sources")
    if told is not None and told.value:
        named = []
        for number in range(1, _MOST + 1):
            name, right = told.detail.get(f"source_{number}"), told.detail.get(f"right_{number}")
            if isinstance(name, str) and isinstance(right, int | float) and 0 <= right <= 1:
                named.append(f"{name[:_SHOWN]} (about {right:.0%} right)")
        yield (
            f"labels of {', '.join(named) or 'some'} count less or not at all, for they contradict the others'; "
            f"look at `tidemark queue annotators {file}` (training.trust)"
        )
    doubtful = metrics.get("doubtful_labels")
    if doubtful is not None and doubtful.value and doubtful.value >= _DOUBTFUL * max(doubtful.n, 1):
        yield (
            f"{doubtful.value:,.0f} of {doubtful.n:,} labels are worth a second look; "
            f"`tidemark queue review {file}` puts some of them back"
        )
