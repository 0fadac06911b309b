"""Environment variables, from their table, and the Kafka properties that are fixed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tidemark.runtime.settings import FIXED
from tidemark.runtime.variables import CONSOLE, FLOWS, INSTALLATION, LABELING, OIDC, Variable
from tools.reference.markdown import code, prose, table

_INTRO: Final = """# Settings

Settings of an installation come from the environment, so that no secret is in a pipeline file. An empty variable counts
as unset. Where *file* says yes, the variable's name with `_FILE` behind it names a file to read the value from.
"""
_FIXED: Final = """## Fixed Kafka properties

Exactly-once rests on these properties. `TIDEMARK_KAFKA_…` of one of them, or of a second name that librdkafka has for
it, is refused with the reason.
"""


def settings_page() -> str:
    """The page's Markdown."""
    parts = [_INTRO]
    for heading, variables in (
        ("Installation", INSTALLATION),
        ("Flows", FLOWS),
        ("Labeling service and its clients", LABELING),
        ("Console", CONSOLE),
        ("Sign-in by an identity provider", OIDC),
    ):
        parts += [f"## {heading}\n", _variables(variables)]
    fixed = table(["property", "why"], [(code(name), prose(why)) for name, why in FIXED.items()])
    return "\n".join([*parts, _FIXED, fixed])


def _variables(variables: Iterable[Variable]) -> str:
    rows = [
        (code(each.name), prose(each.default) or "–", "yes" if each.from_file else "–", prose(each.meaning))
        for each in variables
    ]
    return table(["variable", "default", "file", "meaning"], rows)
