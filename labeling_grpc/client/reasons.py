"""Why a case is asked, in words: the same in a terminal and on a page."""

from __future__ import annotations

from typing import Final

from labeling_grpc.client.values import Case
from tidemark.records import NO_MODEL, Reason

_WHY: Final[dict[Reason, str]] = {
    "explore": "drawn at random, to measure the model without bias: please answer it even if it looks dull",
    "uncertain": "the model can't tell",
    "diverse": "unlike what was labeled before",
    "cold": "there is no model yet: the first answers make it",
    "imported": "brought in by hand",
}
_WHY_THEN: Final[dict[Reason, str]] = {
    "uncertain": "model {asked} could not tell when it was asked; {now} is in force now",
    "diverse": "unlike what was labeled before it was asked; {now} is in force now",
    "cold": "there was no model when it was asked; {now} is in force now",
}
"""Where another model is in force than when the case was asked."""


def why_asked(case: Case, current: str) -> str:
    """Why a case is asked, as of now.

    Args:
        case: The case.
        current: Version of the model in force, "" before the first.

    Returns:
        A sentence without its capital and its full stop. The versions in it are of a stranger's text.

    """
    if current and current != case.model and case.reason in _WHY_THEN:
        asked = "none" if case.model == NO_MODEL else case.model
        return _WHY_THEN[case.reason].format(asked=asked, now=current)
    return _WHY[case.reason]
