"""Simulated streams with truth, deterministic by seed: they give a machine without data something to learn."""

from tidemark.simulators.simulation import Annotator, Simulation

__all__ = ["Annotator", "Simulation"]
