"""Simulated streams with truth, deterministic by seed: a machine without data has something to learn."""

from __future__ import annotations

import importlib
from typing import Literal

from tidemark.simulators.simulation import Annotator, Simulation

UseCase = Literal["fraud", "maintenance", "customer", "healthcare"]


def simulate(use_case: UseCase, seed: int, events: int) -> Simulation:
    """`events` events of a use case and their truth; the same for the same seed and number."""
    simulation: Simulation = importlib.import_module(f"tidemark.simulators.{use_case}").simulate(seed, events)
    return simulation


__all__ = ["Annotator", "Simulation", "UseCase", "simulate"]
