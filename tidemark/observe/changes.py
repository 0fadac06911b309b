"""What alarms of the last week say, and what to do about each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tidemark.records import Metric

_WEEK: Final = 7 * 86_400.0
_MOST: Final = 3
_SHOWN: Final = 60
_ADVICE: Final = {
    "inputs_changed": (
        "the inputs have changed",
        "look whether a source is broken; otherwise the next models learn it from new labels",
    ),
    "predictions_changed": (
        "the model's predictions have changed",
        "look at the inputs, and at `tidemark models list {file}`",
    ),
    "labels_changed": (
        "the classes come in other shares",
        "plan people for it; models learn it from new labels",
    ),
    "quality_fell": (
        "the model has become worse on random cases",
        "raise selection.budget for a while, or take an earlier model: `tidemark models rollback {file}`",
    ),
}


def change_notes(metrics: Mapping[str, Metric], now: float, file: str) -> Iterator[str]:
    """A sentence for each kind of alarm, its newest one where that is of the last week.

    Args:
        metrics: the latest by name.
        now: seconds since 1970.
        file: of the pipeline, for commands that are told.

    Yields:
        What has changed, when, what moved, what to do.

    """
    for name, (what, advice) in _ADVICE.items():
        metric = metrics.get(name)
        if metric is None or not 0 <= (ago := now - metric.at / 1e6) + 60 < _WEEK:
            continue
        moved = [
            f"{str(metric.detail[f'moved_{i}'])[:_SHOWN]} ({str(metric.detail.get(f'how_{i}', ''))[:_SHOWN]})"
            for i in range(1, _MOST + 1)
            if f"moved_{i}" in metric.detail
        ]
        named = f": {', '.join(moved)}" if moved and name != "quality_fell" else ""
        yield f"{what} {_ago(ago)}{named}; {advice.format(file=file)} (docs/explanation/drift.md)"


def _ago(seconds: float) -> str:
    if seconds < 5_400:
        return f"{max(seconds, 0) / 60:.0f} min ago"
    return f"{seconds / 3_600:.0f} h ago" if seconds < 129_600 else f"{seconds / 86_400:.0f} days ago"
