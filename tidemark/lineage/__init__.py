"""The lineage of one event: derived again from the topics, and compared with what was recorded: `tidemark why`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

from tidemark.lineage.story import Lineage

if TYPE_CHECKING:
    from tidemark.lineage.explainer import Explainer as Explainer

__all__ = ["Explainer", "Lineage"]

__getattr__, _, _ = lazy_loader.attach(__name__, submod_attrs={"explainer": ("Explainer",)})
"""It brings all that a stream computes with, which the console's other pages need not wait for."""
