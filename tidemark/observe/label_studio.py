"""Sentences on the bridge to Label Studio."""

from __future__ import annotations

from tidemark.observe.status_record import LabelStudioStatus
from tidemark.observe.webhooks import utc


def bridge_problems(bridge: LabelStudioStatus | None, file: str) -> list[str]:
    """What is wrong with the bridge. file: of the pipeline, as a person names it."""
    if bridge is None or (bridge.at is None and not bridge.problem):
        return []
    if not bridge.runs:
        why = f" ({bridge.problem})" if bridge.problem else ""
        remedy = f"see the log of `tidemark up`, or start it with `tidemark label-studio run {file}`"
        return [f"the bridge to Label Studio does not run{why}: {remedy}"]
    if bridge.failing_since is not None:
        what = f"{bridge.problem}, since {utc(bridge.failing_since)}"
        remedy = "it is tried again every minute, and what people answer there is not lost"
        return [f"the bridge to Label Studio: {what}; {remedy}"]
    return []


def bridge_notes(bridge: LabelStudioStatus | None, file: str) -> list[str]:
    """What else is good to know of the bridge. file: of the pipeline, as a person names it."""
    if bridge is None:
        return []
    if bridge.at is None and not bridge.problem:
        remedy = f"`tidemark up` starts it, or `tidemark label-studio run {file}`"
        return [f"the bridge to Label Studio has not run on this machine: {remedy}"]
    if not bridge.refused:
        return []
    were = "1 annotation was" if bridge.refused == 1 else f"{bridge.refused:,} annotations were"
    return [f"Label Studio: {were} not taken; `tidemark label-studio status {file}` says which, and why"]


def bridge_words(bridge: LabelStudioStatus) -> str:
    """The bridge in a line."""
    words = f"{bridge.offered:,} of {bridge.most:,} cases wait there, {bridge.taken:,} annotations taken"
    if bridge.refused:
        words += f", {bridge.refused:,} not"
    return words + ("" if bridge.reached is None else f"; last reached {utc(bridge.reached)}")
