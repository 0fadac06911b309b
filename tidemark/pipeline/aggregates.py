"""The aggregates that `[[windows]]` may name: the kernels', and functions of other packages.

An aggregate of another package is an entry point of the group `tidemark.aggregates` that names an `AggregateKind` with
a `compute`, or `module:attribute` in the pipeline file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from kernels.windows.specs import KINDS, AggregateKind, Compute
from tidemark.errors import ConfigError
from tidemark.runtime.plugins import Plugins

GROUP: Final = "tidemark.aggregates"
"""Group of the entry points of other packages' aggregates."""
_SHOWN: Final = 300


def _accept(name: str, found: object) -> AggregateKind:
    if not isinstance(found, AggregateKind):
        raise ValueError(f"it is a {type(found).__name__}, not a kernels.windows.specs.AggregateKind")  # noqa: TRY004
    if found.compute is None or found.parameter or found.error is not None or found.takes == "optional":
        raise ValueError("it must have a 'compute' over the values of a column, and neither parameter nor error")
    import numpy as np  # noqa: PLC0415 - whoever reads a pipeline file without such an aggregate needs none

    kind = replace(found, compute=partial(_computed, name, found.compute, found.empty))
    try:
        for sample in ([2.0], [1.0, -3.0, 1e6]):
            _computed(name, found.compute, found.empty, np.array(sample), np.arange(len(sample), 0.0, -1.0))
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return kind


def _computed(name: str, compute: Compute, empty: float, values: Any, ages: Any) -> float:  # noqa: ANN401 as numpy has them
    """One feature; NaN where the function gives no number that is finite."""
    if not len(values):
        return empty
    try:
        result = float(compute(values, ages))
    except Exception as error:  # a stranger's function may raise anything
        line = (str(error).strip().splitlines() or ["no reason given"])[0][:_SHOWN]
        raise ConfigError(
            f"window aggregate '{name}' raised {type(error).__name__} over {len(values)} values: {line}; mend it"
        ) from error
    return result if math.isfinite(result) else math.nan


_OWN: Final[dict[str, AggregateKind]] = {str(name): kind for name, kind in KINDS.items()}
AGGREGATES: Final = Plugins("window aggregate", GROUP, _OWN, _accept)
"""Every aggregate by its name."""

_ELSEWHERE: Final = {
    "approx_count_distinct": "'approx_distinct'",
    "average": "'mean'",
    "avg": "'mean'",
    "count_distinct": "'distinct'",
    "ewma": "'decayed_mean' with a half_life",
    "latest": "'last'",
    "median": "'quantile' with probability = 0.5",
    "nunique": "'distinct'",
    "percentile": "'quantile' with a probability",
    "regr_slope": "'slope'",
    "session": "any aggregate, with gap = '30m' beside the size",
    "stddev": "'std'",
    "stddev_samp": "'std'",
    "time_since_first": "'since_first'",
    "time_since_last": "'since_last'",
    "trend": "'slope'",
    "var_samp": "'var'",
    "variance": "'var'",
    "z_score": "'zscore'",
}
"""What aggregates are called in SQL, pandas and other products, and what to write here."""


def here(name: str) -> str | None:
    """What to write for a name that others give to an aggregate; None where there is no such, or it is ours."""
    called = name.lower().replace("-", "_")
    if name in _OWN or (called not in _ELSEWHERE and not re.fullmatch(r"p\d\d?", called)):
        return None
    if name in AGGREGATES.names():
        return None
    return _ELSEWHERE.get(called) or f"'quantile' with probability = {int(called[1:]) / 100}"


def function_of(name: str) -> Callable[[Any, Any], float] | None:
    """What computes an aggregate; None for those that a kernel computes."""
    return AGGREGATES.get(name).compute
