"""What is told of two models, for people and as JSON."""

from __future__ import annotations

import msgspec

from tidemark.evaluation.curves import CurvePoint, ReliabilityBin


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A measure with its 95 % interval; None where nothing can be said.

    unit: of an error of a number, "" where the label has none; None: it is a share, or a loss.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    unit: str | None = None


class MadeOf(msgspec.Struct, frozen=True, kw_only=True):
    """The labels that a model has learnt from.

    labels: how many, as its manifest says.  classes, drawn: of each class, and those of them that were drawn at random;
    empty where the manifest does not say.  known_until: µs, when the last of them was known; 0: not known.
    source: what it was trained on other than the labels topic; "" otherwise.
    found: of them, how many the labels topic still names.  exact: whether these are the very same.
    annotators, reasons: of those found, by who answered and by why they were asked about, the most first.
    """

    labels: int
    classes: dict[str, int]
    drawn: dict[str, int]
    known_until: int
    source: str
    found: int
    exact: bool
    annotators: dict[str, int]
    reasons: dict[str, int]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two models.

    figures: its measures.  curve: precision against recall of the class that is looked for.  reliability: how often the
    class came where it was predicted.  calibration_error: their mean distance, None where there are no bins.
    """

    version: str
    made_of: MadeOf
    figures: list[Figure]
    curve: list[CurvePoint]
    reliability: list[ReliabilityBin]
    calibration_error: float | None


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Two models on labels that neither has learnt from.

    about: the class that is looked for, "" where the label is a number.
    n: answers that the figures rest on.  positives: of them, those of the class.  drawn: whether they are of
    the random draw, each standing for as many events as it was drawn from; else they tell of the cases that people
    were asked about.  unseen: labels that neither has learnt from; the figures rest on the newest of them.
    shared: labels that both have learnt from.  complete: whether all labels were read, not the newest alone.
    difference: the second's loss less the first's, on the same answers: log loss, or an error of a number.
    why: why nothing can be said, else "".
    """

    about: str
    n: int
    positives: int
    drawn: bool
    unseen: int
    shared: int
    complete: bool
    why: str
    difference: Figure | None
    first: Side
    second: Side
