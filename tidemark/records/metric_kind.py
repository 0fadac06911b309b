"""What a metric is: each is declared in the module that writes it, and `tidemark.observe.catalog` has them all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricKind:
    """A metric that flows write to `P.metrics`.

    Attributes:
        name: as in the record.
        unit: of its value.
        flow: what writes it, the name of a flow or several in words.
        source: what it is computed from, one of the record's sources, several separated by ` or `.
        meaning: for people, a sentence or two.

    """

    name: str
    unit: str
    flow: str
    source: str
    meaning: str
