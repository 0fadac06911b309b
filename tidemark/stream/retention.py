"""How long the topics that the stream flow reads again must keep their records."""

from __future__ import annotations

from typing import Final

from tidemark.features.segments import SEGMENTS
from tidemark.pipeline.model import Pipeline

_DAY: Final = 86_400_000_000
OUTAGE: Final = 3 * _DAY
"""µs for which a flow may stand still before records that it needs are gone: a long weekend."""


def needed_retention(pipeline: Pipeline) -> int:
    """µs for which events, hops and candidates must be kept.

    A restart reads again what the longest window reaches, by `time.lateness` more, by the coarseness with which its
    beginning is kept, and by `time.max_ahead`, for a row of a clock that is ahead matters for so much longer. A queue
    that is built anew needs its candidates until their truth comes by itself. An outage comes on top of either.
    """
    windows = max((window.size for window in pipeline.windows), default=0) + pipeline.time.lateness
    reach = windows + windows // SEGMENTS + pipeline.time.max_ahead
    label = pipeline.label.delay + pipeline.label.grace
    return max(reach, label, pipeline.selection.expires_after or 0) + OUTAGE


def events_retention(pipeline: Pipeline) -> int:
    """µs for which topics that we make are kept: `retention.events`, or what is needed where that is longer."""
    return max(pipeline.retention.events, needed_retention(pipeline))
