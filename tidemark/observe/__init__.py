"""What a running pipeline is doing, read from Kafka alone (`tidemark status`, the demo's live view)."""

from tidemark.observe.observer import Observer
from tidemark.observe.snapshot import FlowState, Snapshot

__all__ = ["FlowState", "Observer", "Snapshot"]
