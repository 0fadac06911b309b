"""A case as a task of Label Studio, and the project that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from xml.etree import ElementTree as ET

from labeling_grpc.client.values import Case
from labeling_grpc.label_studio.messages import CONTROL, EVENT, OBJECT, PIPELINE, choice
from labeling_grpc.label_studio.statements import Names
from labeling_grpc.security.masks import Mask
from tidemark.pipeline import Pipeline
from tidemark.runtime.safe_text import safe

_LONGEST: Final = 2_000
_WHOLE: Final = 2**53
"""Beyond it a browser shows another number."""
_WHY: Final[Mapping[str, str]] = {
    "explore": "drawn at random",
    "uncertain": "the model can't tell",
    "diverse": "unlike what was labeled before",
    "cold": "there is no model yet",
    "imported": "brought in by hand",
}


@dataclass(frozen=True, slots=True)
class TaskMaker:
    """Makes tasks of a pipeline's cases. names: what is what.  mask: what annotators may not see; None: nothing."""

    pipeline: Pipeline
    names: Names
    mask: Mask | None

    def __call__(self, case: Case) -> dict[str, Any]:
        """A case as Label Studio imports it.

        Args:
            case: of the queue.

        Returns:
            JSON: the facts that annotators may see, and a prediction where there is a model and it is not hidden.

        """
        label = self.pipeline.label
        data: dict[str, Any] = {
            EVENT: case.event_id,
            PIPELINE: self.pipeline.name,
            "question": safe(label.question or "")[:_LONGEST],
            "why": _WHY.get(case.reason, case.reason),
            "time": f"{datetime.fromtimestamp(case.time / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC",
            "facts": self._facts(case),
        }
        fields = frozenset() if self.mask is None else self.mask.fields
        for name in ("business_id", "key"):
            value = getattr(case, name)
            data[name] = safe(value)[:_LONGEST] if value is not None and name not in fields else ""
        data["case"] = data["business_id"] or data["key"] or case.event_id
        task: dict[str, Any] = {"data": data, "meta": {EVENT: case.event_id, "model": case.model}}
        if len(case.probabilities) == len(label.classes) and not self.pipeline.labeling.blind:
            task["predictions"] = [self._prediction(case)]
        return task

    def _facts(self, case: Case) -> dict[str, str | float]:
        hidden = frozenset() if self.mask is None else self.mask.columns
        told = {**case.features, **case.context, **case.categories}
        return {name: _shown(value) for name, value in told.items() if name not in hidden and value is not None}

    def _prediction(self, case: Case) -> dict[str, Any]:
        classes = self.pipeline.label.classes
        best = max(range(len(classes)), key=lambda number: case.probabilities[number])
        return {
            "model_version": case.model,
            "score": round(case.probabilities[best], 6),
            "result": [choice(self.names.choice(classes[best]))],
        }


def _shown(value: object) -> str | float:
    if isinstance(value, bool):
        return "yes" if value else "no"  # its table shows nothing for a truth value
    if isinstance(value, float) or (isinstance(value, int) and abs(value) <= _WHOLE):
        return value
    return safe(str(value))[:_LONGEST]


def label_config(classes: Sequence[str]) -> str:
    """The labeling interface of a project that asks which of the classes a case is: XML."""
    view = ET.Element("View")
    ET.SubElement(view, "Header", value="$question")
    ET.SubElement(view, "Text", name=OBJECT, value="$case")
    ET.SubElement(view, "Text", name="time", value="$time")
    ET.SubElement(view, "Text", name="why", value="$why")
    ET.SubElement(view, "Table", name="facts", value="$facts")
    asked = ET.SubElement(
        view, "Choices", name=CONTROL, toName=OBJECT, choice="single", required="true", showInLine="true"
    )
    for number, name in enumerate(classes, 1):
        offered = ET.SubElement(asked, "Choice", value=name)
        if number < 10:
            offered.set("hotkey", str(number))
    return ET.tostring(view, encoding="unicode")


def project_fields(title: str, classes: Sequence[str]) -> dict[str, Any]:
    """A project as it is to be: each case asked once, and a skipped one not again."""
    return {
        "title": title[:50],
        "description": "Cases of a Tidemark pipeline; what is answered here becomes a label there.",
        "label_config": label_config(classes),
        "maximum_annotations": 1,
        "skip_queue": "IGNORE_SKIPPED",
        "show_collab_predictions": True,
        "sampling": "Sequential sampling",
    }
