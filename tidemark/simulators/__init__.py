"""Simulated streams with truth, deterministic by seed: a machine without data has something to learn.

`Annotator` and `Simulation` are imported on first use, with Polars: whoever asks for the use cases needs neither.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Literal

import lazy_loader

if TYPE_CHECKING:
    from tidemark.simulators.simulation import Annotator as Annotator
    from tidemark.simulators.simulation import Simulation as Simulation

UseCase = Literal["fraud", "maintenance", "customer", "healthcare"]


def simulate(use_case: UseCase, seed: int, events: int) -> Simulation:
    """`events` events of a use case and their truth; the same for the same seed and number."""
    simulation: Simulation = importlib.import_module(f"tidemark.simulators.{use_case}").simulate(seed, events)
    return simulation


__all__ = ["Annotator", "Simulation", "UseCase", "simulate"]

__getattr__, _, _ = lazy_loader.attach(__name__, submod_attrs={"simulation": ("Annotator", "Simulation")})
