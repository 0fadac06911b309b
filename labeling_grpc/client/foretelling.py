"""What a model foretells of a case whose answer is a number: the same in a terminal and on a page."""

from __future__ import annotations

from dataclasses import dataclass

from labeling_grpc.client.values import Case, CaseDetails, Estimate


@dataclass(frozen=True, slots=True)
class Foretelling:
    """The number of the model in force, or of the one that asked.

    earlier: what `earlier_version` said when the case was asked, where that is another model; None: it is the same.
    """

    version: str
    estimate: Estimate
    earlier: Estimate | None = None
    earlier_version: str = ""


def foretelling(case: Case, details: CaseDetails | None) -> Foretelling | None:
    """What is foretold of a case now.

    Args:
        case: the case.
        details: more about it; None where it could not be had.

    Returns:
        It; None where there is no model.

    """
    now = None if details is None else details.current_estimate
    if details is None or now is None:
        return None if case.estimate is None else Foretelling(case.model, case.estimate)
    if case.estimate is None or details.contributions_model == case.model:
        return Foretelling(details.contributions_model, now)
    return Foretelling(details.contributions_model, now, case.estimate, case.model)
