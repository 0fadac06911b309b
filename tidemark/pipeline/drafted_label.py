"""Which column of a topic's records tells the answer that people are to be asked for, so that no model may see it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tidemark.pipeline.drafted_time import SeenColumn

_CALLED: Final = re.compile(
    r"(^|[._ -])(label|labels|target|truth|ground_?truth|outcome|is_?(fraud|fraudulent|spam|anomaly|churn|churned|bad"
    r"|defect|defective|failure|attack|laundering)|fraud|churn|churned|fraud_?(flag|label)|defective)$",
    re.IGNORECASE,
)
"""How truths are called in files that have them. A name alone proves nothing, so a person is told and chooses."""
_TURNED_OUT: Final = re.compile(
    r"(^|[._ -])(default|defaulted|charge[_ -]?back|charged[_ -]?(back|off)|converted|cancell?ed|readmitted|readmission"
    r"|died|deceased|mortality|survived|failed|failure|machine[_ -]?failure|breakdown|broke[_ -]?down|anomaly|anomalous"
    r"|attrition|fraudulent|spam)$",
    re.IGNORECASE,
)
"""What truths are called as well where they tell two classes; as a count or a measurement they may be anything."""
_MOST: Final = 20
"""Classes that are drafted; of more values a column is no class."""
_LONGEST: Final = 60
_TWO: Final = 2
_POSITIVE: Final = frozenset({"1", "true", "yes", "y", "t", "positive", "pos", "fraud", "bad", "spam"})


@dataclass(frozen=True, slots=True)
class DraftedLabel:
    """A column that tells the answer. classes: that it tells, the positive one last; none where it tells no classes."""

    column: str
    classes: tuple[str, ...]


def drafted_labels(columns: Iterable[SeenColumn]) -> list[DraftedLabel]:
    """The columns that look like the answer.

    Args:
        columns: that are neither the time nor the key.

    Returns:
        Those that are called so, what tells two classes or more first.

    """
    found = [
        DraftedLabel(each.name, classes)
        for each in columns
        for classes in [_classes(each)]
        if _CALLED.search(each.name) or (len(classes) == _TWO and _TURNED_OUT.search(each.name))
    ]
    return sorted(found, key=lambda label: not label.classes)


def _classes(column: SeenColumn) -> tuple[str, ...]:
    counts = Counter(_written(value) for value in column.values if value not in ("", None))
    names = sorted(name for name in counts if name is not None and name.isprintable() and len(name) <= _LONGEST)
    if not 2 <= len(counts) <= _MOST or len(names) < len(counts):
        return ()
    positive = next((name for name in names if name.lower() in _POSITIVE), min(names, key=lambda name: counts[name]))
    return (*(name for name in names if name != positive), positive)


def _written(value: object) -> str | None:
    """A class as labels name it; None where a number is no whole one."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else None
    return str(value)
