"""Simulated streams with truth, deterministic by seed: a machine without data has something to learn.

`Annotator` and `Simulation` are imported on first use, with Polars: whoever asks for the use cases needs neither.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tidemark.simulators.simulation import Annotator as Annotator
    from tidemark.simulators.simulation import Simulation as Simulation

UseCase = Literal["fraud", "maintenance", "customer", "healthcare"]


def simulate(use_case: UseCase, seed: int, events: int) -> Simulation:
    """`events` events of a use case and their truth; the same for the same seed and number."""
    simulation: Simulation = importlib.import_module(f"tidemark.simulators.{use_case}").simulate(seed, events)
    return simulation


__all__ = ["Annotator", "Simulation", "UseCase", "simulate"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (classes of several types)
    if name not in {"Annotator", "Simulation"}:
        raise AttributeError(f"module 'tidemark.simulators' has no attribute {name!r}")
    return getattr(importlib.import_module("tidemark.simulators.simulation"), name)
