"""Which model is in force at each flow, and which ones were refused there: as the flows tell in `P.metrics`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tidemark.errors import ModelError
from tidemark.observe.more_labels import Point
from tidemark.records import NO_MODEL, Metric, ModelManifest
from tidemark.registry.schema import ModelSchema

_KEPT: Final = 2_000
_REMEMBERED: Final = 100
_MODEL_FIGURES: Final = frozenset({"labels", "outcomes"})
_SHOWN: Final = 300
_HEADLINE: Final = "quality"
_MEASURE: Final = ("metric", "of_class")


@dataclass
class Serving:
    """What flows have told of their models, in the order of the topic.

    in_force: by flow.  refused: why each version was refused, by flow; the latest hundred.
    """

    in_force: dict[str, str] = field(default_factory=dict)
    refused: dict[str, dict[str, str]] = field(default_factory=dict)

    def take(self, metric: Metric) -> bool:
        """Take in a metric; whether it tells of a flow's model."""
        if metric.name not in {"model_in_force", "model_refused"}:
            return False
        flow = str(metric.detail.get("flow") or "stream")
        self.in_force[flow] = metric.model
        if metric.name == "model_refused":
            refused = self.refused.setdefault(flow, {})
            refused[str(metric.detail.get("refused") or "")] = str(metric.detail.get("reason") or "")[:_SHOWN]
            if len(refused) > _REMEMBERED:
                del refused[next(iter(refused))]
        else:
            self.refused.get(flow, {}).pop(metric.model, None)
        return True

    def problems(self, champion: ModelManifest | None, schema: ModelSchema) -> Iterable[str]:
        """Sentences on the champion where a flow refuses it, or would under this pipeline file."""
        if champion is None:
            return
        told: dict[str, list[str]] = {}
        for flow, refused in sorted(self.refused.items()):
            if champion.version in refused:
                told.setdefault(refused[champion.version], []).append(flow)
        for reason, flows in told.items():
            yield f"champion {champion.version} is refused by {' and '.join(flows)} ({reason}); {self._left(flows)}"
        if told:
            return
        try:
            schema.columns(champion)
            schema.places(champion)
        except ModelError as error:
            yield (
                f"champion {champion.version} does not fit this pipeline file: {error}; "
                "flows that start with this file predict without a model until then"
            )

    def _left(self, flows: Iterable[str]) -> str:
        left = {self.in_force.get(flow, NO_MODEL) for flow in flows}
        if left == {NO_MODEL}:
            return "no model is in force there until retrain publishes one that passes"
        return f"{' and '.join(sorted(left))} stays in force there until retrain publishes one that passes"


class Figures:
    """The latest of each figure: those of models by model, so that none is taken for another's."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str, str], Metric] = {}

    def take(self, metric: Metric) -> None:
        """Take in a metric."""
        of_model = metric.source in _MODEL_FIGURES and metric.model not in ("", NO_MODEL)
        key = metric.name, metric.source if of_model else "", metric.model if of_model else ""
        self._latest.pop(key, None)
        self._latest[key] = metric
        if len(self._latest) > _KEPT:
            del self._latest[next(iter(self._latest))]

    def headlines(self, labels: Mapping[str, int]) -> list[Point]:
        """The headlines of champions, those that are by the measure of the newest.

        Args:
            labels: how many each version has learnt from.

        Returns:
            One for each version that has one, in no order.

        """
        found = [metric for (name, _, _), metric in self._latest.items() if name == _HEADLINE]
        measure = [found[-1].detail.get(key) for key in _MEASURE] if found else []
        return [
            Point(labels[metric.model], metric.value, (metric.high or 0.0) - (metric.low or 0.0))
            for metric in found
            if metric.model in labels
            and metric.value is not None
            and [metric.detail.get(key) for key in _MEASURE] == measure
        ]

    def shown(self, model: str | None) -> dict[str, Metric]:
        """Figures that belong to no model, and those of `model`; the newest other model's where it has none yet.

        Returns:
            By name; by name and source where two sources have measured it.

        """
        chosen: dict[tuple[str, str], Metric] = {}
        for (name, source, version), metric in self._latest.items():
            before = chosen.get((name, source))
            if before is None or before.model != model or version == model:
                chosen[name, source] = metric
        names = [name for name, _ in chosen]
        return {
            name if names.count(name) == 1 else f"{name} ({source})": metric
            for (name, source), metric in chosen.items()
        }


class _Committed(msgspec.Struct, frozen=True):
    """What is read of the stream flow's committed metadata (`tidemark.stream.checkpoint`)."""

    model: str = NO_MODEL


def committed_model(metadata: str | None) -> str | None:
    """Version that a partition of the stream flow was last predicted with, as it is committed; None if it is not."""
    parts = (metadata or "").split(":", 2)
    if len(parts) < 3 or not parts[2]:
        return None
    try:
        return msgspec.json.decode(parts[2], type=_Committed).model
    except msgspec.DecodeError:
        return None


def in_force(told: str, used: Collection[str]) -> tuple[str, Sequence[str]]:
    """The version in force at a flow, and those of its last rows where they are not all of it.

    Args:
        told: by the flow; empty where it told none.
        used: versions that the last rows of its partitions were predicted by.

    Returns:
        The version, empty where it is not known, and the others in their order.

    """
    version = told or (next(iter(used)) if len(used) == 1 else "")
    return version, [] if set(used) <= {version} else sorted(used)
