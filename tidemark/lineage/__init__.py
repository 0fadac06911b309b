"""The lineage of one event: derived again from the topics, and compared with what was recorded: `tidemark why`."""

from __future__ import annotations

from tidemark.lineage.explainer import Explainer
from tidemark.lineage.story import Lineage

__all__ = ["Explainer", "Lineage"]
