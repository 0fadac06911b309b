"""Selection: which events are worth a person's time, under a budget, and a random draw that measures the model."""

from tidemark.selection.processor import SelectProcessor

__all__ = ["SelectProcessor"]
