"""Pipeline files: one TOML a use case, read into one typed model."""

from tidemark.pipeline.durations import format_duration, parse_duration
from tidemark.pipeline.loading import load, parse
from tidemark.pipeline.model import Pipeline
from tidemark.pipeline.schema import json_schema, schema_hash

__all__ = ["Pipeline", "format_duration", "json_schema", "load", "parse", "parse_duration", "schema_hash"]
