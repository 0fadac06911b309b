"""What the answers to cases cost, in the unit of the pipeline file: what the hard bounds of the budget count."""

from __future__ import annotations

from collections.abc import Mapping

from tidemark.pipeline.model import Pipeline, Selection


def cost_of(selection: Selection, context: Mapping[str, object]) -> int:
    """Cost of a case, in the pipeline's unit; 1 where cases are counted.

    Args:
        selection: the pipeline's settings.
        context: of the case, as the person sees it.

    Returns:
        It.

    """
    return 1 if selection.cost is None else selection.cost.of_case(context)


def dearest(selection: Selection) -> int:
    """Most that a case can cost, in the pipeline's unit; 1 where cases are counted."""
    return 1 if selection.cost is None else selection.cost.dearest


def bounds(selection: Selection, most: int, left: int | None) -> tuple[int, int | None]:
    """Cases that a tile may ask, and what they may cost where that is another bound.

    Args:
        selection: the pipeline's settings.
        most: cases that it may ask.
        left: what may be spent; None where nothing bounds it.

    Returns:
        Both. Where cases are counted, what is left is cases.

    """
    if selection.cost is not None:
        return most, left
    return most if left is None else min(most, left), None


def in_cases(pipeline: Pipeline) -> Pipeline:
    """The pipeline with its bounds in cases, each reckoned at `selection.cost.case`: a history tells no other cost.

    Args:
        pipeline: as it is.

    Returns:
        It, without costs.

    """
    selection = pipeline.selection
    if selection.cost is None:
        return pipeline
    each = selection.cost.case
    bounds = {name: getattr(selection, name) for name in ("total", "per_hour", "per_day")}
    cases = {name: None if bound is None else max(1, bound // each) for name, bound in bounds.items()}
    return pipeline.model_copy(update={"selection": selection.model_copy(update={"cost": None, **cases})})
