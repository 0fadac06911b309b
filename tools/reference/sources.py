"""The kinds of sources and their options, from their registry."""

from __future__ import annotations

from typing import Final

from pydantic_core import PydanticUndefined

from tidemark.pipeline import format_duration
from tidemark.records.source_kinds import SOURCE_KINDS, SourceKind
from tools.reference.markdown import code, prose, table

_INTRO: Final = """# Sources

`[[sources]] kind` names one, and `options` has its options. [Take records in](../how-to/sources.md) says how each is
used. `[sources.columns]` may name an attribute; `body` is one of every kind.
"""


def sources_page() -> str:
    """The page's Markdown."""
    return "\n".join([_INTRO, *(_kind(name, kind) for name, kind in SOURCE_KINDS.own.items())])


def _kind(name: str, kind: SourceKind) -> str:
    options = [
        (
            code(option),
            _default(field.get_default(call_default_factory=True), field.metadata),
            prose(field.description or ""),
        )
        for option, field in kind.options.model_fields.items()
    ]
    attributes = [
        (code(f"{attribute}NAME" if attribute.endswith(".") else attribute), prose(meaning))
        for attribute, meaning in kind.attributes.items()
    ]
    return "\n".join(
        [
            f"## `{name}`",
            "",
            prose(kind.meaning),
            "",
            table(["option", "default", "meaning"], options),
            *([table(["attribute", "meaning"], attributes)] if attributes else []),
        ]
    )


def _default(default: object, metadata: list[object]) -> str:
    if default is PydanticUndefined:
        return "needed"
    if default is None or default in ({}, []):
        return "none"
    if isinstance(default, int) and any("PlainSerializer" in type(each).__name__ for each in metadata):
        return code(format_duration(default))
    return code(str(default).lower() if isinstance(default, bool) else str(default))
