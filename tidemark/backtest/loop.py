"""Selection and retraining as the flows do them, joined by lists instead of topics."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidemark.errors import ModelError
from tidemark.evaluation.focus import MARK
from tidemark.pipeline.model import Pipeline
from tidemark.records import Label, Metric, decode, encode
from tidemark.records.event_id import parse_event_id
from tidemark.registry.champion import ChampionKeeper
from tidemark.registry.codec import Registry
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.selection.choice import Pick
from tidemark.selection.offline import OfflineSelection, TileEvents
from tidemark.training import RetrainProcessor

_INCARNATION: Final = "0badcafe"


class Loop:
    """The loop of one pipeline, tile by tile.

    champion: the model in force.  labels: what was answered, each with its offset.  metrics: what the trainer told.

    Args:
        pipeline: whose loop it is.
        sandbox: where models are checked, the caller's to close.
        seed: of the trainer.
        headline: whether the champion is measured too, which trains further models and decides nothing.
        keys: of each event the value of the pipeline's first key, which the headline goes by.

    """

    def __init__(
        self,
        pipeline: Pipeline,
        sandbox: Sandbox,
        *,
        seed: int = 0,
        headline: bool = True,
        keys: Sequence[str] | None = None,
    ) -> None:
        self._pipeline, self._sandbox, self._keys = pipeline, sandbox, keys
        self._topic: list[Output] = []
        self._labels = Partition(pipeline.topics.labels, 0, _INCARNATION)
        self._came: deque[NDArray[np.float64]] = deque()
        self._retrain = RetrainProcessor(
            pipeline,
            read_registry=self._registry,
            sandbox=sandbox,
            seed=seed,
            headline=headline,
            unlabeled=self._unlabeled,
        )
        self._retrain.open(self._labels, "")
        self._keeper = ChampionKeeper(ModelSchema.of(pipeline), None, _refuse)
        self._selection = OfflineSelection(pipeline)
        self._offset = 0
        self._events: dict[int, int] = {}
        self.metrics: list[Metric] = []
        self.labels: list[tuple[int, Label]] = []

    @property
    def champion(self) -> ActiveModel | None:
        """The model in force."""
        return self._keeper.current

    def ask(
        self,
        number: int,
        rows: NDArray[np.int64],
        features: NDArray[np.float64],
        askable: NDArray[np.bool_] | None = None,
    ) -> list[Pick]:
        """What is asked of a tile, all of whose events are given at once.

        Args:
            number: of the tile.
            rows: (n,) offsets of its events.
            features: (n, d) of them.
            askable: (n,) which of them may be asked about; None: all.

        Returns:
            The picks.

        """
        self._events[number] = len(rows)
        self._keep(features)
        topic = self._pipeline.raw_topics[0]
        ids = [f"{topic}-0-{row}-{_INCARNATION}" for row in rows.tolist()]
        events = TileEvents(number, f"{topic}@{_INCARNATION}", 0, rows, ids, features, askable)
        return self._selection.ask(events, self._keeper.current, self._keeper.label_counts)

    def learn(self, answers: Sequence[tuple[Pick, str]], known_at: Sequence[int] | None = None) -> ActiveModel | None:
        """The new champion, if these answers bring one.

        Args:
            answers: each pick with what was answered.
            known_at: when each answer came, µs, in ascending order; by default when its tile began.

        Returns:
            The new champion; None where the one before stays.

        Raises:
            ModelError: an answer or a model of our own was refused, which is a bug.

        """
        times = [pick.proposal.time for pick, _ in answers] if known_at is None else known_at
        labels = [self._label(pick, answer, at) for (pick, answer), at in zip(answers, times, strict=True)]
        values = [encode(label) for label in labels]
        offsets = np.arange(self._offset, self._offset + len(values))
        self.labels += zip(offsets.tolist(), labels, strict=True)
        self._offset += len(values)
        none: list[Any] = [None] * len(values)
        return self._take(self._retrain.process(Batch(self._labels, offsets, offsets, none, list(values), none)))

    def tick(self, now: float) -> ActiveModel | None:
        """The new champion, if time alone brings one. now: s since 1970."""
        return self._take(self._retrain.tick(now))

    def _take(self, outputs: list[Output]) -> ActiveModel | None:
        if refused := [output for output in outputs if output.topic == self._pipeline.topics.deadletter]:
            raise ModelError(f"our own label is a dead letter: {refused[0].value!r}")
        self.metrics += [decode(Metric, each.value) for each in outputs if each.topic == self._pipeline.topics.metrics]
        published = [output for output in outputs if output.topic == self._pipeline.topics.models]
        self._topic += published
        moved = [self._keeper.take(each.key, each.value, list(each.headers), "published") for each in published]
        if not any(moved):
            return None
        self._keeper.adopt(self._sandbox)
        return self._keeper.current

    def _keep(self, features: NDArray[np.float64]) -> None:
        """Keep as many of the newest events as the background sample holds, if scales are learnt of them."""
        if not self._pipeline.scales:
            return
        self._came.append(features)
        while sum(map(len, self._came)) - len(self._came[0]) >= self._pipeline.sample.size > 0:
            self._came.popleft()

    def _unlabeled(self) -> NDArray[np.float64]:
        return np.concatenate(self._came) if self._came else np.empty((0, len(self._pipeline.feature_names)))

    def _registry(self) -> Registry:
        registry = Registry()
        registry.feed_outputs(self._topic)
        return registry

    def _label(self, pick: Pick, answer: str, known_at: int) -> Label:
        case, selection = pick.proposal, self._pipeline.selection
        tile = case.time // selection.tile
        return Label(
            event_id=case.event_id,
            business_id=None,
            key=None if self._keys is None else self._keys[parse_event_id(case.event_id).offset],
            time=case.time,
            status="answered",
            label=answer,
            annotator="history",
            known_at=known_at,
            answered_at=known_at,
            reason=pick.reason,
            inclusion_probability=pick.inclusion_probability,
            tile=tile,
            tile_count=self._events[tile],
            policy=selection.version + (MARK if selection.focused else ""),
            features=case.features,
            probabilities=case.probabilities if case.estimate is None else None,
            uncertainty=case.uncertainty,
            model=case.model,
        )


def _refuse(what: str, reason: str) -> None:
    raise ModelError(f"our own model {what} is refused: {reason}")
