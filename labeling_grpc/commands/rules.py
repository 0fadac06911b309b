"""What a pipeline's queue is held to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, Self

from labeling_grpc.contract.message_sizes import MAX_CASES
from tidemark.consensus.scales import Scale, scale_of
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import Due, LabelSpec

AUDITED: Final = 0.1
"""Share of programs' cases that people answer too, where the pipeline's file does not say."""


@dataclass(frozen=True, slots=True)
class QueueRules:
    """What a pipeline's queue is held to.

    max_open: cases waiting or leased, never more.  release_hold_us: how long a released case is kept from the one
    who released it.  max_bytes: of the cases of one lease call.  number: the pipeline's label, where an answer is a
    number; else it is one of the classes.  The others: as `tidemark.pipeline.model.Labeling` has them.
    """

    classes: tuple[str, ...]
    max_open: int = 100_000
    release_hold_us: int = 300_000_000
    max_bytes: int = MAX_CASES
    segment: str | None = None
    skill: str | None = None
    answers: int = 1
    max_answers: int | None = None
    confidence: float = 0.9
    consensus: Literal["majority", "dawid_skene", "glad"] = "dawid_skene"
    gold_every: int = 0
    programs_audited: float = AUDITED
    due: Due | None = None
    number: LabelSpec | None = None
    scale: Scale = field(init=False, repr=False, compare=False)
    """What an answer is."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", scale_of(self.classes, self.number))

    @classmethod
    def of(cls, pipeline: Pipeline, **limits: int) -> Self:
        """What a pipeline's file says. limits: what is the service's to say, by name of the field."""
        labeling = pipeline.labeling
        return cls(
            classes=tuple(pipeline.label.classes),
            segment=labeling.segment,
            skill=labeling.skill,
            answers=labeling.answers,
            max_answers=labeling.max_answers,
            confidence=labeling.confidence,
            consensus=labeling.consensus,
            gold_every=labeling.gold_every,
            programs_audited=AUDITED if labeling.programs_audited is None else labeling.programs_audited,
            due=labeling.due,
            number=pipeline.label if pipeline.label.is_number else None,
            **limits,
        )

    @property
    def plain(self) -> bool:
        """Whether any open case that is not for reviewers may be given to anybody."""
        return self.segment is None and self.skill is None and not self.several

    @property
    def several(self) -> bool:
        """Whether a case may get more than one answer."""
        return self.most_answers > 1

    @property
    def most_answers(self) -> int:
        """How many annotators a case is given to at most."""
        return max(self.answers, self.max_answers or 1)
