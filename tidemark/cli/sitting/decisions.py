"""What an annotator decides of a case: before the service has it, and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labeling_grpc.client import Task
from tidemark.runtime.safe_text import safe


@dataclass(slots=True)
class Decision:
    """An answer (its class) or a skip (None) that the service has. A later one supersedes it by its id."""

    task: Task
    label: str | None
    annotation_id: str
    comment: str

    @property
    def text(self) -> str:
        """What it was, and of which case, to be shown."""
        what = "skipped" if self.label is None else safe(self.label)
        return f"{safe(self.task.business_id or self.task.event_id)}: {what}"


@dataclass(frozen=True, slots=True)
class Intent:
    """What somebody decided of the case before them, before the service has it."""

    kind: Literal["answer", "skip", "escalate", "give back"]
    text: str = ""
