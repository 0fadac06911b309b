"""Supervision of a pipeline's processes (`tidemark up`).

The names are imported on first use, with asyncio: whoever asks which process supervises a pipeline needs neither.
"""

from typing import TYPE_CHECKING

from tidemark.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from tidemark.supervisor.supervisor import NEEDS_A_PERSON as NEEDS_A_PERSON
    from tidemark.supervisor.supervisor import ProcessSpec as ProcessSpec
    from tidemark.supervisor.supervisor import ProcessState as ProcessState
    from tidemark.supervisor.supervisor import Supervisor as Supervisor

__all__ = ["NEEDS_A_PERSON", "ProcessSpec", "ProcessState", "Supervisor"]

__getattr__ = lazy_names(__name__, dict.fromkeys(__all__, "tidemark.supervisor.supervisor"))
