"""What a running pipeline is doing, read from Kafka alone (`tidemark status`, the demo's live view).

The names are imported on first use: what `status` prints is described here too, and needs no Kafka client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemark.observe.observer import Observer as Observer
    from tidemark.observe.snapshot import FlowState as FlowState
    from tidemark.observe.snapshot import Snapshot as Snapshot

_MODULE_OF = {
    "FlowState": "tidemark.observe.snapshot",
    "Observer": "tidemark.observe.observer",
    "Snapshot": "tidemark.observe.snapshot",
}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605  (one table, not two lists that drift apart)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (classes of several types)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'tidemark.observe' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)
