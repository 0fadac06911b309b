"""The stream processor: raw records in, predictions and proposals out."""
