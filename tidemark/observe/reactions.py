"""What follows from an alarm of drift by itself, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tidemark.pipeline.model import Pipeline
from tidemark.records import Metric

_FARTHEST: Final = 2**53


def reaction_notes(metrics: Mapping[str, Metric], now: float, pipeline: Pipeline) -> Iterator[str]:
    """A sentence while an alarm is followed.

    Args:
        metrics: the latest by name.
        now: seconds since 1970.
        pipeline: that follows it.

    Yields:
        What is asked and trained, for how much longer, and how much of it was spent: as `select` told with the last
        tile; before the first tile since the alarm, that it begins.

    """
    reaction = pipeline.drift.reaction
    if reaction is None:
        return
    spent = metrics.get("budget_spent")
    until = None if spent is None else _number(spent.detail.get("follows_until"))
    models = "; a model was trained at once, and others come sooner" if reaction.retrain else ""
    if spent is not None and until is not None and now < until / 1e6:
        extra, most = (_number(spent.detail.get(name)) or 0 for name in ("extra", "most_extra"))
        budget = _number(spent.detail.get("budget")) or 0
        yield (
            f"the change is followed for {_left(until / 1e6 - now)} more: up to {budget:,} cases a tile instead of "
            f"{pipeline.selection.budget:,}, {extra:,} of at most {most:,} extra cases asked{models}"
        )
        return
    told = [metrics[name].at / 1e6 for name in reaction.alarms if name in metrics]
    began = max((at for at in told if 0 <= now - at + 60 < reaction.lasts / 1e6), default=None)
    if began is not None and (spent is None or spent.at / 1e6 < began):
        yield "the change is followed from the next tile on: more cases, and more of them at random (drift.reaction)"


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and 0 <= value < _FARTHEST else None


def _left(seconds: float) -> str:
    return f"{seconds / 3_600:.0f} h" if seconds < 129_600 else f"{seconds / 86_400:.0f} days"
