"""Pipeline files: one TOML a use case, read into one typed model."""

from tidemark.pipeline.model import Pipeline

__all__ = ["Pipeline"]
