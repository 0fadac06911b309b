"""What a running pipeline is doing, read from Kafka alone (`tidemark status`, the demo's live view).

The names are imported on first use: what `status` prints is described here too, and needs no Kafka client.
"""

from typing import TYPE_CHECKING

from tidemark.runtime.lazy_names import lazy_names

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

__getattr__ = lazy_names(__name__, _MODULE_OF)
