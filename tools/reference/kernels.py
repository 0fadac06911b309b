"""The kernels, from their table of names, and which of them the product itself calls."""

from __future__ import annotations

import ast
import inspect
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import Final

import kernels
from tools.reference.markdown import code, prose, table

_ROOT: Final = Path(__file__).resolve().parents[2]
_PRODUCT: Final = ("tidemark", "dataflows", "labeling_grpc")
_COMPILES_ALL: Final = "tidemark.warmup"
"""Calls every kernel once, so that its machine code is there. That is no use of what it gives."""
_INTRO: Final = """# Kernels

`from kernels import NAME` gives each of these. [Kernels](../explanation/kernels.md) says which question each answers,
and how fast. Shapes, units, formula and source are in the docstrings.
"""
_UNUSED: Final = """## Kernels that no flow calls

The library has these, and tests and benchmarks hold them, but neither a flow nor the labeling service calls them. Your
own programs and selection strategies may.
"""


@cache
def used_by() -> dict[str, set[str]]:
    """Which modules of the product import each kernel.

    Returns:
        For each public name of `kernels` the modules, empty where there are none. A kernel that only other kernels call
        counts as called by whoever calls those.

    """
    users: dict[str, set[str]] = {name: set() for name in kernels.__all__}
    for path in (path for folder in _PRODUCT for path in sorted((_ROOT / folder).rglob("*.py"))):
        module = ".".join(path.relative_to(_ROOT).with_suffix("").parts)
        for name in _imported(ast.parse(path.read_text(encoding="utf-8"))) & users.keys():
            users[name] |= {module} - {_COMPILES_ALL}
    return users


def kernels_page() -> str:
    """The page's Markdown."""
    users = used_by()
    called = [(code(name), ", ".join(map(code, sorted(users[name]))), _meaning(name)) for name in users if users[name]]
    unused = [
        (code(name), code(_home(name)), _meaning(name)) for name in users if not users[name] and not is_value(name)
    ]
    return "\n".join(
        [
            _INTRO,
            "## Kernels that flows and the labeling service call\n",
            table(["kernel", "called by", "gives"], sorted(called)),
            _UNUSED,
            table(["kernel", "module", "gives"], sorted(unused, key=lambda row: (row[1], row[0]))),
        ]
    )


def is_value(name: str) -> bool:
    """Whether a name is of what kernels take or give, and computes nothing itself."""
    return hasattr(getattr(kernels, name), "_fields") or is_dataclass(getattr(kernels, name))


def _imported(tree: ast.AST) -> set[str]:
    """Names that a module takes from `kernels` or from below it."""
    found, modules = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kernels":
            found |= {each.name for each in node.names}
            modules |= {each.asname or each.name for each in node.names}
        elif isinstance(node, ast.Import):
            modules |= {each.asname or each.name for each in node.names if each.name.split(".")[0] == "kernels"}
    attributes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return found | {node.attr for node in attributes if ast.unparse(node.value) in modules}


def _home(name: str) -> str:
    module: str = getattr(kernels, name).__module__
    return module if module.startswith("kernels") else "kernels"


def _meaning(name: str) -> str:
    text = inspect.getdoc(getattr(kernels, name)) or ""
    if not text:  # compiled functions keep their docstring on the Python function
        text = inspect.getdoc(getattr(getattr(kernels, name), "py_func", None)) or ""
    return prose(text.split("\n\n")[0])
