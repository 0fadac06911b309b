"""The same arguments in another memory layout or for another number of classes."""

from typing import Any, Literal

import numpy as np

Layout = Literal["read-only", "strided", "fortran"]


def changed(args: tuple[Any, ...], layout: str) -> tuple[Any, ...]:
    """The same numbers, laid out otherwise."""
    return tuple(_laid(a, layout) if isinstance(a, np.ndarray) else a for a in args)


def _laid(a: np.ndarray[Any, Any], layout: str) -> np.ndarray[Any, Any]:
    if layout == "fortran":
        return np.asfortranarray(a)
    if layout == "strided":
        wide = np.zeros((2 * len(a), *a.shape[1:]), a.dtype)
        wide[::2] = a
        return wide[::2]
    copy = a.copy()
    copy.flags.writeable = False
    return copy


def resized(
    name: str, args: tuple[Any, ...], options: dict[str, Any], classes: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a kernel of probabilities for uniform rows of so many classes."""
    n = len(args[0])
    p = np.full((n, classes), 1 / classes)
    rest: tuple[Any, ...] = {
        "expected_cost": (np.ones((classes, 2)),),
        "cost_margin": (np.ones((classes, 2)),),
        "shifted": (np.ones(classes), np.ones(classes)),
        "weighted_entropy": (np.ones(classes),),
    }.get(name, args[1:])
    return (p, *rest), options
