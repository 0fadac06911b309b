"""The selection strategies, from their registry."""

from __future__ import annotations

import inspect
from typing import Final

from tidemark.strategies import STRATEGIES
from tools.reference.markdown import code, prose, table

_INTRO: Final = """# Selection strategies

`[selection] policy` names one. [Which cases people are asked about](../explanation/selection.md) says how a strategy
works with the random draw and the budget.
"""


def strategies_page() -> str:
    """The page's Markdown."""
    rows = [
        (code(name), prose(inspect.cleandoc(kind.__doc__ or "")), prose(kind.source), prose(kind.fails))
        for name, kind in STRATEGIES.own.items()
    ]
    return _INTRO + "\n" + table(["policy", "what it asks about", "source", "where it does badly"], rows)
