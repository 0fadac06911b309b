"""Window aggregates and SQL functions, from the tables that the code computes by."""

from __future__ import annotations

from typing import Final

from kernels.windows.specs import KINDS
from tidemark.pipeline.sql.functions import ALIASES, ANY, FUNCTIONS
from tools.reference.markdown import code, prose, table

_AGGREGATES_INTRO: Final = """# Window aggregates

`aggregate` of a [`[[windows]]`](pipeline.md) entry is one of these. Rows that lack the column's value don't count. An
aggregate of no value is missing, unless the table says otherwise.
"""
_FUNCTIONS_INTRO: Final = """# SQL functions

An expression of a pipeline file may call these functions. [Expressions](expressions.md) says what types there are, how
operators compute and what a cast takes. `CASE`, `CAST`, `COALESCE`, `NULLIF`, `IF`, `EXTRACT` and `POSITION` are part
of the grammar and have their place there.
"""


def aggregates_page() -> str:
    """The page's Markdown."""
    rows = [(code(name), prose(kind.meaning)) for name, kind in KINDS.items()]
    return _AGGREGATES_INTRO + "\n" + table(["aggregate", "gives"], rows)


def functions_page() -> str:
    """The page's Markdown."""
    names: dict[str, list[str]] = {name: [] for name in FUNCTIONS}
    for alias, name in ALIASES.items():
        names.setdefault(name, []).append(alias)
    rows = [(code(name), _count(name), ", ".join(map(code, aliases)) or "–") for name, aliases in sorted(names.items())]
    return _FUNCTIONS_INTRO + "\n" + table(["function", "arguments", "other names"], rows)


def _count(name: str) -> str:
    if name not in FUNCTIONS:
        return "2 or more"
    least, most, _ = FUNCTIONS[name]
    return f"{least}" if least == most else f"{least} or more" if most >= ANY else f"{least} to {most}"
