from .observer import Observer as Observer
from .snapshot import FlowState as FlowState
from .snapshot import Snapshot as Snapshot
