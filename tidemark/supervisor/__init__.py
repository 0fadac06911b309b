"""Supervision of a pipeline's processes (`tidemark up`)."""

from tidemark.supervisor.supervisor import NEEDS_A_PERSON, ProcessSpec, ProcessState, Supervisor

__all__ = ["NEEDS_A_PERSON", "ProcessSpec", "ProcessState", "Supervisor"]
