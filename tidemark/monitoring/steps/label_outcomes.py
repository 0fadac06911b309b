"""Outcomes that have met their events to labels: truth that arrives by itself is learnt from as what people say is.

A label says of an event what its newest outcome says. Nobody asked about the event, so the label has no inclusion
probability, whatever the event was drawn for: who has an outcome is the world's choice. Where every event has one in
the end (`label.outcomes.of = "all"`), it is known by what chance its outcome is taken, which is the label's `share`.
Then a label is known only once all outcomes have had their time: else the newest labels would be of the class, or about
the numbers, that are told soonest.
"""

from __future__ import annotations

from typing import Final

from kernels import hash64, unit
from tidemark.monitoring.joined import Met
from tidemark.monitoring.steps.join_outcomes import JoinOutcomesStep
from tidemark.pipeline.model import LabelSpec, Pipeline
from tidemark.pipeline.numbers import NumberReader
from tidemark.records import OUTCOME, Label, encode
from tidemark.runtime.processor import Output
from tidemark.runtime.steps import RoundContext

_SALT: Final = "outcome/"
"""The coins are others than those of the random draw."""
_SHIFT: Final = 2**62
"""Added to times in ids, so that those before 1970 are in their order as texts."""


def _said(spec: LabelSpec, met: Met) -> str:
    if spec.is_number:
        return NumberReader(spec).text(float(met.outcome["number"]))
    return spec.classes[int(met.outcome["label"])]


class LabelOutcomesStep:
    """Makes labels of outcomes, where the pipeline learns from them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._spec, self._topic = pipeline.label, pipeline.topics.labels

    def process(self, joined: JoinOutcomesStep, context: RoundContext) -> list[Output]:
        """Labels of what has met since the last round; none of a replay, whose come with the next round."""
        if context.replay:
            return []
        labels = (self._label(met, joined) for met in joined.take_met())
        return [Output(self._topic, encode(label), label.event_id.encode()) for label in labels if label is not None]

    def _label(self, met: Met, joined: JoinOutcomesStep) -> Label | None:
        """The label; None of an outcome that is not taken."""
        spec, named = self._spec, joined.names.of(met.prediction)
        if spec.outcomes is None or named is None:
            return None
        event, key = named
        share = met.share  # what corrects a label that was taken is taken as well
        if unit(hash64(f"{_SALT}{event}".encode())) > share:
            return None
        time, known_at = int(met.prediction["time"]), int(met.outcome["known_at"])
        of_all = spec.outcomes.of == "all"
        # Labels that are known at the same time are put in order by their ids, so by when their outcomes were known.
        place = f"{int(met.outcome['partition']):010}-{int(met.outcome['offset']):019}"
        return Label(
            event_id=event,
            business_id=None,
            key=key,
            time=time,
            status="answered",
            label=_said(spec, met),
            annotator=OUTCOME,
            known_at=max(known_at, time + spec.delay + spec.grace) if of_all else known_at,
            answered_at=int(met.outcome["came"]),
            reason="outcome",
            inclusion_probability=None,
            tile=0,
            tile_count=0,
            policy=OUTCOME,
            features={},
            definitions={},
            probabilities=None,
            uncertainty=None,
            model=joined.models[int(met.prediction["model"])],
            annotation_id=f"{event}/outcome-{known_at + _SHIFT:019}-{place}",
            source="outcome",
            share=share if of_all else None,
        )
