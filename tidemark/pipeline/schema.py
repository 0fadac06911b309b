"""Identity of a pipeline's features, and the JSON schema of pipeline files."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tidemark.pipeline.model import Pipeline


def schema_hash(pipeline: Pipeline) -> str:
    """16 hex digits that name what a model is trained on: the features' definitions in order, and the classes.

    BLAKE2b-64 of a canonical JSON of `clean`, `features`, `windows`, `derived`, the lateness, the columns'
    missing values and the classes. A model of another hash is refused.
    """
    parts = pipeline.model_dump(mode="json", include={"clean", "features", "windows", "derived"})
    for each in (*parts["features"], *parts["windows"], *parts["derived"]):
        each.pop("scale", None)  # it is the model's, which says by what it scales
    parts["lateness"] = pipeline.time.lateness
    parts["missing"] = {name: column.missing for name, column in pipeline.columns.items() if column.missing}
    defaults = {name: column.default for name, column in pipeline.columns.items() if column.default is not None}
    if defaults:
        parts["defaults"] = defaults
    rules = {name: told for name, column in pipeline.columns.items() if (told := column.rules())}
    if rules:
        parts["rules"] = rules
    if pipeline.deduplicate is not None:
        parts["deduplicate"] = pipeline.deduplicate.model_dump(mode="json")
    parts["classes"] = pipeline.label.classes
    if pipeline.label.is_number:
        parts["label"] = pipeline.label.type  # its bounds don't change what a model learns
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of pipeline files, for editors."""
    schema = Pipeline.model_json_schema(mode="validation")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Tidemark pipeline"
    return schema
