"""From labels to a champion: the training set, LightGBM, the gate, and the processor that ties them together."""

from tidemark.training.processor import RetrainProcessor

__all__ = ["RetrainProcessor"]
