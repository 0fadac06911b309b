"""Features: cleaning, expressions and windows; and the offline computation that they are checked against."""

from tidemark.features.backfill import backfill

__all__ = ["backfill"]
