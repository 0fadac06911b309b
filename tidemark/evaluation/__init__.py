"""Quality of a model: measures, and estimates of them from labels with a known inclusion probability."""

from tidemark.evaluation.labels import final_labels
from tidemark.evaluation.quality import quality

__all__ = ["final_labels", "quality"]
