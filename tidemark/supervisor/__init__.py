"""Supervision of a pipeline's processes (`tidemark up`).

The names are imported on first use, with asyncio: whoever asks which process supervises a pipeline needs neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemark.supervisor.supervisor import NEEDS_A_PERSON as NEEDS_A_PERSON
    from tidemark.supervisor.supervisor import ProcessSpec as ProcessSpec
    from tidemark.supervisor.supervisor import ProcessState as ProcessState
    from tidemark.supervisor.supervisor import Supervisor as Supervisor

__all__ = ["NEEDS_A_PERSON", "ProcessSpec", "ProcessState", "Supervisor"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (classes, and a number)
    if name not in __all__:
        raise AttributeError(f"module 'tidemark.supervisor' has no attribute {name!r}")
    return getattr(import_module("tidemark.supervisor.supervisor"), name)
