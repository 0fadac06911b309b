"""The stream processor: raw records in, predictions and proposals out."""

from tidemark.stream.models import ActiveModel, ModelSource
from tidemark.stream.processor import StreamProcessor

__all__ = ["ActiveModel", "ModelSource", "StreamProcessor"]
