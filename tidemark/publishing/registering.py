"""The schemas of outputs in a schema registry, under the subject `TOPIC-value`."""

from __future__ import annotations

import json

from tidemark.errors import RegistryError
from tidemark.formats.schema_registry import http_registry
from tidemark.pipeline import Pipeline
from tidemark.publishing.avro_schema import KINDS, schema_of


def registered(pipeline: Pipeline) -> dict[int, int]:
    """Register the schema of each output that names a registry.

    Args:
        pipeline: whose outputs these are.

    Returns:
        The number of the schema, by that of the output.

    Raises:
        RegistryError: the registry does not answer, or refuses the schema.
        ConfigError: an address is none.

    """
    numbers: dict[int, int] = {}
    for number, output in enumerate(pipeline.outputs):
        if output.registry is None:
            continue
        subject = f"{output.topic}-value"
        registry = http_registry(output.registry, f"outputs[{number}].registry")
        given = registry.register(subject, json.dumps(schema_of(KINDS[output.of])))
        if given is None:
            raise RegistryError(f"the schema registry {output.registry} gives no number for {subject}; see its log")
        numbers[number] = given
    return numbers
