"""The pipeline file, key by key, from the pydantic model."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final, get_args

from pydantic import BaseModel, PlainSerializer
from pydantic.fields import FieldInfo

from tidemark.pipeline.durations import format_duration
from tidemark.pipeline.model import Pipeline, Section, Unit
from tools.reference.markdown import code, prose, table

_INTRO: Final = """# The pipeline file

A TOML file describes a use case. `tidemark check` says what is wrong with it, and `tidemark schema` prints its JSON
schema for an editor. Unknown keys are errors.

A *duration* is a text such as `"500ms"`, `"30s"`, `"15m"`, `"6h"` or `"7d"`: its unit is part of it. A message about
the file begins with its name and a line, as `fraud.toml:48:`.
"""


def sections() -> list[tuple[str, type[Section]]]:
    """Tables of the file.

    Returns:
        Each as its heading in TOML, "" for the top of the file, and its model.

    """
    found: list[tuple[str, type[Section]]] = [("", Pipeline)]
    for name, field in Pipeline.model_fields.items():
        for model in _models(field):
            found.append((_heading(name, field), model))
            found += [
                (_heading(f"{name}.{inner}", part), nested)
                for inner, part in model.model_fields.items()
                for nested in _models(part)
            ]
    return found


def pipeline_page() -> str:
    """The page's Markdown."""
    properties = Pipeline.model_json_schema()
    parts = [_INTRO]
    for heading, model in sections():
        schema = properties if model is Pipeline else properties["$defs"][model.__name__]
        parts.append(f"## {code(heading) if heading else 'Top of the file'}\n")
        parts.append(_paragraphs(inspect.getdoc(model) or ""))
        rows = [
            (
                code(name),
                _type(name, field, schema["properties"][name], properties),
                unit_of(field) or "–",
                _default(field),
                _meaning(field),
            )
            for name, field in model.model_fields.items()
            if model is not Pipeline or not list(_models(field))
        ]
        parts.append(table(["key", "type", "unit", "default", "meaning"], rows))
    return "\n".join(parts)


def unit_of(field: FieldInfo) -> str:
    """Unit of a key that is a number.

    Args:
        field: the key.

    Returns:
        Its name in words; "" where no unit is written.

    """
    found = [each.name for each in (*field.metadata, *_walk(field.annotation)) if isinstance(each, Unit)]
    return found[0] if found else ""


def is_number(field: FieldInfo) -> bool:
    """Whether a key is a number and no duration, choice or mixture."""
    kinds = {each for each in _walk(field.annotation) if isinstance(each, type)}
    durations = any(isinstance(each, PlainSerializer) for each in (*field.metadata, *_walk(field.annotation)))
    return bool(kinds & {int, float}) and not kinds & {str, bool, list, dict} and not durations


def _models(field: FieldInfo) -> Iterator[type[Section]]:
    yield from dict.fromkeys(
        each for each in _walk(field.annotation) if isinstance(each, type) and issubclass(each, Section)
    )


def _walk(annotation: Any) -> Iterator[Any]:  # noqa: ANN401 annotations are anything
    yield annotation
    yield from getattr(annotation, "__metadata__", ())
    for argument in get_args(annotation):
        yield from _walk(argument)


def _heading(name: str, field: FieldInfo) -> str:
    origin = getattr(field.annotation, "__origin__", None)
    if origin is list:
        return f"[[{name}]]"
    return f"[{name}.NAME]" if origin is dict else f"[{name}]"


def _type(name: str, field: FieldInfo, schema: dict[str, Any], whole: dict[str, Any]) -> str:
    if name == "aggregate":
        return "[an aggregate](aggregates.md)"
    del field
    return _said(schema, whole)


def _said(schema: dict[str, Any], whole: dict[str, Any]) -> str:  # noqa: PLR0911 one for each kind of schema
    """A JSON schema in words."""
    if "$ref" in schema:
        return _said(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in schema:
        kinds = [_said(each, whole) for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in schema:
        return code(f'"{schema["const"]}"')
    if "enum" in schema:
        return ", ".join(code(f'"{each}"') for each in schema["enum"])
    kind: str = schema.get("type", "value")
    if kind == "array":
        return f"list: {_said(schema.get('items', {}), whole)}"
    if kind == "object" and schema.get("additionalProperties") is False:
        return "table with keys of its own"
    if kind == "object":
        return f"table: {_said(schema.get('additionalProperties', {}), whole)}"
    if kind == "string":
        return "duration" if "7d" in schema.get("examples", ()) else "text"
    words: dict[str, str] = {"integer": "whole number", "number": "number", "boolean": "true or false"}
    return words.get(kind, kind) + _bounds(schema)


def _bounds(schema: dict[str, Any]) -> str:
    lower = next((f"{word} {schema[key]:,}" for key, word in _LOWER.items() if key in schema), "")
    upper = next((f"{word} {schema[key]:,}" for key, word in _UPPER.items() if key in schema), "")
    both = ", ".join(bound for bound in (lower, upper) if bound)
    return f", {both}" if both else ""


_LOWER: Final = {"minimum": "at least", "exclusiveMinimum": "above"}
_UPPER: Final = {"maximum": "at most", "exclusiveMaximum": "below"}


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is None or isinstance(default, BaseModel):
        return "–"
    if isinstance(default, bool):
        return code(str(default).lower())
    if isinstance(default, int) and _is_duration(field):
        return code(f'"{format_duration(default)}"')
    return code(f'"{default}"' if isinstance(default, str) else str(default))


def _is_duration(field: FieldInfo) -> bool:
    return any(type(each).__name__ == "PlainSerializer" for each in field.metadata) or "format_duration" in repr(field)


def _meaning(field: FieldInfo) -> str:
    return prose(field.description or "")


def _paragraphs(text: str) -> str:
    return "\n\n".join(prose(paragraph) for paragraph in text.split("\n\n")) + "\n"
