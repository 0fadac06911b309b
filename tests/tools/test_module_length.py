from __future__ import annotations

import ast
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_CODE = ("tidemark", "dataflows", "kernels", "labeling_grpc", "prediction_grpc", "console", "benchmarks", "tools")
_GENERATED = ("labeling_grpc/v1/", "prediction_grpc/v1/")
_MOST = 400
_REASON = f"Longer than {_MOST} lines: "


def test_a_module_above_400_lines_says_at_its_top_why_it_is_not_split() -> None:
    unexplained: list[str] = []
    for package in _CODE:
        for path in sorted((_ROOT / package).rglob("*.py")):
            name = path.relative_to(_ROOT).as_posix()
            text = path.read_text(encoding="utf-8")
            lines = len(text.splitlines())
            if lines <= _MOST or name.startswith(_GENERATED):
                continue
            if _REASON not in " ".join((ast.get_docstring(ast.parse(text)) or "").split()):
                unexplained.append(f"{name} has {lines}")
    assert unexplained == [], f"split them, or write in the docstring '{_REASON}…'"
