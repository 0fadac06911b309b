"""What a running pipeline is doing, read from Kafka alone (`tidemark status`, the demo's live view)."""

from tidemark.observe.observer import Observer
from tidemark.observe.snapshot import FLOWS, FlowState, Snapshot

__all__ = ["FLOWS", "FlowState", "Observer", "Snapshot"]
